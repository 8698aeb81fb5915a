// SPDX-License-Identifier: Apache-2.0
/**
 * One event at the packager: its tracks, its manifests, and what a restart needs to go on.
 *
 * The object store holds, under `live/{asset}/`: `event.json`, and per track `source.mp4` (the header as sent), `init.mp4`
 * (as served), the segments and `window.json`. A new packager on the same store continues numbering and window.
 * Invariant: a track is in the manifest only when it has media; the header players got never changes.
 */
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId, ProtectionScheme, RepresentationId } from '#core/ids.ts';
import { liveMpd } from '#core/manifest/dash.ts';
import { livePlaylist, multivariantPlaylist } from '#core/manifest/hls.ts';
import type { KeyFormat } from '#core/manifest/hls.ts';
import type { LivePresentation, Protection } from '#core/manifest/presentation.ts';
import type { Micros, Millis, SegmentNumber } from '#core/time.ts';
import type { AssetKeying, Clock, ObjectStore } from '#ports';
import { createLiveTrack } from './live-track.ts';
import type { LiveTrack } from './live-track.ts';
import type { LiveOriginals } from './live-originals.ts';
import type { TrackMarker } from './mark-track.ts';
import type { ChunkProtection } from './protection.ts';
import { createSegmentPace, type SegmentPace } from './segment-pace.ts';
import { createSourceTimeline } from './source-timeline.ts';
import type { SourceTimeline } from './source-timeline.ts';
import { createTimedSamples } from './timed-samples.ts';
import { sameCoding, sourceTrack } from './source-track.ts';
import type { SourceTrack } from './source-track.ts';
import { isVariantTrack } from './track-name.ts';
import { createRenditionWindow } from './window.ts';

/** Lengths that shape a live presentation. */
export type LiveTimes = {
  /** Length of a segment. Default 2 s. */
  readonly segmentDuration: Micros;
  /** Length of a CMAF chunk, which is an LL-HLS part. Default 200 ms. */
  readonly chunkDuration: Micros;
  /** How far back players may seek. Default 60 s. */
  readonly window: Micros;
  /** Distance to the camera that players aim for. Default 1.5 s. */
  readonly targetLatency: Micros;
};

/** A running or ended event as ingest and origin see it. */
export type LiveEvent = {
  readonly asset: AssetId;
  readonly tracks: ReadonlyMap<RepresentationId, LiveTrack>;
  readonly ended: boolean;
  readonly times: LiveTimes;
  readonly pace: SegmentPace;
  /** Takes a header: makes the track, or checks that it continues the one that is there. */
  header(id: RepresentationId, init: Uint8Array): Promise<LiveTrack>;
  /** Waits until the manifest lists all tracks that have announced themselves; false after `timeout`. */
  ready(timeout: Millis, signal?: AbortSignal): Promise<boolean>;
  mpd(): string;
  multivariant(keyFormat: KeyFormat): string;
  playlist(id: RepresentationId, keyFormat: KeyFormat): string | undefined;
  /** Marks the last segments and closes the manifests for good. */
  end(): Promise<void>;
  /** Stores what is in the making, so that a restart loses nothing that was taken. */
  suspend(): Promise<void>;
};

type Stored = { readonly version: 1; readonly publishedAt: number; readonly tracks: readonly string[]; readonly endedAt?: number; readonly shift?: number };

/** Tracks of one source announce themselves within milliseconds of each other. */
const SETTLING = 1_000_000;

/** Folder of an event in the object store. */
export const eventFolder = (asset: AssetId): string => `live/${asset}`;

/** Opens an event, taking up what an earlier process stored. Throws `store-unavailable`, `media-malformed` for a damaged store. */
export const createLiveEvent = async (options: {
  asset: AssetId;
  keying: AssetKeying;
  scheme: ProtectionScheme | 'none';
  store: ObjectStore;
  clock: Clock;
  times: LiveTimes;
  tolerance: { readonly behind: Micros; readonly ahead: Micros };
  /** Timed events: how samples are prepared. */
  timed?: { readonly strict: boolean; readonly pad: boolean } | undefined;
  /** Hears of every protected chunk. */
  onChunk?: ((id: RepresentationId, segment: number) => void) | undefined;
  protect(id: RepresentationId, source: SourceTrack): ChunkProtection;
  /** Marks inside the bitstream of a track; undefined: it has none. */
  mark?(id: RepresentationId, source: SourceTrack): Promise<TrackMarker | undefined>;
  /** What is kept for tracing; absent: nothing. */
  originals?: LiveOriginals | undefined;
  /** Keeps all media: once the event has ended it can be watched from its beginning. */
  keepAll?: boolean;
  onFault(error: unknown): void;
}): Promise<LiveEvent> => {
  const { asset, store, clock, times, keying } = options;
  const folder = eventFolder(asset);
  const tracks = new Map<RepresentationId, LiveTrack>();
  const making = new Map<RepresentationId, Promise<LiveTrack>>();
  const protection: Protection | undefined = options.scheme === 'none' ? undefined : { scheme: options.scheme, asset, entryKid: keying.entryKid };
  let publishedAt = clock.now();
  let announcedAt: Micros | undefined;
  let endedAt: SegmentNumber | undefined;
  let shift: Micros | undefined;

  const save = (): Promise<void> =>
    store.put(
      `${folder}/event.json`,
      encodeUtf8(
        JSON.stringify({
          version: 1,
          publishedAt,
          tracks: [...tracks.keys()],
          ...(endedAt === undefined ? {} : { endedAt }),
          ...(shift === undefined ? {} : { shift }),
        } satisfies Stored),
      ),
    );

  /** Made when the first track is, after the stored shift is known. */
  let timeline: SourceTimeline | undefined;
  const timelineOf = (): SourceTimeline =>
    (timeline ??= createSourceTimeline({
      clock,
      segmentDuration: times.segmentDuration,
      stored: shift,
      newest: () =>
        [...tracks.values()].reduce<Micros | undefined>((latest, { window }) => (window.end !== undefined && window.end > (latest ?? 0) ? window.end : latest), undefined),
      onAnchor(value) {
        shift = value;
        save().catch(options.onFault);
      },
    }));

  const make = async (id: RepresentationId, source: SourceTrack, served: Uint8Array | undefined): Promise<LiveTrack> => {
    const path = `${folder}/${id}`;
    const guard = options.protect(id, source);
    const init = served ?? guard.init(source.init);
    const window = await createRenditionWindow({
      store,
      clock,
      path,
      segmentDuration: times.segmentDuration,
      chunkDuration: times.chunkDuration,
      depth: Math.max(3, Math.ceil(times.window / times.segmentDuration)),
      keepAll: options.keepAll === true,
      onFault: options.onFault,
    });
    if (served === undefined) {
      await store.put(`${path}/source.mp4`, source.init);
      await store.put(`${path}/init.mp4`, init);
    }
    return createLiveTrack({
      id,
      source,
      init,
      window,
      protection: guard,
      marker: await options.mark?.(id, source),
      timeline: timelineOf(),
      original: options.originals?.track(id, source.init),
      timed: options.timed && createTimedSamples(source.media, options.timed),
      onChunk: options.onChunk && ((segment) => options.onChunk?.(id, segment)),
      clock,
      segmentDuration: times.segmentDuration,
      chunkDuration: times.chunkDuration,
      period: keying.schedule.period,
      tolerance: options.tolerance,
    });
  };

  const restore = async (): Promise<void> => {
    const stored = await store.get(`${folder}/event.json`);
    if (stored === undefined) return;
    const state = JSON.parse(decodeUtf8(stored)) as Stored;
    publishedAt = state.publishedAt as Micros;
    endedAt = state.endedAt as SegmentNumber | undefined;
    shift = state.shift as Micros | undefined;
    for (const name of state.tracks) {
      const id = name as RepresentationId;
      const [source, init] = await Promise.all([store.get(`${folder}/${id}/source.mp4`), store.get(`${folder}/${id}/init.mp4`)]);
      if (source !== undefined && init !== undefined) tracks.set(id, await make(id, sourceTrack(source), init));
    }
    if (endedAt !== undefined) for (const track of tracks.values()) track.window.openAll();
  };
  await restore();

  const listed = (): LiveTrack[] => {
    const order = (track: LiveTrack): string => `${track.source.media.kind === 'video' ? 0 : 1}|${String(1_000_000 - (track.source.media.video?.height ?? 0))}|${track.id}`;
    return [...tracks.values()].filter((track) => track.window.latest !== undefined && !isVariantTrack(track.id)).sort((a, b) => (order(a) < order(b) ? -1 : 1));
  };
  const settled = (): boolean => {
    const all = [...tracks.values()];
    return all.length > 0 && all.every((track) => track.window.latest !== undefined) && (announcedAt === undefined || clock.now() - announcedAt >= SETTLING);
  };
  const presentation = (): LivePresentation => {
    const ready = listed();
    const first = Math.min(...ready.map((track) => track.window.first?.start ?? clock.now()));
    return {
      tracks: ready.map((track) => track.describe()),
      protection,
      segmentDuration: times.segmentDuration,
      chunkDuration: times.chunkDuration,
      window: Math.max(times.segmentDuration, Math.min(endedAt !== undefined && options.keepAll === true ? Number.MAX_SAFE_INTEGER : times.window, Math.ceil((clock.now() - first) / 1_000_000) * 1_000_000)) as Micros,
      // ffmpeg finds the live edge by MPD@publishTime where availabilityStartTime is 1970, so it has to be recent.
      publishedAt: Math.max(publishedAt, Math.floor(clock.now() / times.segmentDuration) * times.segmentDuration) as Micros,
      targetLatency: times.targetLatency,
      ...(endedAt === undefined ? {} : { endedAt }),
    };
  };

  /** Players get one header for all variants, so a variant whose header differs could not be played. */
  const requireVariant = (id: RepresentationId, source: SourceTrack): void => {
    const stem = (name: string): string => name.split('.')[0] ?? name;
    const sibling = [...tracks.values()].find((track) => stem(track.id) === stem(id));
    if (sibling !== undefined && !sameCoding(sibling.source.media, source.media))
      throw new SealcastError('media-unsupported', `the header of a variant of ${stem(id)} differs from the others'; encode all variants with the same settings`);
  };

  return {
    asset,
    tracks,
    times,
    pace: createSegmentPace(),
    get ended() {
      return endedAt !== undefined;
    },
    async header(id, bytes) {
      const source = sourceTrack(bytes);
      const known = tracks.get(id) ?? (await making.get(id));
      if (known !== undefined) {
        known.resume(source);
        return known;
      }
      requireVariant(id, source);
      const work = make(id, source, undefined);
      making.set(id, work);
      try {
        const track = await work;
        tracks.set(id, track);
        announcedAt ??= clock.now();
        publishedAt = clock.now();
        await save();
        return track;
      } finally {
        making.delete(id);
      }
    },
    async ready(timeout, signal) {
      const deadline = clock.monotonic() + timeout;
      while (!settled()) {
        if (clock.monotonic() >= deadline || signal?.aborted === true) return listed().length > 0;
        await new Promise<void>((wake) => clock.after(50 as Millis, wake));
      }
      return true;
    },
    mpd: () => liveMpd(presentation()),
    multivariant: (keyFormat) =>
      multivariantPlaylist(
        listed().map((track) => track.describe()),
        { keyFormat },
      ),
    playlist(id, keyFormat) {
      const track = tracks.get(id);
      if (track === undefined || track.window.latest === undefined) return undefined;
      const others = listed().filter((other) => other.id !== id);
      return livePlaylist({
        track: track.describe(),
        protection,
        keyFormat,
        segmentDuration: times.segmentDuration,
        partTarget: track.window.partTarget,
        segments: track.window.list(),
        reports: others.map((other) => {
          const last = other.window.list().at(-1);
          return {
            uri: `../${other.id}/playlist.m3u8${keyFormat === 'identity' ? '?keyformat=identity' : ''}`,
            lastSegment: last?.number ?? 0,
            lastPart: (last?.parts.length ?? 0) - 1,
          };
        }),
        ended: endedAt !== undefined,
      });
    },
    async end() {
      if (endedAt !== undefined) return;
      await Promise.all([...tracks.values()].map((track) => track.close()));
      endedAt = (Math.max(-1, ...listed().map((track) => track.window.latest ?? -1)) + 1) as SegmentNumber;
      await save();
      for (const track of tracks.values()) {
        track.window.openAll();
        track.window.close();
      }
      await options.originals?.flush();
    },
    async suspend() {
      for (const track of tracks.values()) {
        await track.window.flush();
        track.window.close();
      }
      await options.originals?.flush();
    },
  };
};
