// SPDX-License-Identifier: Apache-2.0
/**
 * What a suspect's coding did to the picture as a whole: gain, offset, gamma, sharpness and what is left of displacement.
 *
 * One least-squares fit per frame over pixels spread over the picture: suspect = a + b X + c X^2 + d dX/dx + e dX/dy + f lap X.
 * Seven numbers for a million pixels: a mark, which is a few hundred small patches of both signs, does not take part.
 * Invariant: depends on no key and on no difference picture.
 */
import { mapPlace, type Homography } from './registration/homography.ts';
import { cubicAt, type Picture } from './registration/picture.ts';

/** Coefficients of the fit, and how well it fits. */
export type Tone = {
  /** 1, X, X^2 / 255, d/dx, d/dy, Laplacian. */
  readonly terms: Float64Array;
  /** Correlation of suspect and fit. */
  readonly correlation: number;
  /** Mean square of the residual in levels of the reference. */
  readonly noise: number;
};

const TERMS = 6;
/** Distance of the pixels looked at, chosen so that it shares no factor with blocks and scaling grids. */
const PIXELS = 6000;
/** Contrast (levels, root mean square) below which there is nothing to compare: black, fades. */
const FLAT = 1.5;
/** Residuals beyond this many times their root mean square are left out of the second fit. */
const OUTLIER = 2.5;

/** Where pixels of the reference lie in the suspect, in its pixels. */
export type Sampler = { readonly suspect: Picture; readonly map: Homography; readonly width: number; readonly height: number };

/** Pixel place of a reference pixel in the suspect; both pictures count pixels from 0. */
export const placeOf = ({ suspect, map, width, height }: Sampler, x: number, y: number): readonly [number, number] => {
  const [u, v] = mapPlace(map, [(2 * x + 1) / width - 1, (2 * y + 1) / height - 1]);
  return [((u + 1) * suspect.width) / 2 - 0.5, ((v + 1) * suspect.height) / 2 - 0.5];
};

/** Fits the suspect to the reference, whose rows are `stride` bytes; undefined where there is no contrast or no common place. */
export const toneOf = (sampler: Sampler, reference: Uint8Array, stride: number): Tone | undefined => {
  const { suspect, width, height } = sampler;
  const step = Math.max(1, Math.sqrt((width * height) / PIXELS));
  const rows: number[] = [];
  const values: number[] = [];
  for (let row = 0; ; row++) {
    const y = Math.floor(2 + (row + 0.37) * step);
    if (y > height - 3) break;
    for (let column = 0; ; column++) {
      // Every row begins elsewhere, or the places would hit the same column of every block.
      const x = Math.floor(2 + (column + ((row * 0.618) % 1)) * step);
      if (x > width - 3) break;
      const [px, py] = placeOf(sampler, x, y);
      if (!(px >= 1 && py >= 1 && px <= suspect.width - 3 && py <= suspect.height - 3)) continue;
      rows.push(y * stride + x);
      values.push(cubicAt(suspect.luma, suspect.width, px, py));
    }
  }
  const count = values.length;
  if (count < PIXELS / 12) return undefined;
  const terms = new Float64Array(count * TERMS);
  for (let i = 0; i < count; i++) {
    const at = rows[i] as number;
    const here = reference[at] as number;
    const [l, r, u, d] = [reference[at - 1] as number, reference[at + 1] as number, reference[at - stride] as number, reference[at + stride] as number];
    terms.set([1, here, (here * here) / 255, (r - l) / 2, (d - u) / 2, l + r + u + d - 4 * here], i * TERMS);
  }
  let limit = Infinity;
  let solution: Float64Array | undefined;
  for (let pass = 0; pass < 2; pass++) {
    solution = leastSquares(terms, values, solution, limit);
    if (solution === undefined) return undefined;
    let squares = 0;
    for (let i = 0; i < count; i++) squares += residualAt(terms, values, solution, i) ** 2;
    limit = OUTLIER * Math.sqrt(squares / count);
  }
  const fit = solution as Float64Array;
  let mean = 0;
  let square = 0;
  let left = 0;
  let used = 0;
  let level = 0;
  for (let i = 0; i < count; i++) {
    const error = residualAt(terms, values, fit, i);
    if (Math.abs(error) > limit) continue;
    used++;
    left += error * error;
    mean += values[i] as number;
    square += (values[i] as number) ** 2;
    level += terms[i * TERMS + 1] as number;
  }
  const variance = square / used - (mean / used) ** 2;
  const gain = (fit[1] as number) + (2 * (fit[2] as number) * (level / used)) / 255;
  if (!(variance > FLAT * FLAT) || !(gain > 0.15 && gain < 6)) return undefined;
  return { terms: fit, correlation: Math.sqrt(Math.max(0, 1 - left / used / variance)), noise: left / used / (gain * gain) };
};

const residualAt = (terms: Float64Array, values: readonly number[], solution: Float64Array, i: number): number => {
  let value = values[i] as number;
  for (let k = 0; k < TERMS; k++) value -= (solution[k] as number) * (terms[i * TERMS + k] as number);
  return value;
};

/** By elimination on the normal equations; a ridge keeps terms that are all zero out. Rows off by more than `limit` from `before` are left out. */
const leastSquares = (terms: Float64Array, values: readonly number[], before: Float64Array | undefined, limit: number): Float64Array | undefined => {
  const matrix = new Float64Array(TERMS * TERMS);
  const right = new Float64Array(TERMS);
  values.forEach((value, i) => {
    if (before !== undefined && Math.abs(residualAt(terms, values, before, i)) > limit) return;
    for (let a = 0; a < TERMS; a++) {
      const term = terms[i * TERMS + a] as number;
      right[a] = (right[a] as number) + term * value;
      for (let b = 0; b < TERMS; b++) matrix[a * TERMS + b] = (matrix[a * TERMS + b] as number) + term * (terms[i * TERMS + b] as number);
    }
  });
  for (let k = 0; k < TERMS; k++) {
    const pivot = (matrix[k * TERMS + k] as number) + 1e-6;
    if (!(pivot > 0)) return undefined;
    for (let row = k + 1; row < TERMS; row++) {
      const factor = (matrix[row * TERMS + k] as number) / pivot;
      for (let column = k; column < TERMS; column++) matrix[row * TERMS + column] = (matrix[row * TERMS + column] as number) - factor * (matrix[k * TERMS + column] as number);
      right[row] = (right[row] as number) - factor * (right[k] as number);
    }
  }
  for (let k = TERMS - 1; k >= 0; k--) {
    let sum = right[k] as number;
    for (let column = k + 1; column < TERMS; column++) sum -= (matrix[k * TERMS + column] as number) * (right[column] as number);
    right[k] = sum / ((matrix[k * TERMS + k] as number) + 1e-6);
  }
  return right.every(Number.isFinite) ? right : undefined;
};
