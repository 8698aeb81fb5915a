// SPDX-License-Identifier: Apache-2.0
/**
 * First guesses of what part of the picture a suspect shows: whole, mirrored, inside black borders, cropped.
 *
 * Looked for on frames of 64 x 36 cells, together with the place in time; exact geometry comes later (registration/).
 * Invariant: the plain view is preferred; another one must fit clearly better.
 */
import { CELLS, HEIGHT, WIDTH } from '#core/picture/index.ts';
import { align, commonScore, frameOf, type Clip, type Stretch } from './align.ts';
import { compose, windowMap, type Homography, type Place } from './registration/homography.ts';

/** A part of a picture in unit coordinates: centre and half sizes; 1 x 1 around 0 x 0 is all of it. */
export type Part = { readonly centre: Place; readonly half: Place };
/** The part of the reference that is shown, mirrored or not, and the part of the suspect it fills. */
export type View = { readonly shown: Part; readonly flip: boolean; readonly filled: Part };

const WHOLE: Part = { centre: [0, 0], half: [1, 1] };
/** The view of a plain copy. */
export const PLAIN: View = { shown: WHOLE, flip: false, filled: WHOLE };
/** Stretches that correlate so well need no other view. */
const CONTENT = 0.85;
/** Another view must correlate better by so much. */
const BETTER = 0.05;
/** Cells darker than this in all frames are borders. */
const DARK = 26;
/** Borders and windows are looked for in so many frames. */
const LOOKS = 40;

/** The map from reference to suspect that a view stands for. */
export const mapOf = ({ shown, flip, filled }: View): Homography =>
  compose([filled.half[0], 0, filled.centre[0], 0, filled.half[1], filled.centre[1], 0, 0, 1], windowMap(shown.centre, shown.half, flip));

/** A clip that shows only a part of each frame, mirrored or not. */
const partOf = (clip: Clip, { centre, half }: Part, flip: boolean): Clip => {
  if (centre[0] === 0 && centre[1] === 0 && half[0] === 1 && half[1] === 1 && !flip) return clip;
  const frames = new Uint8Array(clip.count * CELLS);
  const from = new Float64Array(CELLS * 2);
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const u = ((2 * x + 1) / WIDTH - 1) * (flip ? -1 : 1);
      from[2 * (y * WIDTH + x)] = Math.min(WIDTH - 1.001, Math.max(0, ((centre[0] + half[0] * u + 1) * WIDTH) / 2 - 0.5));
      from[2 * (y * WIDTH + x) + 1] = Math.min(HEIGHT - 1.001, Math.max(0, ((centre[1] + half[1] * ((2 * y + 1) / HEIGHT - 1) + 1) * HEIGHT) / 2 - 0.5));
    }
  }
  for (let n = 0; n < clip.count; n++) {
    const frame = frameOf(clip, n);
    for (let i = 0; i < CELLS; i++) {
      const x = Math.floor(from[2 * i] as number);
      const y = Math.floor(from[2 * i + 1] as number);
      const u = (from[2 * i] as number) - x;
      const v = (from[2 * i + 1] as number) - y;
      const at = y * WIDTH + x;
      const upper = (1 - u) * (frame[at] as number) + u * (frame[at + 1] as number);
      const lower = (1 - u) * (frame[at + WIDTH] as number) + u * (frame[at + WIDTH + 1] as number);
      frames[n * CELLS + i] = (1 - v) * upper + v * lower + 0.5;
    }
  }
  return { ...clip, frames };
};

/** What is left when rows and columns that stay dark all the time are taken away. */
const withoutBorders = (clip: Clip): Part => {
  const brightest = new Uint8Array(CELLS);
  for (let look = 0; look < LOOKS; look++) {
    const frame = frameOf(clip, Math.floor(((look + 0.5) * clip.count) / LOOKS));
    for (let i = 0; i < CELLS; i++) if ((frame[i] as number) > (brightest[i] as number)) brightest[i] = frame[i] as number;
  }
  const darkRow = (y: number): boolean => Array.from({ length: WIDTH }, (_, x) => brightest[y * WIDTH + x] as number).every((value) => value < DARK);
  const darkColumn = (x: number): boolean => Array.from({ length: HEIGHT }, (_, y) => brightest[y * WIDTH + x] as number).every((value) => value < DARK);
  const span = (size: number, dark: (at: number) => boolean): readonly [number, number] => {
    let from = 0;
    let to = size;
    while (from < size / 3 && dark(from)) from++;
    while (to > (2 * size) / 3 && dark(to - 1)) to--;
    return [(2 * from) / size - 1, (2 * to) / size - 1];
  };
  const [left, right] = span(WIDTH, darkColumn);
  const [top, bottom] = span(HEIGHT, darkRow);
  return { centre: [(left + right) / 2, (top + bottom) / 2], half: [(right - left) / 2, (bottom - top) / 2] };
};

/** Parts of the reference that a cropped copy may show. */
const CROPS: readonly Part[] = [
  WHOLE,
  ...[0.9, 0.8, 0.7].flatMap((half) =>
    [-1, 0, 1].flatMap((across) => [-1, 0, 1].map((down): Part => ({ centre: [across * (1 - half), down * (1 - half)], half: [half, half] }))),
  ),
  { centre: [0, 0], half: [0.75, 1] },
  { centre: [0, 0], half: [1, 0.75] },
];

/** Where the suspect shows the reference, and which part of it; no stretches where the two have nothing in common. */
export const findView = (reference: Clip, suspect: Clip): { readonly view: View; readonly stretches: readonly Stretch[] } => {
  const plain = suspect.count === 0 ? [] : align(reference, suspect);
  const fit = scoreOf(plain);
  if (fit >= CONTENT || suspect.count === 0) return { view: PLAIN, stretches: plain };
  const filled = withoutBorders(suspect);
  let best = { view: PLAIN, score: fit };
  for (const flip of [false, true]) {
    const theirs = partOf(suspect, filled, flip);
    for (const shown of CROPS) {
      const score = commonScore(partOf(reference, shown, false), theirs);
      if (score > best.score + BETTER) best = { view: { shown, flip, filled }, score };
    }
  }
  const { view } = best;
  if (view === PLAIN) return { view, stretches: plain };
  return { view, stretches: align(partOf(reference, view.shown, false), partOf(suspect, view.filled, view.flip)) };
};

const scoreOf = (stretches: readonly Stretch[]): number => (stretches.length === 0 ? 0 : stretches.reduce((sum, { score }) => sum + score, 0) / stretches.length);
