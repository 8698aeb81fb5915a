// SPDX-License-Identifier: Apache-2.0
/**
 * Bytes of an answer on behalf of its session: how many there are, and none after the session ended.
 *
 * Invariant: a stream that is broken off ends in an error, so that no player takes a part for the whole.
 */
import { SealcastError } from '#core/errors.ts';
import type { CacheAnswer } from '#edge/pull-through.ts';
import { resolveRange } from '#edge/range.ts';
import type { Wish } from '#edge/respond.ts';

type Found = Exclude<CacheAnswer, { kind: 'refused' }>;

/** Bytes that an answer from memory has. */
export const askedBytes = (length: number, { range }: Wish): number => {
  if (range === null) return length;
  const asked = resolveRange(range, length);
  return asked.kind === 'part' ? asked.end - asked.start : asked.kind === 'unsatisfiable' ? 0 : length;
};

/** Tells how many bytes an answer has, once that is known; objects on their way are counted when they are there. */
export const countBytes = (found: Found, tell: (bytes: number) => void): void => {
  if (found.kind === 'stored') return tell(found.object.body.length);
  if (found.length !== undefined) return tell(found.length);
  if (found.kind !== 'arriving') return;
  const { bytes } = found;
  void (async () => {
    while (bytes.state === 'open') await bytes.more(bytes.length);
    tell(bytes.length);
  })().catch(() => undefined);
};

/** The same bytes for as long as `goesOn` holds, asked before each of them is handed on. */
const guarded = (source: ReadableStream<Uint8Array>, goesOn: () => boolean): ReadableStream<Uint8Array> => {
  const reader = source.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        if (goesOn()) return controller.enqueue(value);
        await reader.cancel().catch(() => undefined);
        controller.error(new SealcastError('session-ended', 'the session of this answer was ended'));
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
};

/** For runtimes whose connections cannot be cut: an answer that is written over time stops when its session ends. */
export const whileRunning = (found: Found, goesOn: () => boolean): Found => {
  if (found.kind === 'stored') return found;
  if (found.kind === 'direct') return found.body === null ? found : { ...found, body: guarded(found.body, goesOn) };
  const { bytes } = found;
  return { ...found, bytes: Object.create(bytes, { stream: { value: (start: number, end: number | undefined) => guarded(bytes.stream(start, end), goesOn) } }) as typeof bytes };
};
