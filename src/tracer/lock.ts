// SPDX-License-Identifier: Apache-2.0
/**
 * From a rough place in time and picture to the exact one: the map, and the time to the picture.
 *
 * A few pictures of one segment are compared with the suspect's around the expected time; for each displacement in time the map
 * is refined on small pictures, and the best displacement at full size.
 * Invariant: no lock without correlation at full size; what does not match is no common content.
 */
import type { Homography } from './registration/homography.ts';
import { pictureOf, pyramidOf, type Picture, type Pyramid } from './registration/picture.ts';
import { refine, type Registration } from './registration/refine.ts';
import type { Suspect } from './suspect.ts';

/** Pictures of a segment of the reference, as decoded for one rendition. */
export type DecodedSegment = {
  readonly pictures: readonly Uint8Array[];
  readonly times: Float64Array;
  readonly width: number;
  readonly height: number;
  /** Row length of `pictures`. */
  readonly stride: number;
};

/** A suspect's exact place. */
export type Lock = Registration & {
  /** Reference time minus suspect time, in seconds. */
  readonly shift: number;
};

/** Seconds around the expected time that are tried. */
const REACH = 0.13;
/** Displacements that are tried at most to either side. */
const MOST = 8;
/** Where in the segment pictures are compared. */
const PROBES = [0.12, 0.4, 0.68, 0.92] as const;
/** Correlation at full size from which a lock counts. */
const SAME = 0.8;
/** Width below which pyramids end. */
const SMALLEST = 48;
/** Width of the pictures on which displacements are told apart. */
const ROUGH = 200;

/** A reference picture without its padding. */
export const unpadded = ({ width, height, stride }: DecodedSegment, luma: Uint8Array): Picture => {
  if (stride === width) return pictureOf(luma.subarray(0, width * height), width, height);
  const out = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) out.set(luma.subarray(y * stride, y * stride + width), y * width);
  return pictureOf(out, width, height);
};
/** Pyramid of a picture, as maps are refined on. */
export const levelsOf = (picture: Picture): Pyramid => pyramidOf(picture, SMALLEST);

/** Finds the exact place near `start` and `shift`; undefined where the suspect shows something else there. */
export const lock = async (suspect: Suspect, reference: DecodedSegment, start: Homography, shift: number): Promise<Lock | undefined> => {
  const count = reference.pictures.length;
  const probes = PROBES.map((share) => Math.min(count - 1, Math.floor(share * count)));
  const reach = Math.min(MOST, Math.ceil(REACH * suspect.rate));
  const [begin, end] = [reference.times[0] as number, reference.times[count] as number];
  const from = Math.max(0, begin - shift - (reach + 1) / suspect.rate);
  const shown: { at: number; levels: Pyramid }[] = [];
  const wanted = probes.map((n) => ((reference.times[n] as number) + (reference.times[n + 1] as number)) / 2 - shift);
  for await (const { picture, at } of suspect.pictures(from, end - begin + (2 * reach + 4) / suspect.rate)) {
    if (wanted.some((time) => Math.abs(time - at) <= (reach + 1) / suspect.rate)) shown.push({ at, levels: levelsOf(picture) });
  }
  const references = probes.map((n) => levelsOf(unpadded(reference, reference.pictures[n] as Uint8Array)));
  const depth = (references[0] as Pyramid).findIndex(({ width }) => width <= ROUGH);
  const rough = depth < 0 ? (references[0] as Pyramid).length - 1 : depth;
  const pairsAt = (moved: number): { reference: Pyramid; suspect: Pyramid }[] =>
    probes.flatMap((_, i) => {
      const time = (wanted[i] as number) + moved / suspect.rate;
      // The picture on show at that time.
      const on = shown.filter(({ at }) => at <= time + 1e-6).at(-1);
      return on === undefined || time - on.at > 1.5 / suspect.rate ? [] : [{ reference: references[i] as Pyramid, suspect: on.levels }];
    });
  let best: { moved: number; fit: Registration } | undefined;
  for (const moved of Array.from({ length: 2 * reach + 1 }, (_, i) => (i % 2 === 0 ? i / 2 : -(i + 1) / 2))) {
    const pairs = pairsAt(moved);
    if (pairs.length < 2) continue;
    const fit = refine(pairs, start, { finest: rough, points: 3000 });
    if (fit !== undefined && (best === undefined || fit.correlation > best.fit.correlation + 1e-5)) best = { moved, fit };
  }
  if (best === undefined) return undefined;
  const exact = refine(pairsAt(best.moved), best.fit.map, { coarsest: rough });
  if (exact === undefined || exact.correlation < SAME) return undefined;
  return { ...exact, shift: shift - best.moved / suspect.rate };
};
