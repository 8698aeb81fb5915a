// SPDX-License-Identifier: Apache-2.0
/** The paper's sequences: published vectors, brute force by definition for small lengths, then properties to length 64. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { capacityOfLength, createSequences, formatWord, isPrimitive, leastRotation, parseWord } from './index.ts';
import { countOfLength, fitsDouble } from './counts.ts';
import { createWordRanker } from './rank.ts';
import { createBigWordRanker } from './rank-big.ts';

/** Prop. 4.1 in Moreau's form; S(2,l) to S(5,l) are OEIS A001037, A027376, A027377, A001692. */
const COUNTS: Readonly<Record<number, string>> = {
  2: '2 1 2 3 6 9 18 30 56 99 186 335 630 1161 2182 4080 7710 14532 27594 52377',
  3: '3 3 8 18 48 116 312 810 2184 5880 16104 44220 122640 341484 956576 2690010 7596480 21522228 61171656 174336264',
  4: '4 6 20 60 204 670 2340 8160 29120 104754 381300 1397740 5162220 19172790 71582716 268431360 1010580540',
  5: '5 10 40 150 624 2580 11160 48750 217000 976248 4438920 20343700 93900240 435959820 2034504992 9536718750',
};
/** m, l, offset within the length, word: made by two independent implementations. */
const WORDS: readonly (readonly [number, number, number, string])[] = [
  [2, 16, 2040, '0001001101010101'],
  [2, 34, 123456789, '0000001111111111101100111111011111'],
  [2, 38, 3141592653, '00000111000110101110011010111110111001'],
  [2, 38, 7233615332, '01111111111111111111111111111111111111'],
  [3, 22, 100000000, '0000101200102111200121'],
  [4, 17, 999999999, '03321323323213233'],
  [5, 15, 1000000000, '011234101403141'],
  [5, 15, 2034504991, '344444444444444'],
];
/** The first one counted by walking through all 461,961,216 words of length 34 before it; the word beside it, 3001 earlier, likewise. */
const GLOBAL: readonly (readonly [number, string, string])[] = [
  [2, '999999999', '0001110101001110101101001101011111'],
  [2, '999996998', '0001110101001110101001101001011111'],
  [5, '999999999', '002212420412201'],
  [2, '999999', '000001111110110001001111'],
  [3, '999999', '001121101122102'],
  [5, '999999', '0321242421'],
];
const FIRST: Readonly<Record<number, string>> = {
  2: '0 1 01 001 011 0001 0011 0111 00001 00011 00101 00111 01011 01111 000001',
  3: '0 1 2 01 02 12 001 002 011 012 021 022 112 122 0001',
};

/** All words of a length that are smaller than each of their other rotations, in order: the definition, nothing else. */
const byDefinition = (m: number, l: number): string[] => {
  const words: string[] = [];
  for (let n = 0; n < m ** l; n++) {
    const word = n.toString(m).padStart(l, '0');
    let least = true;
    for (let k = 1; k < l && least; k++) least = word < word.slice(k) + word.slice(0, k);
    if (least) words.push(word);
  }
  return words;
};

describe('counts', () => {
  it.each(Object.entries(COUNTS))('match the published table for m=%s', (m, row) => {
    const values = row.split(' ').map(BigInt);
    expect(values.map((_, i) => countOfLength(Number(m), i + 1))).toEqual(values);
  });
  it('satisfy m^l = sum of d S(m,d) over the divisors of l for every m and l', () => {
    for (let m = 2; m <= 8; m++) {
      for (let l = 1; l <= 64; l++) {
        let sum = 0n;
        for (let d = 1; d <= l; d++) if (l % d === 0) sum += BigInt(d) * countOfLength(m, d);
        expect(sum).toBe(BigInt(m) ** BigInt(l));
      }
    }
  });
  it.each([[1, 5], [9, 5], [2.5, 5], [2, 0], [2, 65], [Number.NaN, 3]])('refuse m=%s l=%s', (m, l) => {
    expect(() => countOfLength(m, l)).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });
});

describe('words', () => {
  it.each(WORDS)('m=%i l=%i offset %i', (m, l, offset, word) => {
    const sequences = createSequences(m);
    const index = capacityOfLength(m, l) - countOfLength(m, l) + BigInt(offset);
    expect(formatWord(sequences.unrank(index))).toBe(word);
    expect(sequences.rank(parseWord(word, m))).toBe(index);
  });
  it.each(GLOBAL)('m=%i index %s', (m, index, word) => {
    const sequences = createSequences(m);
    expect(formatWord(sequences.unrank(BigInt(index)))).toBe(word);
    expect(sequences.rank(parseWord(word, m))).toBe(BigInt(index));
  });
  it.each(Object.entries(FIRST))('begin as the paper does for m=%s', (m, words) => {
    const sequences = createSequences(Number(m));
    expect(words.split(' ').map((_, i) => formatWord(sequences.unrank(BigInt(i))))).toEqual(words.split(' '));
  });
  it.each([[2, 13], [3, 8], [4, 6], [5, 5], [6, 5], [7, 4], [8, 4]])('equal the definition for m=%i up to l=%i', (m, longest) => {
    const sequences = createSequences(m);
    let index = 0n;
    let previous: Uint8Array | undefined;
    for (let l = 1; l <= longest; l++) {
      for (const text of byDefinition(m, l)) {
        const word = parseWord(text, m);
        expect(formatWord(sequences.unrank(index))).toBe(text);
        expect(sequences.rank(word)).toBe(index);
        if (previous !== undefined) expect(formatWord(sequences.next(previous))).toBe(text);
        previous = word;
        index++;
      }
    }
    expect(index).toBe(capacityOfLength(m, longest));
  });
});

describe('properties', () => {
  const alphabet = fc.integer({ min: 2, max: 8 });
  /** An index spread evenly over lengths rather than over the numbers, which are nearly all of length 64. */
  const indexed = alphabet.chain((m) =>
    fc.tuple(fc.constant(m), fc.integer({ min: 1, max: 64 }).chain((l) => fc.bigInt({ min: capacityOfLength(m, l) - countOfLength(m, l), max: capacityOfLength(m, l) - 1n }))),
  );
  const books = new Map<number, ReturnType<typeof createSequences>>();
  const of = (m: number): ReturnType<typeof createSequences> => {
    const known = books.get(m) ?? createSequences(m);
    books.set(m, known);
    return known;
  };

  it('rank undoes unrank, for every rotation', () => {
    fc.assert(
      fc.property(indexed, fc.nat(63), ([m, index], turn) => {
        const word = of(m).unrank(index);
        const k = turn % word.length;
        const rotated = new Uint8Array([...word.subarray(k), ...word.subarray(0, k)]);
        expect(isPrimitive(word)).toBe(true);
        expect(formatWord(leastRotation(rotated))).toBe(formatWord(word));
        expect(of(m).rank(rotated)).toBe(index);
      }),
      { seed: 6, numRuns: 400 },
    );
  }, 60_000);
  it('next is the following index', () => {
    fc.assert(
      fc.property(indexed, ([m, index]) => {
        fc.pre(index + 1n < capacityOfLength(m, 64));
        expect(formatWord(of(m).next(of(m).unrank(index)))).toBe(formatWord(of(m).unrank(index + 1n)));
      }),
      { seed: 7, numRuns: 300 },
    );
  }, 60_000);
  it.each([[2, 52], [2, 45], [3, 33], [4, 26], [5, 22], [8, 17], [2, 2], [6, 1]])('doubles and BigInt agree at m=%i l=%i', (m, l) => {
    expect(fitsDouble(m, l)).toBe(true);
    const exact = createWordRanker(m, l);
    const big = createBigWordRanker(m, l);
    const a = new Uint8Array(l);
    const b = new Uint8Array(l);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: big.count - 1n }), (offset) => {
        exact.unrank(Number(offset), a);
        big.unrank(offset, b);
        expect(formatWord(a)).toBe(formatWord(b));
        expect(BigInt(exact.rank(a))).toBe(offset);
        expect(big.rank(a)).toBe(offset);
      }),
      { seed: 8, numRuns: 60, examples: [[0n], [big.count - 1n]] },
    );
  }, 60_000);
});

describe('indices as numbers', () => {
  it.each([2, 5, 8])('mean the same as bigints for m=%i', (m) => {
    const sequences = createSequences(m);
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 52 }), (large, shift) => {
        const index = Math.floor(large / 2 ** shift);
        expect(formatWord(sequences.unrank(index))).toBe(formatWord(sequences.unrank(BigInt(index))));
      }),
      { seed: 10, numRuns: 120, examples: [[0, 0], [Number.MAX_SAFE_INTEGER, 0]] },
    );
  });
  it.each([-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY])('refuse %s', (index) => {
    expect(() => createSequences(2).unrank(index)).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });
});

describe('refusals', () => {
  const sequences = createSequences(3);
  const bad = expect.objectContaining({ code: 'bad-request' });
  it('refuses indices outside the order', () => {
    expect(() => sequences.unrank(-1n)).toThrow(bad);
    expect(() => sequences.unrank(capacityOfLength(3, 64))).toThrow(bad);
    expect(sequences.unrank(capacityOfLength(3, 64) - 1n)).toHaveLength(64);
  });
  it('refuses words that are none', () => {
    expect(() => sequences.rank(parseWord('0101', 3))).toThrow(bad);
    expect(() => sequences.rank(new Uint8Array([0, 3]))).toThrow(bad);
    expect(() => sequences.rank(new Uint8Array(0))).toThrow(bad);
    expect(() => parseWord('013', 3)).toThrow(bad);
    expect(() => parseWord('01A', 3)).toThrow(bad);
    expect(() => parseWord('', 3)).toThrow(bad);
    expect(() => parseWord('0'.repeat(65), 3)).toThrow(bad);
  });
  it('has no successor of the very last sequence', () => {
    expect(() => sequences.next(sequences.unrank(capacityOfLength(3, 64) - 1n))).toThrow(bad);
  });
});
