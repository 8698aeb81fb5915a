// SPDX-License-Identifier: Apache-2.0
/**
 * From the statistics of slots to the likelihoods of their symbols, by a map fixed beforehand.
 *
 * A statistic is its own noise's multiple (slot-reader.ts), so its spread NOISE is the same for clean and battered copies, and
 * what differs is how much of the mark is left. That shows in the size of the other slots around it, whatever their symbols are:
 *   left^2 = mean of their squares - NOISE^2,   v = 2 x statistic x left / NOISE^2,
 * and CALIBRATION says how often a v of that size has the right sign. NOISE and CALIBRATION come from
 * `scripts/calibrate-detector.ts`; a suspect never changes them, and wrong ones would cost power, not innocents.
 * Invariant: monotone in the statistic and antisymmetric; even the largest leaves room for a misreading.
 */
import { CALIBRATION, NOISE } from './calibration.ts';
import type { SlotStatistic } from './slot-reader.ts';

/** Coarse sums are fewer than fine ones and their ratio is smaller by so much. */
const COARSE_WEIGHT = 1.6;
/** Below this share of the differences seen, a slot is an erasure. */
const LEAST_SEEN = 0.08;
/** Slots on either side that tell how much is left of the mark: six seconds at eight a second. */
const AROUND = 48;
/** Where nothing seems left, so much of the size is taken for it: a copy of which one part is good must not lose that part. */
const LEAST_LEFT = 0.2;

/** Both scales in one number: positive for symbol 1. */
export const softValueOf = ({ fineRatio, coarseRatio }: SlotStatistic): number => (fineRatio + COARSE_WEIGHT * coarseRatio) / 2;

/** v of each slot, in order of position; undefined where too little was seen. Calibration alone gives another `noise`. */
export const weighedValues = (statistics: readonly SlotStatistic[], noise: number = NOISE): readonly (number | undefined)[] => {
  const values = statistics.map((statistic) => (statistic.seen >= LEAST_SEEN ? softValueOf(statistic) : undefined));
  return values.map((value, i) => {
    if (value === undefined) return undefined;
    const around = values.slice(Math.max(0, i - AROUND), i + AROUND + 1).filter((_, j) => Math.max(0, i - AROUND) + j !== i).filter((other) => other !== undefined);
    const square = around.reduce((sum, other) => sum + other * other, 0) / Math.max(1, around.length);
    const left = Math.sqrt(Math.max(LEAST_LEFT ** 2 * square, square - noise ** 2));
    return (2 * value * left) / noise ** 2;
  });
};

/** Share of values of this size that have the right sign. */
const rightOf = (size: number): number => {
  let [from, before] = [0, 0.5];
  for (const [to, share] of CALIBRATION) {
    if (size < to) return before + ((share - before) * (size - from)) / (to - from);
    [from, before] = [to, share];
  }
  return before;
};

/** P(statistic | symbol) for 0 and 1 with sum 1, slot by slot in order of position; undefined where too little was seen. */
export const slotLikelihoods = (statistics: readonly SlotStatistic[]): readonly (readonly [number, number] | undefined)[] =>
  weighedValues(statistics).map((value) => {
    if (value === undefined) return undefined;
    const right = rightOf(Math.abs(value));
    return value >= 0 ? [1 - right, right] : [right, 1 - right];
  });
