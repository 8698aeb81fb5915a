// SPDX-License-Identifier: Apache-2.0
/**
 * Packs a file as a title: CMAF segments, HLS and DASH manifests, WebVTT, in an object store.
 *
 * ISO/IEC 23000-19, 23009-1, RFC 8216bis. The manifests are written last, so a title that stopped half-way does not exist.
 * Invariant: nothing of a protected title is stored clear except subtitles, which are public by design.
 */
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { SampleAes } from '#core/cenc/sample-aes.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId, ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import { titleMpd } from '#core/manifest/dash.ts';
import { multivariantPlaylist, titlePlaylist } from '#core/manifest/hls.ts';
import { slotsOf } from '#core/mark/index.ts';
import type { Protection, TextTrack, TitleTrack } from '#core/manifest/presentation.ts';
import type { Micros, Millis } from '#core/time.ts';
import { HEIGHT, WIDTH, type Patterns } from '#core/picture/index.ts';
import type { Clock, ContentKeySource, Log, ObjectStore, Random, VariantMarks, VideoTool } from '#ports';
import { createInitialisationVectors } from './initialisation-vectors.ts';
import { createKeyRing } from './key-ring.ts';
import { createTrackMarker, type MarkSettings } from './mark-track.ts';
import { createChunkProtection, noProtection } from './protection.ts';
import type { ChunkProtection } from './protection.ts';
import type { SourceTrack } from './source-track.ts';
import { equaliseSizes } from './equal-size.ts';
import { planTitle, variantName } from './title-plan.ts';
import type { PlannedText, PlannedTrack, TitlePlan } from './title-plan.ts';
import { packTrack, SparseKeyFrames } from './title-track.ts';
import { mergeVariants } from './title-variants.ts';
import type { MergedTrack } from './title-variants.ts';

/** Where content keys come from: the key server, one fixed key for everything, or nowhere (comparison only). */
export type TitleKeys =
  | { readonly kind: 'source'; readonly source: ContentKeySource }
  | { readonly kind: 'fixed'; readonly scheme: ProtectionScheme; readonly kid: KeyId; readonly key: ContentKey }
  | { readonly kind: 'none' };

/** A file, its keys and where the title goes. */
export type PackTitleOptions = {
  readonly asset: AssetId;
  /** Path of a local file. */
  readonly file: string;
  readonly keys: TitleKeys;
  readonly store: ObjectStore;
  /** Folder in the store; `titles/{asset}` for the origin, empty for a folder of its own. */
  readonly folder: string;
  readonly tool: VideoTool;
  readonly aes: SampleAes;
  readonly random: Random;
  readonly clock: Clock;
  readonly log: Log;
  /** Default 4 s. */
  readonly segmentDuration?: Micros;
  /** Renditions to code video into, by height. Default: copy what can be copied, else 720 and 360. */
  readonly heights?: readonly number[];
  /** Makes a variant of all video for each pattern; edges choose among them per viewer and segment. */
  readonly variants?: Patterns;
  /**
   * Marks inside the bitstream of all video, for edges to switch on per viewer. Excludes `variants`. `variants` in it: so many
   * copies are made here instead, with the symbols that `code` answers for each segment, for networks that only switch files.
   */
  readonly marks?: Omit<MarkSettings, 'asset' | 'random' | 'slots'> & { readonly variants?: { readonly alphabet: number; code(segment: number, slots: number): readonly Uint8Array[] } };
  /** Pads the variants of a segment to one length. Default false: sizes differ by what the coder made of the marks. */
  readonly equalSize?: boolean;
  /** Called after every chunk. `total` is unknown for some containers. */
  readonly onProgress?: (progress: { readonly done: Micros; readonly total: Micros | undefined; readonly bytes: number }) => void;
  readonly signal?: AbortSignal;
};

/** What was made. */
export type PackedTitle = {
  readonly asset: AssetId;
  readonly duration: Micros;
  readonly scheme: ProtectionScheme | 'none';
  readonly tracks: readonly {
    readonly id: string;
    readonly kind: string;
    readonly codec: string;
    readonly language: string;
    readonly segments: number;
    readonly bytes: number;
    readonly copied: boolean;
    /** Variants of every segment; `bytes` counts them all. */
    readonly variants?: number;
    /** Slots of every segment, where marks lie inside the bitstream. */
    readonly slots?: number;
  }[];
  readonly bytes: number;
};

const DEFAULT_SEGMENT = 4_000_000 as Micros;
/** Copied video may have segments this many times longer than asked for, and never longer than 12 s unless asked for. */
const STRETCH = 3;
const LONGEST = 12_000_000;
const KEY_PATIENCE = 10_000 as Millis;
/** No rotation. */
const FOR_EVER = Number.MAX_SAFE_INTEGER as Micros;

type Guard = {
  readonly scheme: ProtectionScheme | 'none';
  readonly period: Micros;
  readonly protection: Protection | undefined;
  protect(track: PlannedTrack, source: SourceTrack): ChunkProtection;
};

/** Throws `media-unsupported`, `media-malformed`, `media-truncated`, `tool-missing`, `key-unavailable`, `store-unavailable`. */
export const packTitle = async (options: PackTitleOptions): Promise<PackedTitle> => {
  const segmentDuration = options.segmentDuration ?? DEFAULT_SEGMENT;
  const probe = await options.tool.probe(options.file);
  const guard = await guardOf(options);
  const rules = {
    segmentDuration,
    ...(options.heights === undefined ? {} : { heights: options.heights }),
    ...(options.variants === undefined ? {} : { variants: options.variants.alphabet }),
  };
  const plan = planTitle(probe, rules);
  try {
    return await packPlan(options, plan, guard, segmentDuration, probe.duration);
  } catch (error) {
    if (!(error instanceof SparseKeyFrames)) throw error;
    options.log.info('key frames are too far apart to copy the video; it is coded again', { asset: options.asset });
    return packPlan(options, planTitle(probe, { ...rules, forceTranscode: true }), guard, segmentDuration, probe.duration);
  }
};

const guardOf = async (options: PackTitleOptions): Promise<Guard> => {
  const { asset, keys, aes, random, clock, log } = options;
  if (keys.kind === 'none') return { scheme: 'none', period: FOR_EVER, protection: undefined, protect: () => noProtection };
  const vectors = createInitialisationVectors(random);
  if (keys.kind === 'fixed') {
    const { scheme, kid, key } = keys;
    return {
      scheme,
      period: FOR_EVER,
      protection: { scheme, asset, entryKid: kid },
      protect: (track, source) =>
        createChunkProtection({
          scheme,
          track: source.media,
          representation: track.id,
          ...(track.variant === undefined ? {} : { variant: track.variant }),
          defaultKid: kid,
          // Variants share the header, so a constant vector of their own has to stand in the fragments.
          signalling: track.variant === undefined ? 'track' : 'fragment',
          aes,
          random,
          vectors,
          keyOf: async () => ({ kid, key }),
        }),
    };
  }
  const keying = await keys.source.keying(asset);
  const { scheme, schedule, entryKid } = keying;
  const ring = (keyGroup: 'video' | 'audio') => createKeyRing({ keys: keys.source, asset, keyGroup, kind: 'title', schedule, clock, log, patience: KEY_PATIENCE });
  const rings = { video: ring('video'), audio: ring('audio') };
  return {
    scheme,
    period: schedule.period,
    protection: { scheme, asset, entryKid },
    protect: (track, source) =>
      createChunkProtection({
        scheme,
        track: source.media,
        representation: track.id,
        ...(track.variant === undefined ? {} : { variant: track.variant }),
        defaultKid: entryKid,
        signalling: 'fragment',
        aes,
        random,
        vectors,
        keyOf: (period) => rings[track.conversion.kind].get(period),
      }),
  };
};

const packPlan = async (options: PackTitleOptions, plan: TitlePlan, guard: Guard, segmentDuration: Micros, total: Micros | undefined): Promise<PackedTitle> => {
  const { store, tool, file, asset } = options;
  const at = (path: string): string => (options.folder === '' ? path : `${options.folder}/${path}`);
  const stop = new AbortController();
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([options.signal, stop.signal]);
  const marks: VariantMarks | undefined =
    options.variants === undefined || !plan.media.some((track) => track.variant !== undefined)
      ? undefined
      : { alphabet: options.variants.alphabet, width: WIDTH, height: HEIGHT, every: segmentDuration, picture: options.variants.picture };
  const conversion = tool.toCmaf({ file, tracks: plan.media.map((track) => track.conversion), fragment: segmentDuration, ...(marks === undefined ? {} : { marks }), signal });
  const slots = slotsOf(segmentDuration);
  const bitVariants = options.marks?.variants;
  let done = 0 as Micros;
  let bytes = 0;
  const longestSegment = (plan.copiesVideo ? Math.max(segmentDuration * STRETCH, LONGEST) : segmentDuration * STRETCH) as Micros;
  const packing = plan.media.map((track, index) =>
    packTrack({
      stream: conversion.tracks[index] as AsyncIterable<Uint8Array>,
      offset: conversion.offset,
      id: track.id,
      language: track.language,
      ...(track.label === undefined ? {} : { label: track.label }),
      store,
      path: at(track.id),
      ...(track.variant === undefined ? {} : { variant: { name: track.variant, first: track.variant === variantName(0) } }),
      segmentDuration,
      period: guard.period,
      longestSegment,
      protect: (source) => guard.protect(track, source),
      ...(options.marks === undefined || track.conversion.kind !== 'video' ? {} : { mark: (source: SourceTrack) => createTrackMarker({ ...(options.marks as NonNullable<typeof options.marks>), asset, random: options.random, slots }, track.id, source.media, source.init) }),
      ...(bitVariants === undefined || track.conversion.kind !== 'video'
        ? {}
        : {
            copies: {
              names: Array.from({ length: bitVariants.alphabet }, (_, variant) => variantName(variant)),
              protect: (source: SourceTrack, name: string) => guard.protect({ ...track, variant: name }, source),
              code: (segment: number) => bitVariants.code(segment, slots),
            },
          }),
      onProgress(time, size) {
        done = Math.max(done, time) as Micros;
        bytes += size;
        options.onProgress?.({ done, total, bytes });
      },
    }),
  );
  let packed: readonly MergedTrack[];
  try {
    packed = mergeVariants(plan.media, await Promise.all(packing), segmentDuration);
  } catch (error) {
    // The other tracks wait for the same child; end it before anyone tries again.
    stop.abort();
    await Promise.allSettled(packing);
    throw options.signal?.aborted === true ? new SealcastError('shutting-down', 'packing was stopped') : error;
  }
  if (options.equalSize === true) packed = await equalised(options, packed, at);
  const texts = await packTexts(options, plan.text, at);
  const duration = Math.max(
    ...packed.map((item) => Math.round(((Number(item.start) + item.durations.reduce((sum, value) => sum + value, 0)) * 1_000_000) / item.timescale)),
  ) as Micros;
  await writeManifests(options, { packed, texts, duration, guard, at });
  return {
    asset,
    duration,
    scheme: guard.scheme,
    tracks: [
      ...packed.map((item) => ({
        id: item.track.id,
        kind: item.track.kind,
        codec: item.track.codec,
        language: item.track.language,
        segments: item.durations.length,
        bytes: item.bytes * (bitVariants !== undefined && item.track.kind === 'video' ? bitVariants.alphabet : 1),
        copied: item.copied,
        ...(item.variants === undefined ? {} : { variants: item.variants }),
        ...(options.marks === undefined || item.track.kind !== 'video' ? {} : { slots, ...(bitVariants === undefined ? {} : { variants: bitVariants.alphabet }) }),
      })),
      ...texts.map((track) => ({ id: track.id, kind: 'text', codec: 'wvtt', language: track.language, segments: 1, bytes: 0, copied: true })),
    ],
    bytes: packed.reduce((sum, item) => sum + item.bytes * (bitVariants !== undefined && item.track.kind === 'video' ? bitVariants.alphabet : 1), 0),
  };
};

/** The tracks with all variants of a segment equally long. */
const equalised = async ({ store }: PackTitleOptions, packed: readonly MergedTrack[], at: (path: string) => string): Promise<readonly MergedTrack[]> => {
  const tracks: MergedTrack[] = [];
  for (const item of packed) {
    const { variants } = item;
    const names = Array.from({ length: variants ?? 0 }, (_, index) => variantName(index));
    tracks.push(variants === undefined ? item : { ...item, bytes: variants * (await equaliseSizes({ store, folder: at(item.track.id), variants: names, segments: item.durations.length })) });
  }
  return tracks;
};

/** Subtitles stay one file. hls.js and Shaka map their cue times by this header line; zero is the title's start. */
const TIMESTAMP_MAP = 'X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000';
const packTexts = async (options: PackTitleOptions, planned: readonly PlannedText[], at: (path: string) => string): Promise<readonly TextTrack[]> => {
  const tracks: TextTrack[] = [];
  for (const text of planned) {
    const document = await options.tool.toWebVtt({ file: options.file, stream: text.stream, ...(options.signal === undefined ? {} : { signal: options.signal }) });
    await options.store.put(at(`${text.id}/0.vtt`), encodeUtf8(document.replace(/^WEBVTT[^\n]*\n/, `WEBVTT\n${TIMESTAMP_MAP}\n`)));
    tracks.push({ kind: 'text', id: text.id, language: text.language, role: text.captions ? 'caption' : 'subtitle', ...(text.label === undefined ? {} : { label: text.label }) });
  }
  return tracks;
};

const writeManifests = async (
  options: PackTitleOptions,
  title: { packed: readonly MergedTrack[]; texts: readonly TextTrack[]; duration: Micros; guard: Guard; at: (path: string) => string },
): Promise<void> => {
  const { store } = options;
  const { packed, texts, duration, at } = title;
  const { protection } = title.guard;
  const milliseconds = Math.round(duration / 1000);
  const tracks: readonly TitleTrack[] = [...packed, ...texts.map((track) => ({ track, timescale: 1000, start: 0n, durations: [milliseconds] }))];
  const write = (path: string, text: string): Promise<void> => store.put(at(path), encodeUtf8(text));
  for (const keyFormat of ['clearkey', 'identity'] as const) {
    const suffix = keyFormat === 'identity' ? '.identity.m3u8' : '.m3u8';
    for (const { track, durations, timescale } of tracks) {
      await write(
        `${track.id}/playlist${suffix}`,
        titlePlaylist({ track, protection, keyFormat, durations: durations.map((ticks) => Math.round((ticks * 1_000_000) / timescale) as Micros) }),
      );
    }
    await write(
      `master${suffix}`,
      multivariantPlaylist(
        tracks.map((item) => item.track),
        { keyFormat },
      ),
    );
  }
  await write('manifest.mpd', titleMpd({ duration, protection, tracks }));
};
