// SPDX-License-Identifier: Apache-2.0
/**
 * Word <-> number within one length for m^l >= 2^53, in BigInt: the same formulas as rank.ts.
 *
 * The first third of a word is decided in doubles: a comparison closer than their error bound is repeated exactly, so
 * one exact evaluation usually serves the whole word.
 * Invariant: every answer is exact up to 8^64 = 2^192.
 */
import { countOfLength, moebiusTerms } from './counts.ts';
import { countAbove } from './prefix.ts';
import type { Word } from './words.ts';

/** As WordRanker, with numbers beyond 2^53. */
export type BigWordRanker = {
  readonly alphabet: number;
  readonly length: number;
  readonly count: bigint;
  /** Writes sequence number `offset` (0 <= offset < count, unchecked) into the first `length` bytes of `out`. */
  unrank(offset: bigint, out: Word): void;
  /** Number of a primitive least rotation of this length (unchecked). */
  rank(word: Word): bigint;
};

/** Relative error of `countAbove` against the sum of its terms: 64 steps of at most 64 positive products, with room. */
const SLACK = 1e-10;

/** Builds the ranker of any (m, l) with l <= 64; no table, a call costs well under a millisecond. */
export const createBigWordRanker = (alphabet: number, length: number): BigWordRanker => {
  const top = alphabet - 1;
  const third = Math.floor(length / 3);
  const half = Math.floor(length / 2);
  const count = countOfLength(alphabet, length);
  const terms = moebiusTerms(length);
  const bigLength = BigInt(length);
  const scratch = new Float64Array(length + 1);

  const expand = (word: Word, t: number, last: number): bigint[] => {
    const gaps = Array.from(word.subarray(0, t), (symbol) => BigInt(top - symbol));
    const out = [1n];
    for (let n = 1; n <= last; n++) {
      let sum = 0n;
      for (let j = 1; j <= Math.min(n, t); j++) {
        const gap = gaps[j - 1] as bigint;
        if (gap !== 0n) sum += gap * (out[n - j] as bigint);
      }
      out.push(sum);
    }
    return out;
  };

  const exactAbove = (word: Word, t: number, expanded: readonly bigint[]): bigint => {
    let total = 0n;
    for (const { divisor, sign } of terms) {
      let closed = 0n;
      for (let j = 1; j <= Math.min(divisor, t); j++) closed += BigInt(j * (top - (word[j - 1] as number))) * (expanded[divisor - j] as bigint);
      total += BigInt(sign) * closed;
    }
    return total / bigLength;
  };

  const squared = (series: readonly bigint[], width: number): bigint[] =>
    Array.from({ length: width }, (_, n) => {
      let sum = 0n;
      for (let i = 0; i <= n; i++) sum += (series[i] as bigint) * (series[n - i] as bigint);
      return sum;
    });

  /** GT(first t symbols) <= target. */
  const atMost = (word: Word, t: number, target: bigint, rough: number): boolean => {
    const above = countAbove(word, t, alphabet, length, terms, scratch);
    const slack = 1 + SLACK * (above + rough);
    if (above < rough - slack) return true;
    if (above > rough + slack) return false;
    return exactAbove(word, t, expand(word, t, length)) <= target;
  };

  type Tail = { readonly inverse: bigint[]; readonly square: readonly bigint[]; current: bigint };
  const startTail = (word: Word): Tail => {
    const inverse = expand(word, third, length);
    return { inverse, square: squared(inverse, Math.max(1, length - 2 * third - 1)), current: exactAbove(word, third, inverse) };
  };

  /** What a symbol with this gap adds to GT at 1-based place t > l/3. */
  const gain = (tail: Tail, t: number, gap: number): bigint => {
    const width = BigInt(gap);
    const straight = tail.inverse[length - t] as bigint;
    if (t > half) return width * straight;
    const middle = (length & 1) === 0 ? (tail.inverse[half - t] as bigint) : 0n;
    return (width * (2n * straight - middle + width * (tail.square[length - 2 * t] as bigint))) / 2n;
  };

  const append = (tail: Tail, t: number, gap: number): void => {
    tail.current += gain(tail, t, gap);
    if (t > half) return;
    for (let n = t; n < length - t; n++) tail.inverse[n] = (tail.inverse[n] as bigint) + BigInt(gap) * (tail.square[n - t] as bigint);
  };

  const unrank = (offset: bigint, out: Word): void => {
    const target = count - 1n - offset;
    const rough = Number(target);
    let period = 1;
    for (let t = 1; t <= third; t++) {
      const low = t === 1 ? 0 : (out[t - period - 1] as number);
      let least = low;
      let most = top;
      while (least < most) {
        const middle = (least + most) >> 1;
        out[t - 1] = middle;
        if (atMost(out, t, target, rough)) most = middle;
        else least = middle + 1;
      }
      out[t - 1] = least;
      if (t === 1 || least > low) period = t;
    }
    const tail = startTail(out);
    for (let t = third + 1; t <= length; t++) {
      const low = t === 1 ? 0 : (out[t - period - 1] as number);
      const widest = top - low;
      let gap = 0;
      while (gap < widest && tail.current + gain(tail, t, gap + 1) <= target) gap++;
      append(tail, t, gap);
      out[t - 1] = top - gap;
      if (t === 1 || gap < widest) period = t;
    }
  };

  const rank = (word: Word): bigint => {
    const tail = startTail(word);
    for (let t = third + 1; t <= length; t++) {
      const gap = top - (word[t - 1] as number);
      if (gap > 0) append(tail, t, gap);
    }
    return count - 1n - tail.current;
  };

  return { alphabet, length, count, unrank, rank };
};
