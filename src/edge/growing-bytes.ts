// SPDX-License-Identifier: Apache-2.0
/**
 * One object's bytes while they arrive: a single writer, any number of readers, each at its own place.
 *
 * Bytes are copied once, into a buffer that starts small and doubles, so that a promised length costs nothing before
 * it is kept. Readers get views: what was written is never written again, and an outgrown buffer lives as long as its views.
 * Invariant: a reader sees the written bytes in order, without a gap, and then the end or the fault, never both.
 */

/** An object on its way. */
export type GrowingBytes = {
  /** Bytes there are now. */
  readonly length: number;
  readonly state: 'open' | 'done' | 'failed';
  /** Adds a copy of `chunk`. */
  append(chunk: Uint8Array): void;
  /** No more bytes; answers the whole, in a buffer of just that size. */
  finish(): Uint8Array;
  /** What is there stays readable; readers that want more get `reason`. */
  fail(reason: unknown): void;
  /** Bytes [from, length) now, without copying. */
  view(from: number): Uint8Array;
  /** Resolves when there is more than `length` bytes, or the end; rejects with the fault. */
  more(length: number): Promise<void>;
  /** Reads bytes [start, end) as they come; `end` undefined = to the end. Cancelling affects this reader only. */
  stream(start: number, end: number | undefined): ReadableStream<Uint8Array>;
};

const FIRST_CAPACITY = 65_536;

/** `expected`: length promised by the source, used to size the last step of growth exactly. */
export const createGrowingBytes = (expected: number | undefined): GrowingBytes => {
  let buffer = new Uint8Array(Math.min(expected ?? FIRST_CAPACITY, FIRST_CAPACITY));
  let length = 0;
  let state: 'open' | 'done' | 'failed' = 'open';
  let fault: unknown;
  let waiting: { promise: Promise<void>; resolve: () => void } | undefined;

  const wake = (): void => {
    waiting?.resolve();
    waiting = undefined;
  };
  const grow = (needed: number): void => {
    const doubled = Math.max(needed, buffer.length * 2);
    const capacity = expected !== undefined && expected >= needed ? Math.min(doubled, expected) : doubled;
    const larger = new Uint8Array(capacity);
    larger.set(buffer.subarray(0, length));
    buffer = larger;
  };
  const view = (from: number): Uint8Array => buffer.subarray(from, length);

  const more = async (known: number): Promise<void> => {
    while (length <= known && state === 'open') {
      waiting ??= Promise.withResolvers<void>();
      await waiting.promise;
    }
    if (length <= known && state === 'failed') throw fault;
  };

  return {
    get length() {
      return length;
    },
    get state() {
      return state;
    },
    append: (chunk) => {
      if (state !== 'open' || chunk.length === 0) return;
      if (length + chunk.length > buffer.length) grow(length + chunk.length);
      buffer.set(chunk, length);
      length += chunk.length;
      wake();
    },
    finish: () => {
      // A tail of unused capacity would be memory that the cache's budget does not see.
      if (buffer.length !== length) buffer = buffer.slice(0, length);
      state = 'done';
      wake();
      return buffer;
    },
    fail: (reason) => {
      if (state !== 'open') return;
      state = 'failed';
      fault = reason;
      wake();
    },
    view,
    more,
    stream: (start, end) => {
      let at = start;
      return new ReadableStream<Uint8Array>(
        {
          pull: async (controller) => {
            if (end !== undefined && at >= end) return controller.close();
            await more(at);
            if (length <= at) return controller.close();
            const ready = view(at);
            const wanted = end === undefined ? ready : ready.subarray(0, end - at);
            at += wanted.length;
            controller.enqueue(wanted);
            if ((end !== undefined && at >= end) || (state === 'done' && at >= length)) controller.close();
          },
        },
        // Nothing is pulled before a reader asks, so a slow client holds one view and no queue.
        { highWaterMark: 0 },
      );
    },
  };
};
