// SPDX-License-Identifier: Apache-2.0
/**
 * From the statistic of a slot to the likelihood of its two symbols, by a table fixed beforehand.
 *
 * The statistic is its own noise's multiple (slot-reader.ts), so one table serves clean and battered copies: CALIBRATION says
 * how often a statistic of that size has the right sign. `scripts/calibrate-detector.ts` made it from clips and attacks of its
 * own; a suspect never changes it. A table that were wrong would cost power, not innocents.
 * Invariant: monotone and antisymmetric; even the largest statistic leaves room for a misreading.
 */
import { CALIBRATION } from './calibration.ts';
import type { SlotStatistic } from './slot-reader.ts';

/** Coarse sums are fewer than fine ones and their ratio is smaller by so much. */
const COARSE_WEIGHT = 1.6;
/** Below this share of the differences seen, a slot is an erasure. */
const LEAST_SEEN = 0.08;

/** Both scales in one number: positive for symbol 1. */
export const softValueOf = ({ fineRatio, coarseRatio }: SlotStatistic): number => (fineRatio + COARSE_WEIGHT * coarseRatio) / 2;

/** P(statistic | symbol) for 0 and 1 with sum 1; undefined where too little of the slot was seen. */
export const slotLikelihoods = (statistic: SlotStatistic): readonly [number, number] | undefined => {
  if (!(statistic.seen >= LEAST_SEEN)) return undefined;
  const soft = softValueOf(statistic);
  const size = Math.abs(soft);
  let right = CALIBRATION[CALIBRATION.length - 1]?.[1] ?? 0.5;
  for (let i = 0; i < CALIBRATION.length; i++) {
    const [to, share] = CALIBRATION[i] as readonly [number, number];
    if (size >= to) continue;
    const [from, before] = i === 0 ? [0, 0.5] : (CALIBRATION[i - 1] as readonly [number, number]);
    right = before + ((share - before) * (size - from)) / (to - from);
    break;
  }
  return soft >= 0 ? [1 - right, right] : [right, 1 - right];
};
