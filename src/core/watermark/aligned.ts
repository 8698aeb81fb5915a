// SPDX-License-Identifier: Apache-2.0
/**
 * Code book `aligned`, the default: per epoch of K positions, the K base-m digits of the permuted viewer number.
 *
 * Every whole epoch names every viewer; across epochs the code behaves like a random one, so evidence needs only
 * log_m(N/eps) positions, about half the paper's window. Positions must be known (the leak is aligned to the reference).
 * Invariant: without the epoch key a viewer's symbols tell nothing about any other viewer's, nor about join order.
 */
import type { CodeBook, EpochKeys, Position, ViewerNumber } from './book.ts';
import { requireAlphabet } from './counts.ts';
import { epochAt, requireSchedule, type EpochAt, type EpochSchedule } from './epochs.ts';
import { createPermutation, type Permutation } from './permutation.ts';
import { sipKey } from './siphash.ts';

/** The default book, with what a tracer needs to invert it. */
export interface AlignedBook extends CodeBook {
  readonly kind: 'aligned';
  readonly schedule: EpochSchedule;
  /** The epoch of a position. */
  epochAt(at: Position): EpochAt;
  /** The permutation of an epoch: what a tracer inverts to go from symbols to a viewer. */
  permutation(epoch: EpochAt): Permutation;
  /** A viewer's symbols over a whole epoch; sessions may keep them instead of asking per segment. */
  codeword(viewer: ViewerNumber, epoch: EpochAt): Uint8Array;
}

/** Epochs whose permutation is kept; a live edge needs two, a tracer as many as its window spans. */
const KEPT_EPOCHS = 64;

/** `keys` gives 32 bytes per epoch; the first half keys the permutation. */
export const createAlignedBook = (options: { alphabet: number; schedule: EpochSchedule; keys: EpochKeys }): AlignedBook => {
  const alphabet = requireAlphabet(options.alphabet);
  const schedule = requireSchedule(options.schedule, alphabet);
  const permutations = new Map<number, Permutation>();
  const digits = new Uint8Array(64);

  const permutation = ({ epoch, length }: EpochAt): Permutation => {
    let found = permutations.get(epoch);
    if (found === undefined) {
      found = createPermutation(sipKey(options.keys(epoch)), alphabet, length);
      if (permutations.size >= KEPT_EPOCHS) permutations.delete(permutations.keys().next().value as number);
      permutations.set(epoch, found);
    }
    return found;
  };

  return {
    kind: 'aligned',
    alphabet,
    schedule,
    epochAt: (at) => epochAt(schedule, at),
    permutation,
    codeword(viewer, epoch) {
      const out = new Uint8Array(epoch.length);
      permutation(epoch).encode(viewer, out);
      return out;
    },
    symbol(viewer, at) {
      const epoch = epochAt(schedule, at);
      permutation(epoch).encode(viewer, digits);
      return digits[at - epoch.start] as number;
    },
    fill(at, first, out) {
      const epoch = epochAt(schedule, at);
      const { encode } = permutation(epoch);
      const index = at - epoch.start;
      for (let i = 0; i < out.length; i++) {
        encode(first + i, digits);
        out[i] = digits[index] as number;
      }
    },
  };
};
