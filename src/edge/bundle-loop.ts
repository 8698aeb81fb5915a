// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps the newest bundle in memory: asks its source again and again, and backs off with jitter when it fails.
 *
 * docs/wire/edge-bundle.md. A bundle that is over is the edge's problem to say (503), not a reason to stop asking.
 * Invariant: a bundle is replaced by a newer one only, and only as a whole.
 */
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { EdgeCarrier } from '#core/edge-bundle/edge-carriers.ts';
import type { EdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import type { Micros, Millis } from '#core/time.ts';
import { createKeyRing, type KeyRing } from '#edge/key-ring.ts';
import type { Clock, Log, Random } from '#ports';

/**
 * Answers a bundle whose version differs from `version` (0: none yet) at once, else waits up to `wait` for one; undefined
 * if there was none. `traffic`: what this edge fetched of marked assets since it started. `carriers`: what it knows of sessions that ended because of a leak. In process this is the licence server's function, remotely `createBundleClient`.
 */
export type BundleSource = (request: { readonly version: number; readonly wait: Millis; readonly signal: AbortSignal; readonly traffic?: readonly EdgeTraffic[]; readonly carriers?: readonly EdgeCarrier[] }) => Promise<EdgeBundle | undefined>;

/** The holder of the newest bundle. */
export type BundleLoop = {
  /** Keys to work with at `now`; undefined before the first bundle and after the last one's end. */
  current(now: Micros): KeyRing | undefined;
  /** Asks once without waiting; for runtimes without a background, and for start-up. Rejects with the source's fault. */
  refresh(): Promise<void>;
  start(): void;
  stop(): void;
};

/** The longest a server may hold a request (docs/wire). */
export const LONGEST_WAIT: Millis = 25_000 as Millis;
/** An edge that serves marked assets asks again this soon, so that operators see what it fetches. */
const REPORT_EVERY = 5000;
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 10_000;

/** `onUpdate` runs for each new bundle, `onLost` once when the source begins to fail. */
export const createBundleLoop = (options: {
  source: BundleSource;
  clock: Clock;
  random: Random;
  log: Log;
  /** What to report with each question; one that has changed is reported soon. */
  traffic?: () => readonly EdgeTraffic[];
  /** What is to be told of sessions that ended because of a leak. */
  carriers?: { next(): readonly EdgeCarrier[]; told(count: number): void };
  onUpdate: (ring: KeyRing, bundle: EdgeBundle) => void;
  onLost: (reason: string) => void;
}): BundleLoop => {
  const { source, clock, random, log } = options;
  let held: { bundle: EdgeBundle; ring: KeyRing } | undefined;
  let abort: AbortController | undefined;
  let failures = 0;

  const ask = async (wait: Millis, signal: AbortSignal): Promise<void> => {
    const traffic = options.traffic?.() ?? [];
    const carriers = options.carriers?.next() ?? [];
    const bundle = await source({ version: held?.bundle.version ?? 0, wait: traffic.length > 0 ? (Math.min(wait, REPORT_EVERY) as Millis) : wait, signal, ...(traffic.length > 0 && { traffic }), ...(carriers.length > 0 && { carriers }) });
    options.carriers?.told(carriers.length);
    // Two requests may cross: what is older than what is held is dropped.
    if (bundle === undefined || (held !== undefined && bundle.issuedAt < held.bundle.issuedAt)) return;
    held = { bundle, ring: createKeyRing(bundle, held) };
    options.onUpdate(held.ring, bundle);
  };

  /** Full jitter: edges that lost the server together do not come back together. */
  const pause = (signal: AbortSignal): Promise<void> => {
    const ceiling = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(failures, 10));
    const share = (new DataView(random.bytes(4).slice().buffer).getUint32(0) + 1) / 2 ** 32;
    return new Promise((resolve) => {
      const over = (): void => {
        cancel();
        signal.removeEventListener('abort', over);
        resolve();
      };
      const cancel = clock.after((ceiling * share) as Millis, over);
      signal.addEventListener('abort', over);
    });
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      const before = held?.bundle.version;
      const started = clock.monotonic();
      try {
        await ask(LONGEST_WAIT, signal);
        failures = 0;
        // A source that answers nothing without having waited would be asked in a tight loop.
        if (!signal.aborted && held?.bundle.version === before && clock.monotonic() - started < FIRST_PAUSE) await pause(signal);
      } catch (cause) {
        if (signal.aborted) return;
        failures += 1;
        const reason = cause instanceof Error ? cause.message : String(cause);
        log.warn('edge bundle not refreshed', { failures, reason });
        if (failures === 1) options.onLost(reason);
        await pause(signal);
      }
    }
  };

  return {
    current: (now) => (held !== undefined && now < held.ring.validUntil ? held.ring : undefined),
    refresh: () => ask(0 as Millis, new AbortController().signal),
    start: () => {
      if (abort !== undefined) return;
      abort = new AbortController();
      void run(abort.signal);
    },
    stop: () => {
      abort?.abort();
      abort = undefined;
    },
  };
};
