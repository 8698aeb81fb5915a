// SPDX-License-Identifier: Apache-2.0
/**
 * Inner delivery: variants per edge and segment, and what saving them costs in time until a leak is certified.
 *
 * The source paper (section 6) leaves open how to send less than every variant to every edge. Compared on 1e9 viewers,
 * m = 5, eps = 1e-9, with the real code books and tracers: every variant (the baseline, `aligned`), the prefix code
 * (5000 Zipf edges), two phases (1000 edges with a million viewers each, every one of them scored) for a feedback delay
 * of D segments. Variants are counted from the symbols of sampled viewers, not from a formula. The short form runs
 * fewer traces; `--full` draws bench/plots/inner-delivery.svg as well.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createAlignedTracer, createTwoPhaseTracer, FLOOR, hardReading } from '#core/trace/index.ts';
import {
  createAlignedBook,
  createBiasedBook,
  createPrefixBook,
  expectedVariants,
  planBlocks,
  position,
  prefixDelivery,
  startSchedule,
  twoPhaseDelivery,
  variantsNeeded,
  viewerNumber,
  type Delivery,
  type Position,
  type PrefixPlan,
  type Switched,
} from '#core/watermark/index.ts';
import { linePlot, type Series } from './figures/line-plot.ts';
import { figure, mean, median, type Figure } from './figures/timing.ts';
import { readAt, seeded, testKeys } from '../test/trace/pirate.ts';

const M = 5;
const EPS = 1e-9;
const VIEWERS = 1e9;
const BOUND = Math.log(VIEWERS / EPS);
/** Two-phase: this many edges of this many viewers. */
const EDGES = 1000;
const PER_EDGE = 1e6;
/** Numbers below are the base copy and probes. */
const FIRST = 16;
/** Viewers per edge whose symbols are looked at: together they miss a variant once in 1600 segments. */
const SAMPLED = 40;

/** What the detector reads, wrong with probability `errors`. */
const read = (symbol: number, errors: number, random: () => number): { symbol: number; likelihoods: number[] } => {
  const seen = random() < errors ? (symbol + 1 + Math.floor(random() * (M - 1))) % M : symbol;
  return { symbol: seen, likelihoods: hardReading(M, seen, Math.max(FLOOR, errors)) };
};

/** Segments until certified when every edge has every variant. */
const alwaysOn = (trial: number, errors: number): number => {
  const random = seeded(600_000 + trial);
  const book = createAlignedBook({ alphabet: M, schedule: startSchedule({ alphabet: M, viewers: VIEWERS }), keys: testKeys(trial) });
  const leak = Math.floor(random() * VIEWERS);
  const from = Math.floor(random() * 1e6);
  const tracer = createAlignedTracer({ book, viewers: VIEWERS, eps: EPS });
  for (let count = 1; count <= 120; count++) {
    tracer.observe(readAt({ book, viewers: [leak], errors, random }, from + count - 1));
    if (count < 24) continue;
    const { verdict, viewer } = tracer.report();
    if (verdict === 'accuse') return viewer === leak ? count : Number.POSITIVE_INFINITY;
  }
  return Number.POSITIVE_INFINITY;
};

type TwoPhase = { readonly segments: number; readonly variants: number; readonly wrong: boolean };

/** One leak under two-phase delivery; `delay` segments pass between a suspicion and the first segment it changes. */
const twoPhase = (trial: number, errors: number, delay: number, count: boolean): TwoPhase => {
  const random = seeded(700_000 + trial);
  const book = createBiasedBook({ alphabet: M, bias: 'uniform', schedule: startSchedule({ alphabet: M, viewers: VIEWERS }), keys: testKeys(1000 + trial) });
  const edge = Math.floor(random() * EDGES);
  const leak = FIRST + edge * PER_EDGE + Math.floor(random() * PER_EDGE);
  const from = Math.floor(random() * 1e6);
  const tracer = createTwoPhaseTracer({ book, edges: EDGES, viewersAt: (at) => [{ first: FIRST + at * PER_EDGE, count: PER_EDGE }], eps: EPS });
  const switched: Switched[] = [];
  let delivery = twoPhaseDelivery(book, switched);
  let variants = 0;
  for (let i = 0; i < 150; i++) {
    const at = position(from + i);
    if (count) for (let other = 0; other < EDGES; other++) variants += variantsNeeded(delivery, other, sampleOf(FIRST + other * PER_EDGE, PER_EDGE), at).length;
    const { likelihoods } = read(delivery.symbol(viewerNumber(leak), edge, at), errors, random);
    tracer.observe({ position: at, likelihoods });
    const report = tracer.report();
    if (report.verdict === 'accuse') return { segments: i + 1, variants: variants / (EDGES * (i + 1)), wrong: report.viewer !== leak };
    for (const suspect of report.suspects) {
      const change = { edge: suspect, from: position(from + i + 1 + delay) };
      switched.push(change);
      tracer.switched(change);
    }
    if (report.suspects.length > 0) delivery = twoPhaseDelivery(book, switched);
  }
  return { segments: Number.POSITIVE_INFINITY, variants: Number.NaN, wrong: false };
};

const sampleOf = (first: number, size: number): ReturnType<typeof viewerNumber>[] => {
  const step = Math.max(1, Math.floor(size / SAMPLED));
  return Array.from({ length: Math.min(SAMPLED, size) }, (_, i) => viewerNumber(first + i * step));
};

/** Edges whose population falls as 1/rank, `VIEWERS` in all. */
const zipf = (edges: number): { edge: number; viewers: number }[] => {
  let harmonic = 0;
  for (let rank = 1; rank <= edges; rank++) harmonic += 1 / rank;
  return Array.from({ length: edges }, (_, edge) => ({ edge, viewers: Math.max(1, Math.floor(VIEWERS / harmonic / (edge + 1))) }));
};

/** Mean distinct variants per edge and segment over whole epochs, edges in equal steps of rank. */
const prefixVariants = (delivery: Delivery, plan: PrefixPlan, edges: readonly { edge: number; viewers: number }[]): number => {
  const first = new Map(plan.blocks.map((block) => [block.edge, block.first]));
  const counts: number[] = [];
  for (let at = 0; at < 2 * plan.length; at++) {
    for (let i = at % 10; i < edges.length; i += 10) {
      const { edge, viewers } = edges[i] as (typeof edges)[number];
      counts.push(variantsNeeded(delivery, edge, sampleOf(first.get(edge) as number, viewers), at as Position).length);
    }
  }
  return mean(counts);
};

/** Segments until a leak, drawn among all viewers, is certified by its own digits, against innocents of its own edge too. */
const prefixHunt = (trial: number, errors: number, plan: PrefixPlan, edges: readonly { edge: number; viewers: number }[]): number => {
  const random = seeded(800_000 + trial);
  const book = createPrefixBook(plan, testKeys(3000 + trial));
  let pick = random() * VIEWERS;
  const home = edges.find(({ viewers }) => (pick -= viewers) < 0) ?? (edges[0] as (typeof edges)[number]);
  const { first, digits } = plan.blocks.find(({ edge }) => edge === home.edge) as (typeof plan.blocks)[number];
  const leak = viewerNumber(first + Math.floor(random() * home.viewers));
  const from = Math.floor(random() * 1e6);
  // A permutation within the block makes an innocent's digits likelier by this much per epoch.
  const correction = -Math.log1p(-1 / M ** digits);
  const epochs = new Set<number>();
  let evidence = 0;
  for (let i = 0; i < 400; i++) {
    const at = position(from + i);
    const held = book.symbol(leak, at);
    const { likelihoods } = read(held, errors, random);
    if (!book.ownDigit(leak, at)) continue;
    epochs.add(Math.floor((from + i) / plan.length));
    evidence += Math.log(M * (likelihoods[held] as number));
    if (evidence - epochs.size * correction >= BOUND) return i + 1;
  }
  return Number.POSITIVE_INFINITY;
};

const draw = (always: readonly number[], phases: ReadonlyMap<number, readonly (readonly [number, number])[]>, prefix: number, log: (line: string) => void): void => {
  const folder = fileURLToPath(new URL('plots/', import.meta.url));
  mkdirSync(folder, { recursive: true });
  const delays = [...(phases.get(0) ?? [])].map(([delay]) => delay);
  const flat = (value: number): (readonly [number, number])[] => delays.map((delay) => [delay, value] as const);
  const series: Series[] = [
    { name: 'two-phase', points: phases.get(0) ?? [], colour: 0 },
    { name: 'two-phase, 2 %', points: phases.get(0.02) ?? [], colour: 1 },
    { name: 'all variants', points: flat(always[0] as number), colour: 0, dashed: true },
    { name: 'all variants, 2 %', points: flat(always[1] as number), colour: 1, dashed: true },
    { name: 'prefix code', points: flat(prefix), colour: 2, dashed: true },
  ];
  writeFileSync(`${folder}inner-delivery.svg`, linePlot({ title: 'Segments until a leak among 1e9 is certified (0 and 2 % errors)', x: 'segments from suspicion to switched edge', y: 'segments, median', logY: false, series }));
  log('wrote bench/plots/inner-delivery.svg');
};

export const bench = {
  name: 'inner-delivery',
  run: ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
    const figures: Figure[] = [];
    const trials = full ? 11 : 7;
    const counted = full ? 3 : 1;
    let wrong = 0;
    let traces = 0;
    const baselines: number[] = [];
    const byErrors = new Map<number, (readonly [number, number])[]>();
    for (const errors of [0, 0.02]) {
      const baseline = median(Array.from({ length: trials }, (_, trial) => alwaysOn(trial, errors)));
      baselines.push(baseline);
      const points: (readonly [number, number])[] = [];
      for (const delay of full ? [1, 8, 16] : [8]) {
        const runs = Array.from({ length: trials }, (_, trial) => twoPhase(trial, errors, delay, trial < counted && delay === 8));
        wrong += runs.filter((run) => run.wrong).length;
        traces += runs.length;
        const segments = median(runs.map((run) => run.segments));
        points.push([delay, segments]);
        log(`two phases, ${100 * errors} % errors, delay ${delay}: ${segments} segments (every variant: ${baseline})`);
        if (delay !== 8) continue;
        const travelled = mean(runs.slice(0, counted).map((run) => run.variants));
        const name = `two phases, ${100 * errors} % errors, feedback after 8 segments`;
        figures.push(
          figure(`${name}: variants per edge and segment while a leak is traced`, travelled, 'variants', `every variant: ${expectedVariants(M, PER_EDGE).toFixed(2)}`, '<=', 1.02),
          figure(`${name}: segments until certified, times those of every variant (${segments} to ${baseline})`, segments / baseline, 'x', `every variant, same population: ${baseline} segments`, '<=', 1.5),
        );
      }
      byErrors.set(errors, points);
    }
    figures.push(figure(`innocents accused in ${traces} two-phase traces, all 1e6 viewers of each switched edge scored`, wrong, 'traces', `eps = ${EPS}`, '<=', 0));

    const edges = zipf(5000);
    const plan = planBlocks({ alphabet: M, edges });
    const variants = prefixVariants(prefixDelivery(createPrefixBook(plan, testKeys(77))), plan, edges);
    figures.push(figure(`prefix code, 1e9 viewers at 5000 Zipf edges: share of the extra copies saved (${variants.toFixed(2)} variants per edge and segment)`, 1 - (variants - 1) / (M - 1), 'share', `every variant: ${M}`, '>=', 0.45));
    const hunts = Array.from({ length: full ? 400 : 100 }, (_, trial) => prefixHunt(trial, 0, plan, edges));
    const prefix = median(hunts);
    figures.push(figure(`prefix code: segments until certified, times those of every variant (median ${prefix})`, prefix / (baselines[0] as number), 'x', `every variant, same population: ${baselines[0]} segments`, '<=', 1.5));
    log(`prefix code: ${variants.toFixed(2)} variants, ${prefix} segments`);
    if (full) draw(baselines, byErrors, prefix, log);
    return Promise.resolve({ figures });
  },
};
