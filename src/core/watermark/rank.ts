// SPDX-License-Identifier: Apache-2.0
/**
 * Word <-> number within one length, in doubles: exact while m^l < 2^53.
 *
 * Let P be a prefix of length t of a least rotation and g_j = m-1-P[j]. A cyclic word all of whose rotations have a
 * t-prefix above P falls apart into blocks: a block of length j agrees with P on j-1 symbols and then goes above it, in
 * g_j ways. With D(z) = 1 - sum of g_j z^j the number of such cyclic words of length d is C_d = [z^d](-z D'/D), so
 *   GT(P) = (1/l) sum over d|l of mu(l/d) C_d
 * sequences of length l begin above P. Appending a symbol with gap g changes GT by a polynomial in g of degree
 * floor(l/t), made of coefficients of F = 1/D and G = 1/D^2:
 *   t > l/2         g F(l-t)                                                  (one multiplication)
 *   l/3 < t <= l/2  g (F(l-t) - [l even] F(l/2-t)/2) + g^2 G(l-2t)/2          (and F moves by g z^t G)
 * A table over all prefixes of length floor(l/3) replaces the first third by a binary search.
 * Invariant: no table holds an assigned sequence; every answer depends on (m, l, number) alone.
 */
import { cumulativeCounts, fitsDouble, moebiusTerms } from './counts.ts';
import { advancePrefix, countAbove, expandGaps, squareOf, type PrefixPeriod } from './prefix.ts';
import type { Word } from './words.ts';

/** Numbers the sequences of one length, 0-based, in the paper's order. */
export type WordRanker = {
  readonly alphabet: number;
  readonly length: number;
  /** Sequences of this length. */
  readonly count: number;
  /** Writes sequence number `offset` (0 <= offset < count, unchecked) into the first `length` bytes of `out`. */
  unrank(offset: number, out: Word): void;
  /** Number of a least rotation of this length (unchecked: must be a primitive least rotation). */
  rank(word: Word): number;
};

/** Rows a prefix table may have; above that the first third is computed per call (only where m^l > 2^45 or so). */
const MAX_ROWS = 4096;

type PrefixTable = {
  readonly depth: number;
  readonly rows: number;
  /** Prefix symbols, `depth` per row, in lexicographic order. */
  readonly words: Uint8Array;
  /** Longest Lyndon prefix's length per row: the period new symbols are compared with. */
  readonly periods: Uint8Array;
  /** GT per row: falls strictly along the rows wherever a row has words of its own. */
  readonly above: Float64Array;
  /** F(0..l-depth-1) per row. */
  readonly inverse: Float64Array;
  /** G(0..l-2 depth-2) per row. */
  readonly square: Float64Array;
  /** Least-rotation prefixes as base-m numbers, for looking a word up. */
  readonly keys: Float64Array;
};

/** Builds the ranker of one (m, l) with its prefix table: 1-20 ms. Requires m^l < 2^53. */
export const createWordRanker = (alphabet: number, length: number): WordRanker => {
  if (!fitsDouble(alphabet, length)) throw new RangeError('m^l must be below 2^53');
  const top = alphabet - 1;
  const third = Math.floor(length / 3);
  const half = Math.floor(length / 2);
  const inverseWidth = length - third;
  const squareWidth = Math.max(1, length - 2 * third - 1);
  const totals = cumulativeCounts(alphabet);
  const count = Number((totals[length] as bigint) - (totals[length - 1] as bigint));
  const terms = moebiusTerms(length);

  const table = buildTable();
  const inverse = new Float64Array(inverseWidth);
  const square = new Float64Array(squareWidth);
  const scratch = new Float64Array(length + 1);

  function buildTable(): PrefixTable | undefined {
    const words: Word[] = [];
    const periods: number[] = [];
    const prefix = new Uint8Array(third);
    const period: PrefixPeriod = { value: 1 };
    do {
      words.push(prefix.slice());
      periods.push(period.value);
      if (words.length > MAX_ROWS) return undefined;
    } while (advancePrefix(prefix, alphabet, period));
    const rows = words.length;
    const built = {
      depth: third,
      rows,
      words: new Uint8Array(rows * third),
      periods: Uint8Array.from(periods),
      above: new Float64Array(rows),
      inverse: new Float64Array(rows * inverseWidth),
      square: new Float64Array(rows * squareWidth),
      keys: new Float64Array(rows),
    };
    const expanded = new Float64Array(length + 1);
    words.forEach((word, row) => {
      built.words.set(word, row * third);
      built.above[row] = countAbove(word, third, alphabet, length, terms, expanded);
      built.keys[row] = keyOf(word);
      const inverseRow = expanded.subarray(0, inverseWidth);
      built.inverse.set(inverseRow, row * inverseWidth);
      squareOf(inverseRow, built.square.subarray(row * squareWidth, (row + 1) * squareWidth));
    });
    return built;
  }

  function keyOf(word: Word): number {
    let key = 0;
    for (let t = 0; t < third; t++) key = key * alphabet + (word[t] as number);
    return key;
  }

  /** Loads F and G of a prefix into the scratch arrays. */
  const load = (word: Word, row: number): void => {
    if (table !== undefined) {
      const from = row * inverseWidth;
      for (let n = 0; n < inverseWidth; n++) inverse[n] = table.inverse[from + n] as number;
      const at = row * squareWidth;
      for (let n = 0; n < squareWidth; n++) square[n] = table.square[at + n] as number;
      return;
    }
    expandGaps(word, third, alphabet, scratch, inverseWidth - 1);
    inverse.set(scratch.subarray(0, inverseWidth));
    squareOf(inverse, square);
  };

  /** Appending a symbol with gap g at 1-based place t in (l/3, l/2]: F becomes F + g z^t G. */
  const shiftInverse = (t: number, gap: number): void => {
    for (let n = t; n < length - t; n++) inverse[n] = (inverse[n] as number) + gap * (square[n - t] as number);
  };

  const unrank = (offset: number, out: Word): void => {
    const target = count - 1 - offset;
    let current: number;
    let period: number;
    if (table === undefined) {
      period = 1;
      current = 0;
      for (let t = 1; t <= third; t++) {
        // The least symbol whose prefix has at most `target` sequences above it.
        const low = t === 1 ? 0 : (out[t - period - 1] as number);
        let least = low;
        let most = top;
        while (least < most) {
          const middle = (least + most) >> 1;
          out[t - 1] = middle;
          if (countAbove(out, t, alphabet, length, terms, scratch) <= target) most = middle;
          else least = middle + 1;
        }
        out[t - 1] = least;
        if (t === 1 || least > low) period = t;
      }
      current = countAbove(out, third, alphabet, length, terms, scratch);
      load(out, 0);
    } else {
      const { above, words, periods, rows, depth } = table;
      let least = 0;
      let most = rows - 1;
      while (least < most) {
        const middle = (least + most) >> 1;
        if ((above[middle] as number) <= target) most = middle;
        else least = middle + 1;
      }
      for (let t = 0, at = least * depth; t < depth; t++) out[t] = words[at + t] as number;
      current = above[least] as number;
      period = periods[least] as number;
      load(out, least);
    }
    for (let t = third + 1; t <= length; t++) {
      const low = t === 1 ? 0 : (out[t - period - 1] as number);
      const widest = top - low;
      let gap = 0;
      if (t > half) {
        const step = inverse[length - t] as number;
        while (gap < widest && current + step <= target) {
          current += step;
          gap++;
        }
      } else {
        const first = (inverse[length - t] as number) - ((length & 1) === 0 ? (inverse[half - t] as number) / 2 : 0);
        const second = (square[length - 2 * t] as number) / 2;
        let gained = 0;
        while (gap < widest) {
          const next = (gap + 1) * (first + (gap + 1) * second);
          if (current + next > target) break;
          gained = next;
          gap++;
        }
        if (gap > 0) {
          current += gained;
          shiftInverse(t, gap);
        }
      }
      out[t - 1] = top - gap;
      if (t === 1 || gap < widest) period = t;
    }
  };

  const rank = (word: Word): number => {
    let current: number;
    if (table === undefined) {
      current = countAbove(word, third, alphabet, length, terms, scratch);
      load(word, 0);
    } else {
      const key = keyOf(word);
      let least = 0;
      let most = table.rows - 1;
      while (least < most) {
        const middle = (least + most) >> 1;
        if ((table.keys[middle] as number) >= key) most = middle;
        else least = middle + 1;
      }
      current = table.above[least] as number;
      load(word, least);
    }
    for (let t = third + 1; t <= length; t++) {
      const gap = top - (word[t - 1] as number);
      if (gap === 0) continue;
      if (t > half) {
        current += gap * (inverse[length - t] as number);
      } else {
        const first = (inverse[length - t] as number) - ((length & 1) === 0 ? (inverse[half - t] as number) / 2 : 0);
        current += gap * (first + (gap * (square[length - 2 * t] as number)) / 2);
        shiftInverse(t, gap);
      }
    }
    return count - 1 - current;
  };

  return { alphabet, length, count, unrank, rank };
};
