// SPDX-License-Identifier: Apache-2.0
/**
 * What is left of a suspect frame when everything the reference explains is taken away.
 *
 * The suspect is fitted as gain x reference + offset + small shift and stretch in both directions + sharpness (the
 * gradients and the Laplacian of the reference), by least squares. A pirate's scaling, half a pixel of displacement, blur
 * and colour changes vanish in the fit; a mark does not look like any of them.
 * Invariant: the residual is in levels of the reference, whatever contrast the suspect has.
 */
import { CELLS, HEIGHT, WIDTH } from '#core/picture/index.ts';

/** A fitted frame. */
export type Residual = {
  /** Suspect minus fit, in levels of the reference, clipped at CLIP. */
  readonly cells: Float64Array;
  /** Correlation of suspect and fit: 1 = the same picture. */
  readonly correlation: number;
  /** Mean square of the residual. */
  readonly noise: number;
};

/** Local, because inner loops over imported bindings are slow where modules are instrumented (test runners, debuggers). */
const SIZE: number = CELLS;
/** Edges that moved between the frames compared are not marks: no cell counts for more levels than this. */
const CLIP = 8;
const TERMS = 8;
/** Below this contrast (levels, root mean square) there is nothing to compare: black, white, fades. */
const FLAT = 2;

/** The regressors of a reference frame, side by side; made once per frame. */
export const regressors = (reference: Uint8Array): Float64Array => {
  const out = new Float64Array(TERMS * SIZE);
  const at = (x: number, y: number): number => reference[Math.min(HEIGHT - 1, Math.max(0, y)) * WIDTH + Math.min(WIDTH - 1, Math.max(0, x))] as number;
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const i = y * WIDTH + x;
      const here = at(x, y);
      const right = at(x + 1, y);
      const left = at(x - 1, y);
      const below = at(x, y + 1);
      const above = at(x, y - 1);
      const across = (right - left) / 2;
      const down = (below - above) / 2;
      out[i] = 1;
      out[SIZE + i] = here;
      out[2 * SIZE + i] = across;
      out[3 * SIZE + i] = down;
      out[4 * SIZE + i] = right + left + below + above - 4 * here;
      out[5 * SIZE + i] = across * (x / WIDTH - 0.5);
      out[6 * SIZE + i] = down * (y / HEIGHT - 0.5);
      out[7 * SIZE + i] = here * here * (1 / 255);
    }
  }
  return out;
};

/** Solves the symmetric system in place by elimination; the ridge keeps terms that are all zero out. */
const solve = (matrix: Float64Array, right: Float64Array): Float64Array => {
  for (let k = 0; k < TERMS; k++) {
    const pivot = (matrix[k * TERMS + k] as number) + 1e-6;
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
  return right;
};

/** Fits a suspect frame; undefined where the pictures have no contrast or nothing in common. `terms` is `regressors(reference)`. */
export const residualOf = (terms: Float64Array, suspect: Uint8Array): Residual | undefined => {
  const matrix = new Float64Array(TERMS * TERMS);
  const right = new Float64Array(TERMS);
  for (let a = 0; a < TERMS; a++) {
    let product = 0;
    for (let i = 0; i < SIZE; i++) product += (terms[a * SIZE + i] as number) * (suspect[i] as number);
    right[a] = product;
    for (let b = a; b < TERMS; b++) {
      let sum = 0;
      for (let i = 0; i < SIZE; i++) sum += (terms[a * SIZE + i] as number) * (terms[b * SIZE + i] as number);
      matrix[a * TERMS + b] = sum;
      matrix[b * TERMS + a] = sum;
    }
  }
  let mean = 0;
  for (let i = 0; i < SIZE; i++) mean += suspect[i] as number;
  mean /= SIZE;
  let variance = 0;
  for (let i = 0; i < SIZE; i++) variance += ((suspect[i] as number) - mean) ** 2;
  variance /= SIZE;
  if (variance < FLAT * FLAT) return undefined;
  const fit = solve(matrix, right);
  // Gain at mid contrast: the slope of the quadratic at the mean of the reference.
  const referenceMean = (matrix[1] as number) / SIZE;
  const gain = (fit[1] as number) + (2 * (fit[7] as number) * referenceMean) / 255;
  if (!(gain > 0.2 && gain < 5)) return undefined;
  const cells = new Float64Array(SIZE);
  let noise = 0;
  for (let i = 0; i < SIZE; i++) {
    let value = suspect[i] as number;
    for (let a = 0; a < TERMS; a++) value -= (fit[a] as number) * (terms[a * SIZE + i] as number);
    noise += value * value;
    cells[i] = Math.max(-CLIP, Math.min(CLIP, value / gain));
  }
  noise /= SIZE;
  return { cells, correlation: Math.sqrt(Math.max(0, 1 - noise / variance)), noise: noise / (gain * gain) };
};
