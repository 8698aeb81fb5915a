// SPDX-License-Identifier: Apache-2.0
/**
 * The paper's sequences under one global number: index 0 is the word `0`, nothing is skipped.
 *
 * He, Maillé, Simon, NOSSDAV'17, section 4, for m = 2..8 and lengths 1..64, without its search over integers and
 * without its global counter: any server computes any sequence from its index.
 * Invariant: unrank(rank(w)) is w's least rotation; next(w) = unrank(rank(w) + 1).
 */
import { SealcastError } from '#core/errors.ts';
import { cumulativeCounts, fitsDouble, MAX_LENGTH, requireAlphabet, requireLength } from './counts.ts';
import { createWordRanker, type WordRanker } from './rank.ts';
import { createBigWordRanker, type BigWordRanker } from './rank-big.ts';
import { advance, firstWord, isPrimitive, leastRotation, type Word } from './words.ts';

/** The numbered sequences of one alphabet. */
export type Sequences = {
  readonly alphabet: number;
  /** `cumulative[l]` = sequences of length 1..l. */
  readonly cumulative: readonly bigint[];
  /** Sequence number `index` (a safe integer or a bigint); throws `bad-request` beyond length 64. */
  unrank(index: bigint | number): Word;
  /** Number of a word's cyclic class, given any rotation; throws `bad-request` for a repeated shorter word. */
  rank(word: Word): bigint;
  /** The sequence after this word's class; throws `bad-request` after the last of length 64. */
  next(word: Word): Word;
  /** Length of sequence number `index`. */
  lengthAt(index: bigint): number;
  /** Builds the table of a length now (1-20 ms) rather than in the first call that needs it. */
  prepare(length: number): void;
};

const bigintOf = (index: number): bigint => {
  if (!Number.isSafeInteger(index)) throw new SealcastError('bad-request', 'index must be a safe integer or a bigint');
  return BigInt(index);
};

/** The sequences over `alphabet` symbols (2..8). Tables are built per length, when first needed or by `prepare`. */
export const createSequences = (alphabet: number): Sequences => {
  requireAlphabet(alphabet);
  const cumulative = cumulativeCounts(alphabet);
  /** Where each length starts, as doubles, while they are exact. */
  const small: number[] = cumulative.filter((total) => total <= BigInt(Number.MAX_SAFE_INTEGER)).map(Number);
  const smallEnd = small[small.length - 1] as number;
  const rankers: (WordRanker | undefined)[] = [];
  const bigRankers: (BigWordRanker | undefined)[] = [];

  const rankerOf = (length: number): WordRanker => (rankers[length] ??= createWordRanker(alphabet, length));
  const bigRankerOf = (length: number): BigWordRanker => (bigRankers[length] ??= createBigWordRanker(alphabet, length));

  const lengthAt = (index: bigint): number => {
    if (index < 0n || index >= (cumulative[MAX_LENGTH] as bigint)) {
      throw new SealcastError('bad-request', `index must be below the ${String(cumulative[MAX_LENGTH]).length}-digit number of sequences up to length ${MAX_LENGTH}`);
    }
    if (index < BigInt(smallEnd)) {
      const near = Number(index);
      let length = 1;
      while (near >= (small[length] as number)) length++;
      return length;
    }
    let length = small.length;
    while (index >= (cumulative[length] as bigint)) length++;
    return length;
  };

  /** Index below `smallEnd`, in doubles throughout. */
  const unrankSmall = (index: number): Word => {
    let length = 1;
    while (index >= (small[length] as number)) length++;
    const out = new Uint8Array(length);
    const ranker = rankers[length] ?? (fitsDouble(alphabet, length) ? rankerOf(length) : undefined);
    const offset = index - (small[length - 1] as number);
    if (ranker !== undefined) ranker.unrank(offset, out);
    else bigRankerOf(length).unrank(BigInt(offset), out);
    return out;
  };

  const unrank = (at: bigint | number): Word => {
    if (typeof at === 'number' && Number.isSafeInteger(at) && at >= 0 && at < smallEnd) return unrankSmall(at);
    const index = typeof at === 'number' ? bigintOf(at) : at;
    const length = lengthAt(index);
    const out = new Uint8Array(length);
    const offset = index - (cumulative[length - 1] as bigint);
    if (fitsDouble(alphabet, length)) rankerOf(length).unrank(Number(offset), out);
    else bigRankerOf(length).unrank(offset, out);
    return out;
  };

  const canonical = (word: Word): Word => {
    requireLength(word.length);
    for (const symbol of word) if (symbol >= alphabet) throw new SealcastError('bad-request', `word must consist of symbols below ${alphabet}`);
    if (!isPrimitive(word)) throw new SealcastError('bad-request', 'word must not be a shorter word repeated: that sequence has the shorter length');
    return leastRotation(word);
  };

  const rank = (word: Word): bigint => {
    const least = canonical(word);
    const offset = fitsDouble(alphabet, least.length) ? BigInt(rankerOf(least.length).rank(least)) : bigRankerOf(least.length).rank(least);
    return (cumulative[least.length - 1] as bigint) + offset;
  };

  const next = (word: Word): Word => {
    const least = canonical(word);
    if (advance(least, alphabet)) return least;
    if (word.length === MAX_LENGTH) throw new SealcastError('bad-request', `no sequence follows the last one of length ${MAX_LENGTH}`);
    return firstWord(word.length + 1);
  };

  const prepare = (length: number): void => {
    requireLength(length);
    if (fitsDouble(alphabet, length)) rankerOf(length);
    else bigRankerOf(length);
  };

  return { alphabet, cumulative, unrank, rank, next, lengthAt, prepare };
};
