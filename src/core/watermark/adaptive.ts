// SPDX-License-Identifier: Apache-2.0
/**
 * Code book `adaptive`: the source paper's sequences, each repeated for ever; the first viewers get the shortest.
 *
 * He, Maillé, Simon, NOSSDAV'17. Needs no key, and therefore hides nothing: a viewer who knows its number knows its
 * symbols. Use `aligned` unless the leaked copy cannot be aligned to the reference or the paper's scheme is required.
 * Invariant: words shorter than `shortest` are never assigned: constant and short words carry no evidence against a
 * copy that nobody personalised.
 */
import { SealcastError } from '#core/errors.ts';
import type { CodeBook, Position, ViewerNumber } from './book.ts';
import { createSequences, type Sequences } from './sequences.ts';
import type { Word } from './words.ts';

/** Shortest assigned word: leaves out the constants and everything that repeats within a few segments. */
export const SHORTEST_ASSIGNED = 4;

/** The paper's book; `viewer` in its methods is the dense viewer number, not the index in the order. */
export interface AdaptiveBook extends CodeBook {
  readonly kind: 'adaptive';
  readonly sequences: Sequences;
  readonly shortest: number;
  /** The viewer's sequence (least rotation); symbol(v, p) = word(v)[p mod length]. */
  word(viewer: ViewerNumber): Word;
  /** Whose sequence an index is, if it is assigned at all. */
  viewerOf(index: bigint): bigint | undefined;
  /** Index of a viewer's sequence in the paper's order. */
  indexOf(viewer: ViewerNumber): bigint;
  /** Longest length in use once `viewers` numbers are assigned: the L a tracer must look for. */
  longest(viewers: number): number;
}

/** The paper's book over `alphabet` symbols. `shortest` (default 4) must be the same on every edge and the tracer. */
export const createAdaptiveBook = (options: { alphabet: number; shortest?: number }): AdaptiveBook => {
  const { alphabet, shortest = SHORTEST_ASSIGNED } = options;
  if (!Number.isInteger(shortest) || shortest < 2 || shortest > 16) throw new SealcastError('bad-request', 'shortest must be an integer of 2..16: words of length 1 are constant');
  const sequences = createSequences(alphabet);
  const reserved = sequences.cumulative[shortest - 1] as bigint;

  const indexOf = (viewer: ViewerNumber): bigint => reserved + BigInt(viewer);
  const firstIndex = Number(reserved);
  const word = (viewer: ViewerNumber): Word => sequences.unrank(firstIndex + viewer);
  return {
    kind: 'adaptive',
    alphabet,
    shortest,
    sequences,
    indexOf,
    word,
    viewerOf: (index) => (index >= reserved ? index - reserved : undefined),
    longest: (viewers) => sequences.lengthAt(reserved + BigInt(Math.max(1, viewers)) - 1n),
    symbol(viewer: ViewerNumber, at: Position): number {
      const symbols = word(viewer);
      return symbols[at % symbols.length] as number;
    },
    fill(at, first, out) {
      let symbols = word(first);
      for (let i = 0; i < out.length; i++) {
        out[i] = symbols[at % symbols.length] as number;
        if (i + 1 < out.length) symbols = sequences.next(symbols);
      }
    },
  };
};
