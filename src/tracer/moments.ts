// SPDX-License-Identifier: Apache-2.0
/**
 * Which picture of the reference a suspect's picture shows, once it is known where in the picture it lies.
 *
 * Frame rates are changed by leaving out and repeating pictures, so each picture of the suspect is compared with the few of
 * the reference around its time, on pixels of which many are chosen because they change from picture to picture.
 * Invariant: a picture that fits none is left out; where nothing moves, time alone decides.
 */
import type { Homography } from './registration/homography.ts';
import { cubicAt, type Picture } from './registration/picture.ts';
import { samplerOf } from './tone.ts';

/** The picture shown, how far it is from the suspect's (mean square, in levels), how well the two correlate, and whether no other would do. */
export type Moment = { readonly n: number; readonly distance: number; readonly correlation: number; readonly sure: boolean };
/** Compares pictures of one segment. */
export type MomentFinder = {
  /** The reference picture nearest to `expected` (fractional) that the suspect's picture shows. */
  find(suspect: Picture, map: Homography, expected: number, reach: number): Moment | undefined;
};

const RANDOM_POINTS = 1200;
const MOVING_POINTS = 1200;
const LOOKED_AT = 20_000;
/** Distance from the expected time costs so much of the noise per picture: of pictures that hardly differ, time decides. */
const TIE = 0.05;
/** A picture fits for sure if its neighbours are so much farther from the suspect's. */
const SURE = 1.25;
/** Contrast, in levels squared, below which there is nothing to compare. */
const FLAT = 2;

/** `pictures` are those of a segment, rows of `stride` bytes. */
export const createMomentFinder = (pictures: readonly Uint8Array[], size: { readonly width: number; readonly height: number; readonly stride: number }): MomentFinder => {
  const { width, height, stride } = size;
  const step = Math.max(1, Math.sqrt((width * height) / LOOKED_AT));
  const [first, middle, last] = [0, pictures.length >> 1, pictures.length - 1].map((n) => pictures[n] as Uint8Array) as [Uint8Array, Uint8Array, Uint8Array];
  const all: { x: number; y: number; change: number }[] = [];
  for (let row = 0; (row + 1) * step < height - 4; row++) {
    for (let column = 0; (column + 1) * step < width - 4; column++) {
      const x = 2 + Math.floor((column + ((row * 0.618) % 1)) * step);
      const y = 2 + Math.floor((row + 0.37) * step);
      const at = y * stride + x;
      all.push({ x, y, change: Math.abs((first[at] as number) - (middle[at] as number)) + Math.abs((middle[at] as number) - (last[at] as number)) });
    }
  }
  const moving = [...all].sort((a, b) => b.change - a.change).slice(0, MOVING_POINTS);
  const every = Math.max(1, Math.floor(all.length / RANDOM_POINTS));
  const points = [...moving, ...all.filter((_, i) => i % every === 0)];
  const xs = Int32Array.from(points, ({ x }) => x);
  const ys = Int32Array.from(points, ({ y }) => y);
  const places = Int32Array.from(points, ({ x, y }) => y * stride + x);
  const samples = new Float32Array(points.length);

  return {
    find(suspect, map, expected, reach) {
      const right = suspect.width - 3;
      const bottom = suspect.height - 3;
      let shown = 0;
      const { pixels: m } = samplerOf(suspect, map, width, height);
      for (let i = 0; i < xs.length; i++) {
        const x = xs[i] as number;
        const y = ys[i] as number;
        const w = 1 / ((m[6] as number) * x + (m[7] as number) * y + (m[8] as number));
        const px = ((m[0] as number) * x + (m[1] as number) * y + (m[2] as number)) * w;
        const py = ((m[3] as number) * x + (m[4] as number) * y + (m[5] as number)) * w;
        const inside = px >= 1 && py >= 1 && px <= right && py <= bottom;
        samples[i] = inside ? cubicAt(suspect.luma, suspect.width, px, py) : Number.NaN;
        if (inside) shown++;
      }
      if (shown < points.length / 6) return undefined;
      let best: { readonly n: number; readonly distance: number; readonly correlation: number; readonly cost: number } | undefined;
      const distances: number[] = [];
      const from = Math.max(0, Math.ceil(expected - reach));
      const to = Math.min(pictures.length - 1, Math.floor(expected + reach));
      for (let n = from; n <= to; n++) {
        const picture = pictures[n] as Uint8Array;
        let count = 0;
        let a = 0;
        let b = 0;
        let aa = 0;
        let bb = 0;
        let ab = 0;
        for (let i = 0; i < points.length; i++) {
          const value = samples[i] as number;
          if (!(value >= -1e9)) continue;
          const other = picture[places[i] as number] as number;
          count++;
          a += other;
          b += value;
          aa += other * other;
          bb += value * value;
          ab += other * value;
        }
        const varA = aa / count - (a / count) ** 2;
        const varB = bb / count - (b / count) ** 2;
        if (varA < FLAT || varB < FLAT) continue;
        const covariance = ab / count - (a / count) * (b / count);
        const correlation = covariance / Math.sqrt(varA * varB);
        // In levels of the reference, so that a faded copy is compared alike.
        const distance = varA * (1 - Math.max(0, correlation) ** 2);
        distances[n] = distance;
        const cost = distance + TIE * (distance + 0.5) * Math.abs(n - expected);
        if (best === undefined || cost < best.cost) best = { n, distance, correlation, cost };
      }
      if (best === undefined) return undefined;
      const { n, distance, correlation } = best;
      const others = [distances[n - 1], distances[n + 1]];
      return { n, distance, correlation, sure: others.every((other) => other !== undefined && other > SURE * distance) };
    },
  };
};
