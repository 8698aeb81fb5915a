// SPDX-License-Identifier: Apache-2.0
/**
 * Whether anybody is watching: a session that nobody watches must not renew, or it would count as a stream.
 *
 * Facts 2, thread 21; the app tells by `playing`, or the playhead does by moving.
 * Invariant: a picture that stands for want of keys is somebody watching; only a playhead that stands in opened content is a pause.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';

/** What is known of the viewer. */
export type Presence = {
  playing(isPlaying: boolean): void;
  /** `open`: whether the content at `mediaTime` is open, so that a standing playhead is the viewer's wish. */
  playhead(mediaTime: Micros, open: boolean): void;
  /** True before the first play that is still to come, and after a pause of `idleAfter`. Viewers that nobody tells of are watching. */
  readonly idle: boolean;
};

/** Nothing told, nothing seen: somebody watches. */
export const createPresence = ({ clock, idleAfter }: { readonly clock: Clock; readonly idleAfter: Millis }): Presence => {
  let told: boolean | undefined;
  let everPlayed = false;
  let last: Micros | undefined;
  let restingSince: Millis | undefined;
  return {
    playing(isPlaying) {
      told = isPlaying;
      everPlayed ||= isPlaying;
      restingSince = isPlaying ? undefined : (restingSince ?? clock.monotonic());
    },
    playhead(mediaTime, open) {
      const moved = mediaTime !== last;
      last = mediaTime;
      if (told !== undefined) return;
      if (moved) restingSince = undefined;
      else if (open) restingSince ??= clock.monotonic();
    },
    get idle() {
      if (restingSince === undefined) return false;
      return (told === false && !everPlayed) || clock.monotonic() - restingSince >= idleAfter;
    },
  };
};
