// SPDX-License-Identifier: Apache-2.0
/**
 * Plays a session's asset in a stock player with one call: settings, tokens, keys, position.
 *
 * The players' libraries are arguments, so that a page loads the version it wants and this package depends on none.
 * Invariant: `stop` leaves neither the player, nor a key, nor a timer behind.
 */
import type { PresentationPlan } from '#client/release/playout.ts';
import type { Session } from '#client/session-types.ts';
import { type Micros, type Millis, microsFromMillis, microsFromSeconds } from '#core/time.ts';
import { startDecrypting } from './decrypting-player.ts';
import { type Pace, latencyPace, releasePace } from './in-step.ts';
import { mediaAddress } from './media-address.ts';
import { type PlayoutControl, controlPlayout } from './playout-control.ts';
import { type Protection, type ProtectionOptions, attachProtection } from './protection.ts';
import { type DashInterceptors, type ShakaNetworking, type SettingsOptions, authorizeDash, authorizeShaka, dashProtection, dashSettings, hlsConfig, shakaConfig } from './settings.ts';

/** What is used of `shaka` (shaka-player 5). */
export type ShakaLibrary = {
  readonly polyfill: { installAll(): void };
  readonly Player: new () => { attach(video: HTMLMediaElement): Promise<unknown>; configure(config: object): unknown; getNetworkingEngine(): ShakaNetworking | null; load(address: string, startTime?: number | null): Promise<unknown>; destroy(): Promise<unknown> };
};
/** What is used of `Hls` (hls.js 1.7). */
export type HlsLibrary = {
  new (config: object): { loadSource(address: string): void; attachMedia(video: HTMLMediaElement): void; destroy(): void; readonly playingDate: Date | null };
};
/** What is used of `dashjs` (dash.js 5). */
export type DashLibrary = {
  MediaPlayer(): { create(): DashInterceptors & { initialize(video: HTMLMediaElement, address?: string, autoPlay?: boolean, startTime?: number): void; updateSettings(settings: object): void; setProtectionData(data: object): void; destroy(): void } };
};

/** What to play where, and with which library: `player` says which of the three `library` is. */
export type PlayOptions = {
  readonly video: HTMLMediaElement;
  readonly session: Session;
  /** Where the service is, e.g. `https://tv.example/`. */
  readonly baseUrl: string;
  /** Titles: where to start, media time. */
  readonly startAt?: Micros;
  readonly onNotice?: ProtectionOptions['onNotice'];
  /** Events: seconds from camera to picture. Timed events have theirs from the schedule. */
  readonly targetLatency?: number;
  /** Events that are not timed: show the same frame at the same moment on every screen, `targetLatency` behind the camera. */
  readonly keepInStep?: boolean;
  /** Correction for a screen that shows late, ms. */
  readonly screenDelay?: Millis;
} & ({ readonly player: 'shaka'; readonly library: ShakaLibrary } | { readonly player: 'hls'; readonly library: HlsLibrary } | { readonly player: 'dash'; readonly library: DashLibrary } | { /** Without EME: our own, which decrypts and appends. */ readonly player: 'decrypting'; readonly library?: undefined });

/** A running playback. */
export type Playback = {
  /** The stock player's own object. */
  readonly player: unknown;
  readonly protection: Protection;
  /** Timed events, and others with `keepInStep`: how the picture stands to its instant. */
  readonly playout: PlayoutControl | undefined;
  /** Error bound of the time that the picture is kept by, µs. */
  clockError(): Micros | undefined;
  /** The playhead on the media timeline; events: Unix time. */
  mediaTime(): Micros | undefined;
  /** Pictures of a player that draws them itself; absent where the media element counts. */
  pictures?(): { readonly frames: number; readonly height: number };
  /** Ends playback: session stopped, keys taken back, player destroyed. Right for `pagehide`: the server's slot is freed even if the page is gone at once. */
  stop(): Promise<void>;
};

type Started = { readonly player: unknown; readonly mediaTime?: () => Micros | undefined; readonly loaded?: Promise<unknown>; destroy(): Promise<void> };

/** Starts playback. Rejects with the stock player's error if it cannot load. */
export const playProtected = async (options: PlayOptions): Promise<Playback> => {
  const { video, session, baseUrl } = options;
  const address = mediaAddress(baseUrl, session);
  const plan = await planOf(session);
  const latency = plan === undefined ? options.targetLatency : (plan.firstRelease + plan.delta) / 1e6;
  const paced = plan !== undefined || (options.keepInStep === true && session.kind === 'event');
  const settings: SettingsOptions = { address, kind: session.kind, paced, ...(latency === undefined ? {} : { targetLatency: latency }) };
  const startSeconds = session.kind === 'title' && options.startAt !== undefined ? options.startAt / 1_000_000 : undefined;
  const started = await START[options.player](options as never, settings, startSeconds);
  const mediaTime = started.mediaTime ?? (() => (video.readyState > 0 ? microsFromSeconds(video.currentTime) : undefined));
  const protection = attachProtection(video, session, { mediaTime, ...(options.onNotice === undefined ? {} : { onNotice: options.onNotice }) });
  const pace = !paced ? undefined : session.releases !== undefined ? releasePace(session.releases) : latencyPace(baseUrl, session.asset, microsFromSeconds(latency ?? DEFAULT_IN_STEP));
  const playout = pace === undefined ? undefined : controlOf(options, pace, mediaTime);
  // A page in the background or a device that slept: time and connections are looked after before the next frame is judged.
  const onVisible = (): void => {
    if (document.visibilityState === 'visible') pace?.wake();
  };
  document.addEventListener('visibilitychange', onVisible);
  document.addEventListener('resume', onVisible);
  const stop = async (): Promise<void> => {
    document.removeEventListener('visibilitychange', onVisible);
    document.removeEventListener('resume', onVisible);
    playout?.stop();
    pace?.stop();
    // The session first: a page that closes lets nothing run after the turn that calls this.
    const stopped = session.stop();
    await protection.detach();
    await Promise.allSettled([started.destroy(), stopped]);
  };
  try {
    await started.loaded;
  } catch (error) {
    await stop();
    throw error;
  }
  return { player: started.player, protection, playout, clockError: () => pace?.error(), mediaTime, stop };
};

/** Distance to the camera at which untimed events are kept in step, s: what every stock player reaches. */
const DEFAULT_IN_STEP = 2.5;
/** A timed event whose edges do not answer is played anyway: its keys will say when. */
const PLAN_PATIENCE = 4000;

/** The schedule of a timed session, as soon as an edge told it. */
const planOf = async ({ releases }: Session): Promise<PresentationPlan | undefined> => {
  if (releases === undefined) return undefined;
  if (releases.plan === undefined) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, PLAN_PATIENCE);
      const off = releases.on('info', () => {
        clearTimeout(timer);
        off();
        resolve();
      });
    });
  }
  return releases.plan;
};

const controlOf = ({ video, session, screenDelay }: PlayOptions, pace: Pace, mediaTime: () => Micros | undefined): PlayoutControl => {
  const { releases } = session;
  return controlPlayout(video as HTMLVideoElement, {
    due: pace.due,
    mediaTime,
    ...(screenDelay === undefined ? {} : { screenDelay }),
    onDisplay: (error) => releases?.displayed(error),
    onSkip: (skipped) => releases?.skipped(Math.max(1, Math.round(skipped / (releases.plan?.period ?? 1e6)))),
  });
};

type OptionsOf<Name extends PlayOptions['player']> = Extract<PlayOptions, { player: Name }>;

const startShaka = async ({ library, video }: OptionsOf<'shaka'>, settings: SettingsOptions, startSeconds: number | undefined): Promise<Started> => {
  library.polyfill.installAll();
  const player = new library.Player();
  await player.attach(video);
  player.configure(shakaConfig(settings));
  const networking = player.getNetworkingEngine();
  if (networking !== null) authorizeShaka(networking, settings.address);
  return { player, loaded: player.load(settings.address.dash, startSeconds ?? null), destroy: async () => void (await player.destroy()) };
};

const startHls = async ({ library: Hls, video }: OptionsOf<'hls'>, settings: SettingsOptions, startSeconds: number | undefined): Promise<Started> => {
  const player = new Hls({ ...hlsConfig(settings), ...(startSeconds === undefined ? {} : { startPosition: startSeconds }) });
  player.loadSource(settings.address.hls);
  player.attachMedia(video);
  // hls.js starts its own timeline at the first segment it sees; the programme date is what maps it to Unix time.
  const mediaTime = (): Micros | undefined => {
    if (settings.kind === 'title') return video.readyState > 0 ? microsFromSeconds(video.currentTime) : undefined;
    const date = player.playingDate;
    return date === null ? undefined : microsFromMillis(date.getTime());
  };
  return { player, mediaTime, destroy: async () => player.destroy() };
};

const startDash = async ({ library, video }: OptionsOf<'dash'>, settings: SettingsOptions, startSeconds: number | undefined): Promise<Started> => {
  const player = library.MediaPlayer().create();
  player.updateSettings(dashSettings(settings));
  authorizeDash(player, settings.address);
  player.setProtectionData(dashProtection(settings));
  player.initialize(video, settings.address.dash, true, startSeconds);
  return { player, destroy: async () => player.destroy() };
};

const startDecryptingPlayer = async ({ video, session, startAt }: OptionsOf<'decrypting'>, settings: SettingsOptions): Promise<Started> => {
  const distance = microsFromSeconds(settings.targetLatency ?? DEFAULT_IN_STEP);
  const player = startDecrypting({ video, session, address: settings.address, distance, ...(startAt === undefined ? {} : { startAt }) });
  return { player, loaded: player.loaded, destroy: player.destroy };
};

const START = { decrypting: startDecryptingPlayer, shaka: startShaka, hls: startHls, dash: startDash } as const;
