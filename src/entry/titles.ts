// SPDX-License-Identifier: Apache-2.0
/**
 * Takes titles from operators: makes their keys and catalogue entry at once, packs them one after the other.
 *
 * Invariant: a title is `ready` only when all of it is in the store; one whose packing did not end (a fault, a restart) is
 * `failed` and says why in the live feed, never half listed.
 */
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import type { KeyServer } from '#key-server/index.ts';
import type { NewTitle, OperationsActions } from '#operations/index.ts';
import { type PackedTitle, packTitle, titleFolder } from '#packager/index.ts';
import type { Tracer } from '#tracer/index.ts';
import type { AssetMarking, CatalogueEntry, CatalogueStore, Clock, EventSink, Log, ObjectStore, Random, VideoTool } from '#ports';
import type { Collections } from './collections.ts';
import type { Config } from './config/index.ts';
import { inBandMarking } from './in-band-marking.ts';
import type { TitleMarks } from './live-marks.ts';
import { markingFor, tracedAs } from './marking-plans.ts';
import { schedulesOf } from './operator-actions.ts';

/** Accepts and packs titles. */
export type Titles = {
  /** Resolves once the title is accepted. Throws `already-exists`, or what is wrong with the file. */
  readonly add: NonNullable<OperationsActions['addTitle']>;
  /** Marks what an earlier process left unfinished. */
  recover(): Promise<void>;
  /** Stops packing; the title in the making becomes `failed` at the next start. */
  stop(): Promise<void>;
};

/** How edges choose among the variants that were made. */
const titleMarking = (marked: NonNullable<NewTitle['marked']>, packed: PackedTitle, segment: Micros): AssetMarking => {
  const tracks = packed.tracks.filter(({ variants }) => variants !== undefined);
  return markingFor(marked, { kind: 'title', representations: tracks.map(({ id }) => id), segment, segments: Math.max(0, ...tracks.map(({ segments }) => segments)) }, []);
};

/** How edges switch the marks of a title on. */
const inBandTitle = (packed: PackedTitle, segment: Micros): AssetMarking => {
  const tracks = packed.tracks.filter(({ slots }) => slots !== undefined);
  return inBandMarking({ representations: tracks.map(({ id }) => id), segment, segments: Math.max(1, ...tracks.map(({ segments }) => segments)) });
};

/** A packing queue over the given store and video tool. */
export const createTitles = (options: {
  config: Config;
  catalogue: CatalogueStore;
  store: ObjectStore;
  keyServer: KeyServer;
  tool: VideoTool;
  /** Patterns and references of titles with variants. */
  tracer: Pick<Tracer, 'patterns' | 'record'>;
  /** Keys and originals of titles with marks inside their bitstream. */
  marks: TitleMarks;
  /** Absent: nothing is sold by subscription here. */
  collections?: Pick<Collections, 'setMembership' | 'refreshLeaf'>;
  clock: Clock;
  random: Random;
  log: Log;
  events: EventSink;
}): Titles => {
  const { config, catalogue, store, keyServer, tool, tracer, marks, collections, clock, random, log, events } = options;
  const stopping = new AbortController();
  let queue: Promise<void> = Promise.resolve();

  /** Told of renditions that could not be marked at all. */
  const reportOn = (asset: CatalogueEntry['asset'], places: ReadonlyMap<string, { readonly sites: number; readonly because: string | undefined }>): void => {
    for (const [representation, { sites, because = 'no-places' }] of places) {
      if (sites > 0) continue;
      events({ at: clock.now(), kind: 'packager.no-mark-places', severity: 'warning', message: `${representation} has no places for marks (${because}); viewers get it unmarked.`, asset, data: { representation, because } });
    }
  };

  const pack = async (entry: CatalogueEntry, file: string, { marked, inBand }: Pick<NewTitle, 'marked' | 'inBand'>): Promise<void> => {
    const { asset } = entry;
    if (stopping.signal.aborted) return;
    let told = 0;
    const segment = microsFromSeconds(config.packager.segmentSeconds);
    const places = new Map<string, { sites: number; because: string | undefined }>();
    const references = inBand === true ? marks.references(asset) : undefined;
    let lost: unknown;
    try {
      const packed = await packTitle({
        asset, file, keys: { kind: 'source', source: keyServer }, store, folder: titleFolder(asset), tool, aes: nodeSampleAes, random, clock, log,
        segmentDuration: segment,
        ...(marked !== undefined && { variants: await tracer.patterns(asset, marked.variants), equalSize: marked.equalSize }),
        ...(references !== undefined && {
          marks: {
            keys: marks.keys,
            requireMark: config.packager.requireMark,
            references,
            onSegment: (representation, { sites, because }) => void places.set(representation, { sites: sites + (places.get(representation)?.sites ?? 0), because }),
            onFault: (error) => {
              lost ??= error;
            },
          },
        }),
        signal: stopping.signal,
        onProgress({ done, total }) {
          const percent = total === undefined || total === 0 ? undefined : Math.min(99, Math.floor((done / total) * 100));
          if (percent === undefined || percent < told + 25) return;
          told = percent;
          events({ at: clock.now(), kind: 'title.packing', severity: 'info', message: `${asset}: ${percent} % packed.`, asset, data: { percent } });
        },
      });
      // Without its originals a marked title could not be traced.
      if (lost !== undefined) throw lost;
      const marking = references === undefined ? marked && titleMarking(marked, packed, segment) : inBandTitle(packed, segment);
      if (marking?.inBand !== undefined) await references?.describe({ ...marking, slots: marking.inBand.slots, live: false });
      else if (marking !== undefined) await tracer.record({ marking: { asset, alphabet: marking.alphabet, ...tracedAs(marking), segment, segments: marking.segments ?? 0 }, file, signal: stopping.signal });
      await catalogue.update({ ...entry, state: 'ready', duration: packed.duration, ...(marking !== undefined && { marking }) });
      await collections?.refreshLeaf(asset);
      reportOn(asset, places);
      events({ at: clock.now(), kind: 'title.ready', severity: 'info', message: `${entry.name} is ready to watch.`, asset, data: { seconds: Math.round(packed.duration / 1_000_000) } });
    } catch (error) {
      if (stopping.signal.aborted) return;
      const reason = isSealcastError(error) ? error.message : 'unexpected fault; the log has the details';
      if (!isSealcastError(error)) log.error('packing failed', { asset, reason: error instanceof Error ? error.message : String(error) });
      await catalogue.update({ ...entry, state: 'failed' });
      events({ at: clock.now(), kind: 'title.failed', severity: 'alert', message: `${entry.name} could not be packed: ${reason}`, asset });
    }
  };

  return {
    async add({ asset, name, scheme, clearKey, source, marked, inBand, membership }) {
      if (!source.startsWith('/')) throw new SealcastError('bad-request', 'source must be an absolute path on the machine that packs');
      if ((await catalogue.get(asset)) !== undefined) throw new SealcastError('already-exists', `${asset} exists already; choose another id`);
      // What cannot be planned is refused before hours of packing.
      if (marked !== undefined) markingFor(marked, { kind: 'title', representations: [], segment: microsFromSeconds(config.packager.segmentSeconds) }, []);
      await tool.probe(source);
      await keyServer.createAsset({ asset, kind: 'title', scheme, mode: 'untimed', schedule: schedulesOf(config.packager).title });
      const entry: CatalogueEntry = { asset, kind: 'title', name, state: 'created', createdAt: clock.now(), clearKey };
      if (!(await catalogue.create(entry))) throw new SealcastError('already-exists', `${asset} exists already; choose another id`);
      if (membership !== undefined) await collections?.setMembership({ published: entry.createdAt, ...membership, asset });
      queue = queue.then(() => pack(entry, source, { ...(marked !== undefined && { marked }), ...(inBand !== undefined && { inBand }) }));
      return entry;
    },
    async recover() {
      for (const entry of await catalogue.list()) {
        if (entry.kind === 'title' && entry.state === 'created') await catalogue.update({ ...entry, state: 'failed' });
      }
    },
    async stop() {
      stopping.abort();
      await queue;
    },
  };
};
