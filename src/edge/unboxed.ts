// SPDX-License-Identifier: Apache-2.0
/**
 * Objects and streams that were fetched with their mark boxes, without them.
 *
 * docs/wire/mark-box.md, "Box". Invariant: what is answered is checked; what cannot be is `unmarkable` before a byte of it is
 * answered, or breaks the stream off.
 */
import { joinSites } from '#core/mark/index.ts';
import { createBoxGuard } from '#edge/box-guard.ts';
import type { Unboxer } from '#edge/mark-boxes.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import type { StoredObject } from '#edge/memory-tier.ts';

/** A whole object from a disk, or from before its asset was marked. Throws `unmarkable`. */
export const unboxedObject = async ({ head, body, freshUntil, bornAt }: StoredObject, unboxer: Unboxer): Promise<StoredObject> => {
  const bytes = concatBytes(await unboxer.push(body), await unboxer.end());
  return { head, body: bytes, freshUntil, bornAt, marks: [joinSites(unboxer.marks)] };
};

/** A stream that is not kept. Rejects with `unmarkable` if its first chunk is, else breaks off where a later one is. */
export const unboxedBody = async (source: ReadableStream<Uint8Array>, unboxer: Unboxer): Promise<ReadableStream<Uint8Array>> => {
  const reader = source.getReader();
  /** The next bytes that may be let go; undefined at the end. */
  const next = async (): Promise<Uint8Array | undefined> => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return undefined;
      const ready = await unboxer.push(value);
      if (ready.length > 0) return ready;
    }
  };
  const first = await next().catch(async (cause: unknown) => {
    await reader.cancel(cause).catch(() => undefined);
    throw cause;
  });
  let ready = first;
  let ended = false;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const bytes = ready ?? (await next());
        ready = undefined;
        if (bytes !== undefined) return controller.enqueue(bytes);
        if (ended) return;
        ended = true;
        const rest = await unboxer.end();
        if (rest.length > 0) controller.enqueue(rest);
        controller.close();
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
};

/** A stream that is not kept, of an object that is not to be marked; breaks off before its first byte where it is. */
export const guardedBody = (source: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> => {
  const reader = source.getReader();
  const guard = createBoxGuard();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) {
            const rest = guard.end();
            if (rest.length > 0) controller.enqueue(rest);
            return controller.close();
          }
          let ready: Uint8Array;
          try {
            ready = guard.push(value);
          } catch (cause) {
            await reader.cancel(cause).catch(() => undefined);
            throw cause;
          }
          if (ready.length > 0) return controller.enqueue(ready);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
};
