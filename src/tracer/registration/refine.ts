// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the exact map from reference to suspect near a first guess: inverse-compositional Lucas-Kanade over pyramids.
 *
 * Baker and Matthews, "Lucas-Kanade 20 Years On" (IJCV 56, 2004), with gain and offset of every pair in the loop, on the
 * pixels of strongest contrast, spread over the picture, with Huber weights (logos and subtitles of a pirate are outliers).
 * Several pairs of frames share one map. One pixel of error would cost a factor of six in the marks' signal, so the last
 * level is the reference at full size and the interpolation is cubic.
 * Invariant: the answer's correlation is measured on the answer's own map; a map that ran away is undefined, never returned.
 */
import { compose, IDENTITY, invert, mapPlace, type Homography } from './homography.ts';
import { cubicAt, type Picture, type Pyramid } from './picture.ts';

/** A frame of the reference and the suspect's frame of the same moment. */
export type Pair = { readonly reference: Pyramid; readonly suspect: Pyramid };

/** A map and how well it fits. */
export type Registration = {
  readonly map: Homography;
  /** Correlation of suspect and reference over the pixels used, outliers weighted down: 1 is the same picture. */
  readonly correlation: number;
  /** Root mean square of what is left, in levels of the suspect. */
  readonly residual: number;
  /** Standard error of the map in pixels of the reference, at its worst corner, as the fit itself estimates it. */
  readonly standardError: number;
};

/** Pixels used per pair and level. */
const POINTS = 12_000;
/** Pixels of a block side from which the strongest are taken. */
const BLOCKS = 48;
const ITERATIONS = 30;
/** Iterations end when no corner moves by so much of a pixel. */
const STILL = 0.003;
/** More than the pixels of any picture: 2^26. */
const PLACES = 67_108_864;
/** Residuals above this many times their median count less. */
const HUBER = 1.5 * 1.4826;
/** A corner this far from its first guess, in half widths of the picture, has run away. */
const RUN_AWAY = 0.5;

type Points = { readonly count: number; readonly x: Float64Array; readonly y: Float64Array; readonly value: Float64Array; /** Eight derivatives per point. */ readonly slopes: Float64Array };

/** Derivatives of a level by the eight parameters of a small map, at its most telling pixels. */
const pointsOf = (level: Picture, wanted: number, parameters: number): Points => {
  const { width, height, luma, across, down } = level;
  const columns = Math.max(1, Math.min(BLOCKS, Math.floor(width / 8)));
  const rows = Math.max(1, Math.min(BLOCKS, Math.floor(height / 8)));
  const each = Math.max(1, Math.ceil(wanted / (columns * rows)));
  const step = Math.max(1, Math.floor(Math.sqrt((width * height) / (wanted * 6))));
  const places: number[] = [];
  const found = new Float64Array(Math.ceil(height / rows + 2) * Math.ceil(width / columns + 2));
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let seen = 0;
      const bottom = Math.min(height - 2, Math.floor(((row + 1) * height) / rows));
      const right = Math.min(width - 2, Math.floor(((column + 1) * width) / columns));
      for (let y = Math.max(2, Math.floor((row * height) / rows)); y < bottom; y += step) {
        for (let x = Math.max(2, Math.floor((column * width) / columns)); x < right; x += step) {
          const at = y * width + x;
          const dx = (luma[at + 1] as number) - (luma[at - 1] as number);
          const dy = (luma[at + width] as number) - (luma[at - width] as number);
          const slope = Math.floor(dx * dx + dy * dy);
          // Slope and place in one exact double, so that they are sorted natively.
          if (slope > 16) found[seen++] = slope * PLACES + at;
        }
      }
      const sorted = found.subarray(0, seen).sort();
      for (let i = Math.max(0, seen - each); i < seen; i++) places.push((sorted[i] as number) % PLACES);
    }
  }
  const count = places.length;
  const out: Points = { count, x: new Float64Array(count), y: new Float64Array(count), value: new Float64Array(count), slopes: new Float64Array(count * parameters) };
  places.forEach((at, i) => {
    const x = (2 * ((at % width) + 0.5)) / across - 1;
    const y = (2 * (Math.floor(at / width) + 0.5)) / down - 1;
    // Scharr's derivative: the same in all directions, and calm on noise.
    const pick = (offset: number): number => luma[at + offset] as number;
    const dx = ((10 * (pick(1) - pick(-1)) + 3 * (pick(1 - width) - pick(-1 - width)) + 3 * (pick(1 + width) - pick(-1 + width))) / 32) * (across / 2);
    const dy = ((10 * (pick(width) - pick(-width)) + 3 * (pick(width - 1) - pick(-width - 1)) + 3 * (pick(width + 1) - pick(-width + 1))) / 32) * (down / 2);
    out.x[i] = x;
    out.y[i] = y;
    out.value[i] = luma[at] as number;
    const to = i * parameters;
    const { slopes } = out;
    slopes[to] = dx * x;
    slopes[to + 1] = dx * y;
    slopes[to + 2] = dx;
    slopes[to + 3] = dy * x;
    slopes[to + 4] = dy * y;
    slopes[to + 5] = dy;
    if (parameters === 8) {
      slopes[to + 6] = -x * (dx * x + dy * y);
      slopes[to + 7] = -y * (dx * x + dy * y);
    }
  });
  return out;
};

/** Solves a symmetric positive system; also the inverse's diagonal for errors. Undefined where it is singular. */
const solveSymmetric = (matrix: Float64Array, right: Float64Array, size: number): { solution: Float64Array; inverse: Float64Array } | undefined => {
  const factor = new Float64Array(matrix);
  for (let k = 0; k < size; k++) {
    for (let j = 0; j <= k; j++) {
      let sum = factor[k * size + j] as number;
      for (let i = 0; i < j; i++) sum -= (factor[k * size + i] as number) * (factor[j * size + i] as number);
      if (j < k) factor[k * size + j] = sum / (factor[j * size + j] as number);
      else if (!(sum > 1e-9 * Math.abs(matrix[k * size + k] as number) + 1e-12)) return undefined;
      else factor[k * size + k] = Math.sqrt(sum);
    }
  }
  const solve = (of: Float64Array): Float64Array => {
    const out = new Float64Array(of);
    for (let k = 0; k < size; k++) {
      let sum = out[k] as number;
      for (let i = 0; i < k; i++) sum -= (factor[k * size + i] as number) * (out[i] as number);
      out[k] = sum / (factor[k * size + k] as number);
    }
    for (let k = size - 1; k >= 0; k--) {
      let sum = out[k] as number;
      for (let i = k + 1; i < size; i++) sum -= (factor[i * size + k] as number) * (out[i] as number);
      out[k] = sum / (factor[k * size + k] as number);
    }
    return out;
  };
  const inverse = new Float64Array(size * size);
  for (let k = 0; k < size; k++) {
    const unit = new Float64Array(size);
    unit[k] = 1;
    inverse.set(solve(unit), k * size);
  }
  return { solution: solve(right), inverse };
};

/** The level of the suspect whose pixels are nearest in size to those of a level of the reference. */
const suspectLevel = (suspect: Pyramid, level: Picture, map: Homography): Picture => {
  const [ax, ay] = mapPlace(map, [-0.5, -0.5]);
  const [bx, by] = mapPlace(map, [0.5, 0.5]);
  const wanted = level.across / Math.max(0.05, Math.hypot(bx - ax, by - ay) / Math.SQRT2);
  let best = suspect[0] as Picture;
  for (const each of suspect) if (Math.abs(Math.log(each.across / wanted)) < Math.abs(Math.log(best.across / wanted))) best = each;
  return best;
};

type Fit = { map: Homography; correlation: number; residual: number; standardError: number };

/** One level: iterates until nothing moves. */
const fitLevel = (pairs: readonly Pair[], depth: number, start: Homography, parameters: 6 | 8, wanted: number): Fit | undefined => {
  const levels = pairs.map(({ reference }) => reference[Math.min(depth, reference.length - 1)] as Picture);
  const points = levels.map((level) => pointsOf(level, wanted, parameters));
  const size = parameters + 2 * pairs.length;
  if (points.reduce((sum, { count }) => sum + count, 0) < 4 * size) return undefined;
  let map = start;
  const sampled = points.map(({ count }) => new Float64Array(count));
  const tones = pairs.map(() => ({ gain: 1, offset: 0 }));
  let fit: Fit | undefined;
  let scale = Infinity;
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const used: number[] = [];
    pairs.forEach(({ suspect }, p) => {
      const own = points[p] as Points;
      const level = levels[p] as Picture;
      const source = suspectLevel(suspect, level, map);
      const values = sampled[p] as Float64Array;
      const [a = 1, b = 0, c = 0, d = 0, e = 1, f = 0, g = 0, h = 0] = map;
      const right = source.width - 3;
      const bottom = source.height - 3;
      for (let i = 0; i < own.count; i++) {
        const x = own.x[i] as number;
        const y = own.y[i] as number;
        const w = 1 / (g * x + h * y + 1);
        const px = (((a * x + b * y + c) * w + 1) * source.across) / 2 - 0.5;
        const py = (((d * x + e * y + f) * w + 1) * source.down) / 2 - 0.5;
        values[i] = px >= 1 && py >= 1 && px <= right && py <= bottom ? cubicAt(source.luma, source.width, px, py) : Number.NaN;
      }
      if (iteration === 0) Object.assign(tones[p] as object, toneOf(own, values));
      const tone = tones[p] as { gain: number; offset: number };
      for (let i = 0; i < own.count; i += 7) {
        const error = Math.abs((values[i] as number) - tone.gain * (own.value[i] as number) - tone.offset);
        if (error >= 0) used.push(error);
      }
    });
    if (used.length < 2 * size) return undefined;
    used.sort((left, right) => left - right);
    scale = Math.max(0.5, used[used.length >> 1] as number);
    const limit = HUBER * scale;
    const matrix = new Float64Array(size * size);
    const vector = new Float64Array(size);
    let squares = 0;
    let total = 0;
    let product = 0;
    let left = 0;
    let right = 0;
    const slope = new Float64Array(parameters);
    pairs.forEach((_, p) => {
      const own = points[p] as Points;
      const values = sampled[p] as Float64Array;
      const tone = tones[p] as { gain: number; offset: number };
      const column = parameters + 2 * p;
      let mean = 0;
      let other = 0;
      let both = 0;
      let first = 0;
      let second = 0;
      let weightSum = 0;
      for (let i = 0; i < own.count; i++) {
        const value = values[i] as number;
        if (!(value >= -1e9)) continue;
        const template = own.value[i] as number;
        const error = value - tone.gain * template - tone.offset;
        const weight = Math.abs(error) <= limit ? 1 : limit / Math.abs(error);
        const at = i * parameters;
        for (let k = 0; k < parameters; k++) slope[k] = tone.gain * (own.slopes[at + k] as number);
        for (let k = 0; k < parameters; k++) {
          const weighted = weight * (slope[k] as number);
          for (let j = 0; j <= k; j++) matrix[k * size + j] = (matrix[k * size + j] as number) + weighted * (slope[j] as number);
          matrix[column * size + k] = (matrix[column * size + k] as number) + weighted * template;
          matrix[(column + 1) * size + k] = (matrix[(column + 1) * size + k] as number) + weighted;
          vector[k] = (vector[k] as number) + weighted * error;
        }
        matrix[column * size + column] = (matrix[column * size + column] as number) + weight * template * template;
        matrix[(column + 1) * size + column] = (matrix[(column + 1) * size + column] as number) + weight * template;
        matrix[(column + 1) * size + column + 1] = (matrix[(column + 1) * size + column + 1] as number) + weight;
        vector[column] = (vector[column] as number) + weight * template * error;
        vector[column + 1] = (vector[column + 1] as number) + weight * error;
        squares += weight * error * error;
        total += weight;
        mean += weight * template;
        other += weight * value;
        both += weight * template * value;
        first += weight * template * template;
        second += weight * value * value;
        weightSum += weight;
      }
      if (weightSum > 0) {
        product += both - (mean * other) / weightSum;
        left += first - (mean * mean) / weightSum;
        right += second - (other * other) / weightSum;
      }
    });
    const solved = solveSymmetric(matrix, vector, size);
    if (solved === undefined || total < 2 * size) return undefined;
    const { solution, inverse } = solved;
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = solution.subarray(0, parameters);
    // The suspect seen through the map looks like the reference moved by the step: take the step back.
    map = compose(map, invert([1 + a, b, c, d, 1 + e, f, g, h, 1]));
    tones.forEach((tone, p) => {
      tone.gain += solution[parameters + 2 * p] as number;
      tone.offset += solution[parameters + 2 * p + 1] as number;
    });
    const level = levels[0] as Picture;
    const moved = Math.max(Math.abs(a) + Math.abs(b) + Math.abs(c) + Math.abs(g) + Math.abs(h), Math.abs(d) + Math.abs(e) + Math.abs(f)) * (level.across / 2);
    const variance = squares / Math.max(1, total - size);
    fit = { map, correlation: left > 0 && right > 0 ? product / Math.sqrt(left * right) : 0, residual: Math.sqrt(squares / total), standardError: errorAt(inverse, size, parameters, variance, level) };
    if (tones.some(({ gain }) => !(gain > 0.1 && gain < 10))) return undefined;
    if (moved < STILL) break;
  }
  return fit;
};

/** Error of a corner, in pixels of the level. */
const errorAt = (inverse: Float64Array, size: number, parameters: number, variance: number, level: Picture): number => {
  const along = (weights: readonly number[]): number => {
    let sum = 0;
    weights.forEach((a, k) => {
      weights.forEach((b, j) => {
        if (k < parameters && j < parameters) sum += a * b * (inverse[k * size + j] as number);
      });
    });
    return Math.max(0, sum) * variance;
  };
  return Math.hypot(Math.sqrt(along([1, 1, 1, 0, 0, 0, -1, -1])) * (level.across / 2), Math.sqrt(along([0, 0, 0, 1, 1, 1, -1, -1])) * (level.down / 2));
};

/** First gain and offset by least squares. */
const toneOf = (points: Points, values: Float64Array): { gain: number; offset: number } => {
  let count = 0;
  let sumX = 0;
  let sumY = 0;
  let square = 0;
  let product = 0;
  for (let i = 0; i < points.count; i++) {
    const y = values[i] as number;
    if (!(y >= -1e9)) continue;
    const x = points.value[i] as number;
    count++;
    sumX += x;
    sumY += y;
    square += x * x;
    product += x * y;
  }
  const spread = square - (sumX * sumX) / Math.max(1, count);
  const gain = spread > 0 ? Math.min(5, Math.max(0.2, (product - (sumX * sumY) / Math.max(1, count)) / spread)) : 1;
  return { gain, offset: count === 0 ? 0 : (sumY - gain * sumX) / count };
};

/**
 * The map near `start`; undefined where the pairs have nothing in common there. `coarsest` and `finest` are levels of the
 * reference pyramids, 0 the full size. Coarse levels fit a parallelogram, fine ones perspective too.
 */
export const refine = (pairs: readonly Pair[], start: Homography = IDENTITY, options: { coarsest?: number; finest?: number; points?: number } = {}): Registration | undefined => {
  const depth = Math.min(...pairs.map(({ reference }) => reference.length)) - 1;
  const coarsest = Math.min(depth, options.coarsest ?? depth);
  const finest = Math.min(coarsest, options.finest ?? 0);
  let fit: Fit | undefined;
  let map = start;
  for (let level = coarsest; level >= finest; level--) {
    const next = fitLevel(pairs, level, map, level >= 3 ? 6 : 8, options.points ?? POINTS);
    if (next === undefined) return undefined;
    for (const corner of [[-1, -1], [1, -1], [-1, 1], [1, 1]] as const) {
      const [x, y] = mapPlace(next.map, corner);
      const [u, v] = mapPlace(start, corner);
      if (!(Math.hypot(x - u, y - v) < RUN_AWAY * Math.max(1, Math.hypot(start[0] as number, start[4] as number)))) return undefined;
    }
    fit = next;
    map = next.map;
  }
  return fit;
};
