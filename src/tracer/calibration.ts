// SPDX-License-Identifier: Apache-2.0
/**
 * What statistics of slots are worth. Made by `scripts/calibrate-detector.ts` from 2304 slots, weighed with the
 * NOISE below (its own estimate was 8; the next run weighs with what it finds); do not edit.
 *
 * Invariant: fixed before any suspect is looked at; sizes and shares rise.
 */

/** Spread of a slot's statistic around what the mark makes of it. */
export const NOISE = 10;

/** [size of a weighed value, share of slots of that size that were read rightly]; between sizes the shares are interpolated. */
export const CALIBRATION: readonly (readonly [size: number, right: number])[] = [
  [0.25, 0.735],
  [0.5, 0.794],
  [0.75, 0.794],
  [1, 0.794],
  [1.5, 0.815],
  [2, 0.852],
  [2.5, 0.912],
  [3, 0.935],
  [4, 0.958],
  [6, 0.984],
  [9, 0.985],
];
