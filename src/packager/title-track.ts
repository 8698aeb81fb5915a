// SPDX-License-Identifier: Apache-2.0
/**
 * Packs one CMAF byte stream into the segments of a title: cut, protect, store.
 *
 * Memory: one segment and two writes under way per track. Audio priming, which lies before zero, is dropped; its time is not.
 * Invariant: segment n of every rendition covers the same stretch of the grid, and no chunk spans two crypto periods.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import type { RepresentationId } from '#core/ids.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { TrackFragment } from '#core/isobmff/fragment.ts';
import { samplesToWrite, writeFragment } from '#core/isobmff/fragment-writer.ts';
import type { AudioTrack, VideoTrack } from '#core/manifest/presentation.ts';
import { microsFromTicks, ticksFromMicros } from '#core/time.ts';
import type { MediaTicks, Micros } from '#core/time.ts';
import type { ObjectStore } from '#ports';
import { clockSegments, cutPoints, titleSegments } from './cut.ts';
import type { Segmenter } from './cut.ts';
import type { ChunkProtection } from './protection.ts';
import type { TrackMarker } from './mark-track.ts';
import { describeTrack, sourceTrack } from './source-track.ts';
import type { SourceTrack } from './source-track.ts';
import { segmentType } from './window.ts';

/** A finished track, as manifests need it. */
export type PackedTrack = {
  readonly track: VideoTrack | AudioTrack;
  readonly timescale: number;
  /** Decode time of the first segment, ticks. */
  readonly start: bigint;
  /** Ticks per segment. */
  readonly durations: readonly number[];
  readonly bytes: number;
  /** The header before protection. */
  readonly header: Uint8Array;
};

/** A copied video whose key frames are too far apart to make segments of. */
export class SparseKeyFrames extends Error {}

/** Writes under way at once. */
const WRITES = 2;
const MAX_CHUNK = 512 << 20;

/** Reads the stream to its end. Throws what the stream throws, `media-*`, `key-unavailable`, `store-unavailable`, `SparseKeyFrames`. */
export const packTrack = async (options: {
  stream: AsyncIterable<Uint8Array>;
  /** What the converter added to all time stamps. */
  offset: Micros;
  id: RepresentationId;
  language: string;
  label?: string;
  store: ObjectStore;
  /** Folder of the representation. */
  path: string;
  /** Folder of this variant's segments below it. The header is that of all variants and is written by the first. */
  variant?: { readonly name: string; readonly first: boolean };
  segmentDuration: Micros;
  period: Micros;
  /** Longest segment before `SparseKeyFrames`. */
  longestSegment: Micros;
  protect(source: SourceTrack): ChunkProtection;
  /** Marks inside the bitstream of this track. */
  mark?(source: SourceTrack): Promise<TrackMarker>;
  /** Variants made of the marks, in place of boxes: their folders, protection, and the symbols of each by segment. */
  copies?: { readonly names: readonly string[]; protect(source: SourceTrack, name: string): ChunkProtection; code(segment: number): readonly Uint8Array[] };
  onProgress(time: Micros, bytes: number): void;
}): Promise<PackedTrack> => {
  const { store, path, segmentDuration } = options;
  const splitter = createBoxSplitter({ maxChunk: MAX_CHUNK });
  const durations: number[] = [];
  const writes = new Set<Promise<void>>();
  const folders = options.copies?.names.map((name) => `${name}/`) ?? [options.variant === undefined ? '' : `${options.variant.name}/`];
  let source: SourceTrack | undefined;
  let clearHeader: Uint8Array = new Uint8Array(0);
  /** One, or one for each of `copies`. */
  let guards: readonly ChunkProtection[] = [];
  let marker: TrackMarker | undefined;
  let segmentOf: Segmenter = clockSegments(segmentDuration);
  let shift = 0n;
  let sequence = 0;
  let sampleTicks = 0;
  let bytes = 0;
  let peak = 0;
  let start: bigint | undefined;
  let open: { number: number; ticks: number; parts: Uint8Array[][]; boxes: number } | undefined;

  const put = async (name: string, body: Uint8Array): Promise<void> => {
    while (writes.size >= WRITES) await Promise.race(writes);
    const write = store.put(`${path}/${name}`, body);
    writes.add(write);
    // A failure is reported by the wait above or the one at the end.
    write.then(
      () => writes.delete(write),
      () => undefined,
    );
  };
  const close = async (last: boolean): Promise<void> => {
    if (open === undefined || source === undefined) return;
    const bodies = open.parts.map((parts) => concatBytes(segmentType(last), ...parts));
    // Edges strip the mark boxes: what manifests say is what players get.
    const served = Math.max(...bodies.map(({ length }) => length)) - open.boxes;
    peak = Math.max(peak, (served * 8 * source.media.timescale) / Math.max(1, open.ticks));
    bytes += served;
    durations.push(open.ticks);
    for (const [index, body] of bodies.entries()) await put(`${folders[index] ?? ''}${durations.length - 1}.m4s`, body);
    open = undefined;
  };
  const header = async (init: Uint8Array): Promise<void> => {
    source = sourceTrack(init);
    clearHeader = init;
    const taken = source;
    const { copies } = options;
    guards = copies === undefined ? [options.protect(taken)] : copies.names.map((name) => copies.protect(taken, name));
    marker = await options.mark?.(source);
    shift = -ticksFromMicros(options.offset, source.media.timescale);
    segmentOf = source.media.kind === 'video' ? titleSegments(segmentDuration) : clockSegments(segmentDuration);
    if (options.variant?.first !== false) await put('init.mp4', (guards[0] as ChunkProtection).init(init));
  };
  const chunk = async (piece: Uint8Array): Promise<void> => {
    if (source === undefined || guards.length === 0) throw new SealcastError('ingest-init-missing', 'media came before its header');
    const { media } = source;
    const fragment = parseFragment(piece, [media]);
    const run = onlyTrackFragment(fragment);
    const first = media.kind === 'audio' ? samplesBeforeZero(run, shift) : 0;
    sampleTicks ||= run.samples[0]?.duration ?? 0;
    for (const cut of cutPoints(run, { timescale: media.timescale, shift, segmentOf, period: options.period }, first)) {
      if (open !== undefined && open.number !== cut.segment) await close(false);
      open ??= { number: cut.segment, ticks: 0, parts: guards.map(() => []), boxes: 0 };
      start ??= cut.decodeTime;
      sequence += 1;
      const clear = writeFragment({
        sequenceNumber: sequence,
        trackId: media.id,
        baseMediaDecodeTime: cut.decodeTime,
        samples: samplesToWrite(fragment, run.samples, cut.from, cut.to),
      });
      const nominal = (segmentDuration * media.timescale) / 1_000_000;
      const profiled = marker?.profile(clear, { segment: durations.length, from: open.ticks / nominal, to: (open.ticks + cut.duration) / nominal });
      const code = options.copies?.code(durations.length);
      for (const [index, guard] of guards.entries()) {
        const symbols = code?.[index];
        const chunkParts = await guard.chunk(symbols === undefined || profiled === undefined ? clear : profiled.copy((slot) => symbols[slot] as number), cut.to - cut.from, cut.period);
        if (profiled !== undefined && symbols === undefined) {
          const box = await profiled.box(chunkParts);
          open.boxes += box.length;
          open.parts[index]?.push(box);
        }
        open.parts[index]?.push(...chunkParts);
      }
      open.ticks += cut.duration;
      if (media.kind === 'video' && (open.ticks * 1_000_000) / media.timescale > options.longestSegment) throw new SparseKeyFrames();
      options.onProgress(microsFromTicks((cut.decodeTime + BigInt(cut.duration)) as MediaTicks, media.timescale), piece.length);
    }
  };

  for await (const read of options.stream) {
    for (const piece of splitter.push(read)) await (piece.kind === 'init' ? header(piece.bytes) : chunk(piece.bytes));
  }
  splitter.end();
  await close(true);
  await Promise.all([...writes, marker?.finish()]);
  const media = source?.media;
  if (media === undefined || start === undefined) throw new SealcastError('media-malformed', `track ${options.id} has no samples`);
  const ticks = durations.reduce((sum, value) => sum + value, 0);
  const average = Math.round((bytes * 8 * media.timescale) / ticks);
  return {
    track: describeTrack(options.id, media, {
      sampleTicks,
      peak: Math.ceil(peak),
      average,
      language: options.language,
      ...(options.label === undefined ? {} : { label: options.label }),
    }),
    timescale: media.timescale,
    start,
    durations,
    bytes,
    header: clearHeader,
  };
};

const samplesBeforeZero = (run: TrackFragment, shift: bigint): number => {
  let time = run.baseMediaDecodeTime + shift;
  if (time >= 0n) return 0;
  let count = 0;
  for (const sample of run.samples) {
    if (time >= 0n) break;
    time += BigInt(sample.duration);
    count += 1;
  }
  return count;
};
