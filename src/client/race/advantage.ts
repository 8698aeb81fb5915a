// SPDX-License-Identifier: Apache-2.0
/**
 * What having a secret at some instant is worth: the unfair advantage over everybody who holds to T + δ.
 *
 * docs/guide/timed-release.md. For a frame at offset x in its period A(x) = δ + x − (t_hack − T): A_first at x = 0, A_max at the period's end.
 * Invariant: pure; a receipt that the observer's own error makes doubtful is not called early.
 */
import { releaseInstant } from '#core/release/gate.ts';
import type { ReleaseInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';

/** Over all periods of a race; microseconds. */
export type Advantage = {
  readonly periods: number;
  /** Secrets that were there before their instant, beyond the observer's error. Must be 0. */
  readonly early: number;
  /** From T to the first arrival: the middle and 99 of 100, and the least. */
  readonly lag: { readonly p50: number; readonly p99: number; readonly least: number };
  /** A_first, A_mean and A_max of the middle period. */
  readonly first: number;
  readonly mean: number;
  readonly max: number;
  /** The largest A_max of any period: what must stay below P + δ. */
  readonly worst: number;
};

const quantile = (sorted: readonly number[], share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;

/** `firsts` by an observer whose clock is right within `error`; `decrypt`: from the secret to the picture's bytes. Undefined without a period. */
export const advantageOf = (info: Pick<ReleaseInfo, 'firstRelease' | 'period' | 'version' | 'delta'>, firsts: Iterable<readonly [CryptoPeriod, Micros]>, error: Micros, decrypt: Micros = 0 as Micros): Advantage | undefined => {
  const lags = [...firsts].map(([period, at]) => at - releaseInstant(info, period)).sort((a, b) => a - b);
  if (lags.length === 0) return undefined;
  const [p50, p99, least] = [quantile(lags, 0.5), quantile(lags, 0.99), quantile(lags, 0)];
  const first = info.delta - p50 - decrypt;
  return { periods: lags.length, early: lags.filter((lag) => lag < -error).length, lag: { p50, p99, least }, first, mean: first + info.period / 2, max: first + info.period, worst: info.delta + info.period - least - decrypt };
};

/** How much sooner a trick brought what a plain client got too: the middle, its 95 % interval, over the periods both have; microseconds. */
export type Gain = { readonly periods: number; readonly median: number; readonly mean: number; readonly low: number; readonly high: number };

/** Gain of `trick` over `plain`, period by period, so that what the machine did at the time falls out. */
export const gainOf = (plain: ReadonlyMap<CryptoPeriod, Micros>, trick: ReadonlyMap<CryptoPeriod, Micros>): Gain => {
  const sorted = [...trick].flatMap(([period, at]): number[] => (plain.has(period) ? [(plain.get(period) as number) - at] : [])).sort((a, b) => a - b);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  // Order statistics around the median: no assumption on the shape of what a busy machine does.
  const reach = (1.96 * Math.sqrt(sorted.length)) / 2;
  const at = (rank: number): number => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(rank)))] ?? Number.NaN;
  return { periods: sorted.length, median: quantile(sorted, 0.5), mean, low: at(sorted.length / 2 - reach), high: at(sorted.length / 2 + reach) };
};

/**
 * What `k` connections may gain over one: the error of two clocks, and the best of k random places in the order of writing (loop / (k+1) on
 * average) instead of a middle one (loop / 2).
 */
export const mostGain = (options: { readonly error: Micros; readonly loop: Micros; readonly connections: number }): Micros => (2 * options.error + options.loop / 2 - options.loop / (options.connections + 1)) as Micros;
