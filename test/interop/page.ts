// SPDX-License-Identifier: Apache-2.0
/** Runs inside the browser: starts a session and a stock player the way a page would, and reports what is on the screen. */
import { openDevice } from '#client/device.ts';
import type { ReleaseStatistics } from '#client/release/statistics.ts';
import type { Session, SessionEnd } from '#client/session-types.ts';
import { startSession } from '#client/start-session.ts';
import { checkPlaybackSupport } from '#player/context.ts';
import { micros } from '#core/time.ts';
import { indexedDbDeviceStorage } from '#player/device-storage.ts';
import { CODECS_CAPS, playCodecs } from '#player/play-codecs.ts';
import { type Playback, type PlayOptions, playProtected } from '#player/play.ts';

export type PlayerChoice = 'shaka' | 'hls' | 'dash' | 'decrypting' | 'codecs';

/** What a test sees of the page. */
export type Report = {
  readonly frames: number;
  readonly dropped: number;
  /** The playhead as the playback maps it to media time; µs. A stalled player may nudge it without showing anything. */
  readonly mediaTime: number | undefined;
  /** Media time of the newest frame that was shown (requestVideoFrameCallback); µs. */
  readonly frameTime: number | undefined;
  readonly currentTime: number;
  readonly readyState: number;
  readonly state: string | undefined;
  readonly end: SessionEnd | undefined;
  readonly notices: readonly (string | undefined)[];
  readonly keyCount: number;
  readonly sessionNow: number | undefined;
  readonly openedTo: number | undefined;
  readonly renewals: number;
  /** performance.now() of the newest presented frame. */
  readonly lastFrameAt: number;
  readonly now: number;
  /** Frames since the page was asked last: media time, µs, and when it was on the screen, µs of the machine's one clock. */
  readonly shown: readonly (readonly [number, number])[];
  readonly playout: { readonly state: string; readonly error: number | undefined; readonly seeks: number } | undefined;
  readonly clockError: number | undefined;
  /** What `MediaKeySession.update()` took, ms, each; and from the licence to the first frame. */
  readonly updates: readonly number[];
  readonly firstFrameAfter: number | undefined;
  readonly releases: (ReleaseStatistics & { readonly delta: number | undefined; readonly fallback: boolean; readonly connections: number }) | undefined;
  readonly failure: string | undefined;
  readonly mediaError: string | undefined;
};

const updates: number[] = [];
// Pages in an insecure context have no EME, and are to say so.
if (typeof MediaKeySession === 'function') {
  const originalUpdate = MediaKeySession.prototype.update;
  MediaKeySession.prototype.update = async function (this: MediaKeySession, data: BufferSource): Promise<void> {
    const start = performance.now();
    await originalUpdate.call(this, data);
    updates.push(performance.now() - start);
  };
}
let playedAt = 0;
let firstFrameAfter: number | undefined;

const video = document.querySelector('video') as HTMLVideoElement;
let session: Session | undefined;
let playback: Playback | undefined;
let notices: (string | undefined)[] = [];
let renewals = 0;
let lastFrameAt = 0;
let frameTime: number | undefined;
let failure: string | undefined;
let shown: (readonly [number, number])[] = [];

const library = (player: PlayerChoice): unknown => (globalThis as unknown as Record<string, unknown>)[{ shaka: 'shaka', hls: 'Hls', dash: 'dashjs', decrypting: '', codecs: '' }[player]];

const onFrame = (_now: number, frame: VideoFrameCallbackMetadata): void => {
  lastFrameAt = performance.now();
  firstFrameAfter ??= lastFrameAt - playedAt;
  const playhead = playback?.mediaTime();
  if (playhead !== undefined) {
    frameTime = playhead + (frame.mediaTime - video.currentTime) * 1e6;
    shown.push([Math.round(frameTime), Math.round((performance.timeOrigin + frame.expectedDisplayTime) * 1000)]);
    if (shown.length > 3000) shown = shown.slice(-2000);
  }
  video.requestVideoFrameCallback(onFrame);
};
video.requestVideoFrameCallback(onFrame);

const harness = {
  support: () => checkPlaybackSupport(),
  async deviceId(): Promise<string> {
    return (await openDevice({ storage: indexedDbDeviceStorage() })).id;
  },
  async play(options: { player: PlayerChoice; asset: string; entitlement: string; startAt?: number; keepInStep?: boolean; targetLatency?: number }): Promise<string | undefined> {
    const device = await openDevice({ name: 'test page', storage: indexedDbDeviceStorage() });
    const started = await startSession({ servers: [location.origin], asset: options.asset, device, entitlement: async () => options.entitlement, release: { caps: options.player === 'codecs' ? CODECS_CAPS : ['ws', options.player === 'decrypting' ? 'subtle' : 'eme'] } });
    if (!started.ok) return `${started.denial.code}: ${started.denial.detail}`;
    session = started.session;
    session.on('renewed', () => (renewals += 1));
    notices = [];
    playedAt = performance.now();
    const common = { video, session, baseUrl: location.origin, onNotice: (text: string | undefined) => notices.push(text), ...(options.startAt === undefined ? {} : { startAt: micros(options.startAt) }), ...(options.targetLatency === undefined ? {} : { targetLatency: options.targetLatency }), keepInStep: options.keepInStep === true };
    try {
      if (options.player === 'codecs') {
        const canvas = document.body.appendChild(document.createElement('canvas'));
        playback = await playCodecs({ canvas, session, baseUrl: location.origin });
        return undefined;
      }
      playback = await playProtected({ ...common, player: options.player, library: library(options.player) } as PlayOptions);
      await video.play();
    } catch (error) {
      failure = error instanceof Error ? error.message : JSON.stringify(error);
    }
    return failure;
  },
  /** A stock player with the recommended settings and a good token, but no session of ours: it has the entry key only. */
  async playWithoutKeys(options: { player: PlayerChoice; asset: string; token: string; kind: 'event' | 'title' }): Promise<void> {
    const thief = { asset: options.asset, mediaToken: options.token, kind: options.kind, openedRange: { from: 0, to: 0 }, state: 'active', notice: undefined, end: undefined, playhead: () => undefined, playing: () => undefined, renewsAt: 0, groupLength: 0, now: () => Date.now() * 1000, keysBetween: async () => [], on: () => () => undefined, stop: async () => true };
    playback = await playProtected({ video, session: thief as unknown as Session, baseUrl: location.origin, player: options.player, library: library(options.player) } as PlayOptions);
    void video.play().catch(() => undefined);
  },
  seek(seconds: number): void {
    video.currentTime = seconds;
  },
  stop: async (): Promise<void> => playback?.stop(),
  report(): Report {
    const quality = video.getVideoPlaybackQuality();
    const recent = shown;
    shown = [];
    const channel = session?.releases;
    return {
      shown: recent,
      updates: [...updates],
      firstFrameAfter,
      playout: playback?.playout?.read(),
      clockError: playback?.clockError(),
      releases: channel === undefined ? undefined : { ...channel.statistics, delta: channel.plan?.delta, fallback: channel.fallback, connections: channel.connections.filter(({ up }) => up).length },
      frames: playback?.pictures?.().frames ?? quality.totalVideoFrames - quality.droppedVideoFrames,
      dropped: quality.droppedVideoFrames,
      mediaTime: playback?.mediaTime(),
      frameTime,
      currentTime: video.currentTime,
      readyState: video.readyState,
      state: session?.state,
      end: session?.end,
      notices,
      keyCount: playback?.protection.keyCount ?? 0,
      sessionNow: session?.now(),
      openedTo: session?.openedRange.to,
      renewals,
      lastFrameAt,
      now: performance.now(),
      failure,
      mediaError: video.error === null ? undefined : `${video.error.code} ${video.error.message}`,
    };
  },
};
export type Harness = typeof harness;
Object.assign(globalThis, { harness });
