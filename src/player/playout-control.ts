// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps a media element so that each frame shows at its instant: the same frame on all screens at the same moment.
 *
 * docs/wire/release.md, "Presentation"; HTML requestVideoFrameCallback. The law is `#client/release/playout.ts`; here is what it is applied to: stock players whose
 * own catching up is switched off. A viewer who pauses or seeks back leaves the common instant, and is left alone until `rejoin`.
 * Invariants: speeds stay within 1 ± 0.05 or 0 for less than half a second; nothing is steered while the viewer is elsewhere; `stop` gives the element back at speed 1.
 */
import type { Micros, Millis } from '#core/time.ts';
import { type PlayoutState, type Steering, seekLanded, startPlayout, steer } from '#client/release/playout.ts';

/** What the element is to be kept in step with. */
export type PlayoutOptions = {
  /** The media time that is due at this reading of `performance.now()`; undefined while time or schedule are unknown. */
  readonly due: (monotonic: Millis) => Micros | undefined;
  /** The playhead on the media timeline, for the map between it and `video.currentTime`. */
  readonly mediaTime: () => Micros | undefined;
  /** A frame was shown so many ms off its instant (positive: early). */
  readonly onDisplay?: (error: Millis) => void;
  /** So much media time was jumped over because it was late, µs. */
  readonly onSkip?: (skipped: Micros) => void;
  /** Correction for a screen that shows late, ms; 0-200. Never moves a frame before its instant at the decoder's end. */
  readonly screenDelay?: Millis;
};

/** How the picture stands to its instant. */
export type PlayoutReading = {
  /** Last frame, ms off; undefined before the first one, and while elsewhere. */
  readonly error: Millis | undefined;
  readonly rate: number;
  readonly seeks: number;
  /** What a seek is taken to need on this device. */
  readonly seekTakes: Millis;
  /** `elsewhere`: the viewer paused or went back. */
  readonly state: 'joining' | 'in-step' | 'elsewhere';
};

/** A controlled element. */
export type PlayoutControl = {
  read(): PlayoutReading;
  /** Goes to where everybody is. */
  rejoin(): void;
  stop(): void;
};

/** Behind by more than this after a pause or a seek of the viewer's own: he means to be there, µs. */
const ELSEWHERE = 3_000_000;
/** Gap between frames from which on the picture counts as having stood, ms. */
const STOOD = 140;
/** A seek that shows nothing for so long is made anew, ms. */
const SEEK_PATIENCE = 1500;
/** Where the browser tells nothing about frames the position is looked at so often, ms. */
const LOOK = 100;
/** Errors below this count as in step, ms. */
const IN_STEP = 50;
const MAX_SCREEN_DELAY = 200;

/** Takes control of the element's speed and position. */
export const controlPlayout = (video: HTMLVideoElement, options: PlayoutOptions): PlayoutControl => {
  const { due, mediaTime } = options;
  const screenDelay = Math.min(MAX_SCREEN_DELAY, Math.max(0, options.screenDelay ?? 0));
  let state: PlayoutState = startPlayout();
  let joined = false;
  let elsewhere = false;
  let seeks = 0;
  let error: Millis | undefined;
  let ownSeek = false;
  let lastFrame = Number.NEGATIVE_INFINITY;
  let offset: number | undefined;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let handle: number | undefined;

  const setRate = (rate: number): void => {
    if (Math.abs(video.playbackRate - rate) > 0.0005) video.playbackRate = rate;
  };

  /** Media time minus element time; constant between seeks, so one reading of both gives it. */
  const measureOffset = (): void => {
    const media = mediaTime();
    if (media !== undefined) offset = media - video.currentTime * 1e6;
  };

  const apply = (steering: Steering, now: Millis): void => {
    if (steering.act === 'rate') setRate(steering.rate);
    if (steering.act === 'hold') {
      setRate(0);
      clearTimeout(timer);
      timer = setTimeout(() => !stopped && setRate(1), steering.wait);
    }
    if (steering.act === 'seek' && offset !== undefined) {
      const to = due((now + steering.ahead) as Millis);
      if (to === undefined) return;
      const target = (to - offset) / 1e6;
      const skipped = target - video.currentTime - steering.ahead / 1000;
      if (joined && skipped > 0) options.onSkip?.(Math.round(skipped * 1e6) as Micros);
      seeks += 1;
      ownSeek = true;
      setRate(1);
      video.currentTime = target;
    }
  };

  /** One frame, or one look at the position: `position` is element time shown at `at`. */
  const look = (position: number, at: Millis): void => {
    const now = performance.now() as Millis;
    if (stopped || elsewhere || video.paused || video.seeking) return;
    measureOffset();
    const wanted = due((at + screenDelay) as Millis);
    if (offset === undefined || wanted === undefined) return;
    const stood = joined && now - lastFrame > STOOD && state.seekStarted === undefined && !state.landed && video.playbackRate !== 0;
    lastFrame = now;
    if (state.seekStarted !== undefined) state = seekLanded(state, now);
    if (video.playbackRate === 0) return;
    error = ((position * 1e6 + offset - wanted) / 1000) as Millis;
    if (Math.abs(error) <= IN_STEP) joined = true;
    if (joined) options.onDisplay?.(error);
    const turn = steer(state, error, now, stood);
    state = turn.state;
    apply(turn.steering, now);
  };

  const onFrame = (_now: number, frame: VideoFrameCallbackMetadata): void => {
    if (stopped) return;
    handle = video.requestVideoFrameCallback(onFrame);
    look(frame.mediaTime, frame.expectedDisplayTime as Millis);
  };

  /** Without frames there is nothing to steer by: a picture that stands far off (a join outside what is here) is moved by its position. */
  const watch = (): void => {
    const now = performance.now() as Millis;
    const hasFrames = typeof video.requestVideoFrameCallback === 'function';
    if (!hasFrames) look(video.currentTime, now);
    else if (!elsewhere && !video.paused && now - lastFrame > 1000 && video.readyState > 0) {
      // A seek that shows no frame for so long is over: its place is not here, and the due one has moved on.
      if (video.seeking && now - state.lastSeek < SEEK_PATIENCE) return;
      state = seekLanded(state, now);
      measureOffset();
      const wanted = due(now);
      if (offset === undefined || wanted === undefined) return;
      const turn = steer(state, ((video.currentTime * 1e6 + offset - wanted) / 1000) as Millis, now, false);
      if (turn.steering.act === 'seek') {
        state = turn.state;
        apply(turn.steering, now);
      }
    }
  };

  const behind = (): number => {
    measureOffset();
    const wanted = due(performance.now() as Millis);
    return wanted === undefined || offset === undefined ? 0 : wanted - (video.currentTime * 1e6 + offset);
  };
  /** Players seek by themselves when they stall; a viewer's seek or pause follows a touch, a click or a key. */
  const byViewer = (): boolean => (navigator as Partial<Navigator>).userActivation?.isActive ?? true;
  const leave = (): void => {
    if (!byViewer() || behind() <= ELSEWHERE) return;
    elsewhere = true;
    error = undefined;
    clearTimeout(timer);
    setRate(1);
  };
  const onSeeking = (): void => {
    if (ownSeek) {
      ownSeek = false;
      return;
    }
    if (!joined) return;
    elsewhere = false;
    leave();
  };
  const onPlay = (): void => {
    lastFrame = performance.now();
    if (joined && !elsewhere) leave();
  };

  const interval = setInterval(watch, LOOK);
  video.addEventListener('seeking', onSeeking);
  video.addEventListener('play', onPlay);
  if (typeof video.requestVideoFrameCallback === 'function') handle = video.requestVideoFrameCallback(onFrame);

  return {
    read: () => ({ error: elsewhere ? undefined : error, rate: video.playbackRate, seeks, seekTakes: state.seekTakes as Millis, state: elsewhere ? 'elsewhere' : joined ? 'in-step' : 'joining' }),
    rejoin() {
      elsewhere = false;
      joined = false;
      state = startPlayout();
      lastFrame = Number.NEGATIVE_INFINITY;
    },
    stop() {
      stopped = true;
      clearInterval(interval);
      clearTimeout(timer);
      if (handle !== undefined) video.cancelVideoFrameCallback(handle);
      video.removeEventListener('seeking', onSeeking);
      video.removeEventListener('play', onPlay);
      setRate(1);
    },
  };
};
