// SPDX-License-Identifier: Apache-2.0
/**
 * A screen without a screen for timed events: holds encrypted chunks until their release, decrypts them, and "shows" each frame at its instant.
 *
 * docs/wire/release.md, "Presentation". Tests and load generators see through it what a viewer would see, with a decoder that only takes time.
 * Invariants: a frame counts as shown only after its chunk was decrypted under its own key; a frame whose instant is over when it could be shown is skipped,
 * never shown late; chunks held are bounded.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';
import type { ReleaseChannel } from './channel-types.ts';
import { shownAt } from './playout.ts';

/** A chunk on its way to the screen. */
export type HeldChunk = {
  /** Which track's; the least advanced one says how far media is complete. */
  readonly track: string;
  readonly at: Micros;
  readonly end: Micros;
  /** Media times of its frames; empty for sound. */
  readonly frames: readonly Micros[];
  /** Resolves once it is decrypted; undefined if there is no key for it. */
  readonly decrypt: () => Promise<Uint8Array | undefined>;
};

/** What was shown. */
export type DisplayCounts = { readonly shown: number; readonly skipped: number; /** Of the frames shown, ms after their instant. */ readonly worst: Millis };

/** The holding, decrypting and showing of one viewer. */
export type TimedDisplay = {
  add(chunk: HeldChunk): void;
  readonly counts: DisplayCounts;
  stop(): void;
};

/** Chunks held at once, all tracks. */
const MAX_HELD = 1000;
/** How long before its instant a chunk asks for its key, so that a release finds it waiting, ms. */
const READY = 400;

/** Nothing is held yet. `decodeTime` is what the pretended decoder takes per chunk. */
export const createTimedDisplay = (options: {
  readonly channel: ReleaseChannel;
  readonly clock: Clock;
  readonly decodeTime: Millis;
  /** A frame was shown: its media time and the instant, UTC by the viewer's clock. */
  readonly onFrame?: (mediaTime: Micros, at: Micros) => void;
}): TimedDisplay => {
  const { channel, clock, decodeTime } = options;
  const ends = new Map<string, Micros>();
  const timers = new Set<() => void>();
  const counts = { shown: 0, skipped: 0, worst: 0 };
  let held = 0;
  let stopped = false;

  const at = (instant: Micros, run: () => void): void => {
    const monotonic = channel.monotonicAt(instant);
    const delay = monotonic === undefined ? 20 : Math.max(0, monotonic - clock.monotonic());
    const cancel = clock.after(Math.ceil(delay) as Millis, () => {
      timers.delete(cancel);
      if (!stopped) run();
    });
    timers.add(cancel);
  };

  const show = (frame: Micros, due: Micros): void => {
    const now = channel.now()?.now;
    if (now === undefined) return;
    const error = (now - due) / 1000;
    counts.shown += 1;
    counts.worst = Math.max(counts.worst, error);
    channel.displayed(error as Millis);
    options.onFrame?.(frame, now);
  };

  const present = async (chunk: HeldChunk): Promise<void> => {
    const clear = await chunk.decrypt();
    if (stopped || chunk.frames.length === 0) return;
    if (decodeTime > 0) await new Promise<void>((resolve) => timers.add(clock.after(decodeTime, resolve)));
    const { plan } = channel;
    const now = channel.now()?.now;
    if (stopped || plan === undefined || now === undefined) return;
    const due = (frame: Micros): Micros => shownAt(plan, frame);
    const nextDue = (index: number): Micros => due(chunk.frames[index + 1] ?? chunk.end);
    let late = 0;
    chunk.frames.forEach((frame, index) => {
      if (clear !== undefined && due(frame) >= now) return at(due(frame), () => show(frame, due(frame)));
      // The frame whose turn it is now is shown; those whose turn is over are not.
      if (clear !== undefined && nextDue(index) > now) return show(frame, due(frame));
      late += 1;
    });
    counts.skipped += late;
    if (late === chunk.frames.length) channel.skipped(1);
  };

  return {
    add(chunk) {
      ends.set(chunk.track, Math.max(ends.get(chunk.track) ?? 0, chunk.end) as Micros);
      channel.received(Math.min(...ends.values()) as Micros);
      if (held >= MAX_HELD || stopped) return;
      held += 1;
      const start = (): void => {
        const { plan } = channel;
        if (plan === undefined || channel.now() === undefined) return at(0 as Micros, start);
        at((shownAt(plan, chunk.at) - READY * 1000) as Micros, () => void present(chunk).finally(() => (held -= 1)));
      };
      start();
    },
    counts: counts as DisplayCounts,
    stop() {
      stopped = true;
      for (const cancel of timers) cancel();
      timers.clear();
    },
  };
};
