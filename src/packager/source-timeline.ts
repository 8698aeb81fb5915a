// SPDX-License-Identifier: Apache-2.0
/**
 * Puts sources that count media time from zero on the UTC timeline of the event (ffmpeg's dash muxer does, at every start).
 *
 * A source on Unix time, as DASH-IF ingest asks for, is left alone. Another one is moved by a whole number of segments, so that
 * its key frames keep their places on the grid; its media is then dated up to one segment early.
 * Invariants: all tracks of an event are moved by the same amount, so sound and picture stay together; media never moves into
 * what players already have.
 */
import type { Micros } from '#core/time.ts';
import type { Clock } from '#ports';

/** Media times before this instant (2000-01-01) are not dates. */
const FIRST_DATE = 946_684_800_000_000;
/** A restarted source is told from one that goes on by being further off than this. */
const APART = 5_000_000;

/** Where the media time of an event's source lies on the UTC timeline. */
export type SourceTimeline = {
  /** What to add to media time; a multiple of the segment length. `fresh`: the track's header was just sent (again). */
  shift(start: Micros, end: Micros, fresh: boolean): Micros;
};

/** One per event. `onAnchor` is told every new shift, to store it. */
export const createSourceTimeline = (options: {
  clock: Clock;
  segmentDuration: Micros;
  /** Shift of an earlier life of this event, if it had one. */
  stored: Micros | undefined;
  /** End of the newest media of any track. */
  newest(): Micros | undefined;
  onAnchor(shift: Micros): void;
}): SourceTimeline => {
  const { clock, segmentDuration } = options;
  let anchor = options.stored;
  return {
    shift(start, end, fresh) {
      if (start >= FIRST_DATE) return 0 as Micros;
      const now = clock.now();
      if (anchor !== undefined && (!fresh || Math.abs(end + anchor - now) <= APART)) return anchor;
      const latest = Math.floor((now - end) / segmentDuration);
      const earliest = Math.ceil(((options.newest() ?? 0) - start) / segmentDuration);
      anchor = (Math.max(latest, earliest) * segmentDuration) as Micros;
      options.onAnchor(anchor);
      return anchor;
    },
  };
};
