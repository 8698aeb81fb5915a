// SPDX-License-Identifier: Apache-2.0
/**
 * Prefixes of least rotations: their order, and how many sequences of a length begin above one.
 *
 * The counting lemma is stated in rank.ts. Enumeration: Fredricksen, Kessler, Maiorana (pre-necklaces in order).
 * Invariant: in doubles every result is exact while m^l < 2^53 and within 1e-11 relative beyond (only sums of
 * positive terms until the final Möbius sum).
 */
import type { Word } from './words.ts';

/** Length of the longest Lyndon prefix; new symbols are compared with the one this far back. */
export type PrefixPeriod = { value: number };

/** Replaces a prefix (of a least rotation) by the next one of its length; false after the last, m-1 m-1 ... m-1. */
export const advancePrefix = (prefix: Word, alphabet: number, period: PrefixPeriod): boolean => {
  const top = alphabet - 1;
  let end = prefix.length;
  while (end > 0 && prefix[end - 1] === top) end--;
  if (end === 0) return false;
  prefix[end - 1] = (prefix[end - 1] as number) + 1;
  for (let i = end; i < prefix.length; i++) prefix[i] = prefix[i - end] as number;
  period.value = end;
  return true;
};

/** F = 1/D up to z^last for the first `t` symbols of `word`, into `out[0..last]`. */
export const expandGaps = (word: Word, t: number, alphabet: number, out: Float64Array, last: number): void => {
  const top = alphabet - 1;
  out[0] = 1;
  for (let n = 1; n <= last; n++) {
    let sum = 0;
    const widest = n < t ? n : t;
    for (let j = 1; j <= widest; j++) sum += (top - (word[j - 1] as number)) * (out[n - j] as number);
    out[n] = sum;
  }
};

/** Low coefficients of a series squared: `out.length` of them, zero where `series` has none. */
export const squareOf = (series: Float64Array, out: Float64Array): void => {
  for (let n = 0; n < out.length; n++) {
    let sum = 0;
    for (let i = 0; i <= n && i < series.length; i++) sum += (series[i] as number) * (series[n - i] ?? 0);
    out[n] = sum;
  }
};

/** GT: sequences of length l whose least rotation begins above the first `t` symbols. Leaves F(0..l) in `expanded`. */
export const countAbove = (
  word: Word,
  t: number,
  alphabet: number,
  length: number,
  terms: readonly { readonly divisor: number; readonly sign: number }[],
  expanded: Float64Array,
): number => {
  const top = alphabet - 1;
  expandGaps(word, t, alphabet, expanded, length);
  let total = 0;
  for (const { divisor, sign } of terms) {
    let closed = 0;
    const widest = divisor < t ? divisor : t;
    for (let j = 1; j <= widest; j++) closed += j * (top - (word[j - 1] as number)) * (expanded[divisor - j] as number);
    total += sign * closed;
  }
  return total / length;
};
