// SPDX-License-Identifier: Apache-2.0
/**
 * From a play that goes on to its usage record: noted before it begins, noted again as it goes, recorded at its end.
 *
 * docs/wire/subscription.md, "Usage" (B136, B141). Invariant: a crash costs at most the media of one note's interval; nothing is
 * recorded twice, whatever ends a play.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { AssetId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Random } from '#ports';
import type { PlayWatch } from './offline-session.ts';
import { createPlayMeter } from './play-meter.ts';
import type { TrustedClock } from './trusted-clock.ts';
import type { UsageEntry, UsageLog } from './usage-log.ts';

/** What is recorded of a play besides its times. */
export type PlayRecordOptions = {
  readonly title: AssetId;
  readonly gen: number;
  readonly plan: string;
  /** Whether there is a connection now. */
  readonly connected: () => boolean;
  readonly log: UsageLog;
  readonly trusted: TrustedClock;
  readonly clock: Clock;
  readonly random: Random;
};

/** Media time after which a play is noted again. */
const NOTE_EVERY = 5_000_000;
/** Plays of rights without dates may have no trusted time at all. */
const NO_IDEA = Number.MAX_SAFE_INTEGER;

/** Begins the record of a play; durable when it resolves. */
export const beginPlayRecord = async (options: PlayRecordOptions): Promise<PlayWatch> => {
  const { title, gen, plan, log, trusted, clock } = options;
  const id = encodeBase64url(options.random.bytes(9));
  const meter = createPlayMeter(clock);
  const now = (): Micros => trusted.now() ?? clock.now();
  const started = now();
  const startedAt: Millis = clock.monotonic();
  const certain = Math.min(trusted.uncertainty(), NO_IDEA) as Micros;
  let offline = !options.connected();
  let noted = 0;
  let ended: Promise<void> | undefined;

  const entry = (): UsageEntry => ({
    title,
    gen,
    action: 'play',
    plan,
    started,
    // By the monotonic clock, so that a clock that was corrected in the middle cannot end a play before it began.
    ended: (started + Math.round((clock.monotonic() - startedAt) * 1000)) as Micros,
    played: meter.played,
    from: meter.from ?? (0 as Micros),
    offline,
    certain,
  });
  await log.note(id, entry());

  return {
    playhead(mediaTime) {
      if (ended !== undefined) return;
      meter.playhead(mediaTime);
      offline ||= !options.connected();
      if (meter.played - noted < NOTE_EVERY) return;
      noted = meter.played;
      // A note that fails costs an interval if there is a crash before the next one; the record itself is awaited.
      log.note(id, entry()).catch(() => undefined);
      trusted.save().catch(() => undefined);
    },
    playing: (isPlaying) => meter.playing(isPlaying),
    end: () => (ended ??= log.finish(id, entry())),
  };
};
