// SPDX-License-Identifier: Apache-2.0
/**
 * The sliding window of one live rendition: parts as they come, finished segments, and everyone who waits for them.
 *
 * Segment numbers are floor(UTC / segment duration), so a number says when its media was and two packagers agree on it.
 * Recent segments stay in memory; all of the window is in the object store with an index, from which a restarted packager
 * takes the window up again.
 * Invariants: parts of a segment are only ever appended; a finished segment never changes, except that the very last one of
 * an event is marked `lmsg`; a segment leaves memory only when the store has it.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { Segment } from '#core/manifest/presentation.ts';
import { writeBrands } from '#core/isobmff/segment-boxes.ts';
import type { Micros, Millis, SegmentNumber } from '#core/time.ts';
import type { Clock, ObjectStore } from '#ports';

/** One protected CMAF chunk on the timeline. */
export type WindowPart = { readonly bytes: Uint8Array; /** Of `bytes`, those of mark boxes, which edges strip. */ readonly boxBytes?: number; readonly start: Micros; readonly duration: Micros; readonly independent: boolean };

type Held = {
  readonly number: SegmentNumber;
  readonly start: Micros;
  duration: Micros;
  size: number;
  complete: boolean;
  /** Absent once the segment lives in the store only. */
  parts: WindowPart[] | undefined;
};

/** Brands of a segment; the last of an event says `lmsg` in place of `cmfl`, so that its size stays the same. */
const BRANDS = ['cmfs', 'cmfl', 'msdh'] as const;
const LAST_BRANDS = ['cmfs', 'lmsg', 'msdh'] as const;
/** The `styp` in front of a segment; `last` marks the end of an event. */
export const segmentType = (last: boolean): Uint8Array => writeBrands('styp', 'msdh', last ? LAST_BRANDS : BRANDS);

/** The window; all methods are safe to call at any time. */
export type RenditionWindow = {
  /** Appends a part to segment `number`, which must not be older than the open one. A newer number finishes the open segment. */
  append(number: SegmentNumber, part: WindowPart): void;
  /** Finishes the open segment, if any, and waits until all finished segments are stored. */
  finish(last: boolean): Promise<void>;
  /** Stores the open segment as it is, so that a restart goes on behind what a source was told is safe. */
  flush(): Promise<void>;
  /** End of the newest part. */
  readonly end: Micros | undefined;
  /** Number of the newest segment. */
  readonly latest: SegmentNumber | undefined;
  readonly first: { readonly number: SegmentNumber; readonly start: Micros } | undefined;
  readonly partTarget: Micros;
  /** Largest bit rate of a finished segment, and the mean; undefined before the first part. */
  readonly rates: { readonly peak: number; readonly average: number } | undefined;
  /** The window as manifests list it: consecutive numbers, gaps included. */
  list(): readonly Segment[];
  /** Whether a request for this part or segment could ever be answered: it is there, or it is the next in line. */
  position(number: number): 'past' | 'gap' | 'held' | 'open' | 'future';
  part(number: number, index: number): WindowPart | undefined;
  /** Bytes of a finished segment. */
  segment(number: number): Promise<Uint8Array | undefined>;
  /** Parts of the segment from `index` on, and whether more will come. */
  partsFrom(number: number, index: number): { readonly parts: readonly WindowPart[]; readonly complete: boolean } | undefined;
  /** Resolves true when `ready` holds, false after `timeout`, abort or close. Checked at every change. */
  until(ready: () => boolean, timeout: Millis, signal?: AbortSignal): Promise<boolean>;
  /** From now on the window is all that was kept. */
  openAll(): void;
  /** Lets everyone who waits go, without an answer. */
  close(): void;
  readonly closed: boolean;
  /** Stored work so far has reached the store. */
  settled(): Promise<void>;
};

/** What the index object holds: [number, start, duration, bytes, complete, [part sizes and durations]]. */
type IndexRow = readonly [
  number: number,
  start: number,
  duration: number,
  size: number,
  complete: 0 | 1,
  parts: readonly (readonly [size: number, start: number, duration: number, independent: 0 | 1])[],
];
type Index = { readonly version: 1; readonly partTarget: number; readonly segments: readonly IndexRow[] };

/** Segments whose parts are still listed and kept in memory: three target durations, as RFC 8216bis 6.2.2 allows, and one. */
const PARTS_LISTED = 4;
/** Segments kept in memory for players a little behind. */
const IN_MEMORY = 8;

/** Opens a window, with what an earlier process stored under `path`. Throws `store-unavailable`. */
export const createRenditionWindow = async (options: {
  store: ObjectStore;
  clock: Clock;
  /** Folder of the rendition in the store. */
  path: string;
  segmentDuration: Micros;
  chunkDuration: Micros;
  /** Segments in the window. */
  depth: number;
  /** Keeps everything for later; the window that players see is as deep as told until `openAll`. */
  keepAll?: boolean;
  /** Called when a write fails; the window goes on from memory. */
  onFault(error: unknown): void;
}): Promise<RenditionWindow> => {
  const { store, clock, path, segmentDuration, depth, keepAll = false } = options;
  const segments = new Map<number, Held>();
  const waiting = new Set<() => void>();
  let latest: Held | undefined;
  let partTarget: number = options.chunkDuration;
  let peak = 0;
  let bits = 0;
  let time = 0;
  let closed = false;
  let all = false;
  /** Writes happen one after the other, so the index never names what is not stored. */
  let writes: Promise<void> = Promise.resolve();

  const wake = (): void => {
    for (const check of [...waiting]) check();
  };
  const objectPath = (number: number): string => `${path}/${number}.m4s`;
  const measure = (held: Held): void => {
    if (held.duration < segmentDuration / 2) return;
    peak = Math.max(peak, Math.round((held.size * 8_000_000) / held.duration));
    bits += held.size * 8;
    time += held.duration;
  };

  const index = (): Uint8Array => {
    const rows = [...segments.values()].map(
      (held): IndexRow => [
        held.number,
        held.start,
        held.duration,
        held.size,
        held.complete ? 1 : 0,
        held.complete ? [] : (held.parts ?? []).map((part) => [part.bytes.length, part.start, part.duration, part.independent ? 1 : 0] as const),
      ],
    );
    return encodeUtf8(JSON.stringify({ version: 1, partTarget, segments: rows } satisfies Index));
  };

  /** Bytes are taken now; the write happens in order. */
  const write = (held: Held): Promise<void> => {
    const bytes = concatBytes(...(held.parts ?? []).map((part) => part.bytes));
    const snapshot = index();
    const expired = keepAll ? [] : [...segments.keys()].filter((number) => number <= (latest?.number ?? 0) - depth - 2);
    for (const number of expired) segments.delete(number);
    writes = writes
      .then(async () => {
        await store.put(objectPath(held.number), bytes);
        await store.put(`${path}/window.json`, snapshot);
        for (const number of expired) await store.remove(objectPath(number));
      })
      .catch((error: unknown) => options.onFault(error));
    return writes;
  };

  const markLast = (held: Held): void => {
    const first = held.parts?.[0];
    if (held.parts === undefined || first === undefined) return;
    const marked = first.bytes.slice();
    marked.set(segmentType(true));
    held.parts[0] = { ...first, bytes: marked };
  };

  const complete = (held: Held, last: boolean): void => {
    if (held.complete) return;
    held.complete = true;
    if (last) markLast(held);
    measure(held);
    void write(held).then(() => {
      // Only what the store has may leave memory.
      for (const other of segments.values()) if (other.complete && other.number <= (latest?.number ?? 0) - IN_MEMORY) other.parts = undefined;
    });
  };

  const restore = async (): Promise<void> => {
    const stored = await store.get(`${path}/window.json`);
    if (stored === undefined) return;
    const parsed = JSON.parse(decodeUtf8(stored)) as Index;
    partTarget = Math.max(partTarget, parsed.partTarget);
    for (const [number, start, duration, size, finished, parts] of parsed.segments) {
      const held: Held = { number: number as SegmentNumber, start: start as Micros, duration: duration as Micros, size, complete: finished === 1, parts: undefined };
      if (finished === 0) {
        const bytes = await store.get(objectPath(number));
        if (bytes === undefined) continue;
        let at = 0;
        held.parts = parts.map(([length, partStart, partDuration, independent]) => {
          const part = { bytes: bytes.slice(at, at + length), start: partStart as Micros, duration: partDuration as Micros, independent: independent === 1 };
          at += length;
          return part;
        });
      } else measure(held);
      segments.set(number, held);
      latest = held;
    }
  };
  await restore();

  const firstListed = (): number => {
    const oldest = segments.keys().next().value ?? 0;
    return all ? oldest : Math.max(oldest, (latest?.number ?? 0) - depth + 1);
  };

  return {
    append(number, part) {
      if (latest !== undefined && number > latest.number) complete(latest, false);
      let held = segments.get(number);
      if (held === undefined) {
        held = { number, start: part.start, duration: 0 as Micros, size: 0, complete: false, parts: [] };
        segments.set(number, held);
        latest = held;
      }
      const lead = (held.parts ??= []).length === 0 ? segmentType(false) : undefined;
      held.parts.push(lead === undefined ? part : { ...part, bytes: concatBytes(lead, part.bytes) });
      held.size += part.bytes.length - (part.boxBytes ?? 0) + (lead?.length ?? 0);
      held.duration = (part.start + part.duration - held.start) as Micros;
      partTarget = Math.max(partTarget, part.duration);
      // The boundary is reached (up to rounding of ticks): nothing more can belong here, so do not wait for the next segment.
      if (part.start + part.duration >= (number + 1) * segmentDuration - 2) complete(held, false);
      wake();
    },
    async finish(last) {
      if (latest !== undefined && !latest.complete) complete(latest, last);
      else if (latest !== undefined && last) {
        // It was finished at its boundary, before anybody knew that it is the last.
        markLast(latest);
        if (latest.parts !== undefined) void write(latest);
      }
      wake();
      await writes;
    },
    async flush() {
      if (latest !== undefined && !latest.complete) void write(latest);
      await writes;
    },
    get end() {
      return latest === undefined ? undefined : ((latest.start + latest.duration) as Micros);
    },
    get latest() {
      return latest?.number;
    },
    get first() {
      const held = segments.get(firstListed()) ?? segments.values().next().value;
      return held === undefined ? undefined : { number: held.number, start: held.start };
    },
    get partTarget() {
      return partTarget as Micros;
    },
    get rates() {
      if (time > 0) return { peak, average: Math.round((bits * 1_000_000) / time) };
      // Nothing whole yet: a rough figure keeps renditions in their order.
      if (latest === undefined || latest.duration === 0) return undefined;
      const rough = Math.round((latest.size * 8_000_000) / latest.duration);
      return { peak: rough, average: rough };
    },
    list() {
      if (latest === undefined) return [];
      const out: Segment[] = [];
      for (let number = firstListed(); number <= latest.number; number += 1) {
        const held = segments.get(number);
        const grid = (number * segmentDuration) as Micros;
        if (held === undefined) {
          out.push({ number: number as SegmentNumber, start: grid, duration: segmentDuration, state: 'gap', parts: [] });
          continue;
        }
        out.push({
          number: held.number,
          start: held.start,
          duration: held.duration,
          state: held.complete ? 'complete' : 'open',
          parts: number > latest.number - PARTS_LISTED ? (held.parts ?? []) : [],
        });
      }
      return out;
    },
    position(number) {
      if (latest === undefined || number > latest.number) return 'future';
      const held = segments.get(number);
      if (held !== undefined) return held.complete ? 'held' : 'open';
      return number < firstListed() ? 'past' : 'gap';
    },
    part: (number, at) => segments.get(number)?.parts?.[at],
    async segment(number) {
      const held = segments.get(number);
      if (held === undefined || !held.complete) return undefined;
      return held.parts === undefined ? store.get(objectPath(number)) : concatBytes(...held.parts.map((part) => part.bytes));
    },
    partsFrom(number, at) {
      const held = segments.get(number);
      return held?.parts === undefined ? undefined : { parts: held.parts.slice(at), complete: held.complete };
    },
    until(ready, timeout, signal) {
      if (ready()) return Promise.resolve(true);
      if (closed || signal?.aborted === true) return Promise.resolve(false);
      return new Promise((resolve) => {
        const done = (answer: boolean): void => {
          cancel();
          waiting.delete(check);
          signal?.removeEventListener('abort', abort);
          resolve(answer);
        };
        const check = (): void => {
          if (ready()) done(true);
          else if (closed) done(false);
        };
        const abort = (): void => done(false);
        const cancel = clock.after(timeout, () => done(false));
        waiting.add(check);
        signal?.addEventListener('abort', abort, { once: true });
      });
    },
    openAll() {
      all = keepAll;
    },
    close() {
      closed = true;
      wake();
    },
    get closed() {
      return closed;
    },
    settled: () => writes,
  };
};
