// SPDX-License-Identifier: Apache-2.0
/**
 * Timing and order statistics for benchmarks.
 *
 * Invariant: a time is the least of three runs of the same work, because other programs on the machine only ever add to
 * it; ratios come from interleaved rounds besides, because clock rates and caches drift. (The processor time of a thread
 * would be the better clock, but some kernels count it in ticks of 10 ms.)
 */

/** What `sealcast bench` reports per figure. */
export type Figure = { name: string; value: number; unit: string; baseline: string; goal: string; ok: boolean; reason?: string };

/** Microseconds that `work` takes, the least of three runs. */
export const leastMicros = (work: () => void): number => {
  let least = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < 3; attempt++) {
    const start = performance.now();
    work();
    least = Math.min(least, performance.now() - start);
  }
  return least * 1000;
};

export const quantile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
};
export const median = (values: readonly number[]): number => quantile(values, 0.5);
export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** A figure with its goal checked: `limit` is the bound that `goal` writes out. */
export const figure = (name: string, value: number, unit: string, baseline: string, rule: '<=' | '>=' | '<' | '>', limit: number, goalUnit = ''): Figure => {
  const ok = rule === '<=' ? value <= limit : rule === '>=' ? value >= limit : rule === '<' ? value < limit : value > limit;
  const goal = `${rule} ${limit}${goalUnit === '' ? '' : ` ${goalUnit}`}`;
  return { name, value, unit, baseline, goal, ok, ...(ok ? {} : { reason: `measured ${Number(value.toPrecision(3))} ${unit}` }) };
};
