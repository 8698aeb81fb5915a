// SPDX-License-Identifier: Apache-2.0
/**
 * One viewing from choice to end: device, session, player, and what is measured four times a second while it runs.
 *
 * Invariant: at most one viewing exists; a newer choice abandons an older one at whatever step it is, and everything it had started is stopped.
 */
import { openDevice } from '../../../src/client/device.ts';
import type { ConflictingSession, Session, SessionState } from '../../../src/client/session-types.ts';
import { startSession } from '../../../src/client/start-session.ts';
import { indexedDbDeviceStorage } from '../../../src/player/device-storage.ts';
import { CODECS_CAPS, playCodecs } from '../../../src/player/play-codecs.ts';
import { type Playback, playProtected } from '../../../src/player/play.ts';
import type { Programme } from './catalogue.ts';
import { type InStep, createInStepReader } from './in-step.ts';
import { type PlayerChoice, type PlayerName, loadPlayer } from './players.ts';

/** Media time one renewal (or the licence itself) opened; seconds. */
export type Grant = { readonly from: number; readonly to: number };
export type Reading = {
  readonly state: SessionState;
  readonly session: string;
  /** Seconds of opened content left at the playhead. */
  readonly left: number;
  /** Seconds since the last accepted renewal, and how many there were. */
  readonly renewedAgo: number;
  readonly renewals: number;
  /** Seconds until the next renewal; undefined while none is planned. */
  readonly next: number | undefined;
  /** Unlocked content grows in steps of so many seconds. */
  readonly step: number;
  /** Playhead on the media timeline, seconds; undefined before the first frame. */
  readonly playhead: number | undefined;
  /** Events: seconds from camera clock to picture. */
  readonly latency: number | undefined;
  readonly grants: readonly Grant[];
  readonly opened: Grant;
  /** End of the buffer on the media timeline. */
  readonly bufferedTo: number | undefined;
  readonly frames: number;
  readonly dropped: number;
  readonly height: number;
  /** The picture stands although it should run. */
  readonly stalled: boolean;
  readonly notice: string | undefined;
  /** Timed events, and others that are kept in step with other screens. */
  readonly inStep: InStep | undefined;
};
/** What the figures show while there is no session. */
export const NO_READING: Reading = {
  state: 'ended', session: '–', left: 0, renewedAgo: Number.NaN, renewals: 0, next: undefined, step: 0, playhead: undefined, latency: undefined,
  grants: [], opened: { from: 0, to: 0 }, bufferedTo: undefined, frames: 0, dropped: 0, height: 0, stalled: false, notice: undefined, inStep: undefined,
};
export type ViewingState =
  | { readonly phase: 'starting'; readonly step: string }
  | { readonly phase: 'watching'; readonly reading: Reading }
  | { readonly phase: 'over'; readonly title: string; readonly text: string; readonly code: string; /** Sessions of the account that could be stopped in favour of this one. */ readonly conflicts?: readonly ConflictingSession[] };

export type ViewingOptions = {
  readonly video: HTMLVideoElement;
  /** Where the player that decodes frame by frame draws. */
  readonly canvas: HTMLCanvasElement;
  readonly programme: Programme;
  readonly player: PlayerName;
  /** Events that are not timed: the same frame at the same moment on every screen. */
  readonly keepInStep: boolean;
  readonly entitlement: () => Promise<string>;
  /** Termination codes of sessions that end in favour of this one. */
  readonly end: readonly string[];
  /** Asked before each licence or renewal request: true drops it, as a firewall would. */
  readonly blocked: () => boolean;
  readonly onState: (state: ViewingState) => void;
};

const PERIOD = 250;
const KEPT_GRANTS = 40;
/** A picture that has not moved for this long stands. */
const STANDING_MILLIS = 700;
/** After this long without a picture the page says that it is still trying. */
const PATIENCE = 8000;
const RENEWING = /\/v1\/(renew|licenses)$/;

const sentenceOf = (error: unknown): string => {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'number') return `The player stopped with its error ${error.code}.`;
  return error instanceof Error && error.message !== '' ? error.message : 'The player could not load this content.';
};

/** Follows a running session and player; answers the function that reads both. */
const createReader = (video: HTMLVideoElement, session: Session, playback: Playback): (() => Reading) => {
  let renewals = 0;
  let renewedAt = performance.now();
  let grants: Grant[] = [{ from: session.openedRange.from / 1e6, to: session.openedRange.to / 1e6 }];
  const readInStep = createInStepReader(session, playback);
  let moved = { position: -1, at: performance.now() };
  session.on('renewed', () => {
    renewals++;
    renewedAt = performance.now();
    const to = session.openedRange.to / 1e6;
    const last = grants.at(-1);
    if (last === undefined || to > last.to) grants = [...grants, { from: last?.to ?? session.openedRange.from / 1e6, to }].slice(-KEPT_GRANTS);
  });
  return () => {
    const micros = playback.mediaTime();
    const playhead = micros === undefined ? undefined : micros / 1e6;
    const now = performance.now();
    if (video.currentTime !== moved.position) moved = { position: video.currentTime, at: now };
    const quality = video.getVideoPlaybackQuality();
    const { buffered } = video;
    const ahead = buffered.length === 0 ? undefined : buffered.end(buffered.length - 1) - video.currentTime;
    const opened = { from: session.openedRange.from / 1e6, to: session.openedRange.to / 1e6 };
    return {
      state: session.state,
      session: session.id,
      left: playhead === undefined ? (session.expiresAt - session.now()) / 1e6 : opened.to - playhead,
      renewedAgo: (now - renewedAt) / 1000,
      renewals,
      next: session.renewsAt === undefined ? undefined : (session.renewsAt - session.now()) / 1e6,
      step: session.groupLength / 1e6,
      playhead,
      latency: session.kind === 'event' && playhead !== undefined ? session.now() / 1e6 - playhead : undefined,
      grants,
      opened,
      bufferedTo: playhead === undefined || ahead === undefined ? undefined : playhead + ahead,
      frames: playback.pictures?.().frames ?? quality.totalVideoFrames,
      dropped: quality.droppedVideoFrames,
      height: playback.pictures?.().height ?? video.videoHeight,
      stalled: playback.pictures === undefined && !video.paused && !video.ended && now - moved.at > STANDING_MILLIS,
      notice: session.notice,
      inStep: readInStep(),
    };
  };
};

/** Starts a viewing; the returned function ends it and resolves when nothing of it is left. */
export const startViewing = (options: ViewingOptions): (() => Promise<void>) => {
  const { video, programme, onState } = options;
  let stopped = false;
  let timer: ReturnType<typeof setInterval> | undefined;
  let patience: ReturnType<typeof setTimeout> | undefined;
  let playback: Playback | undefined;
  let session: Session | undefined;
  let choice: PlayerChoice | undefined;
  const tell = (state: ViewingState): void => {
    if (!stopped) onState(state);
  };
  const over = (title: string, text: string, code: string, conflicts?: readonly ConflictingSession[]): void => {
    clearInterval(timer);
    clearTimeout(patience);
    tell({ phase: 'over', title, text, code, ...(conflicts !== undefined && { conflicts }) });
  };
  const guardedFetch = (request: Request): Promise<Response> =>
    options.blocked() && RENEWING.test(new URL(request.url).pathname) ? Promise.reject(new TypeError('blocked on this page')) : fetch(request);

  const run = async (): Promise<void> => {
    tell({ phase: 'starting', step: 'Asking for a licence' });
    const [device, chosen] = await Promise.all([openDevice({ name: deviceName(), storage: indexedDbDeviceStorage() }), loadPlayer(options.player)]);
    if (stopped) return;
    choice = chosen;
    const started = await startSession({ servers: [location.origin], device, asset: programme.asset, entitlement: options.entitlement, fetch: guardedFetch, end: options.end, release: { caps: options.player === 'codecs' ? CODECS_CAPS : ['ws', options.player === 'decrypting' ? 'subtle' : 'eme'] } });
    if (!started.ok) return over('This cannot be played', started.denial.text, started.denial.code, started.denial.conflicts);
    session = started.session;
    if (stopped) return void (await session.stop());
    const running = session;
    running.on('ended', (end) => {
      if (end.code !== 'viewer') over('Playback ended', end.text, end.code);
    });
    tell({ phase: 'starting', step: 'Loading the picture' });
    patience = setTimeout(() => tell({ phase: 'starting', step: 'Still waiting for the first picture' }), PATIENCE);
    playback = chosen.loaded.player === 'codecs' ? await playCodecs({ canvas: options.canvas, session: running, baseUrl: location.origin }) : await playProtected({ ...chosen.loaded, video, session: running, baseUrl: location.origin, keepInStep: options.keepInStep });
    clearTimeout(patience);
    if (stopped) return playback.stop();
    // Browsers refuse sound before a click; a muted picture is better than none.
    if (playback.pictures === undefined) {
      await video.play().catch(() => {
        video.muted = true;
        return video.play().catch(() => undefined);
      });
    }
    const read = createReader(video, running, playback);
    const report = (): void => {
      if (running.end === undefined) tell({ phase: 'watching', reading: read() });
    };
    timer = setInterval(report, PERIOD);
    report();
  };
  const running = run().catch((error: unknown) => over('This cannot be played', sentenceOf(error), 'player'));

  return async () => {
    stopped = true;
    clearInterval(timer);
    clearTimeout(patience);
    if (playback !== undefined) return playback.stop();
    // Before there is a session nothing touches the element yet, so nobody has to wait for that request.
    if (session === undefined) return;
    await Promise.allSettled([choice?.abandon(), session.stop()]);
    await running;
  };
};

const deviceName = (): string => {
  const agent = navigator.userAgent;
  const browser = /Firefox/.test(agent) ? 'Firefox' : /Edg\//.test(agent) ? 'Edge' : /Chrome|Chromium/.test(agent) ? 'Chrome' : /Safari/.test(agent) ? 'Safari' : 'Browser';
  const system = /Android/.test(agent) ? 'Android' : /iPhone|iPad/.test(agent) ? 'iOS' : /Windows/.test(agent) ? 'Windows' : /Mac OS/.test(agent) ? 'macOS' : /Linux/.test(agent) ? 'Linux' : 'a computer';
  return `${browser} on ${system}`;
};
