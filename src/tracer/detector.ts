// SPDX-License-Identifier: Apache-2.0
/**
 * Reads the marks inside the bitstream from a suspect: place in time and picture, then slot by slot what each group left.
 *
 * Runs over the stretches that show the asset; the map is tracked from segment to segment, each of the suspect's pictures is
 * matched with the one of the reference that it shows, and renditions are compared by how strongly their own differences show.
 * Invariants: nothing here knows a viewer's symbols, so whatever is chosen here, chance stays chance for the innocent; pictures
 * are handled as they come, at most one segment of the reference and a handful of the suspect's are held.
 */
import type { PictureTool } from '#ports';
import type { Stretch } from './align.ts';
import type { Differences } from './differences.ts';
import { levelsOf, lock, unpadded, type DecodedSegment, type Lock } from './lock.ts';
import type { MarkedReference, Rendition } from './marked-reference.ts';
import type { MarkedSegment } from './marked-segment.ts';
import { createMomentFinder } from './moments.ts';
import { apart, type Homography } from './registration/homography.ts';
import type { Picture, Pyramid } from './registration/picture.ts';
import { refine } from './registration/refine.ts';
import { createSlotReader, type SlotReader, type SlotStatistic } from './slot-reader.ts';
import type { Suspect } from './suspect.ts';
import { samplerOf, toneOf } from './tone.ts';
import { findView, mapOf } from './views.ts';

/** What was read of one segment. */
export type SegmentReading = {
  readonly number: number;
  /** Rendition whose differences show most. */
  readonly rendition: string;
  /** Pictures read of those there are. */
  readonly pictures: number;
  readonly of: number;
  /** Second of the suspect at which the segment begins, and reference time minus suspect time. */
  readonly at: number;
  readonly shift: number;
  readonly map: Homography;
  /** Correlation of suspect and reference, standard error of the map in pixels, mean square of the residual in levels. */
  readonly correlation: number;
  readonly standardError: number;
  readonly noise: number;
  readonly statistics: readonly SlotStatistic[];
};
/** All that was read. */
export type Detection = { readonly segments: readonly SegmentReading[]; /** Parts of the suspect that show the asset. */ readonly stretches: readonly Stretch[]; /** Renditions whose differences were compared. */ readonly hypotheses: number };

/** What a detector needs. */
export type DetectorOptions = {
  readonly reference: MarkedReference;
  readonly suspect: Suspect;
  readonly tool: PictureTool;
  readonly onSegment?: (reading: SegmentReading) => void;
  readonly onDifferences?: (rendition: string, number: number) => void;
  /** Segments after which reading ends. */
  readonly limit?: number;
  readonly signal?: AbortSignal;
};

type Run = { readonly from: number; to: number; readonly shift: number };
type Active = { readonly rendition: Rendition; readonly segment: MarkedSegment; readonly decoded: DecodedSegment; readonly reader: SlotReader; noise: number };

/** Stretches whose shifts differ by less belong together, in seconds. */
const SAME_SHIFT = 0.05;
/** Pictures around the expected one that may be shown. */
const REACH = 2.6;
/** A picture that correlates less shows something else. */
const ALIKE = 0.75;
/** A map that moves a corner by more pixels between segments has lost its track. */
const JUMP = 3;
/** A rendition whose marks show less than this share of what they did is compared with the others anew. */
const FADED = 0.6;
/** Share of a segment's pictures that makes a reading. */
const ENOUGH = 0.2;

/** `memory`: pictures of a segment that is done with, to be overwritten. */
const decodedOf = async (tool: PictureTool, segment: MarkedSegment, { width, height }: Rendition, signal: AbortSignal | undefined, memory: Uint8Array[] = []): Promise<DecodedSegment> => {
  const stride = Math.ceil(width / 4) * 4;
  const rows = Math.ceil(height / 4) * 4;
  const pictures: Uint8Array[] = [];
  const buffer = (n: number): Uint8Array => (memory[n] ??= new Uint8Array(stride * rows));
  for await (const picture of tool.codedPictures({ parts: [segment.original], width: stride, height: rows, buffer, ...(signal === undefined ? {} : { signal }) })) pictures.push(picture);
  return { pictures, times: segment.times, width, height, stride };
};

/** How strongly a segment's own differences show: no symbol is needed to see it. */
export const strengthOf = (statistics: readonly SlotStatistic[]): number => {
  const seen = statistics.filter(({ seen: share }) => share > 0);
  return seen.length === 0 ? 0 : seen.reduce((sum, { fineRatio, coarseRatio }) => sum + Math.abs(fineRatio) + Math.abs(coarseRatio), 0) / seen.length;
};

/** Reads a suspect; no segments where nothing in it shows the asset. */
export const detect = async (options: DetectorOptions): Promise<Detection> => {
  const { reference, suspect, signal } = options;
  const { view, stretches } = findView(reference.clip, suspect.clip);
  const runs: Run[] = [];
  for (const { from, to, shift } of stretches) {
    const last = runs[runs.length - 1];
    if (last !== undefined && Math.abs(last.shift - shift) < SAME_SHIFT && from - last.to < 1) last.to = to;
    else runs.push({ from, to, shift });
  }
  const found = new Map<number, SegmentReading>();
  const tried = new Set<string>();
  let map = mapOf(view);
  for (const run of runs) {
    if (found.size >= (options.limit ?? Infinity)) break;
    map = await readRun({ ...options, run, start: map, tried, found });
  }
  signal?.throwIfAborted();
  return { stretches: stretches.map((stretch) => ({ ...stretch, shift: stretch.shift + reference.origin })), segments: [...found.values()].sort((a, b) => a.number - b.number), hypotheses: Math.max(1, tried.size) };
};

/** The rendition nearest in size to the suspect: only to find the place with. */
const nearest = ({ renditions }: MarkedReference, { width }: Suspect): readonly Rendition[] => [...renditions].sort((a, b) => Math.abs(Math.log(a.width / width)) - Math.abs(Math.log(b.width / width)));

type RunOptions = DetectorOptions & { readonly run: Run; readonly start: Homography; readonly tried: Set<string>; readonly found: Map<number, SegmentReading> };

const readRun = async (options: RunOptions): Promise<Homography> => {
  const { reference, suspect, tool, run, start, tried, found, signal } = options;
  const length = reference.segmentLength / 1_000_000;
  // Small frames count from `origin`; shifts of stretches do so too.
  const rough = run.shift + reference.origin;
  const numbers = await segmentsOf(reference, run.from + rough, run.to + rough, length);
  const guess = nearest(reference, suspect);
  let place: Lock | undefined;
  // Segments near the middle first: the ends of a stretch may belong to something else.
  const tries = [...numbers].sort((a, b) => Math.abs(a - (numbers[numbers.length >> 1] as number)) - Math.abs(b - (numbers[numbers.length >> 1] as number)));
  for (const number of tries.slice(0, 3)) {
    const rendition = guess[0] as Rendition;
    const segment = await reference.segment(rendition.id, number);
    if (segment === undefined) continue;
    place = await lock(suspect, await decodedOf(tool, segment, rendition, signal), start, rough);
    if (place !== undefined) break;
  }
  if (place === undefined) return start;

  const incoming = suspect.pictures(Math.max(0, run.from - 0.5), run.to - run.from + 1, true);
  const tracker = createTracker(place);
  let current: { readonly rendition: Rendition; readonly usual: number } | undefined;
  // The next segment is decoded while this one is read; each has its own memory.
  const memory = [new Map<string, Uint8Array[]>(), new Map<string, Uint8Array[]>()] as const;
  const prepare = (at: number, renditions: readonly Rendition[]): Promise<Active[]> => activate(options, renditions, numbers[at] as number, memory[at % 2] as Map<string, Uint8Array[]>);
  let ahead: { readonly rendition: Rendition; readonly segment: Promise<Active[]> } | undefined;
  let carried: Shown[] = [];
  for (const [at, number] of numbers.entries()) {
    if (found.size >= (options.limit ?? Number.POSITIVE_INFINITY)) break;
    const ready = await ahead?.segment;
    const active: Active[] = ready !== undefined && ahead?.rendition === current?.rendition ? ready : await prepare(at, current === undefined ? reference.renditions : [current.rendition]);
    ahead = current === undefined || at + 1 >= numbers.length ? undefined : { rendition: current.rendition, segment: prepare(at + 1, [current.rendition]) };
    // A fault is thrown where the segment is waited for.
    ahead?.segment.catch(() => undefined);
    if (active.length === 0) continue;
    const pass = await readSegment({ suspect, active, incoming, carried, tracker });
    carried = pass.carried;
    for (const { rendition } of active) tried.add(rendition.id);
    const best = active.map((each) => ({ each, strength: strengthOf(each.reader.statistics()) })).sort((a, b) => b.strength - a.strength)[0];
    if (best !== undefined && pass.read >= Math.max(1, ENOUGH * best.each.segment.frames) && !found.has(number)) {
      const { rendition, reader, segment } = best.each;
      const reading: SegmentReading = {
        number, rendition: rendition.id, pictures: pass.read, of: segment.frames, at: pass.begin, shift: (segment.times[0] as number) - pass.begin, map: tracker.map(),
        correlation: pass.correlation, standardError: tracker.standardError(), noise: best.each.noise / Math.max(1, reader.frames), statistics: reader.statistics(),
      };
      found.set(number, reading);
      options.onSegment?.(reading);
      // Marks that fade may mean that the pirate was given another rendition: the next segment is compared with all of them.
      current = current !== undefined && best.strength < FADED * current.usual ? undefined : { rendition, usual: current === undefined ? best.strength : 0.8 * current.usual + 0.2 * best.strength };
    }
    if (pass.over) break;
  }
  await ahead?.segment.catch(() => undefined);
  await incoming.return(undefined);
  return tracker.map();
};

/** Segments that are there and overlap [from, to] of media time. */
const segmentsOf = async (reference: MarkedReference, from: number, to: number, length: number): Promise<readonly number[]> => {
  // Copied video keeps its own key frames: a segment begins near number x length, not at it.
  const near = reference.numbers.filter((number) => (number + 2) * length > from && (number - 1) * length < to);
  const smallest = reference.renditions[reference.renditions.length - 1] as Rendition;
  const there: number[] = [];
  for (const number of near) {
    const times = (await reference.segment(smallest.id, number))?.times;
    if (times !== undefined && (times[times.length - 1] as number) > from && (times[0] as number) < to) there.push(number);
  }
  return there;
};

/** Decodes a segment in the renditions to read, and gets their differences. */
const activate = async ({ reference, tool, onDifferences, signal }: DetectorOptions, renditions: readonly Rendition[], number: number, memory: Map<string, Uint8Array[]>): Promise<Active[]> => {
  const active: Active[] = [];
  for (const rendition of renditions) {
    onDifferences?.(rendition.id, number);
    const segment = await reference.segment(rendition.id, number);
    const differences: Differences | undefined = segment === undefined ? undefined : await reference.differences(rendition.id, number);
    if (segment === undefined || differences === undefined) continue;
    const own = memory.get(rendition.id) ?? [];
    memory.set(rendition.id, own);
    active.push({ rendition, segment, decoded: await decodedOf(tool, segment, rendition, signal, own), reader: createSlotReader(differences), noise: 0 });
  }
  return active;
};

/** Keeps the map exact from segment to segment. */
type Tracker = {
  track(decoded: DecodedSegment, picture: Picture, n: number): void;
  /** A picture was found so many seconds later in the reference than expected. */
  drift(seconds: number): void;
  map(): Homography;
  standardError(): number;
  shift(): number;
};
/** Share of a sure picture's displacement by which the expected time follows. */
const FOLLOW = 0.15;
const createTracker = (place: Lock): Tracker => {
  let { map, standardError, shift } = place;
  let before: { reference: Pyramid; suspect: Pyramid } | undefined;
  return {
    track(decoded, picture, n) {
      // Copies: the pictures themselves are overwritten before the next segment is tracked.
      const pair = { reference: levelsOf(copyOf(unpadded(decoded, decoded.pictures[n] as Uint8Array))), suspect: levelsOf(copyOf(picture)) };
      const pairs = before === undefined || before.reference[0]?.width !== pair.reference[0]?.width ? [pair] : [before, pair];
      before = pair;
      const fit = refine(pairs, map, { coarsest: 1, points: 8000 });
      if (fit === undefined || fit.correlation < ALIKE || apart(fit.map, map, decoded.width, decoded.height) > JUMP) return;
      ({ map, standardError } = fit);
    },
    drift(seconds) {
      shift += FOLLOW * seconds;
    },
    map: () => map,
    standardError: () => standardError,
    shift: () => shift,
  };
};

const copyOf = (picture: Picture): Picture => ({ ...picture, luma: picture.luma.slice() });

type Shown = { readonly picture: Picture; readonly at: number };
type Pass = { readonly carried: Shown[]; readonly read: number; readonly begin: number; readonly correlation: number; readonly over: boolean };

/** Reads one segment from the suspect's pictures; those at its end may also show the next segment and are carried on. */
const readSegment = async (options: { suspect: Suspect; active: readonly Active[]; incoming: AsyncGenerator<Shown>; carried: readonly Shown[]; tracker: Tracker }): Promise<Pass> => {
  const { suspect, active, incoming, tracker } = options;
  const lead = active[0] as Active;
  const { times, pictures } = lead.decoded;
  const count = pictures.length;
  const step = ((times[count] as number) - (times[0] as number)) / count;
  const finder = createMomentFinder(pictures, lead.decoded);
  const best = new Map<number, { readonly picture: Picture; readonly at: number; readonly distance: number }>();
  const carried: Shown[] = [];
  let tracked = false;
  let correlation = 0;
  let read = 0;
  let begin = 0;

  const add = (n: number): void => {
    const held = best.get(n) as { readonly picture: Picture; readonly at: number };
    best.delete(n);
    if (!tracked) {
      tracked = true;
      tracker.track(lead.decoded, held.picture, n);
    }
    for (const each of active) {
      const { rendition, decoded, reader } = each;
      const at = each === lead ? n : Math.min(decoded.pictures.length - 1, nearestTime(decoded.times, times[n] as number));
      const sampler = samplerOf(held.picture, tracker.map(), rendition.width, rendition.height);
      const tone = toneOf(sampler, decoded.pictures[at] as Uint8Array, decoded.stride);
      if (tone === undefined) continue;
      reader.add(at, sampler, decoded.pictures[at] as Uint8Array, tone);
      each.noise += tone.noise;
      if (each !== lead) continue;
      correlation += tone.correlation;
      begin += held.at - n * step;
      read++;
    }
  };
  /** Answers whether the segment is over. */
  const take = (shown: Shown): boolean => {
    const expected = (shown.at + 0.5 / suspect.rate + tracker.shift() - (times[0] as number)) / step - 0.5;
    if (expected > count - 1 - REACH) carried.push(shown);
    if (expected > count + REACH) return true;
    if (expected < -REACH) return false;
    const moment = finder.find(shown.picture, tracker.map(), expected, REACH);
    if (moment === undefined || moment.correlation < ALIKE) return false;
    // A suspect of another rate lies between two pictures; only whole steps are drift.
    if (moment.sure && Math.abs(moment.n - expected) > 0.6) tracker.drift((moment.n - expected) * step);
    const held = best.get(moment.n);
    if (held === undefined || moment.distance < held.distance) best.set(moment.n, { picture: shown.picture, at: shown.at, distance: moment.distance });
    for (const n of [...best.keys()].sort((a, b) => a - b)) if (n < expected - 2 * REACH) add(n);
    return false;
  };

  let over = options.carried.some(take);
  let ended = false;
  while (!over) {
    const next = await incoming.next();
    if (next.done === true) {
      ended = true;
      break;
    }
    over = take(next.value);
  }
  for (const n of [...best.keys()].sort((a, b) => a - b)) add(n);
  return { carried, read, begin: read === 0 ? (times[0] as number) - tracker.shift() : begin / read, correlation: correlation / Math.max(1, read), over: ended };
};

/** Index of the picture on show at a time. */
const nearestTime = (times: Float64Array, time: number): number => {
  let n = 0;
  while (n + 1 < times.length - 1 && Math.abs((times[n + 1] as number) - time) <= Math.abs((times[n] as number) - time)) n++;
  return n;
};
