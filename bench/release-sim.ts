// SPDX-License-Identifier: Apache-2.0
/**
 * Release strategies over a million simulated viewers: arrivals, spread of displays, the unfair advantage of a hacked client.
 *
 * Redoes the simulation that the protocol's defaults rest on: mix of access networks from `bench/release/mix.json`, or from `--mix FILE` (the same members, any of
 * them left out; or `{"recorded": [[18 counts], ...]}`: the `steps` of viewers' reports). `--full` writes bench/plots/release-sim.svg, `--mix` FILE.svg; without either a
 * quarter of the viewers are simulated. Deterministic for a mix and a seed.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LEAD, REPORT_STEPS, adviseDelta } from '#core/release/delta-advice.ts';
import { linePlot, type Series } from './figures/line-plot.ts';
import { figure, type Figure } from './figures/timing.ts';
import { type Histogram, type Mix, type Outcome, type Strategy, simulate } from './release/model.ts';

const CLIENTS = 1_000_000;

const STRATEGIES: readonly { readonly name: string; readonly strategy: Strategy }[] = [
  { name: 'S1 push at T, show on arrival', strategy: { kind: 'on-arrival' } },
  { name: 'S2 send at T+80-owd, honest RTT', strategy: { kind: 'equalised', cap: 80, aim: 80 } },
  { name: "S2' send at T-owd, honest RTT", strategy: { kind: 'equalised', cap: 80, aim: 0 } },
  { name: 'S3 hold to T+100', strategy: { kind: 'hold', delta: 100, edges: 1 } },
  { name: 'S3 hold to T+150', strategy: { kind: 'hold', delta: 150, edges: 1 } },
  { name: 'S3 hold to T+200', strategy: { kind: 'hold', delta: 200, edges: 1 } },
  { name: 'S3 hold to T+300', strategy: { kind: 'hold', delta: 300, edges: 1 } },
  { name: 'S5 two edges, T+120', strategy: { kind: 'hold', delta: 120, edges: 2 } },
  { name: 'S5 two edges, T+150', strategy: { kind: 'hold', delta: 150, edges: 2 } },
];

/** What the design's own simulation gave for the bundled mix (1 M clients, 100 edges), in ms and percent. */
const REFERENCE = {
  arrival: { one: { p50: 30, p99: 158, p999: 348 }, two: { p50: 27, p99: 121, p999: 336 } },
  inside: { 'S1 push at T, show on arrival': 99.21, 'S3 hold to T+100': 99.39, 'S3 hold to T+150': 99.57, 'S5 two edges, T+120': 99.49, 'S5 two edges, T+150': 99.63 },
  onTime: { 'S3 hold to T+100': 96.6, 'S3 hold to T+150': 98.7, 'S3 hold to T+200': 99.2, 'S5 two edges, T+150': 99.2 },
} as const;

const bundled = (): Mix => JSON.parse(readFileSync(new URL('release/mix.json', import.meta.url), 'utf8')) as Mix;

/** The bundled mix with what a file changes. Throws for a file that is no mix. */
const mixOf = (file: string | undefined): Mix => {
  if (file === undefined) return bundled();
  const given = JSON.parse(readFileSync(file, 'utf8')) as Partial<Omit<Mix, 'recorded'>> & { readonly recorded?: readonly (readonly number[])[] };
  const { recorded, ...rest } = given;
  if (recorded === undefined) {
    if (rest.classes?.some(({ share, oneWayMs, jitterMs, loss }) => ![share, oneWayMs, jitterMs, loss].every((value) => Number.isFinite(value) && value >= 0)) === true) throw new Error('--mix: every class has share, oneWayMs, jitterMs and loss');
    return { ...bundled(), ...rest };
  }
  if (!recorded.every((counts) => counts.length === REPORT_STEPS.length + 1)) throw new Error(`--mix: recorded reports have ${REPORT_STEPS.length + 1} counts`);
  const counts = REPORT_STEPS.concat(0).map((_, step) => recorded.reduce((sum, report) => sum + (report[step] ?? 0), 0));
  return { ...bundled(), ...rest, recorded: { steps: REPORT_STEPS, counts } };
};

const spread = (histogram: Histogram, edge: number): number => histogram.quantile(1 - edge) - histogram.quantile(edge);
const row = (name: string, { display, onTime, hacked }: Outcome): string =>
  `| ${name} | ${spread(display, 0.01).toFixed(0)} / ${spread(display, 0.001).toFixed(0)} ms | ${(100 * display.within(200)).toFixed(2)} % | T${hacked >= 0 ? '+' : ''}${hacked.toFixed(0)} | ${(display.quantile(0.5) - hacked).toFixed(0)} ms | ${Number.isNaN(onTime) ? '' : `${(100 * onTime).toFixed(1)} %`} |`;

const stepsOf = (histogram: Histogram): number[] => {
  const cumulative = REPORT_STEPS.map((end) => histogram.below(end));
  return [...cumulative, 1].map((share, step) => Math.round((share - (cumulative[step - 1] ?? 0)) * 10_000));
};

const plot = (named: readonly { readonly name: string; readonly histogram: Histogram }[]): string => {
  const series = named.map(({ name, histogram }, colour): Series => ({
    name, colour, dashed: name.startsWith('arrival'),
    points: Array.from({ length: 121 }, (_, i) => [i * 5, Math.max(1e-6, 1 - histogram.below(i * 5))] as const),
  }));
  return linePlot({ title: 'Viewers who do not have the frame yet, by time after T', x: 'ms after the release instant', y: 'share of viewers', logY: true, series });
};

export const bench = {
  name: 'release-sim',
  run: ({ full, log, mix: file }: { full: boolean; log(line: string): void; mix?: string }): Promise<{ figures: Figure[]; appendix: string }> => {
    const mix = mixOf(file);
    const clients = full || file !== undefined ? CLIENTS : CLIENTS / 4;
    const started = performance.now();
    const { one, two, outcomes, loopMs } = simulate(mix, clients, STRATEGIES.map(({ strategy }) => strategy));
    const seconds = (performance.now() - started) / 1000;
    const table = ['| strategy | display spread p1-p99 / p0.1-p99.9 | in 200 ms | earliest hacked key | advantage at the first frame | on time |', '|---|---|---|---|---|---|', ...STRATEGIES.map(({ name }, i) => row(name, outcomes[i] as Outcome))];
    for (const line of table) log(line);
    const outcomeOf = (name: string): Outcome => outcomes[STRATEGIES.findIndex((each) => each.name === name)] as Outcome;
    if (full || file !== undefined) {
      const folder = fileURLToPath(new URL('plots/', import.meta.url));
      mkdirSync(folder, { recursive: true });
      const drawn = file === undefined ? `${folder}release-sim.svg` : `${file}.svg`;
      writeFileSync(drawn, plot([
        { name: 'arrival, 1 edge', histogram: one },
        { name: 'arrival, 2', histogram: two },
        { name: 'S1 on arrival', histogram: outcomeOf('S1 push at T, show on arrival').display },
        { name: 'S3 T+150', histogram: outcomeOf('S3 hold to T+150').display },
        { name: 'S5 T+150', histogram: outcomeOf('S5 two edges, T+150').display },
      ]));
      log(`wrote ${drawn}`);
    }
    const figures: Figure[] = [figure('seconds per million clients, nine strategies', (seconds / clients) * 1e6, 's', 'the design note: 5 s', '<=', 10, 's')];
    if (file === undefined) {
      for (const [edges, histogram] of [['one', one], ['two', two]] as const) {
        for (const [name, share] of [['p50', 0.5], ['p99', 0.99], ['p999', 0.999]] as const) {
          const reference = REFERENCE.arrival[edges][name];
          figures.push(figure(`arrival ${name}, ${edges} edge${edges === 'one' ? '' : 's'}: ${histogram.quantile(share).toFixed(0)} ms, off by`, 100 * Math.abs(histogram.quantile(share) / reference - 1), '%', `the design note: ${reference} ms`, '<=', 15, '%'));
        }
      }
      for (const [name, reference] of Object.entries(REFERENCE.inside)) figures.push(figure(`${name}: in 200 ms, points off`, Math.abs(100 * outcomeOf(name).display.within(200) - reference), 'points', `the design note: ${reference} %`, '<=', 0.3));
      for (const [name, reference] of Object.entries(REFERENCE.onTime)) figures.push(figure(`${name}: on time, points off`, Math.abs(100 * outcomeOf(name).onTime - reference), 'points', `the design note: ${reference} %`, '<=', 1));
      const fake = outcomeOf("S2' send at T-owd, honest RTT").hacked;
      figures.push(figure('sending early by a claimed RTT: earliest hacked key after T', fake, 'ms', 'why nothing is sent before T to anybody', '<', -70, 'ms'));
    }
    figures.push(
      figure('recommended (two edges, T+150): displays inside 200 ms', 100 * outcomeOf('S5 two edges, T+150').display.within(200), '%', 'the use case: 200 ms', '>=', 99.5, '%'),
      figure('recommended: earliest hacked key after T', outcomeOf('S5 two edges, T+150').hacked, 'ms', 'never before T', '>=', 0, 'ms'),
    );
    // Reports of one viewer of the whole audience: the advice that an operator would get.
    const advice = adviseDelta([[stepsOf(two)]], LEAD.standard);
    if (advice !== undefined) figures.push(figure(`advised δ: ${advice.delta / 1000} ms from q95 ${advice.q95.toFixed(0)} and q99 ${advice.q99.toFixed(0)} ms`, advice.delta / 1000, 'ms', 'the design note: 145 ms', '<=', 165, 'ms'));
    const appendix = [`${clients.toLocaleString('en')} clients, ${Math.round(clients / mix.edges.clientsPerEdge)} edges, send loop ${loopMs} ms, ${seconds.toFixed(1)} s. Arrival after T p50/p99/p99.9/p99.99: ${[0.5, 0.99, 0.999, 0.9999].map((share) => one.quantile(share).toFixed(0)).join(' / ')} ms; best of two edges ${[0.5, 0.99, 0.999, 0.9999].map((share) => two.quantile(share).toFixed(0)).join(' / ')} ms.`, '', ...table, '', '![Viewers who do not have the frame yet](bench/plots/release-sim.svg)'].join('\n');
    return Promise.resolve({ figures, appendix });
  },
};
