// SPDX-License-Identifier: Apache-2.0
/**
 * A trace as one page for people: verdict and bounds, where the copy lies in the title, what each slot says, how the evidence
 * grew, and how the accused compares with viewers who had nothing to do with it.
 *
 * One HTML file without scripts, fonts or addresses: it can be printed, kept and handed on. docs/guide/tracing.md.
 * Invariant: every figure comes from the observation, which can be replayed; text from outside is escaped; no key is in it.
 */
import type { Correlation, Growth, TraceReport } from '#core/trace/index.ts';
import type { SegmentReading } from './detector.ts';
import { geometryOf } from './registration/homography.ts';
import { weighedValues } from './soft-values.ts';

/** What the page shows. */
export type ReportPage = {
  readonly title: string;
  readonly source: string;
  readonly report: TraceReport;
  readonly viewers: number;
  readonly eps: number;
  /** For people: when the page was made. */
  readonly made: string;
  readonly account?: string;
  readonly suspect: { readonly seconds: number; readonly width: number; readonly height: number; readonly rate: number };
  readonly segments: readonly SegmentReading[];
  readonly slots: number;
  /** Symbols of the accused at every slot of every segment; undefined without a candidate. */
  readonly symbols?: readonly number[];
  readonly growth: readonly Growth[];
  /** Correlation scores of viewers drawn at random. */
  readonly others: readonly number[];
  readonly hypotheses: number;
};

const WIDTH = 880;
const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const odds = (probability: number): string => (probability <= 0 ? 'less than 1e-300' : probability >= 0.01 ? probability.toFixed(2) : probability.toExponential(1));
const INK = { text: '#1b1f24', faint: '#68707a', line: '#d4d9df', good: '#0b6e4f', bad: '#b3261e', accent: '#2457a6', pale: '#e9eef6' };

type Scale = { (value: number): number; readonly ticks: readonly number[] };
const scaleOf = (from: number, to: number, start: number, end: number, count = 5): Scale => {
  const span = Math.max(1e-9, to - from);
  const raw = span / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((unit) => unit * power >= raw) ?? 10) * power;
  const ticks: number[] = [];
  for (let value = Math.ceil(from / step) * step; value <= to + step / 1e6; value += step) ticks.push(Number(value.toPrecision(12)));
  return Object.assign((value: number) => start + ((value - from) / span) * (end - start), { ticks });
};

type Frame = { readonly height: number; readonly x: Scale; readonly y: Scale; readonly across: string; readonly down: string };
/** Axes with a plot inside. */
const chart = ({ height, x, y, across, down }: Frame, inside: string): string => {
  const lines = [
    ...y.ticks.map((tick) => `<line x1="60" x2="${WIDTH - 10}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}" stroke="${INK.line}"/><text x="54" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${tick}</text>`),
    ...x.ticks.map((tick) => `<text x="${x(tick).toFixed(1)}" y="${height - 22}" text-anchor="middle">${tick}</text>`),
  ];
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(down)} by ${escape(across)}">${lines.join('')}${inside}<text x="${WIDTH / 2}" y="${height - 4}" text-anchor="middle" fill="${INK.faint}">${escape(across)}</text><text x="14" y="${height / 2 - 10}" text-anchor="middle" fill="${INK.faint}" transform="rotate(-90 14 ${height / 2 - 10})">${escape(down)}</text></svg>`;
};

const slotChart = ({ segments, slots, symbols }: ReportPage): string => {
  const values = weighedValues(segments.flatMap(({ statistics }) => statistics));
  const times = segments.flatMap(({ at, of, statistics }, s) => {
    const next = segments[s + 1]?.at ?? at + of / 25;
    const length = Math.min(next - at, 12);
    return statistics.map((_, k) => at + ((k + 0.5) * length) / slots);
  });
  const clip = 8;
  const x = scaleOf(0, Math.max(1, ...times), 60, WIDTH - 10, 10);
  const y = scaleOf(-clip, clip, 214, 12, 4);
  const dots = values.map((value, i) => {
    if (value === undefined) return '';
    const symbol = symbols?.[i];
    const agrees = symbol === undefined ? undefined : value >= 0 === (symbol === 1);
    const shown = Math.max(-clip, Math.min(clip, symbol === undefined ? value : symbol === 1 ? value : -value));
    const colour = agrees === undefined ? INK.accent : agrees ? INK.good : INK.bad;
    const at = x(Math.max(0, times[i] as number)).toFixed(1);
    return agrees === false ? `<path d="M${at} ${y(shown).toFixed(1)}m-3 -3l6 6m0 -6l-6 6" stroke="${colour}" stroke-width="1.6"/>` : `<circle cx="${at}" cy="${y(shown).toFixed(1)}" r="2.6" fill="${colour}"/>`;
  });
  const zero = `<line x1="60" x2="${WIDTH - 10}" y1="${y(0)}" y2="${y(0)}" stroke="${INK.text}"/>`;
  return chart({ height: 260, x, y, across: 'seconds of the suspect', down: symbols === undefined ? 'for 1 / for 0' : 'for / against' }, zero + dots.join(''));
};

const scoreChart = ({ others, report: { correlation } }: ReportPage): string => {
  if (correlation === undefined || others.length === 0) return '<p>No candidate to compare.</p>';
  const top = Math.max(correlation.score, correlation.needed, ...others) * 1.06;
  const x = scaleOf(-5, top, 60, WIDTH - 10, 10);
  const bins = new Array<number>(120).fill(0);
  const width = (top + 5) / bins.length;
  for (const score of others) {
    const bin = Math.min(bins.length - 1, Math.max(0, Math.floor((score + 5) / width)));
    bins[bin] = (bins[bin] as number) + 1;
  }
  const y = scaleOf(0, Math.log10(Math.max(10, ...bins)), 204, 12, 4);
  const bars = bins.map((count, i) => (count === 0 ? '' : `<rect x="${x(-5 + i * width).toFixed(1)}" width="${((x(width) - x(0)) * 0.9).toFixed(1)}" y="${y(Math.log10(count) + 0.05).toFixed(1)}" height="${(204 - y(Math.log10(count) + 0.05)).toFixed(1)}" fill="${INK.faint}"/>`));
  const mark = (value: number, colour: string, text: string, anchor: string, height: number): string =>
    `<line x1="${x(value).toFixed(1)}" x2="${x(value).toFixed(1)}" y1="${height + 6}" y2="204" stroke="${colour}" stroke-width="2"/><text x="${(x(value) + (anchor === 'end' ? -5 : 5)).toFixed(1)}" y="${height + 14}" text-anchor="${anchor}" fill="${colour}">${escape(text)}</text>`;
  const best = Math.max(...others);
  const marks = [
    mark(correlation.score, correlation.score >= correlation.needed ? INK.good : INK.accent, `this viewer: ${correlation.score.toFixed(1)}`, correlation.score > top * 0.7 ? 'end' : 'start', 12),
    mark(correlation.needed, INK.text, `needed: ${correlation.needed.toFixed(1)}`, 'end', 40),
    mark(best, INK.bad, `best of ${others.length.toLocaleString('en')} others: ${best.toFixed(1)}`, 'end', 68),
  ];
  return chart({ height: 250, x, y, across: 'correlation score', down: 'viewers (log10)' }, bars.join('') + marks.join(''));
};

const growthChart = ({ growth, report, slots, segments }: ReportPage): string => {
  if (growth.length < 2) return '<p>Too few looks to draw.</p>';
  const seconds = (position: number): number => {
    const segment = Math.floor(position / slots);
    const own = segments.find(({ number }) => number === segment);
    return own === undefined ? 0 : own.at + (position % slots) * 0.125;
  };
  const points = growth.map(({ position, evidence }) => [seconds(position), evidence] as const);
  const x = scaleOf(0, Math.max(1, ...points.map(([time]) => time)), 60, WIDTH - 10, 10);
  const y = scaleOf(Math.min(0, ...points.map(([, nats]) => nats)), Math.max(report.bound * 1.1, ...points.map(([, nats]) => nats)), 204, 12, 5);
  const line = points.map(([time, nats], i) => `${i === 0 ? 'M' : 'L'}${x(time).toFixed(1)} ${y(nats).toFixed(1)}`).join('');
  const bound = `<line x1="60" x2="${WIDTH - 10}" y1="${y(report.bound).toFixed(1)}" y2="${y(report.bound).toFixed(1)}" stroke="${INK.text}" stroke-dasharray="6 4"/><text x="${WIDTH - 12}" y="${(y(report.bound) - 5).toFixed(1)}" text-anchor="end">needed: ${report.bound.toFixed(1)} nats</text>`;
  return chart({ height: 250, x, y, across: 'seconds of the suspect', down: 'evidence (nats)' }, `${bound}<path d="${line}" fill="none" stroke="${INK.accent}" stroke-width="2"/>`);
};

const placeChart = ({ segments, suspect }: ReportPage): string => {
  const first = segments[0];
  if (first === undefined) return '';
  const base = first.at + first.shift;
  const ends = [...segments.map(({ at, shift }) => at + shift - base), suspect.seconds + (segments[segments.length - 1]?.shift ?? 0) - base];
  const x = scaleOf(0, Math.max(suspect.seconds, 1), 60, WIDTH - 10, 10);
  const y = scaleOf(Math.min(...ends), Math.max(1, ...ends) * 1.05, 184, 12, 5);
  const dots = segments.map(({ at, shift, correlation }, i) => {
    const until = Math.min(segments[i + 1]?.at ?? suspect.seconds, suspect.seconds, at + 12);
    return `<line x1="${x(Math.max(0, at)).toFixed(1)}" y1="${y(Math.max(at, 0) + shift - base).toFixed(1)}" x2="${x(until).toFixed(1)}" y2="${y(until + shift - base).toFixed(1)}" stroke="${correlation > 0.9 ? INK.good : INK.accent}" stroke-width="4" stroke-linecap="butt"/>`;
  });
  return chart({ height: 230, x, y, across: 'seconds of the suspect', down: 'seconds of the title' }, dots.join(''));
};

/** The part of the reference the suspect shows, drawn over the reference's outline. */
const pictureChart = ({ segments, suspect }: ReportPage): string => {
  const first = segments[0];
  if (first === undefined) return '';
  const aspect = 16 / 9;
  const { shown, centre, rotation, perspective, mirrored } = geometryOf(first.map, aspect);
  const [w, h] = [256, 144];
  const box = `<rect x="${(150 + (centre[0] - shown[0]) * (w / 2)).toFixed(1)}" y="${(90 + (centre[1] - shown[1]) * (h / 2)).toFixed(1)}" width="${(shown[0] * w).toFixed(1)}" height="${(shown[1] * h).toFixed(1)}" fill="${INK.pale}" fill-opacity="0.8" stroke="${INK.accent}" transform="rotate(${rotation.toFixed(3)} 150 90)"/>`;
  const facts = [
    `suspect: ${suspect.width} x ${suspect.height}, ${suspect.rate.toFixed(3).replace(/\.?0+$/, '')} pictures a second, ${suspect.seconds.toFixed(1)} s`,
    `shows ${(100 * shown[0]).toFixed(2)} % x ${(100 * shown[1]).toFixed(2)} % of the picture${mirrored ? ', mirrored' : ''}`,
    `turned ${(Math.abs(rotation) < 0.005 ? 0 : rotation).toFixed(2)} degrees, perspective ${(100 * perspective).toFixed(2)} %`,
    `place exact to ${Math.max(...segments.map(({ standardError }) => standardError)).toFixed(3)} pixels (standard error, worst corner)`,
    `correlation with the original ${Math.min(...segments.map(({ correlation }) => correlation)).toFixed(3)} and more; residual ${(segments.reduce((sum, { noise }) => sum + Math.sqrt(noise), 0) / segments.length).toFixed(1)} levels`,
    `renditions: ${[...new Set(segments.map(({ rendition }) => rendition))].join(', ')}`,
  ];
  return `<svg viewBox="0 0 ${WIDTH} 180" role="img" aria-label="what part of the picture is shown"><rect x="${150 - w / 2}" y="${90 - h / 2}" width="${w}" height="${h}" fill="none" stroke="${INK.text}"/>${box}${facts.map((fact, i) => `<text x="330" y="${36 + i * 22}" font-size="14">${escape(fact)}</text>`).join('')}</svg>`;
};

const verdictOf = ({ report, account }: ReportPage): { readonly text: string; readonly colour: string } => {
  const whose = account === undefined ? '' : ` (account ${account})`;
  if (report.verdict === 'accuse') return { text: `The copy is that of viewer ${report.viewer}${whose}.`, colour: INK.good };
  if (report.verdict === 'none') return { text: 'The copy is nobody\'s: after this much of it a leaking viewer would stand out.', colour: INK.faint };
  return { text: report.viewer === null ? 'Not decided: nobody stands out yet.' : `Not decided: viewer ${report.viewer}${whose} leads, which is no proof.`, colour: INK.accent };
};

const correlationRow = (correlation: Correlation | undefined): string =>
  correlation === undefined ? '' : `<tr><th>Correlation score</th><td>${correlation.score.toFixed(2)} of ${correlation.needed.toFixed(2)} needed, over ${correlation.count} slots</td><td>any innocent: at most ${odds(correlation.falseAccusation)}</td></tr>`;

/** The page. */
export const reportPage = (page: ReportPage): string => {
  const { title, source, report, viewers, eps, made, hypotheses } = page;
  const verdict = verdictOf(page);
  const rates = report.errorRates;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>Trace of ${escape(source)}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;color:${INK.text};margin:0 auto;max-width:${WIDTH}px;padding:32px 20px;background:#fff}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:34px 0 6px;border-top:1px solid ${INK.line};padding-top:16px}p{margin:6px 0}
.verdict{font-size:22px;font-weight:650;color:${verdict.colour};margin:18px 0 8px}.faint{color:${INK.faint}}
table{border-collapse:collapse;width:100%;font-size:15px}th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid ${INK.line};vertical-align:top}th{font-weight:600;width:11em}
svg{width:100%;height:auto;font:12px system-ui,sans-serif;fill:${INK.text};margin-top:6px}@media print{h2{break-after:avoid}svg{break-inside:avoid}}
</style></head><body>
<h1>Trace of ${escape(source)}</h1><p class="faint">compared with ${escape(title)}, ${escape(made)}</p>
<p class="verdict">${escape(verdict.text)}</p>
<table>
<tr><th>Evidence</th><td>${Number.isFinite(report.evidence) ? report.evidence.toFixed(1) : 'none'} of ${report.bound.toFixed(1)} nats needed</td><td>any innocent: at most ${odds(report.falseAccusation)}</td></tr>
${correlationRow(report.correlation)}
<tr><th>Asked for</th><td>${viewers.toLocaleString('en')} viewers, ${hypotheses} rendition${hypotheses === 1 ? '' : 's'} compared</td><td>chance of accusing any innocent: at most ${odds(eps)}</td></tr>
<tr><th>Read</th><td>${report.observed} slots, ${report.erased} not seen</td><td>${(100 * rates.symbols).toFixed(1)} % misread, if it is this viewer</td></tr>
<tr><th>Runner-up</th><td colspan="2">${report.runnerUp === null ? 'none was scored' : `viewer ${report.runnerUp.viewer} with ${report.runnerUp.evidence.toFixed(1)} nats`}</td></tr>
${report.coalition.size > 1 ? `<tr><th>Coalition</th><td colspan="2">the copy looks mixed from ${report.coalition.size} viewers' copies; each is accused on his own evidence only</td></tr>` : ''}
</table>
<p class="faint">Both lines must reach what is needed. Each bound holds for any content and any treatment of the copy, as long as the marking keys were secret; it says nothing of who sat in front of the screen.</p>
<h2>Where the copy lies in the title</h2>${placeChart(page)}
<h2>What part of the picture it shows</h2>${pictureChart(page)}
<h2>What each slot says</h2><p class="faint">${page.symbols === undefined ? 'Above the line: symbol 1.' : 'Dots above the line speak for this viewer, crosses below it against. A copy of anybody else has as many of both.'}</p>${slotChart(page)}
<h2>How the evidence grew</h2>${growthChart(page)}
<h2>Against viewers who had nothing to do with it</h2><p class="faint">The same score for viewers drawn at random.</p>${scoreChart(page)}
</body></html>
`;
};
