// SPDX-License-Identifier: Apache-2.0
/**
 * One track of a running event: source chunks in, protected chunks in the window out.
 *
 * DASH-IF Live Media Ingest 1.1, section 6.1 (header first, then segments; resent segments are harmless).
 * States: without a header nothing is taken (412 at the door); with one, chunks are cut, protected and appended in order; after
 * `lmsg` the track is over. Chunks already taken are passed over, so that two sources of the same feed, or one that resends
 * after a lost connection, do no harm.
 * Invariant: one chunk at a time, in order; what is appended is complete, protected and later than everything before it.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import type { RepresentationId } from '#core/ids.ts';
import { durationOf, onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Fragment, TrackFragment } from '#core/isobmff/fragment.ts';
import { samplesToWrite, writeFragment } from '#core/isobmff/fragment-writer.ts';
import { writePrft } from '#core/isobmff/segment-boxes.ts';
import type { AudioTrack, VideoTrack } from '#core/manifest/presentation.ts';
import { microsFromTicks, ticksFromMicros } from '#core/time.ts';
import type { MediaTicks, Micros } from '#core/time.ts';
import type { Clock } from '#ports';
import { clockSegments, cutPoints } from './cut.ts';
import type { Piece } from './cut.ts';
import type { ChunkProtection } from './protection.ts';
import type { TrackMarker } from './mark-track.ts';
import { describeTrack, sameCoding } from './source-track.ts';
import type { SourceTrack } from './source-track.ts';
import type { TimedSamples } from './timed-samples.ts';
import type { SourceTimeline } from './source-timeline.ts';
import type { RenditionWindow } from './window.ts';

/** What became of a chunk. */
export type Taken = { readonly result: 'appended'; readonly parts: number; readonly gap: boolean; readonly unaligned: boolean } | { readonly result: 'duplicate' };

/** One track; chunks of several connections queue up in it. */
export type LiveTrack = {
  readonly id: RepresentationId;
  readonly source: SourceTrack;
  readonly window: RenditionWindow;
  /** Protected CMAF header, as served. */
  readonly init: Uint8Array;
  readonly ended: boolean;
  /** Checks that a header sent again continues this track; throws `media-unsupported` if it does not. */
  resume(source: SourceTrack): void;
  /** Takes `[styp] [prft] moof mdat`. Throws `ingest-out-of-order`, `media-*`, `key-unavailable`. */
  take(bytes: Uint8Array): Promise<Taken>;
  /** Marks the last segment after what was taken so far; later chunks are refused. Otherwise a source still sending would open one more. */
  close(): Promise<void>;
  describe(): VideoTrack | AudioTrack;
};

/** What a track is made of; `window` may hold media of an earlier life. */
export type LiveTrackOptions = {
  readonly id: RepresentationId;
  readonly source: SourceTrack;
  readonly init: Uint8Array;
  readonly window: RenditionWindow;
  readonly protection: ChunkProtection;
  readonly timeline: SourceTimeline;
  /** Marks inside the bitstream; absent: none. */
  readonly marker?: TrackMarker | undefined;
  /** Timed events: what happens to samples before they are protected. */
  readonly timed?: TimedSamples | undefined;
  /** Hears of every protected chunk. */
  readonly onChunk?: ((segment: number) => void) | undefined;
  /** Keeps each chunk as it was before protection, by segment. */
  readonly original?: { chunk(segment: number, clear: Uint8Array): void } | undefined;
  readonly clock: Clock;
  readonly segmentDuration: Micros;
  readonly chunkDuration: Micros;
  readonly period: Micros;
  /** How far media time may be from the clock, in each direction. */
  readonly tolerance: { readonly behind: Micros; readonly ahead: Micros };
};

/** A track that goes on behind the end of its window. */
export const createLiveTrack = (options: LiveTrackOptions): LiveTrack => {
  const { source, window, clock, segmentDuration } = options;
  const { media } = source;
  const timed: TimedSamples = options.timed ?? ((samples) => samples);
  let sequence = 0;
  let over = false;
  let sampleTicks = 0;
  let ended = false;
  let fresh = true;
  let lastSegment = window.latest;
  let next: MediaTicks | undefined = window.end === undefined ? undefined : ticksFromMicros(window.end, media.timescale);
  /** Chunks of all connections of this track, one after the other. */
  let queue: Promise<unknown> = Promise.resolve();

  /** First sample that is not there yet; half a sample of slack, because sources round. */
  const firstNew = (run: TrackFragment, shift: bigint): number => {
    if (next === undefined) return 0;
    let time = run.baseMediaDecodeTime + shift;
    return run.samples.findIndex((sample) => {
      const isNew = time >= (next ?? 0n) - BigInt(Math.ceil(sample.duration / 2));
      time += BigInt(sample.duration);
      return isNew;
    });
  };

  const check = (start: Micros): void => {
    const lead = start - clock.now();
    if (lead <= options.tolerance.ahead && -lead <= options.tolerance.behind) return;
    throw new SealcastError(
      'ingest-out-of-order',
      `the media time is ${Math.round(Math.abs(lead) / 1_000_000)} s ${lead > 0 ? 'ahead of' : 'behind'} the clock; media time of an event is Unix time (availabilityStartTime 1970)`,
    );
  };

  const protectPiece = async (fragment: Fragment, run: TrackFragment, piece: Piece, shift: Micros, opens: boolean): Promise<{ bytes: Uint8Array; boxBytes: number; start: Micros }> => {
    const start = microsFromTicks(piece.decodeTime, media.timescale);
    sequence += 1;
    const clear = writeFragment({
      sequenceNumber: sequence,
      trackId: media.id,
      baseMediaDecodeTime: piece.decodeTime,
      samples: timed(samplesToWrite(fragment, run.samples, piece.from, piece.to)),
    });
    // A copy: protection works in place.
    options.original?.chunk(piece.segment, clear.slice());
    const segmentStart = ticksFromMicros((piece.segment * segmentDuration) as Micros, media.timescale);
    const nominal = (segmentDuration * media.timescale) / 1_000_000;
    const into = Number(piece.decodeTime - segmentStart) / nominal;
    const profiled = options.marker?.profile(clear, { segment: piece.segment, from: into, to: into + piece.duration / nominal });
    const body = await options.protection.chunk(clear, piece.to - piece.from, piece.period, opens);
    // The source's clock where it sent one; else media time, which is Unix time.
    const captured = fragment.prft === undefined ? start : ((fragment.prft.wallClock + (start - shift - microsFromTicks(fragment.prft.mediaTime, media.timescale))) as Micros);
    const prft = writePrft({ trackId: media.id, wallClock: captured, mediaTime: piece.decodeTime, ...(fragment.prft === undefined ? {} : { flags: fragment.prft.flags }) });
    const box = await profiled?.box(body);
    return { bytes: box === undefined ? concatBytes(prft, ...body) : concatBytes(prft, box, ...body), boxBytes: box?.length ?? 0, start };
  };

  const takeNow = async (bytes: Uint8Array): Promise<Taken> => {
    const fragment = parseFragment(bytes, [media]);
    const run = onlyTrackFragment(fragment);
    const usual = run.samples[0]?.duration ?? 0;
    if (usual === 0) throw new SealcastError('media-malformed', run.samples.length === 0 ? 'a chunk without samples' : 'a sample without duration');
    const sent = microsFromTicks(run.baseMediaDecodeTime, media.timescale);
    const shift = options.timeline.shift(sent, microsFromTicks((run.baseMediaDecodeTime + durationOf(run)) as MediaTicks, media.timescale), fresh);
    fresh = false;
    const shiftTicks = ticksFromMicros(shift, media.timescale);
    const start = (sent + shift) as Micros;
    check(start);
    const first = firstNew(run, shiftTicks);
    if (first === -1) {
      const place = window.position(Math.floor(start / segmentDuration));
      if (place === 'gap' || place === 'past') throw new SealcastError('ingest-out-of-order', 'the chunk belongs to a segment that players have been told is missing');
      return { result: 'duplicate' };
    }
    sampleTicks = usual;
    const expected = next;
    const longest = Number(ticksFromMicros(options.chunkDuration, media.timescale)) + usual;
    const pieces = cutPoints(run, { timescale: media.timescale, shift: shiftTicks, segmentOf: clockSegments(segmentDuration), period: options.period, longest }, first);
    let unaligned = false;
    for (const piece of pieces) {
      const { bytes: chunk, boxBytes, start: at } = await protectPiece(fragment, run, piece, shift, piece.segment !== lastSegment);
      unaligned ||= media.kind === 'video' && piece.segment !== lastSegment && !piece.independent;
      lastSegment = piece.segment;
      const end = (piece.decodeTime + BigInt(piece.duration)) as MediaTicks;
      options.onChunk?.(piece.segment);
      window.append(piece.segment, { bytes: chunk, boxBytes, start: at, duration: (microsFromTicks(end, media.timescale) - at) as Micros, independent: piece.independent });
      next = end;
    }
    if (fragment.brands?.compatible.includes('lmsg') === true) {
      ended = true;
      await window.finish(true);
    }
    const from = pieces[0]?.decodeTime ?? 0n;
    return { result: 'appended', parts: pieces.length, gap: expected !== undefined && from - expected > BigInt(usual), unaligned };
  };

  return {
    id: options.id,
    source,
    window,
    init: options.init,
    get ended() {
      return ended;
    },
    resume(again) {
      if (!sameCoding(media, again.media))
        throw new SealcastError(
          'media-unsupported',
          `the header of track ${options.id} differs from the one the event began with; keep the encoder settings or use another track name`,
        );
      ended = false;
      fresh = true;
    },
    close() {
      over = true;
      const turn = queue.then(async () => {
        await window.finish(true);
        await options.marker?.finish();
      });
      queue = turn.catch(() => undefined);
      return turn;
    },
    take(bytes) {
      if (over) return Promise.reject(new SealcastError('not-found', 'the event has ended'));
      const turn = queue.then(() => takeNow(bytes));
      queue = turn.catch(() => undefined);
      return turn;
    },
    describe() {
      const rates = window.rates;
      return describeTrack(options.id, media, {
        sampleTicks,
        peak: roundUp(rates?.peak ?? FIRST_GUESS[media.kind === 'video' ? 'video' : 'audio']),
        average: roundUp(rates?.average ?? FIRST_GUESS[media.kind === 'video' ? 'video' : 'audio']),
      });
    },
  };
};

/** Until a whole segment was measured. */
const FIRST_GUESS = { video: 2_000_000, audio: 128_000 } as const;
/** Manifests should not change with every segment. */
const roundUp = (rate: number): number => Math.ceil(rate / 50_000) * 50_000;
