// SPDX-License-Identifier: Apache-2.0
/**
 * Marks one rendition while it is packaged: profile of the clear chunk, sealed box before the protected one, originals for the tracer.
 *
 * docs/wire/mark-box.md. The profile is made of the clear bytes and its offsets moved to where protection leaves the media:
 * only `moof` grows, samples keep their sizes (core/cenc).
 * Invariant: every chunk of a marked rendition gets a box, also one without places; a chunk whose key is not at hand is refused.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import type { Track } from '#core/isobmff/init.ts';
import { applySymbols, boxEpochOf, joinSites, type MarkProfile, type MarkSites, marksOf, shiftSites } from '#core/mark/index.ts';
import { createMarkBoxSealer } from '#crypto/mark-box.ts';
import type { MarkBoxKeySource, Random } from '#ports';
import { createMarkProfiler, type ChunkPlace, type SegmentCapacity } from './mark-profiler.ts';
import type { MarkReferences } from './mark-reference.ts';

/** A chunk between profiling and sealing. */
export type ProfiledChunk = {
  /** The box to put directly before `moof`; `parts` are the protected chunk. Throws `key-unavailable`. */
  box(parts: readonly Uint8Array[]): Promise<Uint8Array>;
  /** The clear chunk with the places on that these symbols ask for: a variant for networks that only switch files. */
  copy(symbolOf: (slot: number) => number): Uint8Array;
};

/** Marks one rendition; chunks have to come in stream order. */
export type TrackMarker = {
  /** Reads a clear chunk (`moof` + `mdat`) before protection changes it. */
  profile(clear: Uint8Array, place: ChunkPlace): ProfiledChunk;
  /** Ends the last segment; waits for what the tracer is given. */
  finish(): Promise<void>;
};

/** What a marked asset is marked with. */
export type MarkSettings = {
  readonly asset: AssetId;
  /** Slots of a segment. */
  readonly slots: number;
  readonly keys: MarkBoxKeySource;
  readonly random: Random;
  /** Where the tracer's originals go; absent: nowhere. */
  readonly references?: MarkReferences;
  /** The one copy is unwatchable until an edge has marked it. Default false. */
  readonly requireMark?: boolean;
  /** Segments that the tracer's originals reach back; absent: all. */
  readonly keepSegments?: number;
  /** Told of every finished segment. */
  readonly onSegment?: (representation: string, capacity: SegmentCapacity) => void;
  /** Told when the tracer's store fails; marking goes on. */
  readonly onFault?: (error: unknown) => void;
};

/** Changes bytes of a chunk in parts where they lie. */
const cover = (parts: readonly Uint8Array[], offset: number, mask: Uint8Array): void => {
  mask.forEach((byte, i) => {
    let at = offset + i;
    for (const part of parts) {
      if (at < part.length) {
        part[at] = (part[at] as number) ^ byte;
        return;
      }
      at -= part.length;
    }
  });
};

/** Epochs of box keys fetched at once: this one and the next. */
const EPOCHS = 2;

/** Throws `media-unsupported` for a track that is no H.264 video, `key-unavailable`. */
export const createTrackMarker = async (settings: MarkSettings, representation: string, track: Track, init: Uint8Array): Promise<TrackMarker> => {
  const { asset, slots, keys, random, references } = settings;
  const start = random.bytes(4);
  const sealer = createMarkBoxSealer({ asset, representation, packagerStart: new DataView(start.buffer, start.byteOffset).getUint32(0) });
  const { choiceKey } = await keys.boxKeys({ asset, from: 0, to: 0 });
  const profiler = createMarkProfiler({ track, representation, choiceKey, slots, requireMark: settings.requireMark === true, onSegment: (capacity) => settings.onSegment?.(representation, capacity) });
  const masters = new Map<number, Uint8Array>();
  let writes: Promise<void> = Promise.resolve();
  /** Clear chunks of the segment in the making, and their places from its start. */
  let original: { readonly segment: number; size: number; readonly chunks: Uint8Array[]; readonly sites: MarkSites[]; because: MarkProfile['because'] } | undefined;

  const later = (work: () => Promise<void>): void => {
    writes = writes.then(work).catch((error: unknown) => settings.onFault?.(error));
  };
  const masterOf = async (segment: number): Promise<Uint8Array> => {
    const epoch = boxEpochOf(segment);
    if (!masters.has(epoch)) {
      masters.clear();
      for (const held of (await keys.boxKeys({ asset, from: epoch, to: epoch + EPOCHS })).keys) masters.set(held.epoch, held.key);
    }
    const master = masters.get(epoch);
    if (master === undefined) throw new SealcastError('key-unavailable', 'the box key of this segment is not at hand');
    return master;
  };
  const keepOriginal = (): void => {
    const held = original;
    original = undefined;
    if (held === undefined || references === undefined) return;
    const sites = joinSites(held.sites);
    const profile: MarkProfile = { slots, size: held.size, sites, ...(sites.count === 0 ? { because: held.because ?? 'no-places' } : {}) };
    later(async () => {
      await references.segment(representation, held.segment, concatBytes(...held.chunks), profile);
      if (settings.keepSegments !== undefined) await references.forget(representation, held.segment - settings.keepSegments);
    });
  };
  const remember = (clear: Uint8Array, segment: number, sites: MarkSites, because: MarkProfile['because']): void => {
    if (references === undefined) return;
    if (original !== undefined && original.segment !== segment) keepOriginal();
    const held = (original ??= { segment, size: 0, chunks: [], sites: [], because: undefined });
    held.chunks.push(clear.slice());
    held.sites.push(shiftSites(sites, held.size));
    held.size += clear.length;
    held.because ??= because;
  };

  if (references !== undefined) later(() => references.header(representation, init));
  return {
    profile(clear, place) {
      const found = profiler.profile(clear, place);
      const clearSites = marksOf(found.sites);
      remember(clear, place.segment, clearSites, found.because);
      const clearLength = clear.length;
      const segment = place.segment;
      return {
        async box(parts) {
          const size = parts.reduce((sum, part) => sum + part.length, 0);
          const sites = shiftSites(found.covers.length === 0 ? clearSites : marksOf([...found.sites, ...found.covers]), size - clearLength);
          for (const { offset, mask } of found.covers) cover(parts, offset + size - clearLength, mask);
          const profile: MarkProfile = { slots, size, sites, ...(found.because === undefined || sites.count > 0 ? {} : { because: found.because }) };
          return sealer.seal(segment, profile, parts, await masterOf(segment), random.bytes(12));
        },
        copy(symbolOf) {
          const copy = clear.slice();
          applySymbols(copy, { slots, sites: clearSites }, symbolOf);
          return copy;
        },
      };
    },
    async finish() {
      profiler.finish();
      keepOriginal();
      await writes;
    },
  };
};
