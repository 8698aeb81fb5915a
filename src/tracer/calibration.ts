// SPDX-License-Identifier: Apache-2.0
/**
 * How often a slot's statistic has the sign of its symbol, by its size. Made by `scripts/calibrate-detector.ts`; do not edit.
 *
 * Invariant: fixed before any suspect is looked at; sizes and shares rise.
 */

/** [size of the statistic, share of slots of that size that were read rightly]; between sizes the shares are interpolated. */
export const CALIBRATION: readonly (readonly [size: number, right: number])[] = [
  [1, 0.57],
  [2, 0.64],
  [3, 0.71],
  [4, 0.77],
  [6, 0.86],
  [8, 0.91],
  [11, 0.945],
  [15, 0.96],
  [20, 0.967],
  [30, 0.97],
];
