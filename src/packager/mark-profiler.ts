// SPDX-License-Identifier: Apache-2.0
/**
 * Finds the places of one rendition that marking may change, chunk by chunk, in stream order.
 *
 * Causal: after each slice as many places as the time that has passed allows; what a poor stretch leaves over is carried on
 * inside the segment. Places are spread over slots and polarity groups in turn, over time by the quota, over the picture by a
 * grid of 3x3 macroblocks that each serve once in four pictures. Caps on the energy of a picture and of a segment, and on the
 * bytes that the profile takes, come before the quota.
 * Invariant: every place can be switched alone or with any others (replacement.ts), in the clear and under `cenc` and `cbcs`.
 */
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { lengthPrefixedNals, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { MASK_DISTANCE, replacementOf } from '#core/avc/slice-data/replacement.ts';
import { createSliceDataParser, type SliceData } from '#core/avc/slice-data/slice-data.ts';
import { parseSliceHeader } from '#core/avc/slice-header.ts';
import { isSealcastError } from '#core/errors.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Track } from '#core/isobmff/init.ts';
import { MARK_BOX_OVERHEAD, type MarkGroup, type MarkSite, type WithoutSites } from '#core/mark/index.ts';
import { candidatesOf } from './mark-candidates.ts';
import { markRandom, type MarkRandom } from './mark-random.ts';

/** Where a chunk lies: its segment, and its begin and end as shares of the segment's nominal length (may exceed 1). */
export type ChunkPlace = { readonly segment: number; readonly from: number; readonly to: number };

/** Places of a chunk; offsets from the first byte of its `moof` as it was passed in. */
export type ChunkSites = {
  readonly sites: readonly MarkSite[];
  /** Why there are none. */
  readonly because?: WithoutSites;
  /** Places that edges switch on for everybody, where `requireMark` was asked for; apart from all others. */
  readonly covers: readonly MarkSite[];
};

/** What a finished segment had room for. */
export type SegmentCapacity = {
  readonly segment: number;
  /** Places that met all rules before any quota. */
  readonly eligible: number;
  readonly sites: number;
  /** Places of the poorest polarity group, and how many were wanted. */
  readonly poorest: number;
  readonly wanted: number;
  /** Sum of squared amplitudes per luma sample: mean squared error before drift if all were on. */
  readonly energy: number;
  /** Why nothing was found, where nothing was. */
  readonly because?: WithoutSites;
};

/** A profiler of one track; chunks have to come in stream order. */
export type MarkProfiler = {
  /** Profiles a clear `moof` + `mdat`. Never throws for what the media is: damaged or unknown coding has no places. */
  profile(clear: Uint8Array, place: ChunkPlace): ChunkSites;
  /** Capacity of the segment in the making, which ends with this call; undefined if there is none. */
  finish(): SegmentCapacity | undefined;
};

/** Track and strength of the marks. */
export type MarkProfilerOptions = {
  readonly track: Track;
  readonly representation: string;
  /** 32 bytes, from the mark secret. */
  readonly choiceKey: Uint8Array;
  /** Slots of a segment. */
  readonly slots: number;
  /** Places of each polarity group of a slot in a segment of nominal length. Default 16. */
  readonly placesPerGroup?: number;
  /** Largest share of a segment's bytes that boxes may take. Default 0.01. */
  readonly overhead?: number;
  /** Also find places at which to make the media unwatchable until an edge has marked it. Default false. */
  readonly requireMark?: boolean;
  /** Told of each finished segment when the next one begins. */
  readonly onSegment?: (capacity: SegmentCapacity) => void;
};

/** Mean squared error that a picture's own places may add if all were on, and those of a segment together. */
const PICTURE_ENERGY = 0.25;
const SEGMENT_ENERGY = 2;
/** Slots of two seconds, which SEGMENT_ENERGY is for. */
const ENERGY_SLOTS = 16;
/** Side of a cell in macroblocks, and pictures between two uses of it. */
const CELL = 3;
const REST = 4;
const PROFILE_HEAD = 9;
const BEHIND = 1e9;
/** Pictures without places that follow a P picture. */
const USUAL_B_PICTURES = 3;
const BLOCK = 16;
/** `cbcs` ciphers one block of ten. */
const PATTERN = 10;
/** Bytes of slice data that a cover changes, how far behind their beginning, and how much of a slice there must be. */
const COVER = 4;
const COVER_AT = 2;
const COVERED_SLICE = 32;

type Segment = {
  readonly number: number;
  readonly random: MarkRandom;
  readonly used: Uint16Array;
  turn: number[];
  placed: number;
  eligible: number;
  energy: number;
  bytes: number;
  cost: number;
  because: WithoutSites | undefined;
};

/** Throws `media-unsupported` for a track that is no H.264 video. */
export const createMarkProfiler = (options: MarkProfilerOptions): MarkProfiler => {
  const { track, slots, onSegment } = options;
  const placesPerGroup = options.placesPerGroup ?? 16;
  const overhead = options.overhead ?? 0.01;
  const { lengthSize, ...configuration } = avcConfigurationOf(track);
  const sets = createParameterSets({ lengthSize, ...configuration });
  const parser = createSliceDataParser();
  const quota = placesPerGroup * 2 * slots;
  let segment: Segment | undefined;
  let picture = 0;
  /** Of the places of the picture being read, all slices together. */
  let pictureEnergy = 0;
  let cells = new Int32Array(0);
  let columns = 0;
  let samples = 1;

  const open = (number: number): Segment => ({ number, random: markRandom(options.choiceKey, options.representation, number), used: new Uint16Array(slots * 2), turn: [], placed: 0, eligible: 0, energy: 0, bytes: 0, cost: 0, because: undefined });
  const capacityOf = ({ number, used, placed, eligible, energy, because }: Segment): SegmentCapacity => ({
    segment: number,
    eligible,
    sites: placed,
    poorest: used.reduce((least, count) => Math.min(least, count), Number.MAX_SAFE_INTEGER),
    wanted: placesPerGroup,
    energy: energy / samples,
    ...(placed === 0 ? { because: because ?? 'no-places' } : {}),
  });
  const finish = (): SegmentCapacity | undefined => {
    const capacity = segment && capacityOf(segment);
    segment = undefined;
    if (capacity !== undefined) onSegment?.(capacity);
    return capacity;
  };

  /** The next polarity group in turn: every one once before any twice, each round in another order. */
  const nextSwitch = (into: Segment): number => {
    if (into.turn.length === 0) {
      into.turn = Array.from({ length: slots * 2 }, (_, at) => at);
      for (let at = into.turn.length - 1; at > 0; at--) {
        const other = into.random.below(at + 1);
        [into.turn[at], into.turn[other]] = [into.turn[other] as number, into.turn[at] as number];
      }
    }
    return into.turn.pop() as number;
  };

  const sizeGrid = ({ sps }: SliceData['header']): void => {
    const height = sps.heightInMapUnits;
    columns = Math.ceil(sps.widthInMbs / CELL);
    samples = sps.widthInMbs * height * 256;
    const wanted = columns * Math.ceil(height / CELL);
    if (cells.length !== wanted) cells = new Int32Array(wanted).fill(-REST);
  };

  /** Takes the places that are due once `reached` of the segment is over; `nalAt` is where the slice's NAL unit begins in the chunk. */
  const choose = (into: Segment, nal: Uint8Array, nalAt: number, slice: SliceData, reached: number, cover: number | undefined, out: MarkSite[]): void => {
    const due = Math.floor(quota * reached) - into.placed;
    sizeGrid(slice.header);
    const { rows, energy, weight, rank } = candidatesOf(slice);
    into.eligible += rank.reduce<number>((sum, value) => sum + 1 - value, 0);
    if (due <= 0 || rows.length === 0) return;
    const { widthInMbs } = slice.header.sps;
    // Random order in proportion to weight (the exponential race), those that only stand in behind all others.
    const keys = Float64Array.from(weight, (value, at) => -Math.log(into.random.unit()) / value + (rank[at] as number) * BEHIND);
    const order = Uint32Array.from(rows, (_, at) => at).sort((a, b) => (keys[a] as number) - (keys[b] as number));
    const taken = new Uint8Array(nal.length + 2 * MASK_DISTANCE);
    if (cover !== undefined) taken.fill(1, cover + MASK_DISTANCE, cover + MASK_DISTANCE + COVER);
    let left = due;
    const allowed = SEGMENT_ENERGY * samples * (slots / ENERGY_SLOTS) * reached;
    for (const at of order) {
      if (left === 0) break;
      const row = rows[at] as number;
      const mb = slice.sites.mb[row] as number;
      const cell = Math.floor(Math.floor(mb / widthInMbs) / CELL) * columns + Math.floor((mb % widthInMbs) / CELL);
      if (picture - (cells[cell] as number) < REST) continue;
      const added = energy[at] as number;
      if (pictureEnergy + added > PICTURE_ENERGY * samples || into.energy + added > allowed) continue;
      const replacement = replacementOf(nal, slice, row);
      if (typeof replacement === 'string') continue;
      const { offset, mask } = replacement;
      const cost = 3 + mask.length;
      if (into.cost + cost > into.bytes * overhead) break;
      if (isCiphered(nal, slice.header.headerBytes, offset, mask.length) || overlaps(taken, offset, mask.length)) continue;
      taken.fill(1, offset + MASK_DISTANCE, offset + MASK_DISTANCE + mask.length);
      cells[cell] = picture;
      pictureEnergy += added;
      into.energy += added;
      into.cost += cost;
      into.placed += 1;
      left -= 1;
      const which = nextSwitch(into);
      into.used[which] = (into.used[which] as number) + 1;
      out.push({ offset: nalAt + offset, slot: which >> 1, group: (which & 1) as MarkGroup, mask: mask.slice() });
    }
  };

  const readSample = (into: Segment, clear: Uint8Array, from: number, size: number, place: { readonly from: number; readonly to: number }, out: MarkSite[], covers: MarkSite[]): void => {
    const sample = clear.subarray(from, from + size);
    picture += 1;
    pictureEnergy = 0;
    let coverable = options.requireMark === true;
    for (const unit of lengthPrefixedNals(sample, lengthSize)) {
      const nal = sample.subarray(unit.start, unit.end);
      if (unit.type === NAL_SPS || unit.type === NAL_PPS) sets.accept(nal);
      if (unit.type >= 2 && unit.type <= 4) into.because ??= 'data-partitioning';
      if ((unit.type !== NAL_SLICE && unit.type !== NAL_IDR) || unit.refIdc === 0) continue;
      const { type, headerBytes } = parseSliceHeader(nal, sets);
      // The first slice of a picture that others refer to: all that follow it are damaged with it.
      const cover = coverable && nal.length >= headerBytes + COVERED_SLICE ? headerBytes + COVER_AT : undefined;
      if (cover !== undefined) {
        coverable = false;
        covers.push({ offset: from + unit.start + cover, slot: slots, group: 0, mask: Uint8Array.from({ length: COVER }, () => 1 + into.random.below(255)) });
        into.cost += 3 + COVER;
      }
      if (unit.type !== NAL_SLICE || type !== 'P') continue;
      const slice = parser.parse(nal, sets);
      if (slice.sites === 'none') {
        into.because ??= slice.because;
        continue;
      }
      // Slices of one picture share its time by their place in the sample; the pictures between it and the next reference have no places.
      const reached = Math.min(Math.max(1, place.to), place.from + (place.to - place.from) * (unit.end / size + USUAL_B_PICTURES));
      choose(into, nal, from + unit.start, slice as SliceData, reached, cover, out);
    }
  };

  return {
    profile(clear, place) {
      if (segment !== undefined && segment.number !== place.segment) finish();
      const into = (segment ??= open(place.segment));
      into.bytes += clear.length;
      into.cost += MARK_BOX_OVERHEAD + PROFILE_HEAD;
      const out: MarkSite[] = [];
      const covers: MarkSite[] = [];
      const fragment = parseFragment(clear, [track]);
      const run = onlyTrackFragment(fragment);
      const total = run.samples.reduce((sum, { duration }) => sum + duration, 0) || 1;
      let time = 0;
      let because: WithoutSites | undefined;
      try {
        for (const sample of run.samples) {
          const share = (at: number): number => place.from + ((place.to - place.from) * at) / total;
          readSample(into, clear, sample.offset, sample.size, { from: share(time), to: share(time + sample.duration) }, out, covers);
          time += sample.duration;
        }
      } catch (error) {
        // A slice that cannot be parsed is delivered as it came: decoders conceal what profilers may not touch.
        if (!isSealcastError(error)) throw error;
        because = into.because ??= 'damaged';
      }
      if (out.length > 0) return { sites: out, covers };
      const why = because ?? into.because ?? 'no-places';
      // What carries no mark because of its coding is to be watched all the same.
      return { sites: [], because: why, covers: why === 'no-places' ? covers : [] };
    },
    finish,
  };
};

/** Whether `cbcs` (pattern 1:9 from the first byte of slice data) would cipher any of these bytes. */
const isCiphered = (nal: Uint8Array, dataFrom: number, offset: number, length: number): boolean => {
  for (let at = offset; at < offset + length; at++) {
    const block = Math.floor((at - dataFrom) / BLOCK);
    if (at >= dataFrom && block % PATTERN === 0 && dataFrom + (block + 1) * BLOCK <= nal.length) return true;
  }
  return false;
};

/** Whether a mask or its surroundings meet a place that was taken before; `taken` is shifted by MASK_DISTANCE. */
const overlaps = (taken: Uint8Array, offset: number, length: number): boolean => {
  for (let at = offset; at < offset + length + 2 * MASK_DISTANCE; at++) if (taken[at] === 1) return true;
  return false;
};
