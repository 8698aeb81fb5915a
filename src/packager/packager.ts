// SPDX-License-Identifier: Apache-2.0
/**
 * The packager role: takes clear media in, keeps the keys of the running crypto periods, serves protected media to edges.
 *
 * `createPackager` makes the live side and the origin; `packTitle` (title.ts) packs files into the same store.
 * Invariant: clear media never reaches the origin of a protected event: without a key a chunk is held back, then refused.
 */
import type { SampleAes } from '#core/cenc/sample-aes.ts';
import type { AssetId, KeyGroup, RepresentationId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { AssetKeying, Clock, ContentKeySource, EventSink, Log, Metrics, ObjectStore, Random } from '#ports';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { bundleLeafBoxes } from './bundle-leaves.ts';
import { createIngest } from './ingest.ts';
import type { IngestAccess } from './ingest.ts';
import { createInitialisationVectors } from './initialisation-vectors.ts';
import { createKeyRing } from './key-ring.ts';
import type { KeyRing } from './key-ring.ts';
import type { LiveOriginals } from './live-originals.ts';
import { type LiveMarks, liveMarksOf, markTrack } from './live-marks.ts';
import { createLiveEvent, eventFolder } from './live-event.ts';
import type { LiveEvent, LiveTimes } from './live-event.ts';
import { createOrigin } from './origin.ts';
import { createChunkProtection, noProtection } from './protection.ts';

/** Ports and settings of the packager; keys come from the key server in this process or over HTTP. */
export type PackagerOptions = {
  readonly keys: ContentKeySource;
  /** Segments, headers, indexes and packed titles. */
  readonly store: ObjectStore;
  readonly aes: SampleAes;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventSink;
  readonly metrics: Metrics;
  /** Who may send media for an event; undefined where there is no such event. */
  readonly ingestAccess: (asset: AssetId) => Promise<IngestAccess | undefined>;
  readonly times?: Partial<LiveTimes>;
  /** Marks inside the bitstream of an event's tracks; undefined: none. */
  readonly marks?: (asset: AssetId) => Promise<LiveMarks | undefined>;
  /** The collection whose subscribers open an event with in-band leaves; all its media is kept then. */
  readonly bundle?: (asset: AssetId) => Promise<string | undefined>;
  /** What is kept of an event for tracing; undefined: nothing. */
  readonly originals?: (asset: AssetId) => Promise<LiveOriginals | undefined>;
  /** Timed events: their mode and distance to the camera; undefined: untimed. */
  readonly timing?: (asset: AssetId) => Promise<{ readonly strict: boolean; readonly pad: boolean; readonly latency: Micros } | undefined>;
  /** Hears of every protected chunk of timed events. */
  readonly onTimedChunk?: (asset: AssetId, track: RepresentationId, segment: number) => void;
  /** How far media time may be from the clock. Default 120 s behind, 10 s ahead. */
  readonly tolerance?: { readonly behind: Micros; readonly ahead: Micros };
  /** How long a chunk waits for its key. Default 10 s. */
  readonly keyPatience?: Millis;
  /** For comparison only: packages without protection. */
  readonly unprotected?: boolean;
  /** Largest source chunk in bytes. Default 64 MiB. */
  readonly maxChunk?: number;
};

/** One track as the control room shows it. */
export type TrackStatus = {
  readonly track: RepresentationId;
  readonly kind: string;
  readonly codec: string;
  readonly latestSegment: number | undefined /** Distance of the newest media to the clock. */;
  readonly behind: Micros | undefined;
  readonly bandwidth: number;
};

/** The packager role. */
export type Packager = {
  /** `PUT|POST /ingest/{event}/...` */
  readonly ingestHandler: (request: Request) => Promise<Response>;
  /** `GET /origin/{asset}/...` */
  readonly originHandler: (request: Request) => Promise<Response>;
  /** Closes an event's manifests for good (`lmsg`, EXT-X-ENDLIST); later ingest is refused. */
  endEvent(asset: AssetId): Promise<void>;
  status(asset: AssetId): Promise<readonly TrackStatus[]>;
  /** Media time [from, to) that an event's manifests list; undefined where there is none. */
  range(asset: AssetId): Promise<{ readonly from: Micros; readonly to: Micros } | undefined>;
  /** Stores what is in the making and lets go of everyone who waits. */
  stop(): Promise<void>;
};

const DEFAULT_TIMES: LiveTimes = { segmentDuration: 2_000_000 as Micros, chunkDuration: 200_000 as Micros, window: 60_000_000 as Micros, targetLatency: 1_500_000 as Micros };

const keyGroupOf = (kind: string): KeyGroup => (kind === 'audio' ? 'audio' : 'video');

/** Builds the role. Starts nothing: the first request does. */
export const createPackager = (options: PackagerOptions): Packager => {
  const { keys, store, clock, log, random } = options;
  const times: LiveTimes = { ...DEFAULT_TIMES, ...options.times };
  const vectors = createInitialisationVectors(random);
  const events = new Map<AssetId, Promise<LiveEvent>>();

  const open = async (asset: AssetId, keying: AssetKeying): Promise<LiveEvent> => {
    const originals = await options.originals?.(asset);
    const marks = await liveMarksOf(options, asset);
    const bundle = keying.mode === 'timed' ? undefined : await options.bundle?.(asset);
    const rings = new Map<'video' | 'audio', KeyRing>();
    const ring = (keyGroup: 'video' | 'audio'): KeyRing => {
      const known =
        rings.get(keyGroup) ??
        createKeyRing({ keys, asset, keyGroup, bundle, kind: keying.kind, schedule: keying.schedule, clock, log, patience: options.keyPatience ?? (10_000 as Millis) });
      rings.set(keyGroup, known);
      return known;
    };
    const timing = keying.mode === 'timed' ? await options.timing?.(asset) : undefined;
    return createLiveEvent({
      asset,
      keying,
      scheme: options.unprotected === true ? 'none' : keying.scheme,
      store,
      clock,
      times: timing === undefined ? times : { ...times, targetLatency: timing.latency },
      // In-band marks parse the slices as the encoder wrote them.
      onChunk: timing && options.onTimedChunk && ((track, segment) => options.onTimedChunk?.(asset, track, segment)),
      timed: timing && { strict: timing.strict, pad: timing.pad && marks === undefined },
      originals,
      keepAll: bundle !== undefined,
      ...(marks && { mark: (id, source) => markTrack(marks, id, source) }),
      tolerance: options.tolerance ?? { behind: 120_000_000 as Micros, ahead: 10_000_000 as Micros },
      protect: (representation, source) =>
        options.unprotected === true
          ? noProtection
          : createChunkProtection({
              scheme: keying.scheme,
              track: source.media,
              representation,
              defaultKid: keying.entryKid,
              signalling: 'fragment',
              aes: options.aes,
              random,
              vectors,
              keyOf: (period) => ring(keyGroupOf(source.media.kind)).get(period),
              leafBox: bundle === undefined ? undefined : bundleLeafBoxes({ hash: ladderHash, keying, keyGroup: keyGroupOf(source.media.kind), collection: bundle }),
            }),
      onFault: (error) => {
        log.error('a segment could not be stored', { asset, fault: String(error) });
        options.events({
          at: clock.now(),
          kind: 'packager.store-failed',
          severity: 'alert',
          message: 'A segment could not be stored; the live window goes on from memory.',
          asset,
        });
      },
    });
  };

  /** One event object per asset and process; a failed start is forgotten, so that the next request tries again. */
  const eventOf = (asset: AssetId): Promise<LiveEvent> => {
    const known = events.get(asset);
    if (known !== undefined) return known;
    const made = keys.keying(asset).then((keying) => open(asset, keying));
    events.set(asset, made);
    made.catch(() => events.delete(asset));
    return made;
  };
  const existing = async (asset: AssetId): Promise<LiveEvent | undefined> => {
    const known = events.get(asset);
    if (known !== undefined) return known;
    return (await store.size(`${eventFolder(asset)}/event.json`)) === undefined ? undefined : eventOf(asset);
  };

  return {
    ingestHandler: createIngest({
      access: options.ingestAccess,
      event: eventOf,
      clock,
      log,
      events: options.events,
      metrics: options.metrics,
      ...(options.maxChunk === undefined ? {} : { maxChunk: options.maxChunk }),
    }),
    originHandler: createOrigin({ store, event: existing, clock }),
    async endEvent(asset) {
      const event = await existing(asset);
      if (event === undefined || event.ended) return;
      await event.end();
      options.events({ at: clock.now(), kind: 'event.ended', severity: 'info', message: 'The event has ended.', asset });
    },
    async status(asset) {
      const event = await existing(asset);
      return [...(event?.tracks.values() ?? [])].map((track) => ({
        track: track.id,
        kind: track.source.media.kind,
        codec: track.source.media.codec,
        latestSegment: track.window.latest,
        behind: track.window.end === undefined ? undefined : ((clock.now() - track.window.end) as Micros),
        bandwidth: track.describe().bandwidth,
      }));
    },
    async range(asset) {
      const windows = [...((await existing(asset))?.tracks.values() ?? [])].map(({ window }) => window).filter(({ first }) => first !== undefined);
      if (windows.length === 0) return undefined;
      return { from: Math.min(...windows.map(({ first }) => first?.start ?? 0)) as Micros, to: Math.max(...windows.map(({ end }) => end ?? 0)) as Micros };
    },
    async stop() {
      for (const event of events.values())
        await event.then(
          (found) => found.suspend(),
          () => undefined,
        );
    },
  };
};
