// SPDX-License-Identifier: Apache-2.0
/**
 * Clock, randomness and logging of workerd, from its globals.
 *
 * Invariant: nothing here runs at import: workerd forbids timers and randomness outside a request.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Log, Metrics, Random } from '#ports';

/** workerd's clock stands still between I/O, which is precise enough for token and cache lifetimes. */
export const workerClock: Clock = {
  now: () => (Date.now() * 1000) as Micros,
  monotonic: () => performance.now() as Millis,
  after: (delay, run) => {
    const timer = setTimeout(run, delay);
    return () => clearTimeout(timer);
  },
};

export const workerRandom: Random = { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) };

const line =
  (level: 'debug' | 'info' | 'warn' | 'error') =>
  (message: string, fields?: Record<string, unknown>): void => {
    console[level](JSON.stringify({ level, message, ...fields }));
  };

/** JSON lines on the console, which the platform collects. `debug` is dropped. */
export const workerLog: Log = { debug: () => undefined, info: line('info'), warn: line('warn'), error: line('error') };

/** An isolate is one of many and short-lived; the platform's own request metrics are the ones that add up. */
export const noMetrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
