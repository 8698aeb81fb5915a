// SPDX-License-Identifier: Apache-2.0
/**
 * The cache between viewers and the origin: memory, then disk, then one fetch that all who ask meanwhile share.
 *
 * RFC 9111. Bytes go to every reader as they arrive; a reader that leaves does not stop the fetch, because others and
 * the cache want the object. What the origin cut short, lengthened or stalled is never stored.
 * Invariant: one fetch per key at a time, memory and arriving bytes bounded, nothing stale served: an origin that is
 * down is an error, not an old manifest.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { type ErrorCode, isSealcastError } from '#core/errors.ts';
import { joinSites, type MarkSites } from '#core/mark/index.ts';
import { type Micros, microsFromSeconds, type Millis } from '#core/time.ts';
import type { DiskTier } from '#edge/disk-tier.ts';
import { createGrowingBytes, type GrowingBytes } from '#edge/growing-bytes.ts';
import type { Unboxer } from '#edge/mark-boxes.ts';
import { createBoxGuard, requireUnmarked } from '#edge/box-guard.ts';
import { guardedBody, unboxedBody, unboxedObject } from '#edge/unboxed.ts';
import type { MemoryTier, StoredObject } from '#edge/memory-tier.ts';
import type { Origin, OriginAnswer, OriginHead } from '#edge/origin.ts';
import type { Clock, Log } from '#ports';

/** Where an answer's bytes came from; the label of metrics. */
export type CacheSource = 'memory' | 'disk' | 'revalidated' | 'origin' | 'shared' | 'direct';
/** An object, whole or on its way, or the code of a refusal. */
export type CacheAnswer =
  | { readonly kind: 'stored'; readonly source: CacheSource; readonly object: StoredObject }
  | {
      readonly kind: 'arriving';
      readonly source: CacheSource;
      readonly head: OriginHead;
      readonly bornAt: Micros;
      readonly bytes: GrowingBytes;
      readonly length: number | undefined;
      /** Places of marks in the bytes there are; grows with them. */
      readonly marks?: readonly MarkSites[];
    }
  | {
      /** Too large to keep: the origin's stream itself, for one reader. */
      readonly kind: 'direct';
      readonly source: CacheSource;
      readonly head: OriginHead;
      readonly bornAt: Micros;
      readonly body: ReadableStream<Uint8Array> | null;
      readonly length: number | undefined;
      readonly marks?: readonly MarkSites[];
    }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string };

/** Keeps the runtime from ending a shared fetch with the request that started it (`waitUntil` in workerd). */
export type KeepAlive = (work: Promise<unknown>) => void;

/** For objects with mark boxes: makes what takes them out, once per trip. The same for all who ask for an object. */
export type MakeUnboxer = () => Unboxer;

/** The cache as the edge uses it. */
export type PullThrough = {
  /** A fresh object in memory; the path nearly every request takes. */
  peek(key: string, now: Micros): StoredObject | undefined;
  /** The object from wherever it is. Never rejects. */
  open(key: string, keepAlive: KeepAlive, unboxer?: MakeUnboxer): Promise<CacheAnswer>;
  /** Aborts running fetches. */
  close(): void;
  /** Bytes of objects on their way. */
  readonly arriving: number;
};

/** Tiers, origin and bounds of the cache. */
export type PullThroughOptions = {
  readonly origin: Origin;
  readonly memory: MemoryTier;
  readonly disk?: DiskTier | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Objects longer than this pass through uncached. */
  readonly maxObjectBytes: number;
  /** Bytes of shared objects that may be on their way at once; beyond it, objects pass through uncached. */
  readonly maxArrivingBytes: number;
  /** An origin that sends nothing for so long is given up. Longer than any blocking playlist or early segment request. */
  readonly idleTimeout: Millis;
  /** A whole object arrived from the origin. */
  readonly onFetched?: (key: string, bytes: number) => void;
  readonly onOrigin?: (outcome: 'ok' | 'refused' | 'failed', seconds: number) => void;
};

const unavailable = (detail: string): CacheAnswer => ({ kind: 'refused', code: 'origin-unavailable', detail });

/** Objects that may carry mark boxes. */
const SEGMENT = /\.m4s$/;

/** What readers get of an answer that broke off before its first byte. */
const refusalOf = (cause: unknown): Extract<CacheAnswer, { kind: 'refused' }> =>
  isSealcastError(cause, 'unmarkable') ? { kind: 'refused', code: 'unmarkable', detail: cause.message } : { kind: 'refused', code: 'origin-unavailable', detail: 'the object could not be fetched' };

/** A cache over `origin`, with nothing on its way. */
export const createPullThrough = (options: PullThroughOptions): PullThrough => {
  const { origin, memory, disk, clock, log, maxObjectBytes, maxArrivingBytes, idleTimeout } = options;
  const flights = new Map<string, Promise<CacheAnswer>>();
  const running = new Set<AbortController>();
  let arriving = 0;

  /** Ends the flight when nothing was heard from the origin for the idle time. */
  const watch = (abort: AbortController): { heard: () => void; stop: () => void } => {
    let cancel = clock.after(idleTimeout, () => abort.abort(new Error('the origin was silent for too long')));
    const rearm = (): void => {
      cancel();
      cancel = clock.after(idleTimeout, () => abort.abort(new Error('the origin was silent for too long')));
    };
    let last = clock.monotonic();
    return {
      // Re-arming a timer for every chunk costs more than the chunk; a tenth of the timeout is precise enough.
      heard: () => {
        const now = clock.monotonic();
        if (now - last < idleTimeout / 10) return;
        last = now;
        rearm();
      },
      stop: () => cancel(),
    };
  };

  /** The disk gets what the origin sent: places of marks are in the clear in memory only. */
  const store = async (key: string, answer: Extract<OriginAnswer, { kind: 'object' }>, object: StoredObject, received: () => Uint8Array): Promise<void> => {
    if (!answer.freshness.storable) return;
    memory.put(key, object);
    if (answer.freshness.immutable && disk !== undefined) await disk.put(key, object.marks === undefined ? object : { ...object, body: received() });
  };

  /** Copies the origin's body into `bytes`; the outcome is for the readers of `bytes`, so this never rejects. */
  const fill = async (key: string, answer: Extract<OriginAnswer, { kind: 'object' }>, bytes: GrowingBytes, bornAt: Micros, heard: () => void, unboxer: Unboxer | undefined): Promise<StoredObject | undefined> => {
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    let received = 0;
    const guard = unboxer === undefined && SEGMENT.test(key) ? createBoxGuard() : undefined;
    const kept: Uint8Array[] = [];
    try {
      reader = answer.body?.getReader();
      for (let next = await reader?.read(); next !== undefined && !next.done; next = await reader?.read()) {
        heard();
        arriving += next.value.length;
        received += next.value.length;
        if (unboxer !== undefined && disk !== undefined) kept.push(next.value);
        bytes.append(unboxer === undefined ? (guard?.push(next.value) ?? next.value) : await unboxer.push(next.value));
        if (received > maxObjectBytes) throw new Error(`an object without a length grew beyond ${maxObjectBytes} bytes`);
        if (answer.length !== undefined && received > answer.length) throw new Error('the origin sent more than it announced');
      }
      if (answer.length !== undefined && received !== answer.length) throw new Error('the origin sent less than it announced');
      if (unboxer !== undefined) bytes.append(await unboxer.end());
      else if (guard !== undefined) bytes.append(guard.end());
      const body = bytes.finish();
      options.onFetched?.(key, body.length);
      const object: StoredObject = { head: answer.head, body, freshUntil: answer.freshness.freshUntil, bornAt, ...(unboxer && { marks: [joinSites(unboxer.marks)] }) };
      await store(key, answer, object, () => concatBytes(...kept));
      return object;
    } catch (cause) {
      bytes.fail(cause);
      log.warn('origin answer broke off', { key, received, announced: answer.length ?? -1, reason: String(cause) });
      await reader?.cancel(cause).catch(() => undefined);
      return undefined;
    } finally {
      arriving -= received;
    }
  };

  const ask = async (key: string, etag: string | null, abort: AbortController): Promise<OriginAnswer> => {
    const started = clock.monotonic();
    const seconds = (): number => (clock.monotonic() - started) / 1000;
    try {
      const answer = await origin({ key, etag, signal: abort.signal, now: () => clock.now() });
      options.onOrigin?.(answer.kind === 'refused' && answer.code === 'origin-unavailable' ? 'refused' : 'ok', seconds());
      return answer;
    } catch (cause) {
      options.onOrigin?.('failed', seconds());
      log.warn('origin not reached', { key, reason: String(cause) });
      return { kind: 'refused', code: 'origin-unavailable', detail: 'the origin could not be reached' };
    }
  };

  const bornAt = (age: number): Micros => (clock.now() - microsFromSeconds(age)) as Micros;

  /** One trip to the origin. `landed` runs when the last byte is in. */
  const fetchOnce = async (key: string, stale: StoredObject | undefined, share: boolean, keepAlive: KeepAlive, landed: () => void, make: MakeUnboxer | undefined): Promise<CacheAnswer> => {
    const abort = new AbortController();
    running.add(abort);
    const idle = watch(abort);
    const done = (): void => {
      idle.stop();
      running.delete(abort);
      landed();
    };
    const answer = await ask(key, stale?.head.etag ?? null, abort);
    if (answer.kind === 'refused') {
      done();
      return answer;
    }
    if (answer.kind === 'unchanged') {
      done();
      if (stale === undefined) return unavailable('the origin answered 304 to an unconditional request');
      const current = await opened(key, stale, make);
      if ('kind' in current) return current;
      const renewed: StoredObject = { ...current, freshUntil: answer.freshness.freshUntil, bornAt: bornAt(answer.age) };
      if (answer.freshness.storable) memory.put(key, renewed);
      return { kind: 'stored', source: 'revalidated', object: renewed };
    }
    const { head, length } = answer;
    const born = bornAt(answer.age);
    if (!share || (length ?? 0) > maxObjectBytes || arriving > maxArrivingBytes) {
      // The reader's own pace and leaving rule from here on.
      done();
      options.onFetched?.(key, length ?? 0);
      const unboxer = make?.();
      if (answer.body === null || (unboxer === undefined && !SEGMENT.test(key))) return { kind: 'direct', source: 'direct', head, bornAt: born, body: answer.body, length };
      if (unboxer === undefined) return { kind: 'direct', source: 'direct', head, bornAt: born, body: guardedBody(answer.body), length };
      try {
        return { kind: 'direct', source: 'direct', head, bornAt: born, body: await unboxedBody(answer.body, unboxer), length: undefined, marks: unboxer.marks };
      } catch (cause) {
        return refusalOf(cause);
      }
    }
    const unboxer = make?.();
    const bytes = createGrowingBytes(unboxer === undefined ? length : undefined);
    const filling = fill(key, answer, bytes, born, idle.heard, unboxer);
    keepAlive(filling.then(done));
    if (unboxer === undefined) return { kind: 'arriving', source: 'origin', head, bornAt: born, bytes, length };
    try {
      // A segment in the making is let go chunk by chunk, from its first checked one on; a finished one when all of it is checked.
      if (length === undefined) {
        await bytes.more(0);
        return { kind: 'arriving', source: 'origin', head, bornAt: born, bytes, length: undefined, marks: unboxer.marks };
      }
      const object = await filling;
      if (object !== undefined) return { kind: 'stored', source: 'origin', object };
      // The reason is what its readers are told.
      await bytes.more(bytes.length);
      return unavailable('the object could not be fetched');
    } catch (cause) {
      return refusalOf(cause);
    }
  };

  /** The object without mark boxes, where it still has them. */
  const opened = async (key: string, object: StoredObject, make: MakeUnboxer | undefined): Promise<StoredObject | Extract<CacheAnswer, { kind: 'refused' }>> => {
    if (object.marks !== undefined || (make === undefined && !SEGMENT.test(key))) return object;
    try {
      if (make === undefined) {
        requireUnmarked(object.body);
        return object;
      }
      return await unboxedObject(object, make());
    } catch (cause) {
      return refusalOf(cause);
    }
  };

  const fly = async (key: string, keepAlive: KeepAlive, landed: () => void, make: MakeUnboxer | undefined): Promise<CacheAnswer> => {
    const stale = memory.get(key);
    const now = clock.now();
    // A fetch that landed between `peek` and here has already stored it.
    if (stale !== undefined && now < stale.freshUntil) {
      const object = await opened(key, stale, make);
      if (!('kind' in object) && object !== stale) memory.put(key, object);
      landed();
      return 'kind' in object ? object : { kind: 'stored', source: 'memory', object };
    }
    const onDisk = stale === undefined ? await disk?.get(key) : undefined;
    if (onDisk !== undefined && now < onDisk.freshUntil) {
      const object = await opened(key, onDisk, make);
      if (!('kind' in object)) memory.put(key, object);
      landed();
      return 'kind' in object ? object : { kind: 'stored', source: 'disk', object };
    }
    return fetchOnce(key, stale, true, keepAlive, landed, make);
  };

  return {
    get arriving() {
      return arriving;
    },
    peek: (key, now) => {
      const object = memory.get(key);
      return object !== undefined && now < object.freshUntil ? object : undefined;
    },
    open: async (key, keepAlive, make) => {
      const shared = flights.get(key);
      if (shared !== undefined) {
        const answer = await shared;
        if (answer.kind === 'direct') return fetchOnce(key, undefined, false, keepAlive, () => undefined, make);
        return answer.kind === 'refused' ? answer : { ...answer, source: 'shared' };
      }
      // `land` may run before the flight is known here: then there is nothing to share any more.
      const own: { flight?: Promise<CacheAnswer>; landed: boolean } = { landed: false };
      const land = (): void => {
        own.landed = true;
        if (own.flight !== undefined && flights.get(key) === own.flight) flights.delete(key);
      };
      own.flight = fly(key, keepAlive, land, make).catch((cause: unknown): CacheAnswer => {
        log.error('cache fault', { key, reason: String(cause) });
        land();
        return unavailable('the object could not be fetched');
      });
      if (!own.landed) flights.set(key, own.flight);
      return own.flight;
    },
    close: () => {
      for (const abort of running) abort.abort(new Error('the edge is shutting down'));
      running.clear();
    },
  };
};
