// SPDX-License-Identifier: Apache-2.0
/**
 * The client's time: the runtime's own clock, and the servers' time seen through it.
 *
 * Every answer of a server carries its time; the client keeps the sample with the shortest round trip (Cristian's
 * algorithm) and lets it age, so that one slow answer cannot spoil a good estimate.
 * Invariant: server time advances with the monotonic clock, never with the wall clock, so a user who sets the device's
 * clock neither gains nor loses anything.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Random } from '#ports';

/** Wall clock, monotonic clock and timers of browsers, workers and Node. */
export const runtimeClock: Clock = {
  now: () => (Date.now() * 1000) as Micros,
  monotonic: () => performance.now() as Millis,
  after(delay, run) {
    const timer = setTimeout(run, Math.max(0, delay));
    return () => clearTimeout(timer);
  },
};

/** The runtime's secure generator. */
export const runtimeRandom: Random = { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) };

/** Resolves after `delay`, or as soon as `signal` aborts. Never rejects. */
export const sleep = (clock: Clock, delay: Millis, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = (): void => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(delay, done);
    signal?.addEventListener('abort', done);
  });

/** The servers' time as this client knows it. */
export type ServerTime = {
  /** The servers' time now. Before the first sample: this device's wall clock. */
  now(): Micros;
  /** Half the round trip of the sample in use, in ms: the error bound of `now()`. Infinity before the first sample. */
  uncertainty(): Millis;
  /** One answer: `sent` and `received` are monotonic readings around the request, `time` is the server's word. */
  sample(time: Micros, sent: Millis, received: Millis): void;
};

/** How much worse a kept sample gets per millisecond of age: two crystal clocks differ by less than 100 ppm. */
const DRIFT = 1e-4;
/** Estimates that differ by so much more than their errors (µs) contradict each other. */
const SLEEP = 1_000_000;

/** An estimate without samples; `clock` carries it on between them. */
export const createServerTime = (clock: Clock): ServerTime => {
  let best: { readonly time: Micros; readonly at: Millis; readonly error: Millis } | undefined;
  const errorOf = (sample: { readonly at: Millis; readonly error: Millis }): Millis =>
    (sample.error + (clock.monotonic() - sample.at) * DRIFT) as Millis;
  return {
    now: () => (best === undefined ? clock.now() : ((best.time + Math.round((clock.monotonic() - best.at) * 1000)) as Micros)),
    uncertainty: () => (best === undefined ? (Number.POSITIVE_INFINITY as Millis) : errorOf(best)),
    sample(time, sent, received) {
      const error = ((received - sent) / 2) as Millis;
      const at = ((sent + received) / 2) as Millis;
      // A device that slept: its monotonic clock stood still, so the two samples cannot both be right, and the newer one is.
      const contradicted = best !== undefined && Math.abs(time - (best.time + (at - best.at) * 1000)) > (errorOf(best) + error) * 1000 + SLEEP;
      if (best !== undefined && !contradicted && errorOf(best) < error) return;
      best = { time, at, error };
    },
  };
};
