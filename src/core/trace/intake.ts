// SPDX-License-Identifier: Apache-2.0
/**
 * What every tracer does with a reading first: check it, count it, refuse to count a position twice.
 *
 * Invariant: a refused reading leaves no trace; a position contributes evidence at most once.
 */
import { SealcastError } from '#core/errors.ts';
import { position, type Position } from '#core/watermark/index.ts';
import { symbolProbabilities, type Reading } from './likelihood.ts';

/** Readings and erasures one tracer takes: a coalition of four is certain after a third of it. */
export const MAX_READINGS = 4096;

/** Checks readings for one tracer. */
export type Intake = {
  /**
   * Symbol probabilities of a reading, or undefined for an erasure. Throws `bad-request` for likelihoods that are none,
   * a position seen before, or more than MAX_READINGS.
   */
  accept(reading: Reading): { readonly at: Position; readonly probabilities: Float64Array | undefined };
  /** Erasures so far. */
  erased(): number;
};

/** An intake over `alphabet` symbols. */
export const createIntake = (alphabet: number): Intake => {
  const seen = new Set<number>();
  let erased = 0;
  return {
    accept(reading) {
      const at = position(reading.position);
      if (seen.has(at)) throw new SealcastError('bad-request', 'each position must be observed once: the same evidence does not count twice');
      if (seen.size >= MAX_READINGS) {
        throw new SealcastError('bad-request', `a tracer takes at most ${MAX_READINGS} readings: start another one with its share of eps`);
      }
      const probabilities = reading.likelihoods === undefined ? undefined : symbolProbabilities(reading.likelihoods, alphabet);
      seen.add(at);
      if (probabilities === undefined) erased++;
      return { at, probabilities };
    },
    erased: () => erased,
  };
};
