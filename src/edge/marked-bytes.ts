// SPDX-License-Identifier: Apache-2.0
/**
 * A viewer's copy of cached bytes: copied, then changed at the places of the marks.
 *
 * Invariant: cached bytes are never written; a byte range of the copy is the copy of the byte range.
 */
import { applySwitches, type MarkSites, type Switches } from '#core/mark/index.ts';

/** `bytes` [start, ...) of an object, as the viewer of `switches` gets them. */
const markedCopy = (bytes: Uint8Array, marks: readonly MarkSites[], switches: Switches, start: number = 0): Uint8Array => {
  const copy = bytes.slice();
  for (const sites of marks) applySwitches(copy, sites, switches, start);
  return copy;
};

/** A stream of an object's bytes from `start` on, as the viewer of `switches` gets them; `marks` may grow meanwhile. */
export const markedStream = (source: ReadableStream<Uint8Array>, marks: readonly MarkSites[], switches: Switches, start: number): ReadableStream<Uint8Array> => {
  const reader = source.getReader();
  let at = start;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        controller.enqueue(markedCopy(value, marks, switches, at));
        at += value.length;
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
};
