// SPDX-License-Identifier: Apache-2.0
/**
 * What the packager keeps of a marked live event so that a leak of it can be traced: its variants in the clear, for a while.
 *
 * docs/wire/reference.md, "Live events". One video representation with all its variants, segment by segment; whatever is older
 * than the time kept goes. Invariant: nothing of it lies where the origin serves from, and a fault in keeping it never holds
 * up the event.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId, RepresentationId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { AssetMarking, ObjectStore } from '#ports';

/** First member of `live.json`. */
export const LIVE_FORMAT = 'sealcast-live-reference/1';

/** Takes the clear chunks of one event. */
export type LiveOriginals = {
  /** Of a track of the event; undefined for tracks that are not kept. */
  track(id: RepresentationId, header: Uint8Array): { chunk(segment: number, clear: Uint8Array): void } | undefined;
  /** Writes what is in the making. */
  flush(): Promise<void>;
};

/** The representation kept: the smallest by the number in its name, else the first. */
export const referenceRepresentation = (representations: readonly string[]): string | undefined =>
  [...representations].sort((a, b) => Number(/\d+/.exec(a)?.[0] ?? Number.POSITIVE_INFINITY) - Number(/\d+/.exec(b)?.[0] ?? Number.POSITIVE_INFINITY))[0];

/** Folder of an event's live reference in the tracer's store. */
export const liveReferenceFolder = (asset: AssetId): string => `${asset}/live`;

/** `keep`: how long a segment stays. `store`: the tracer's, never the origin's. `onFault` hears of what could not be kept. */
export const createLiveOriginals = (options: { readonly store: ObjectStore; readonly asset: AssetId; readonly marking: AssetMarking; readonly keep: Micros; readonly onFault: (error: unknown) => void }): LiveOriginals => {
  const { store, asset, marking, keep, onFault } = options;
  const { alphabet, book, schedule, segment } = marking;
  const representation = referenceRepresentation(marking.representations);
  const folder = liveReferenceFolder(asset);
  const depth = Math.max(1, Math.ceil(keep / segment));
  let writes: Promise<void> = Promise.resolve();
  let described = false;
  const flushes: (() => void)[] = [];

  const write = (work: () => Promise<void>): void => {
    writes = writes.then(work).catch(onFault);
  };
  const describe = (): void => {
    if (described) return;
    described = true;
    const bias = book.startsWith('biased-') ? book.slice('biased-'.length) : undefined;
    const description = bias !== undefined ? { kind: 'biased', schedule, bias } : book === 'adaptive' ? { kind: 'adaptive', shortest: 4 } : { kind: 'aligned', schedule };
    write(() => store.put(`${folder}/live.json`, encodeUtf8(`${JSON.stringify({ format: LIVE_FORMAT, asset, representation, alphabet, book: description, segmentMicros: segment })}\n`)));
  };
  /** What an earlier life left, and what has become too old. */
  const prune = async (track: string, before: number): Promise<void> => {
    for (const path of await store.list(`${folder}/${track}/`)) {
      const number = Number(/\/(\d+)\.(?:m4s|gray)$/.exec(path)?.[1] ?? Number.POSITIVE_INFINITY);
      if (number < before) await store.remove(path);
    }
  };

  return {
    track(id, header) {
      if (representation === undefined || (id !== representation && !id.startsWith(`${representation}.`))) return undefined;
      describe();
      write(() => store.put(`${folder}/${id}/source.mp4`, header));
      let open: { number: number; chunks: Uint8Array[] } | undefined;
      let pruned = Number.NEGATIVE_INFINITY;
      const close = (): void => {
        if (open === undefined) return;
        const { number, chunks } = open;
        open = undefined;
        write(() => store.put(`${folder}/${id}/${number}.m4s`, concatBytes(...chunks)));
        // A listing per minute or so costs less than one per segment.
        if (number - pruned < Math.max(1, Math.min(30, Math.floor(depth / 8)))) return;
        pruned = number;
        write(() => prune(id, number - depth + 1));
        if (id === representation) write(() => prune('gray', number - depth + 1));
      };
      flushes.push(close);
      return {
        chunk(segment, clear) {
          if (open !== undefined && open.number !== segment) close();
          open ??= { number: segment, chunks: [] };
          open.chunks.push(clear);
        },
      };
    },
    async flush() {
      for (const close of flushes) close();
      await writes;
    },
  };
};
