// SPDX-License-Identifier: Apache-2.0
/**
 * How much of a title was really played, from where its playhead was when.
 *
 * docs/wire/subscription.md, "Usage" (B136, B138). Invariant: a jump, in either direction, counts nothing; what is counted can
 * never exceed the time that passed times the fastest speed there is.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';

/** Counts one play. */
export type PlayMeter = {
  /** Where the playhead is now. */
  playhead(mediaTime: Micros): void;
  /** False while the viewer pauses: a playhead that is dragged then counts nothing. */
  playing(isPlaying: boolean): void;
  /** Media time where play began; undefined before the first playhead. */
  readonly from: Micros | undefined;
  /** Media time played so far. */
  readonly played: Micros;
};

/** Fastest speed that counts as playing. */
const FASTEST = 4;
/** What a playhead may be ahead of its report, µs: reports are some frames apart. */
const SLACK = 250_000;

/** A meter that has counted nothing. */
export const createPlayMeter = (clock: Pick<Clock, 'monotonic'>): PlayMeter => {
  let from: Micros | undefined;
  let played = 0;
  let last: { readonly mediaTime: number; readonly at: Millis } | undefined;
  let paused = false;
  return {
    playhead(reported) {
      if (!Number.isFinite(reported)) return;
      const mediaTime = Math.max(0, Math.round(reported)) as Micros;
      const at = clock.monotonic();
      from ??= mediaTime;
      if (last !== undefined) {
        const moved = mediaTime - last.mediaTime;
        const most = (at - last.at) * 1000 * FASTEST;
        // Reports that bunch up must not add slack to slack: nothing counts beyond what the time allows.
        if (!paused && moved > 0 && moved <= most + SLACK) played += Math.min(moved, most);
        // A standing playhead is kept at its first instant only while paused; time spent waiting allows no jump later.
      }
      last = { mediaTime, at };
    },
    playing(isPlaying) {
      if (paused && isPlaying && last !== undefined) last = { ...last, at: clock.monotonic() };
      paused = !isPlaying;
    },
    get from() {
      return from;
    },
    get played() {
      return Math.round(played) as Micros;
    },
  };
};
