// SPDX-License-Identifier: Apache-2.0
/**
 * When which frame is to be on the screen, and what to do about a picture that is not there: the control law of playout.
 *
 * docs/wire/release.md, "Presentation". W(frame) = T_p + δ + offset in the period; T_p advances with media time, so W is media time plus
 * one constant per event. A frame up to 8 ms off is left alone, up to 150 ms off the speed makes up for it (at most 5 %, audio pitch), beyond it is a seek.
 * Invariants: pure; no frame is wanted before its release instant; a picture that stood for want of a key goes on where it should be by
 * then, it never plays late; rates are 1 ± 0.05, or 0 while a picture that landed ahead waits for its instant.
 */
import type { Micros, Millis } from '#core/time.ts';

/** Off by no more than this is on time, ms. */
export const TOLERANCE = 8;
/** Off by more than this is not made up for by speed, ms. */
export const SEEK_BEYOND = 150;
/** After standing for want of a key, a picture that is later than this jumps; a smaller lag is over sooner by speed than by a jump, ms. */
export const LATE_AFTER_STANDING = 100;
/** Largest change of speed. */
export const MAX_RATE_CHANGE = 0.05;
/** A picture that lands this little ahead after a seek waits at speed 0, ms: shorter than making up for it at 5 % less. */
const HOLD_UP_TO = 400;
/** Least and greatest time a seek is taken to need before one was seen, ms. */
const FIRST_SEEK = 80;
const MAX_SEEK = 600;
/** Share of a new measurement in the expected length of a seek. */
const SEEK_SMOOTHING = 0.4;
/** A seek must promise to gain so much over where the last one landed, ms: a decoder that wants more keys than are released lands behind however often it is asked. */
const SEEK_GAIN = 100;
/** So long the last landing is taken for what a seek can do, ms. */
const LANDING_VALID = 10_000;
/** Least pause between seeks, ms: decoders that are asked again before they landed never land. */
const SEEK_PAUSE = 700;
/** After so many seeks in a row that did not help the picture keeps what it has for a while. */
const MAX_VAIN_SEEKS = 4;
const VAIN_PAUSE = 8000;

/** When an event's frames are released and shown. Media time of an event is Unix time. */
export type PresentationPlan = {
  /** T_p of period 0: media time x is released, period by period, from x + `firstRelease` on. */
  readonly firstRelease: Micros;
  /** P. */
  readonly period: Micros;
  /** δ: from the release of a period to the display of its first frame. */
  readonly delta: Micros;
};

/** T_p. */
export const releaseAt = (plan: PresentationPlan, period: number): Micros => (plan.firstRelease + period * plan.period) as Micros;
/** W: the instant at which media time is shown. */
export const shownAt = (plan: PresentationPlan, mediaTime: Micros): Micros => (mediaTime + plan.firstRelease + plan.delta) as Micros;
/** The media time that is shown at `utc`. */
export const mediaTimeAt = (plan: PresentationPlan, utc: Micros): Micros => (utc - plan.firstRelease - plan.delta) as Micros;

/** What to do with the picture now. */
export type Steering =
  | { readonly act: 'rate'; readonly rate: number }
  /** Speed 0 for `wait`, then 1. */
  | { readonly act: 'hold'; readonly wait: Millis }
  /** Jump so that the picture is on time when it lands: to the media time of `ahead` from now. */
  | { readonly act: 'seek'; readonly ahead: Millis }
  /** Leave everything as it is: a seek is under way. */
  | { readonly act: 'wait' };

/** What the control remembers between frames; a value. */
export type PlayoutState = {
  readonly seekTakes: number;
  readonly seekStarted: Millis | undefined;
  readonly lastSeek: number;
  readonly landed: boolean;
  readonly vain: number;
  /** Where the last seek landed, ms off, and when; `floor`: no better than the one before, so another one is not worth asking for. */
  readonly landing: { readonly error: number; readonly at: number; readonly floor: boolean } | undefined;
};

/** Nothing was shown yet. */
export const startPlayout = (): PlayoutState => ({ seekTakes: FIRST_SEEK, seekStarted: undefined, lastSeek: Number.NEGATIVE_INFINITY, landed: false, vain: 0, landing: undefined });

/** The speed that makes up for an error of up to `SEEK_BEYOND`: media ahead of its instant (positive `error`) runs slower. */
export const rateFor = (error: Millis): number => {
  if (Math.abs(error) <= TOLERANCE) return 1;
  return 1 - Math.min(MAX_RATE_CHANGE, Math.max(-MAX_RATE_CHANGE, error / 1000));
};

/**
 * One look at a displayed frame. `error` = media time shown minus media time due, ms; `now` is monotonic; `stood` says that the picture stood for want
 * of a key since the last look: then being behind by more than `LATE_AFTER_STANDING` is late, and late is skipped.
 */
export const steer = (state: PlayoutState, error: Millis, now: Millis, stood: boolean): { readonly state: PlayoutState; readonly steering: Steering } => {
  if (state.seekStarted !== undefined) return { state, steering: { act: 'wait' } };
  if (state.landed && error < -TOLERANCE) {
    const before = state.landing;
    const floor = before !== undefined && now - before.at < LANDING_VALID && error < before.error + SEEK_GAIN;
    return steer({ ...state, landed: false, landing: { error, at: now, floor } }, error, now, false);
  }
  const late = stood && error < -LATE_AFTER_STANDING;
  const off = Math.abs(error) > SEEK_BEYOND || late;
  if (state.landed && error > TOLERANCE && error <= HOLD_UP_TO) return { state: { ...state, landed: false, vain: 0 }, steering: { act: 'hold', wait: error } };
  if (!off) return { state: { ...state, landed: false, vain: 0 }, steering: { act: 'rate', rate: rateFor(error) } };
  const { landing } = state;
  if (!late && error < 0 && landing?.floor === true && now - landing.at < LANDING_VALID && error > landing.error - SEEK_GAIN) return { state, steering: { act: 'rate', rate: rateFor(error) } };
  const pause = state.vain >= MAX_VAIN_SEEKS ? VAIN_PAUSE : SEEK_PAUSE;
  // Between seeks the speed does what it can.
  if (now - state.lastSeek < pause) return { state, steering: { act: 'rate', rate: rateFor(error) } };
  const vain = state.vain >= MAX_VAIN_SEEKS ? 0 : state.vain + 1;
  return { state: { ...state, seekStarted: now, lastSeek: now, vain }, steering: { act: 'seek', ahead: state.seekTakes as Millis } };
};

/** The seek that `steer` asked for shows its first frame: its length is remembered for the next one. */
export const seekLanded = (state: PlayoutState, now: Millis): PlayoutState => {
  if (state.seekStarted === undefined) return state;
  const took = Math.min(MAX_SEEK, now - state.seekStarted);
  return { ...state, seekStarted: undefined, landed: true, seekTakes: state.seekTakes + (took - state.seekTakes) * SEEK_SMOOTHING };
};
