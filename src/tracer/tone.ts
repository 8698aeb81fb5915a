// SPDX-License-Identifier: Apache-2.0
/**
 * What a suspect's coding did to the picture as a whole: gain, offset, gamma, sharpness and what is left of displacement.
 *
 * One least-squares fit per frame over pixels spread over the picture: suspect = a + b X + c X^2 + d dX/dx + e dX/dy + f lap X.
 * Seven numbers for a million pixels: a mark, which is a few hundred small patches of both signs, does not take part.
 * Invariant: depends on no key and on no difference picture.
 */
import type { Homography } from './registration/homography.ts';
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

/** Where pixels of a reference of width x height lie in the suspect. */
export type Sampler = {
  readonly suspect: Picture;
  readonly width: number;
  readonly height: number;
  /** From pixels to pixels, row-major; both pictures count from 0: hot loops multiply it out, without an object per pixel. */
  readonly pixels: Float64Array;
};

/** The sampler of a map. */
export const samplerOf = (suspect: Picture, map: Homography, width: number, height: number): Sampler => {
  const [a = 1, b = 0, c = 0, d = 0, e = 1, f = 0, g = 0, h = 0] = map;
  // Unit coordinates are (2 x + 1) / width - 1: first into them, then the map, then out of them into the suspect's pixels.
  const [sx, sy, ox, oy] = [2 / width, 2 / height, 1 / width - 1, 1 / height - 1];
  const rows = [
    [a * sx, b * sy, a * ox + b * oy + c],
    [d * sx, e * sy, d * ox + e * oy + f],
    [g * sx, h * sy, g * ox + h * oy + 1],
  ] as const;
  const pixels = new Float64Array(9);
  for (let k = 0; k < 3; k++) {
    const w = rows[2][k] as number;
    pixels[k] = (((rows[0][k] as number) + w) * suspect.width) / 2 - w / 2;
    pixels[3 + k] = (((rows[1][k] as number) + w) * suspect.height) / 2 - w / 2;
    pixels[6 + k] = w;
  }
  return { suspect, width, height, pixels };
};

/** Fits the suspect to the reference, whose rows are `stride` bytes; undefined where there is no contrast or no common place. */
export const toneOf = (sampler: Sampler, reference: Uint8Array, stride: number): Tone | undefined => {
  const { suspect, width, height } = sampler;
  const step = Math.max(1, Math.sqrt((width * height) / PIXELS));
  const [m0, m1, m2, m3, m4, m5, m6, m7, m8] = sampler.pixels as unknown as [number, number, number, number, number, number, number, number, number];
  const right = suspect.width - 3;
  const bottom = suspect.height - 3;
  const room = Math.ceil(height / step + 2) * Math.ceil(width / step + 2);
  const rows = new Int32Array(room);
  const values = new Float64Array(room);
  let count = 0;
  for (let row = 0; ; row++) {
    const y = Math.floor(2 + (row + 0.37) * step);
    if (y > height - 3) break;
    for (let column = 0; ; column++) {
      // Every row begins elsewhere, or the places would hit the same column of every block.
      const x = Math.floor(2 + (column + ((row * 0.618) % 1)) * step);
      if (x > width - 3) break;
      const w = 1 / (m6 * x + m7 * y + m8);
      const px = (m0 * x + m1 * y + m2) * w;
      const py = (m3 * x + m4 * y + m5) * w;
      if (!(px >= 1 && py >= 1 && px <= right && py <= bottom)) continue;
      rows[count] = y * stride + x;
      values[count++] = cubicAt(suspect.luma, suspect.width, px, py);
    }
  }
  if (count < PIXELS / 12) return undefined;
  const terms = new Float64Array(count * TERMS);
  for (let i = 0; i < count; i++) {
    const at = rows[i] as number;
    const here = reference[at] as number;
    const l = reference[at - 1] as number;
    const r = reference[at + 1] as number;
    const u = reference[at - stride] as number;
    const d = reference[at + stride] as number;
    const to = i * TERMS;
    terms[to] = 1;
    terms[to + 1] = here;
    terms[to + 2] = (here * here) / 255;
    terms[to + 3] = (r - l) / 2;
    terms[to + 4] = (d - u) / 2;
    terms[to + 5] = l + r + u + d - 4 * here;
  }
  let limit = Infinity;
  let solution: Float64Array | undefined;
  for (let pass = 0; pass < 2; pass++) {
    solution = leastSquares(terms, values, count, solution, limit);
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

const residualAt = (terms: Float64Array, values: Float64Array, solution: Float64Array, i: number): number => {
  let value = values[i] as number;
  for (let k = 0; k < TERMS; k++) value -= (solution[k] as number) * (terms[i * TERMS + k] as number);
  return value;
};

/** By elimination on the normal equations; a ridge keeps terms that are all zero out. Rows off by more than `limit` from `before` are left out. */
const leastSquares = (terms: Float64Array, values: Float64Array, count: number, before: Float64Array | undefined, limit: number): Float64Array | undefined => {
  const matrix = new Float64Array(TERMS * TERMS);
  const right = new Float64Array(TERMS);
  for (let i = 0; i < count; i++) {
    if (before !== undefined && Math.abs(residualAt(terms, values, before, i)) > limit) continue;
    const value = values[i] as number;
    for (let a = 0; a < TERMS; a++) {
      const term = terms[i * TERMS + a] as number;
      right[a] = (right[a] as number) + term * value;
      for (let b = 0; b < TERMS; b++) matrix[a * TERMS + b] = (matrix[a * TERMS + b] as number) + term * (terms[i * TERMS + b] as number);
    }
  }
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
