// SPDX-License-Identifier: Apache-2.0
/**
 * The one report every tracer answers, and the arithmetic shared by all of them.
 *
 * Evidence is the natural logarithm of an e-value: for an innocent viewer its mean is at most 1 whatever the pirate
 * does without the keys, at every stopping time (Ville). Accusing at `evidence >= bound` = ln(N/eps) therefore accuses
 * any innocent at all with probability at most eps. `adaptive` reports posterior odds instead (see adaptive.ts).
 * Invariant: `verdict` is `accuse` exactly if `viewer` is a number and `evidence >= bound`.
 */
import { SealcastError } from '#core/errors.ts';
import type { Correlation } from './correlation.ts';
import type { Reading } from './likelihood.ts';
import { informationPerSymbol, type ViewerNumber } from '#core/watermark/index.ts';

/** A verdict with everything needed to judge it; plain JSON except for an evidence of -Infinity (no candidate). */
export type TraceReport = {
  readonly book: 'adaptive' | 'aligned' | 'biased';
  /** `accuse`: certified; `more`: keep observing; `none`: long past the point where a leaking viewer would stand out. */
  readonly verdict: 'accuse' | 'more' | 'none';
  /** Best candidate, null while several fit equally or nobody does. Naming is not certifying: see `verdict`. */
  readonly viewer: ViewerNumber | null;
  /** Nats in favour of `viewer`; -Infinity without a candidate. */
  readonly evidence: number;
  /** Nats required. */
  readonly bound: number;
  /** At most this probability that evidence so strong arises against any innocent of the population. */
  readonly falseAccusation: number;
  /** Expected further positions until `accuse` (0 if accused), with the range the error estimate leaves. */
  readonly segmentsNeeded: number;
  readonly segmentsRange: readonly [low: number, high: number];
  /** Best other candidate that was scored. */
  readonly runnerUp: { readonly viewer: ViewerNumber; readonly evidence: number } | null;
  /** Positions read, and positions seen without a reading. */
  readonly observed: number;
  readonly erased: number;
  /** Estimated from the best candidate's own matches; symbolErrors counts against a coalition too. */
  readonly errorRates: { readonly symbols: number; readonly erasures: number };
  /** Share of the evidence that comes from models of two and more colluders; `size` is the likeliest model's. */
  readonly coalition: { readonly share: number; readonly size: number };
  /** First position that counts for the best explanation: later than the first reading if the account changed. */
  readonly since: number | null;
  /** Offset added to the readings' positions, where several were tried. */
  readonly offset: number;
  /** False if the search stopped at its work limit before it could exclude a better candidate. */
  readonly exhaustive: boolean;
  /** Marks inside the bitstream: the second opinion that an accusation needs besides the evidence. Absent without a candidate. */
  readonly correlation?: Correlation;
  /** Two-phase delivery: the edge that explains the copy best, how probably, and edges to switch that are not switched yet. */
  readonly delivery?: { readonly edge: number; readonly probability: number; readonly suspects: readonly number[] };
};

/** Feeds readings in, gives reports out; `report` may be asked after every reading, the error bound holds throughout. */
export interface Tracer {
  /** Adds a reading. Throws `bad-request` for likelihoods that are none or a position that was observed before. */
  observe(reading: Reading): void;
  report(options?: ReportOptions): TraceReport;
}
/** Limits of one report. */
export type ReportOptions = {
  /** Viewers accused already (their sessions are cut): not reported again. */
  readonly exclude?: ReadonlySet<number>;
};

/** Throws `bad-request` unless 0 < eps < 1 and the population is an integer of at least 1. */
export const requirePopulation = (viewers: number, eps: number): void => {
  if (!Number.isSafeInteger(viewers) || viewers < 1) throw new SealcastError('bad-request', 'viewers must be an integer of at least 1');
  if (!(eps > 0 && eps < 1)) throw new SealcastError('bad-request', 'eps must lie between 0 and 1');
};

/** ln(sum of exp): exact for -Infinity entries, no overflow. */
export const logSumExp = (values: ArrayLike<number>): number => {
  let top = -Infinity;
  for (let i = 0; i < values.length; i++) if ((values[i] as number) > top) top = values[i] as number;
  if (top === -Infinity) return -Infinity;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp((values[i] as number) - top);
  return top + Math.log(sum);
};

/** How a candidate's copy compares with what was read. */
export type Counts = { readonly matches: number; readonly mismatches: number; readonly erased: number };

/** Error rates with half a pseudo-count, so that few clean positions do not claim a perfect detector. */
export const errorRates = ({ matches, mismatches, erased }: Counts): { symbols: number; erasures: number } => ({
  symbols: matches + mismatches === 0 ? 0 : (mismatches + 0.5) / (matches + mismatches + 1),
  erasures: matches + mismatches + erased === 0 ? 0 : erased / (matches + mismatches + erased),
});

/** Further positions until `missing` more nats are expected, and the range of an 80 % interval of the error rate. */
export const segmentsUntil = (missing: number, alphabet: number, counts: Counts): { expected: number; range: [number, number] } => {
  if (missing <= 0) return { expected: 0, range: [0, 0] };
  const { symbols, erasures } = errorRates(counts);
  const read = Math.max(1, counts.matches + counts.mismatches);
  const spread = 1.28 * Math.sqrt((symbols * (1 - symbols)) / read);
  const useless = (1 - 1 / alphabet) * 0.9;
  const needed = (rate: number): number => {
    const bounded = Math.min(useless, Math.max(1e-4, rate));
    return Math.ceil(missing / ((1 - Math.min(0.95, erasures)) * informationPerSymbol(alphabet, bounded)));
  };
  return { expected: needed(symbols), range: [needed(symbols - spread), needed(symbols + spread)] };
};

/** Positions after which a leaking viewer would long have been certified, even at a third of a clean symbol's worth. */
export const patience = (bound: number, alphabet: number): number => Math.ceil((3 * bound) / Math.log(alphabet));
