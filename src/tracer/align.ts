// SPDX-License-Identifier: Apache-2.0
/**
 * Where in the reference each moment of a suspect comes from: unknown start, cuts, insertions, another frame rate.
 *
 * Frames are compared as 32 x 18 cells, each frame normalised, the reference's mean picture taken away (so that a standing
 * camera is told apart by what moves), and correlated over many probes at once. First one offset for the whole suspect; then
 * every stretch of a few seconds keeps it, finds a better one, or is left out.
 * Invariant: only the speed of the reference is tried; what does not match is left out, never guessed.
 */
import { CELLS, HEIGHT, WIDTH } from '#core/picture/index.ts';

/** Frames WIDTH x HEIGHT, side by side, frame n at n / framesPerSecond seconds. */
export type Clip = { readonly framesPerSecond: number; readonly frames: Uint8Array; readonly count: number };

/** Frame n of a clip. */
export const frameOf = (clip: Clip, n: number): Uint8Array => clip.frames.subarray(n * CELLS, (n + 1) * CELLS);

/** Reference time minus suspect time, in seconds, for suspect times [from, to). */
export type Stretch = { readonly from: number; readonly to: number; readonly shift: number; readonly score: number };

const ACROSS = WIDTH / 2;
const DOWN = HEIGHT / 2;
const SIZE = ACROSS * DOWN;
/** Probes of a search over the whole reference. */
const PROBES = 64;
/** Seconds of suspect that are moved together. */
const STRETCH = 4;
/** Correlation from which the whole suspect counts as found: unrelated clips reach 0.31 at their best offset. */
const COMMON = 0.5;
/** The same for a stretch, which has fewer probes; and for one that has no other stretch to agree with. */
const FOUND = 0.6;
const ALONE = 0.75;
/** A stretch leaves the common offset only for one that fits so much better. */
const BETTER = 0.12;
/** From here on no better place is looked for. */
const SURE = 0.9;
/** Below this a stretch shows something else: an advertisement, another film. */
const FOREIGN = 0.35;
/** Starting points between two frames of the reference that are tried: fast motion is lost over a tenth of a second. */
const PHASES = 3;
/** Least probes an offset must be judged by. */
const LEAST = 10;

type Signatures = { readonly rate: number; readonly count: number; readonly values: Float32Array; readonly energy: Float64Array };

/** Normalised 32 x 18 frames at the reference's rate, from `start` seconds on. */
const signatures = (clip: Clip, rate: number, start = 0): Signatures => {
  const count = Math.max(0, Math.floor((clip.count / clip.framesPerSecond - start) * rate));
  const values = new Float32Array(count * SIZE);
  for (let n = 0; n < count; n++) {
    const frame = frameOf(clip, Math.min(clip.count - 1, Math.round((n / rate + start) * clip.framesPerSecond)));
    let mean = 0;
    for (let y = 0; y < DOWN; y++) {
      for (let x = 0; x < ACROSS; x++) {
        const i = 2 * y * WIDTH + 2 * x;
        const value = (frame[i] as number) + (frame[i + 1] as number) + (frame[i + WIDTH] as number) + (frame[i + WIDTH + 1] as number);
        values[n * SIZE + y * ACROSS + x] = value;
        mean += value;
      }
    }
    mean /= SIZE;
    let energy = 0;
    for (let i = n * SIZE; i < (n + 1) * SIZE; i++) {
      const value = (values[i] as number) - mean;
      values[i] = value;
      energy += value * value;
    }
    // A frame without contrast has no direction; it stays all but zero.
    const norm = 1 / Math.sqrt(energy + SIZE * 16);
    for (let i = n * SIZE; i < (n + 1) * SIZE; i++) values[i] = (values[i] as number) * norm;
  }
  return { rate, count, values, energy: new Float64Array(count) };
};

const subtractMean = (from: Signatures, mean: Float32Array): void => {
  for (let n = 0; n < from.count; n++) {
    let energy = 0;
    for (let i = 0; i < SIZE; i++) {
      const value = (from.values[n * SIZE + i] as number) - (mean[i] as number);
      from.values[n * SIZE + i] = value;
      energy += value * value;
    }
    from.energy[n] = energy;
  }
};

const meanOf = ({ count, values }: Signatures): Float32Array => {
  const mean = new Float32Array(SIZE);
  for (let n = 0; n < count; n++) for (let i = 0; i < SIZE; i++) mean[i] = (mean[i] as number) + (values[n * SIZE + i] as number) / count;
  return mean;
};

/** Correlation of the probes with the reference, `offset` frames later. */
const scoreAt = (reference: Signatures, suspect: Signatures, probes: readonly number[], offset: number): number => {
  let product = 0;
  let left = 0;
  let right = 0;
  let used = 0;
  for (const probe of probes) {
    const n = probe + offset;
    if (n < 0 || n >= reference.count || probe >= suspect.count) continue;
    used++;
    const a = n * SIZE;
    const b = probe * SIZE;
    let sum = 0;
    for (let i = 0; i < SIZE; i++) sum += (reference.values[a + i] as number) * (suspect.values[b + i] as number);
    product += sum;
    left += reference.energy[n] as number;
    right += suspect.energy[probe] as number;
  }
  return used < Math.min(LEAST, probes.length) || left === 0 || right === 0 ? 0 : product / Math.sqrt(left * right);
};

type Place = { readonly offset: number; readonly phase: number; readonly score: number };

const search = (reference: Signatures, phases: readonly Signatures[], probes: readonly number[]): Place => {
  let best: Place = { offset: 0, phase: 0, score: -1 };
  const last = probes[probes.length - 1] ?? 0;
  phases.forEach((suspect, phase) => {
    for (let offset = -last; offset < reference.count - (probes[0] ?? 0); offset++) {
      const score = scoreAt(reference, suspect, probes, offset);
      if (score > best.score) best = { offset, phase, score };
    }
  });
  return best;
};

const spread = (from: number, to: number, most: number): number[] => {
  const count = Math.min(most, to - from);
  return Array.from({ length: count }, (_, i) => from + Math.floor(((i + 0.5) * (to - from)) / count));
};

/** Squared difference of two frames after normalising contrast; the lower, the closer. */
const distance = (a: Uint8Array, b: Uint8Array): number => {
  const size = CELLS;
  let sumA = 0;
  let sumB = 0;
  let squareA = 0;
  let squareB = 0;
  let product = 0;
  for (let i = 0; i < size; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    sumA += x;
    sumB += y;
    squareA += x * x;
    squareB += y * y;
    product += x * y;
  }
  const varA = squareA - (sumA * sumA) / size;
  const varB = squareB - (sumB * sumB) / size;
  return varA <= 0 || varB <= 0 ? 1 : 1 - (product - (sumA * sumB) / size) / Math.sqrt(varA * varB);
};

/** The offset refined to single frames of the suspect. */
const refine = (reference: Clip, suspect: Clip, shift: number, from: number, to: number): number => {
  const step = 1 / suspect.framesPerSecond;
  const reach = Math.ceil(1.5 / reference.framesPerSecond / step);
  const first = Math.max(0, Math.ceil((from + shift) * reference.framesPerSecond));
  const last = Math.min(reference.count, Math.floor((to + shift) * reference.framesPerSecond));
  const probes = spread(first, Math.max(first, last), 24);
  let best = { sum: Infinity, moved: 0 };
  for (let moved = -reach; moved <= reach; moved++) {
    let sum = 0;
    let used = 0;
    for (const n of probes) {
      const at = Math.round((n / reference.framesPerSecond - shift) * suspect.framesPerSecond) + moved;
      if (at < 0 || at >= suspect.count) continue;
      sum += distance(frameOf(reference, n), frameOf(suspect, at));
      used++;
    }
    if (used > 0 && sum / used < best.sum) best = { sum: sum / used, moved };
  }
  return shift - best.moved * step;
};

/** The suspect frame that shows reference frame `n`, looked for two frames around where `shift` puts it; undefined outside the clip. */
export const matchingFrame = (reference: Clip, suspect: Clip, n: number, shift: number): Uint8Array | undefined => {
  const centre = Math.round((n / reference.framesPerSecond - shift) * suspect.framesPerSecond);
  let best: { frame: Uint8Array; distance: number } | undefined;
  for (let at = centre - 2; at <= centre + 2; at++) {
    if (at < 0 || at >= suspect.count) continue;
    const frame = frameOf(suspect, at);
    const apart = distance(frameOf(reference, n), frame);
    if (best === undefined || apart < best.distance) best = { frame, distance: apart };
  }
  return best?.frame;
};

/** Correlation of the whole suspect at its best offset: how well two clips go together, for choosing among views of them. */
export const commonScore = (reference: Clip, suspect: Clip): number => {
  const rate = reference.framesPerSecond;
  const [ours, theirs] = [signatures(reference, rate), signatures(suspect, rate)];
  if (ours.count === 0 || theirs.count < LEAST) return 0;
  const mean = meanOf(ours);
  subtractMean(ours, mean);
  subtractMean(theirs, mean);
  return search(ours, [theirs], spread(0, theirs.count, PROBES)).score;
};

/** The stretches of the suspect that show the reference; none where the two have nothing in common. */
export const align = (reference: Clip, suspect: Clip): readonly Stretch[] => {
  const rate = reference.framesPerSecond;
  const ours = signatures(reference, rate);
  const theirs = Array.from({ length: PHASES }, (_, phase) => signatures(suspect, rate, phase / (PHASES * rate)));
  const count = theirs[0]?.count ?? 0;
  if (ours.count === 0 || count < LEAST) return [];
  const mean = meanOf(ours);
  for (const each of [ours, ...theirs]) subtractMean(each, mean);
  const common = search(ours, theirs, spread(0, count, PROBES));
  const stretches: Stretch[] = [];
  const length = STRETCH * rate;
  let place = common.score >= COMMON ? common : undefined;
  for (let from = 0; from < count; from += length) {
    const to = Math.min(count, from + length);
    const probes = spread(from, to, length);
    let score = place === undefined ? 0 : scoreAt(ours, theirs[place.phase] as Signatures, probes, place.offset);
    if (score < SURE && to - from >= LEAST) {
      const other = search(ours, theirs, spread(from, to, 20));
      if (other.score >= (place === undefined ? ALONE : FOUND) && other.score >= score + BETTER) {
        place = other;
        score = other.score;
      }
    }
    // Where little moves the correlation is low: the place is kept, and frames that do not fit are left out later.
    if (place === undefined || score < FOREIGN) continue;
    stretches.push({ from: from / rate, to: to / rate, shift: place.offset / rate - place.phase / (PHASES * rate), score });
  }
  const refined = new Map<number, number>();
  return stretches.map((stretch) => {
    const alike = stretches.filter(({ shift }) => shift === stretch.shift);
    const shift = refined.get(stretch.shift) ?? refine(reference, suspect, stretch.shift, alike[0]?.from ?? 0, alike[alike.length - 1]?.to ?? 0);
    refined.set(stretch.shift, shift);
    return { ...stretch, shift };
  });
};
