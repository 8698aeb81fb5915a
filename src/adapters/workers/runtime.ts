// SPDX-License-Identifier: Apache-2.0
/**
 * Clock, randomness and logging of workerd, from its globals.
 *
 * Invariant: nothing here runs at import: workerd forbids timers and randomness outside a request.
 */
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Log, Metrics, Random, ResponseFactory } from '#ports';

/** workerd's clock stands still between I/O, which is precise enough for token and cache lifetimes. */
export const workerClock: Clock = {
  now: () => (Date.now() * 1000) as Micros,
  monotonic: () => performance.now() as Millis,
  after: (delay, run) => {
    const timer = setTimeout(run, delay);
    return () => clearTimeout(timer);
  },
};

/** WebCrypto's generator; only inside a request. */
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

/** workerd's own transform that makes an answer of known length from a stream. */
declare const FixedLengthStream: new (length: number) => { readonly readable: ReadableStream<Uint8Array>; readonly writable: WritableStream<Uint8Array> };

/**
 * workerd ends the chunked answer of a failed stream as if it were whole, so a client could not tell a truncated segment.
 * With a length it can: workerd then breaks the connection. (Answers of unknown length stay as they are.)
 */
export const workerResponse: ResponseFactory = (body, { status, headers }) => {
  const length = headers.find(([name]) => name === 'content-length')?.[1];
  if (!(body instanceof ReadableStream) || length === undefined) return new Response(body as ConstructorParameters<typeof Response>[0], { status, headers });
  const fixed = new FixedLengthStream(Number(length));
  // Both ends learn of a fault or a leaving client from the pipe; there is nobody else to tell.
  body.pipeTo(fixed.writable).catch(() => undefined);
  return new Response(fixed.readable as ConstructorParameters<typeof Response>[0], { status, headers });
};
