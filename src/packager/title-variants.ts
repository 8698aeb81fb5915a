// SPDX-License-Identifier: Apache-2.0
/**
 * Checks that the variants of a rendition can be switched at every segment, and describes them as the one track they are.
 *
 * ETSI TS 104 002 clause 4: variants have the same header, the same segment boundaries and nothing that names them.
 * Invariant: manifests see one track; its bit rates are those of the largest variant.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { PlannedTrack } from './title-plan.ts';
import type { PackedTrack } from './title-track.ts';

/** A track of the finished title; `bytes` are those of all its variants. */
export type MergedTrack = PackedTrack & { readonly copied: boolean; readonly variants?: number };

/** One track per representation, in the order of the plan. Throws `media-unsupported` where variants do not fit together. */
export const mergeVariants = (planned: readonly PlannedTrack[], packed: readonly PackedTrack[], segmentDuration: Micros): readonly MergedTrack[] => {
  const groups = new Map<string, { copied: boolean; marked: boolean; tracks: PackedTrack[] }>();
  planned.forEach((plan, index) => {
    const group = groups.get(plan.id) ?? { copied: plan.conversion.copy, marked: plan.variant !== undefined, tracks: [] };
    group.tracks.push(packed[index] as PackedTrack);
    groups.set(plan.id, group);
  });
  return [...groups.values()].map(({ copied, marked, tracks }) => {
    const first = tracks[0] as PackedTrack;
    if (!marked) return { ...first, copied };
    requireGrid(first, segmentDuration);
    for (const other of tracks) requireAlike(first, other);
    const largest = tracks.reduce((a, b) => (b.bytes > a.bytes ? b : a));
    return { ...first, track: largest.track, bytes: tracks.reduce((sum, { bytes }) => sum + bytes, 0), copied, variants: tracks.length };
  });
};

const requireAlike = (first: PackedTrack, other: PackedTrack): void => {
  const alike =
    equalBytes(first.header, other.header) && first.start === other.start && first.durations.length === other.durations.length && first.durations.every((ticks, n) => ticks === other.durations[n]);
  if (!alike) throw new SealcastError('media-unsupported', 'the variants of the video differ in header or segment boundaries and cannot be switched');
};

/** Marks change on the grid of segment durations; a gap longer than a segment would number segments past it. */
const requireGrid = ({ start, durations, timescale }: PackedTrack, segmentDuration: Micros): void => {
  let time = Number(start);
  durations.forEach((ticks, n) => {
    const seconds = time / timescale;
    if (Math.abs(seconds - (n * segmentDuration) / 1_000_000) > segmentDuration / 2_000_000) {
      throw new SealcastError('media-unsupported', 'the video has a gap longer than a segment; variants need a continuous source');
    }
    time += ticks;
  });
};
