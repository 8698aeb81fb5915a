// SPDX-License-Identifier: Apache-2.0
/**
 * What a detector says about one position: how probable its measurement is under each symbol.
 *
 * Invariant: every number used as evidence is finite; no single position can veto a viewer, because each symbol keeps a
 * probability of at least FLOOR (facts of practice: one badly read segment is not a proof of innocence).
 */
import { SealcastError } from '#core/errors.ts';
import type { Position } from '#core/watermark/index.ts';

/** Least probability of a symbol after normalisation. */
export const FLOOR = 1e-4;

/** One position of a suspect copy. Without `likelihoods` it is an erasure: lost, blacked out, an advertisement. */
export type Reading = {
  readonly position: Position;
  /** P(measurement | symbol d) for d = 0..m-1, up to a common positive factor. */
  readonly likelihoods?: readonly number[];
};

/** Throws `bad-request` unless there are m finite, non-negative numbers, not all zero. */
export const requireLikelihoods = (values: readonly number[], alphabet: number): readonly number[] => {
  if (values.length !== alphabet) throw new SealcastError('bad-request', `likelihoods must be ${alphabet} numbers, one per symbol; got ${values.length}`);
  let sum = 0;
  values.forEach((value, symbol) => {
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
      throw new SealcastError('bad-request', `likelihoods[${symbol}] must be a finite number of at least 0`);
    }
    sum += value;
  });
  if (!(sum > 0) || !Number.isFinite(sum)) throw new SealcastError('bad-request', 'likelihoods must have a positive, finite sum; an unreadable position is an erasure');
  return values;
};

/** Probabilities of the symbols under a uniform prior, floored: what evidence is computed from. */
export const symbolProbabilities = (likelihoods: readonly number[], alphabet: number): Float64Array => {
  requireLikelihoods(likelihoods, alphabet);
  let sum = 0;
  for (const value of likelihoods) sum += value;
  return Float64Array.from(likelihoods, (value) => (1 - alphabet * FLOOR) * (value / sum) + FLOOR);
};

/** The likelihoods of a detector that only names a symbol and is wrong with probability `errors` (0 <= errors < 1). */
export const hardReading = (alphabet: number, symbol: number, errors: number): number[] => {
  if (!Number.isInteger(symbol) || symbol < 0 || symbol >= alphabet) throw new SealcastError('bad-request', `symbol must be an integer of 0..${alphabet - 1}`);
  if (!(errors >= 0 && errors < 1)) throw new SealcastError('bad-request', 'errors must be at least 0 and below 1');
  return Array.from({ length: alphabet }, (_, d) => (d === symbol ? 1 - errors : errors / (alphabet - 1)));
};

/** The most probable symbol. */
export const mostLikely = (probabilities: Float64Array): number => {
  let best = 0;
  for (let d = 1; d < probabilities.length; d++) if ((probabilities[d] as number) > (probabilities[best] as number)) best = d;
  return best;
};
