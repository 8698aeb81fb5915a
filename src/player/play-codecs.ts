// SPDX-License-Identifier: Apache-2.0
/**
 * Plays an event frame by frame on a canvas: what strict timed events are made for.
 *
 * Start the session with `release: { caps: CODECS_CAPS }`, so that it takes the short δ. Browsers without WebCodecs play strict events by `playProtected` with
 * `decrypting`, δ is then the longer one and `session.releases.fallback` says so.
 */
import type { Session } from '#client/session-types.ts';
import { microsFromSeconds } from '#core/time.ts';
import { startCodecs } from './codecs-player.ts';
import { latencyPace, releasePace } from './in-step.ts';
import { mediaAddress } from './media-address.ts';
import type { Playback } from './play.ts';

/** Capabilities of a session that is played with WebCodecs. */
export const CODECS_CAPS = ['ws', 'subtle', 'codecs'] as const;

/** Where to draw what. */
export type PlayCodecsOptions = {
  readonly canvas: HTMLCanvasElement;
  readonly session: Session;
  /** Where the service is, e.g. `https://tv.example/`. */
  readonly baseUrl: string;
  /** Events that are not timed: seconds from camera to picture. Default 2.5. */
  readonly targetLatency?: number;
};

const DEFAULT_LATENCY = 2.5;

/** Starts playback. Rejects if nothing can be played. */
export const playCodecs = async ({ canvas, session, baseUrl, targetLatency = DEFAULT_LATENCY }: PlayCodecsOptions): Promise<Playback> => {
  const { releases } = session;
  const pace = releases === undefined ? latencyPace(baseUrl, session.asset, microsFromSeconds(targetLatency)) : releasePace(releases);
  const distance = releases?.plan === undefined ? microsFromSeconds(targetLatency) : microsFromSeconds((releases.plan.firstRelease + releases.plan.delta) / 1e6);
  const player = startCodecs({
    canvas, session, address: mediaAddress(baseUrl, session), distance, due: pace.due,
    onDisplay: (error) => releases?.displayed(error),
    onSkip: (skipped) => releases?.skipped(skipped / (releases.plan?.period ?? 1e6)),
  });
  const onVisible = (): void => {
    if (document.visibilityState === 'visible') pace.wake();
  };
  document.addEventListener('visibilitychange', onVisible);
  const stop = async (): Promise<void> => {
    document.removeEventListener('visibilitychange', onVisible);
    const stopped = session.stop();
    player.destroy();
    pace.stop();
    await Promise.allSettled([stopped]);
  };
  try {
    await player.loaded;
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    player,
    protection: { keyCount: 0, detach: () => Promise.resolve() },
    playout: { read: player.read, rejoin: () => undefined, stop: () => undefined },
    clockError: pace.error,
    mediaTime: player.mediaTime,
    pictures: () => ({ frames: player.drawn, height: canvas.height }),
    stop,
  };
};
