// SPDX-License-Identifier: Apache-2.0
/**
 * What an element is kept in step with: the release schedule of a timed event, or an agreed distance to the camera of any other event.
 *
 * docs/wire/release.md, "Presentation" and "Clock". Invariant: both need the servers' time and nothing of this device's wall clock.
 */
import { createChannelClock } from '#client/release/channel-clock.ts';
import type { ReleaseChannel } from '#client/release/channel-types.ts';
import { mediaTimeAt } from '#client/release/playout.ts';
import { createReleaseHttp } from '#client/release/past-secrets.ts';
import { runtimeClock } from '#client/clock.ts';
import type { AssetId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';

/** Says which media time is due when. */
export type Pace = {
  /** Media time due at a reading of `performance.now()`; undefined while unknown. */
  due(monotonic: Millis): Micros | undefined;
  /** Error bound of the time behind it, µs; undefined while unknown. */
  error(): Micros | undefined;
  /** The page came back: the time is asked for anew. */
  wake(): void;
  stop(): void;
};

/** The pace of a timed event's schedule. */
export const releasePace = (channel: ReleaseChannel): Pace => ({
  due(monotonic) {
    const { plan } = channel;
    const reading = channel.now();
    if (plan === undefined || reading === undefined) return undefined;
    return mediaTimeAt(plan, (reading.now + Math.round((monotonic - performance.now()) * 1000)) as Micros);
  },
  error: () => channel.now()?.error,
  wake: channel.wake,
  stop: () => undefined,
});

/** The pace of an event without a schedule: `latency` µs behind the camera, on every screen the same. Asks `baseUrl` for the time. */
export const latencyPace = (baseUrl: string, asset: AssetId, latency: Micros): Pace => {
  const stopping = new AbortController();
  const http = createReleaseHttp(asset, (request) => fetch(request), runtimeClock, stopping.signal);
  const clock = createChannelClock({ clock: runtimeClock, draw: Math.random, ask: () => false, askHttp: () => http.exchange(baseUrl), stepped: () => undefined });
  return {
    due(monotonic) {
      const reading = clock.at();
      return reading === undefined ? undefined : ((reading.now + Math.round((monotonic - performance.now()) * 1000) - latency) as Micros);
    },
    error: () => clock.at()?.error,
    wake: clock.restart,
    stop() {
      clock.stop();
      stopping.abort();
    },
  };
};
