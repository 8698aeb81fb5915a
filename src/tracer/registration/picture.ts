// SPDX-License-Identifier: Apache-2.0
/**
 * Luma pictures and their pyramids: every level averages 2 x 2 pixels of the one before.
 *
 * Invariant: all levels show the same unit square. A level of an odd size repeats the last row or column of the one above, so
 * its pixels reach past the square; `across` and `down` say how many of its pixels the square is.
 */

/** Luma by rows. Decoded pictures are bytes; levels above keep the fractions. */
export type Picture = {
  readonly width: number;
  readonly height: number;
  readonly luma: Uint8Array | Float32Array;
  /** Pixels of this level per picture width and height; fractions where a level above was odd. */
  readonly across: number;
  readonly down: number;
};
/** A picture and its halves, the largest first. */
export type Pyramid = readonly Picture[];

/** A decoded frame as a picture. */
export const pictureOf = (luma: Uint8Array | Float32Array, width: number, height: number): Picture => ({ width, height, luma, across: width, down: height });

/** Half the size. */
export const halved = ({ width, height, luma, across, down }: Picture): Picture => {
  const columns = Math.ceil(width / 2);
  const rows = Math.ceil(height / 2);
  const out = new Float32Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    const above = 2 * y * width;
    const below = Math.min(height - 1, 2 * y + 1) * width;
    for (let x = 0; x < columns; x++) {
      const left = 2 * x;
      const right = Math.min(width - 1, left + 1);
      out[y * columns + x] = ((luma[above + left] as number) + (luma[above + right] as number) + (luma[below + left] as number) + (luma[below + right] as number)) * 0.25;
    }
  }
  return { width: columns, height: rows, luma: out, across: across / 2, down: down / 2 };
};

/** Levels until one is at most `least` pixels wide. */
export const pyramidOf = (picture: Picture, least: number): Pyramid => {
  const levels = [picture];
  for (let level = picture; level.width > least && level.height > 16; levels.push(level)) level = halved(level);
  return levels;
};

/** The value between pixels by Catmull-Rom interpolation; x and y are pixel coordinates at least 1 inside. */
export const cubicAt = (luma: Uint8Array | Float32Array, width: number, x: number, y: number): number => {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const u = x - left;
  const v = y - top;
  const a0 = u * (u * (2 - u) - 1);
  const a1 = u * u * (3 * u - 5) + 2;
  const a2 = u * (u * (4 - 3 * u) + 1);
  const a3 = u * u * (u - 1);
  const at = (top - 1) * width + left - 1;
  const r0 = a0 * (luma[at] as number) + a1 * (luma[at + 1] as number) + a2 * (luma[at + 2] as number) + a3 * (luma[at + 3] as number);
  const b = at + width;
  const r1 = a0 * (luma[b] as number) + a1 * (luma[b + 1] as number) + a2 * (luma[b + 2] as number) + a3 * (luma[b + 3] as number);
  const c = b + width;
  const r2 = a0 * (luma[c] as number) + a1 * (luma[c + 1] as number) + a2 * (luma[c + 2] as number) + a3 * (luma[c + 3] as number);
  const d = c + width;
  const r3 = a0 * (luma[d] as number) + a1 * (luma[d + 1] as number) + a2 * (luma[d + 2] as number) + a3 * (luma[d + 3] as number);
  return 0.25 * (v * (v * (2 - v) - 1) * r0 + (v * v * (3 * v - 5) + 2) * r1 + v * (v * (4 - 3 * v) + 1) * r2 + v * v * (v - 1) * r3);
};
