// SPDX-License-Identifier: Apache-2.0
/**
 * Decides where incoming fragments are cut, sample by sample, so that no chunk spans two crypto periods or two segments.
 *
 * ISO/IEC 23001-7 section 6 allows one key per fragment as we write it; CMAF (ISO/IEC 23000-19, 7.3.2) one tfdt per chunk.
 * A sample belongs to the period and segment in which its decode time lies: decode order is the only order a fragment can
 * be cut in.
 * Invariant: the pieces are the samples that went in, all of them, once, in order.
 */
import type { Sample, TrackFragment } from '#core/isobmff/fragment.ts';
import { microsFromTicks } from '#core/time.ts';
import type { CryptoPeriod, MediaTicks, Micros, SegmentNumber, Timescale } from '#core/time.ts';

/** Samples [from, to) of the fragment as one chunk. */
export type Piece = {
  readonly from: number;
  readonly to: number;
  readonly segment: SegmentNumber;
  readonly period: CryptoPeriod;
  readonly decodeTime: MediaTicks;
  /** Ticks. */
  readonly duration: number;
  /** Starts with a sync sample. */
  readonly independent: boolean;
};

/** Names the segment of a sample; called in decode order, may keep state. */
export type Segmenter = (start: Micros, sync: boolean) => SegmentNumber;

/** Segments of an event: floor(time / duration), whatever the source's own boundaries. */
export const clockSegments =
  (segmentDuration: Micros): Segmenter =>
  (start) =>
    Math.floor(start / segmentDuration) as SegmentNumber;

/**
 * Segments of a title: number 0, 1, 2... A new one starts at the first sync sample in the next `segmentDuration` interval, so
 * that every segment can be decoded alone; with key frames on the grid it is the grid.
 */
export const titleSegments = (segmentDuration: Micros): Segmenter => {
  let number = 0;
  let slot: number | undefined;
  return (start, sync) => {
    const here = Math.floor(start / segmentDuration);
    if (slot === undefined) slot = here;
    else if (sync && here > slot) {
      slot = here;
      number += 1;
    }
    return number as SegmentNumber;
  };
};

/** The boundaries a fragment is cut at. */
export type CutRules = {
  readonly timescale: Timescale;
  /** Added to the decode times of the fragment first. */
  readonly shift: bigint;
  readonly segmentOf: Segmenter;
  readonly period: Micros;
  /** Longest chunk in ticks, or none. */
  readonly longest?: number;
};

/** Where to cut `samples` [first, end) of a fragment. */
export const cutPoints = (fragment: TrackFragment, rules: CutRules, first: number = 0): readonly Piece[] => {
  const pieces: Piece[] = [];
  let time = fragment.baseMediaDecodeTime + rules.shift;
  for (let index = 0; index < first; index += 1) time += BigInt(fragment.samples[index]?.duration ?? 0);
  let open: { from: number; segment: SegmentNumber; period: CryptoPeriod; decodeTime: MediaTicks; duration: number; independent: boolean } | undefined;
  for (let index = first; index < fragment.samples.length; index += 1) {
    const sample = fragment.samples[index] as Sample;
    const start = microsFromTicks(time as MediaTicks, rules.timescale);
    const segment = rules.segmentOf(start, sample.sync);
    const period = Math.floor(start / rules.period) as CryptoPeriod;
    const tooLong = open !== undefined && rules.longest !== undefined && open.duration + sample.duration > rules.longest;
    if (open === undefined || segment !== open.segment || period !== open.period || tooLong) {
      if (open !== undefined) pieces.push({ ...open, to: index });
      open = { from: index, segment, period, decodeTime: time as MediaTicks, duration: 0, independent: sample.sync };
    }
    open.duration += sample.duration;
    time += BigInt(sample.duration);
  }
  if (open !== undefined) pieces.push({ ...open, to: fragment.samples.length });
  return pieces;
};
