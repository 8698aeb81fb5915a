// SPDX-License-Identifier: Apache-2.0
/**
 * UTC as a viewer's device knows it, from four-timestamp exchanges with an edge, with a bound on its error.
 *
 * docs/wire/release.md, "Clock". Each of the newest 32 exchanges says: UTC is within half the round trip, plus what the edge says of
 * its own error, plus the grain of browsers' clocks, plus 50 µs for each second of age. All of them together leave what they have in common, never wider than the
 * one with the shortest round trip and nearer to the truth where both ways jitter. Delay asymmetry cannot be seen, so nothing better is claimed.
 * Invariants: pure; time advances with the monotonic clock, so a stepped device clock moves nothing but asks for new exchanges; UTC is
 * inside `now ± error` as long as the edge is inside its own bound.
 */
import type { Micros, Millis } from '#core/time.ts';

/** Exchanges kept. */
export const WINDOW = 32;
/** Exchanges that follow each other quickly at the start and after a resync, and their distance, ms. */
export const BURST = 8;
const BURST_PAUSE = 100;
/** Distance afterwards, ms; each pause is drawn from 80-120 % of it, so that a crowd which joined together does not ask together. */
const PAUSE = 5000;
/** How fast two crystals drift apart at most, as a share of elapsed time. */
const DRIFT = 50e-6;
/** A wall clock that moves so much against the monotonic one, µs, was stepped, or the device slept: the monotonic clock may have stood still. */
const WALL_JUMP = 50_000;
/** Browsers blur their monotonic clock by up to 1 ms; it counts as error, and a round trip shorter than nothing by so much is possible. */
const GRAIN = 1000;

/** One exchange: `sent` and `received` on the device's monotonic clock, the other two are the edge's UTC. */
export type ClockExchange = {
  readonly sent: Millis;
  readonly received: Millis;
  readonly edgeReceived: Micros;
  readonly edgeSent: Micros;
  /** The edge's own error bound. */
  readonly edgeError: Micros;
};

type Sample = { readonly at: Millis; /** UTC minus monotonic time, µs. */ readonly offset: number; readonly error: number };

/** What is known; a value. */
export type ClockEstimate = {
  readonly samples: readonly Sample[];
  /** Exchanges since the start or the last resync. */
  readonly taken: number;
  /** Wall clock minus monotonic clock when last looked at, µs. */
  readonly wallOffset: number | undefined;
};

/** UTC at one instant: inside `now ± error`. */
export type ClockReading = { readonly now: Micros; readonly error: Micros };

/** Knows nothing yet. */
export const startEstimate = (): ClockEstimate => ({ samples: [], taken: 0, wallOffset: undefined });

/** Takes an exchange in. One whose stamps contradict themselves (answered before it was asked, edge time running backwards) is ignored. */
export const takeExchange = (estimate: ClockEstimate, exchange: ClockExchange): ClockEstimate => {
  const { sent, received, edgeReceived, edgeSent, edgeError } = exchange;
  const held = edgeSent - edgeReceived;
  const roundTrip = (received - sent) * 1000 - held;
  const sane = [sent, received, edgeReceived, edgeSent, edgeError].every(Number.isFinite) && edgeError >= 0 && held >= 0 && roundTrip >= -GRAIN;
  if (!sane) return estimate;
  const offset = (edgeReceived - sent * 1000 + (edgeSent - received * 1000)) / 2;
  const sample: Sample = { at: received, offset, error: Math.max(0, roundTrip) / 2 + edgeError + GRAIN };
  return { ...estimate, samples: [...estimate.samples, sample].slice(-WINDOW), taken: estimate.taken + 1 };
};

const aged = (sample: Sample, now: Millis): number => sample.error + Math.max(0, now - sample.at) * 1000 * DRIFT;

/** UTC at monotonic time `now`; undefined before the first exchange. */
export const readEstimate = (estimate: ClockEstimate, now: Millis): ClockReading | undefined => {
  if (estimate.samples.length === 0) return undefined;
  let low = Number.NEGATIVE_INFINITY;
  let high = Number.POSITIVE_INFINITY;
  // Newest first: where old ones contradict what newer ones agree on, the edge's clock or ours has moved since, and the newer are right.
  for (const sample of estimate.samples.toReversed()) {
    const error = aged(sample, now);
    if (sample.offset - error > high || sample.offset + error < low) break;
    low = Math.max(low, sample.offset - error);
    high = Math.min(high, sample.offset + error);
  }
  return { now: Math.round(now * 1000 + (low + high) / 2) as Micros, error: Math.ceil((high - low) / 2) as Micros };
};

/** The monotonic time at which it is `utc`, by this estimate; undefined before the first exchange. */
export const monotonicAt = (estimate: ClockEstimate, utc: Micros, now: Millis): Millis | undefined => {
  const reading = readEstimate(estimate, now);
  return reading === undefined ? undefined : ((now + (utc - reading.now) / 1000) as Millis);
};

/** Forgets all exchanges: after a sleep, a change of network, or a return to the page. */
export const resync = (estimate: ClockEstimate): ClockEstimate => ({ ...startEstimate(), wallOffset: estimate.wallOffset });

/** Compares the device's two clocks, at least every second; `stepped` if everything known was forgotten because they moved against each other. */
export const watchWall = (estimate: ClockEstimate, monotonic: Millis, wall: Micros): { readonly estimate: ClockEstimate; readonly stepped: boolean } => {
  const wallOffset = wall - monotonic * 1000;
  const stepped = estimate.wallOffset !== undefined && Math.abs(wallOffset - estimate.wallOffset) > WALL_JUMP;
  return { stepped, estimate: stepped ? { ...startEstimate(), wallOffset } : { ...estimate, wallOffset: estimate.wallOffset ?? wallOffset } };
};

/** Pause before the next exchange; `draw` is uniform in [0, 1). */
export const nextExchangeIn = (estimate: ClockEstimate, draw: number): Millis => (estimate.taken < BURST ? BURST_PAUSE : PAUSE * (0.8 + 0.4 * draw)) as Millis;
