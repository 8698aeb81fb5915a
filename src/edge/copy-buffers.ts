// SPDX-License-Identifier: Apache-2.0
/**
 * Buffers for viewers' copies, used again where the runtime says when a body has been sent.
 *
 * A fresh buffer of a segment's size comes from the system page by page, which costs several times the copy itself.
 * Invariant: a buffer is handed out to one copy at a time; one whose end is never told is left to the garbage collector.
 */

/** Buffers by size class. */
export type CopyBuffers = {
  /** A copy of `bytes`, and what to call when nobody reads it any more. */
  copy(bytes: Uint8Array): { readonly bytes: Uint8Array; readonly done: () => void };
};

/** Smallest class; smaller copies are cheap enough. */
const SMALLEST = 16_384;
/** Classes grow by a quarter at least, so that at most a fifth of a buffer lies idle. */
const STEPS = 4;

const classOf = (length: number): number => {
  let size = SMALLEST;
  while (size * 2 <= length) size *= 2;
  return size + Math.ceil((length - size) / (size / STEPS)) * (size / STEPS);
};

/** `budget`: bytes kept for later, at most. */
export const createCopyBuffers = (budget: number): CopyBuffers => {
  const free = new Map<number, Uint8Array[]>();
  let kept = 0;
  const give = (buffer: Uint8Array): void => {
    if (kept + buffer.length > budget) return;
    kept += buffer.length;
    const list = free.get(buffer.length);
    if (list === undefined) free.set(buffer.length, [buffer]);
    else list.push(buffer);
  };
  return {
    copy(bytes) {
      if (bytes.length < SMALLEST) return { bytes: bytes.slice(), done: nothing };
      const size = classOf(bytes.length);
      const used = free.get(size)?.pop();
      if (used !== undefined) kept -= size;
      const buffer = used ?? new Uint8Array(size);
      buffer.set(bytes);
      let over = false;
      return {
        bytes: buffer.subarray(0, bytes.length),
        done: () => {
          if (over) return;
          over = true;
          give(buffer);
        },
      };
    },
  };
};

const nothing = (): void => undefined;
