// SPDX-License-Identifier: Apache-2.0
/**
 * What statistics of slots are worth: 880 slots of three natural clips after five attacks (crf 33 and 38, x265 crf 30, half size at
 * 150 and at 80 kb/s). `scripts/calibrate-detector.ts` makes it anew from more; do not edit.
 *
 * Invariant: fixed before any suspect is looked at; sizes and shares rise.
 */

/** Spread of a slot's statistic around what the mark makes of it. */
export const NOISE = 10;

/** [size of a weighed value, share of slots of that size that were read rightly]; between sizes the shares are interpolated. */
export const CALIBRATION: readonly (readonly [size: number, right: number])[] = [
  [0.25, 0.55],
  [0.5, 0.6],
  [0.75, 0.65],
  [1, 0.7],
  [1.5, 0.79],
  [2, 0.845],
  [2.5, 0.87],
  [3, 0.92],
  [4, 0.965],
  [6, 0.975],
  [9, 0.985],
];
