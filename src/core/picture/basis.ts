// SPDX-License-Identifier: Apache-2.0
/**
 * The small luma pictures that pixel marks are made and read in, and the cosines a mark is a sum of.
 *
 * A picture of any size is looked at as WIDTH x HEIGHT cells. A mark lives in COEFFICIENTS cosines of middle frequency: a
 * pirate's scaling and coding keep them, and a change of brightness or a gradient does not look like them.
 * Invariant: the cosines are orthonormal over the cells, so `project(render(c)) = c`.
 */

/** Cells across a picture. */
export const WIDTH = 64;
/** Cells down a picture. */
export const HEIGHT = 36;
/** Cells of a picture. */
export const CELLS: number = WIDTH * HEIGHT;
/** Cosines a mark is made of; a multiple of eight, so that eight variants can be exactly orthogonal. */
export const COEFFICIENTS = 208;

/** Below this frequency pictures change by themselves: fades, clouds, exposure. In half waves per 16 x 9 picture. */
const LOWEST = 0.3;

type Term = { readonly u: number; readonly v: number; readonly frequency: number };

/** The terms by rising frequency, measured alike in both directions of a 16:9 picture. */
const TERMS: readonly Term[] = Array.from({ length: WIDTH * HEIGHT }, (_, i) => ({ u: i % WIDTH, v: Math.floor(i / WIDTH) }))
  .map(({ u, v }) => ({ u, v, frequency: Math.hypot(u / 16, v / 9) }))
  .filter(({ frequency }) => frequency >= LOWEST)
  .sort((a, b) => a.frequency - b.frequency || a.u - b.u)
  .slice(0, COEFFICIENTS);

const wave = (size: number, count: number): Float64Array => {
  const table = new Float64Array(count * size);
  for (let k = 0; k < count; k++) {
    const norm = Math.sqrt((k === 0 ? 1 : 2) / size);
    for (let x = 0; x < size; x++) table[k * size + x] = norm * Math.cos((Math.PI * k * (x + 0.5)) / size);
  }
  return table;
};
const ACROSS = 1 + Math.max(...TERMS.map(({ u }) => u));
const DOWN = 1 + Math.max(...TERMS.map(({ v }) => v));
const COLUMNS = wave(WIDTH, ACROSS);
const ROWS = wave(HEIGHT, DOWN);

/** The picture whose cosines have these coefficients, row by row. */
export const render = (coefficients: ArrayLike<number>): Float64Array => {
  const lines = new Float64Array(DOWN * WIDTH);
  TERMS.forEach(({ u, v }, k) => {
    const value = coefficients[k] as number;
    for (let x = 0; x < WIDTH; x++) lines[v * WIDTH + x] = (lines[v * WIDTH + x] as number) + value * (COLUMNS[u * WIDTH + x] as number);
  });
  const out = new Float64Array(CELLS);
  for (let v = 0; v < DOWN; v++) {
    for (let y = 0; y < HEIGHT; y++) {
      const row = ROWS[v * HEIGHT + y] as number;
      for (let x = 0; x < WIDTH; x++) out[y * WIDTH + x] = (out[y * WIDTH + x] as number) + row * (lines[v * WIDTH + x] as number);
    }
  }
  return out;
};

/** The coefficients of a picture: its inner products with the cosines. */
export const project = (cells: ArrayLike<number>): Float64Array => {
  const lines = new Float64Array(ACROSS * HEIGHT);
  for (let y = 0; y < HEIGHT; y++) {
    for (let u = 0; u < ACROSS; u++) {
      let sum = 0;
      for (let x = 0; x < WIDTH; x++) sum += (cells[y * WIDTH + x] as number) * (COLUMNS[u * WIDTH + x] as number);
      lines[u * HEIGHT + y] = sum;
    }
  }
  return Float64Array.from(TERMS, ({ u, v }) => {
    let sum = 0;
    for (let y = 0; y < HEIGHT; y++) sum += (lines[u * HEIGHT + y] as number) * (ROWS[v * HEIGHT + y] as number);
    return sum;
  });
};

/** Frequency of each coefficient, in half waves per 16 x 9 picture. */
export const frequencies: Float64Array = Float64Array.from(TERMS, ({ frequency }) => frequency);
