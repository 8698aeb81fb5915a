// SPDX-License-Identifier: Apache-2.0
/**
 * Positions that an encoder gave to segments of a running event (ETSI TS 104 002 clause 5.5, `WMPaceInfoIngest`).
 *
 * Without any, the position of a segment is its number, as our edges count. Segments may only join pieces of one position.
 * Invariant: one position per segment, the same in all variants; memory is bounded by the newest segments.
 */
import { SealcastError } from '#core/errors.ts';
import { MAX_POSITION } from '#core/pace/pace-info.ts';

/** Positions of an event's segments. */
export type SegmentPace = {
  /** Throws `bad-request` if the segment has another position already. */
  note(segment: number, position: number): void;
  /** Whether `of` is certain: the encoder gives no positions, or has given this one. */
  known(segment: number): boolean;
  /** -1..32767. */
  of(segment: number): number;
};

const KEPT = 4096;

/** No positions yet. */
export const createSegmentPace = (): SegmentPace => {
  const positions = new Map<number, number>();
  let given = false;
  return {
    note(segment, position) {
      const known = positions.get(segment);
      if (known !== undefined && known !== position) throw new SealcastError('bad-request', 'WMPaceInfoIngest: pieces of two positions fall into one segment; let the encoder cut on the UTC grid of the segment duration');
      given = true;
      positions.set(segment, position);
      const [oldest] = positions.keys();
      if (positions.size > KEPT && oldest !== undefined) positions.delete(oldest);
    },
    known: (segment) => !given || positions.has(segment),
    of: (segment) => positions.get(segment) ?? segment % (MAX_POSITION + 1),
  };
};
