// SPDX-License-Identifier: Apache-2.0
/**
 * The reference of an asset that is marked inside its bitstream: originals, places, small frames, difference pictures.
 *
 * docs/wire/mark-box.md, "The tracer's reference"; docs/wire/reference.md, "Differences". Whatever is computed (small frames,
 * differences) lies beside the originals and is computed once.
 * Invariant: a segment counts from the moment its places are there; a missing one is a gap, never another one's picture.
 */
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { parseInit, type Track } from '#core/isobmff/init.ts';
import { decodeProfile, MAX_SLOTS } from '#core/mark/index.ts';
import { CELLS, HEIGHT, WIDTH } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import { formatHeader, parseHeader, type BookDescription } from '#core/trace/index.ts';
import { isJsonObject, parseStrictObject } from '#core/token/strict-json.ts';
import type { ObjectStore, PictureTool } from '#ports';
import type { Clip } from './align.ts';
import { decodeDifferences, encodeDifferences } from './difference-file.ts';
import { differencesOf, type Differences } from './differences.ts';
import { markedSegment, type MarkedSegment } from './marked-segment.ts';
import { REFERENCE_RATE } from './reference.ts';

/** First member of `marks.json`. */
export const MARKS_FORMAT = 'sealcast-marks/1';

/** How an asset was marked. */
export type MarkedDescription = {
  readonly asset: AssetId;
  readonly slots: number;
  readonly segmentLength: Micros;
  readonly book: BookDescription;
  readonly representations: readonly string[];
  /** Segment numbers count from 1970. */
  readonly live: boolean;
  /** How many variants the packager made of the marks; absent: one copy, marked at the edge. */
  readonly variants?: number;
};
/** One rendition of it. */
export type Rendition = { readonly id: string; readonly width: number; readonly height: number };

/** An asset's reference. Segments are named by number. */
export type MarkedReference = MarkedDescription & {
  /** Renditions whose header is there, the largest first. */
  readonly renditions: readonly Rendition[];
  /** Numbers of the segments that are there, rising. */
  readonly numbers: readonly number[];
  /** Small frames, REFERENCE_RATE a second; the first shows media time `origin` seconds. */
  readonly clip: Clip;
  readonly origin: number;
  /** A segment; undefined where it is missing or nothing in it could be marked. */
  segment(rendition: string, number: number): Promise<MarkedSegment | undefined>;
  /** Its differences, from the cache or computed now. */
  differences(rendition: string, number: number): Promise<Differences | undefined>;
};

/** References of assets marked in the bitstream. */
export type MarkedReferences = {
  /** Undefined for an asset without. `minutes`: of a live event only the last ones that are there; `onProgress` hears of small frames being made. */
  read(asset: AssetId, options?: { readonly minutes?: number; readonly onProgress?: (done: number, total: number) => void; readonly signal?: AbortSignal }): Promise<MarkedReference | undefined>;
};

const damaged = (rule: string): never => {
  throw new SealcastError('media-malformed', `reference of marks: ${rule}`);
};
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;
/** Segments decoded at a time for small frames. */
const BATCH = 30;
/** Segments a clip may span: more than a day of two seconds. */
const LONGEST = 50_000;

/** Throws `media-malformed`. */
export const parseMarks = (text: string): MarkedDescription => {
  const value = parseStrictObject(text) ?? damaged('must be one JSON object without repeated names');
  const { format, slots, segmentMicros, book, representations, live, variants } = value;
  if (variants !== undefined && !(typeof variants === 'number' && Number.isInteger(variants) && variants >= 2 && variants <= 8)) return damaged('"variants" must be 2-8');
  if (format !== MARKS_FORMAT) damaged(`"format" must be "${MARKS_FORMAT}"`);
  if (typeof slots !== 'number' || !Number.isInteger(slots) || slots < 1 || slots > MAX_SLOTS) return damaged(`"slots" must be 1-${MAX_SLOTS}`);
  if (typeof segmentMicros !== 'number' || !Number.isSafeInteger(segmentMicros) || segmentMicros < 1 || segmentMicros > 60_000_000) return damaged('"segmentMicros" must be a length');
  if (!Array.isArray(representations) || representations.length < 1 || representations.length > 32 || !representations.every((id): id is string => typeof id === 'string' && NAME.test(id))) {
    return damaged('"representations" must be 1-32 track names');
  }
  if (!isJsonObject(book)) return damaged('"book" must be an object');
  const asset = assetId(value['asset']);
  // The book is described and checked as in an observation file.
  const header = parseHeader(formatHeader({ asset, alphabet: variants ?? 2, slots: variants === undefined ? slots : 1, book: book as BookDescription, viewers: 1, eps: 0.5 }));
  return { asset, slots, segmentLength: segmentMicros as Micros, book: header.book, representations, live: live === true, ...(variants === undefined ? {} : { variants }) };
};

/** References in the tracer's object store, `{asset}/marks/` below its root. */
export const createMarkedReferences = (options: { readonly objects: ObjectStore; readonly tool: PictureTool; readonly digest: (bytes: Uint8Array) => Promise<Uint8Array>; /** Media of an event at and after this instant may not be seen yet. Absent: all may. */ readonly until?: (asset: AssetId) => Promise<Micros> }): MarkedReferences => {
  const { objects, tool, digest, until } = options;

  const smallFrames = async (
    rendition: Rendition,
    segmentOf: (number: number) => Promise<MarkedSegment | undefined>,
    folder: string,
    numbers: readonly number[],
    progress: (done: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<Map<number, { first: number; frames: Uint8Array }>> => {
    const out = new Map<number, { first: number; frames: Uint8Array }>();
    const path = (number: number): string => `${folder}/${rendition.id}/${number}.gray`;
    for (let at = 0; at < numbers.length; ) {
      const number = numbers[at] as number;
      const kept = await objects.get(path(number));
      if (kept !== undefined && kept.length >= 8 && (kept.length - 8) % CELLS === 0) {
        out.set(number, { first: new DataView(kept.buffer, kept.byteOffset).getFloat64(0), frames: kept.subarray(8) });
        progress(++at);
        continue;
      }
      const batch: { number: number; segment: MarkedSegment }[] = [];
      for (; at < numbers.length && batch.length < BATCH; at++) {
        const next = numbers[at] as number;
        if (batch.length > 0 && (await objects.size(path(next))) !== undefined) break;
        const segment = await segmentOf(next);
        if (segment !== undefined) batch.push({ number: next, segment });
      }
      const [width, height] = [Math.ceil(rendition.width / 4) * 4, Math.ceil(rendition.height / 4) * 4];
      const shrink = shrinker(rendition, width);
      const pictures = tool.codedPictures({ parts: batch.map(({ segment }) => segment.original), width, height, ...(signal === undefined ? {} : { signal }) })[Symbol.asyncIterator]();
      for (const { number: own, segment } of batch) {
        const first = Math.ceil((segment.times[0] as number) * REFERENCE_RATE - 1e-6);
        const last = Math.ceil((segment.times[segment.frames] as number) * REFERENCE_RATE - 1e-6);
        const parts: Uint8Array[] = [];
        let wanted = first;
        for (let n = 0; n < segment.frames; n++) {
          const { value, done } = await pictures.next();
          if (done === true) damaged('the decoder showed too few pictures');
          const until = segment.times[n + 1] as number;
          for (; wanted < last && wanted / REFERENCE_RATE < until - 1e-6; wanted++) parts.push(shrink(value as Uint8Array));
        }
        const frames = concatBytes(...parts);
        const head = new Uint8Array(8);
        new DataView(head.buffer).setFloat64(0, first);
        await objects.put(path(own), concatBytes(head, frames));
        out.set(own, { first, frames });
      }
      await pictures.return?.(undefined);
      progress(at);
    }
    return out;
  };

  return {
    async read(asset, { minutes, onProgress, signal } = {}) {
      const folder = `${asset}/marks`;
      const text = await objects.get(`${folder}/marks.json`);
      if (text === undefined) return undefined;
      const description = parseMarks(decodeUtf8(text).trim());
      if (description.asset !== asset) damaged('belongs to another asset');
      const tracks = new Map<string, Track>();
      const renditions: Rendition[] = [];
      for (const id of description.representations) {
        const header = await objects.get(`${folder}/${id}/init.mp4`);
        const track = header === undefined ? undefined : parseInit(header).tracks.find(({ kind }) => kind === 'video');
        if (track?.video === undefined || track.avcC === undefined) continue;
        tracks.set(id, track);
        renditions.push({ id, ...track.video });
      }
      renditions.sort((a, b) => b.width * b.height - a.width * a.height);
      const smallest = renditions[renditions.length - 1];
      if (smallest === undefined) return undefined;
      const released = description.live ? ((await until?.(asset)) ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY;
      const numbers = (await objects.list(`${folder}/${smallest.id}/`))
        .map((path) => Number(/\/(\d+)\.marks$/.exec(path)?.[1] ?? -1))
        .filter((number) => number >= 0 && (number + 1) * description.segmentLength <= released)
        .sort((a, b) => a - b)
        .slice(description.live && minutes !== undefined ? -Math.max(1, Math.ceil((minutes * 60_000_000) / description.segmentLength)) : -LONGEST);
      const read = async (rendition: string, number: number): Promise<{ bytes: Uint8Array; marks: Uint8Array } | undefined> => {
        const marks = await objects.get(`${folder}/${rendition}/${number}.marks`);
        const bytes = marks === undefined ? undefined : await objects.get(`${folder}/${rendition}/${number}.m4s`);
        return bytes === undefined || marks === undefined ? undefined : { bytes, marks };
      };
      const segmentOf = async (rendition: string, number: number): Promise<MarkedSegment | undefined> => {
        const track = tracks.get(rendition);
        const held = track === undefined ? undefined : await read(rendition, number);
        return track === undefined || held === undefined ? undefined : markedSegment(held.bytes, track, avcConfigurationOf(track), decodeProfile(held.marks));
      };
      const small = await smallFrames(smallest, (number) => segmentOf(smallest.id, number), folder, numbers, (done) => onProgress?.(done, numbers.length), signal);
      const firsts = [...small.values()].map(({ first }) => first);
      const begin = Math.min(...firsts);
      const end = Math.max(...[...small.values()].map(({ first, frames }) => first + frames.length / CELLS));
      const count = small.size === 0 ? 0 : end - begin;
      if (count > LONGEST * 60 * REFERENCE_RATE) damaged('spans too long a time');
      const frames = new Uint8Array(count * CELLS);
      for (const each of small.values()) frames.set(each.frames, (each.first - begin) * CELLS);
      return {
        ...description,
        renditions,
        numbers,
        clip: { framesPerSecond: REFERENCE_RATE, frames, count },
        origin: small.size === 0 ? 0 : begin / REFERENCE_RATE,
        segment: segmentOf,
        async differences(rendition, number) {
          const size = renditions.find(({ id }) => id === rendition);
          const held = size === undefined ? undefined : await read(rendition, number);
          if (size === undefined || held === undefined) return undefined;
          const profile = decodeProfile(held.marks);
          if (profile.sites.count === 0) return undefined;
          const path = `${folder}/${rendition}/${number}.diff`;
          const own = await digest(concatBytes(held.bytes, held.marks));
          const kept = await objects.get(path);
          const known = kept === undefined ? undefined : await decodeDifferences(kept, own);
          if (known !== undefined) return known;
          const segment = await segmentOf(rendition, number);
          if (segment === undefined) return undefined;
          const made = await differencesOf(tool, segment, size, signal);
          await objects.put(path, await encodeDifferences(made, own));
          return made;
        },
      };
    },
  };
};

/** Averages a decoded picture over 64 x 36 cells; `stride` is its row length. */
const shrinker = ({ width, height }: Rendition, stride: number): ((picture: Uint8Array) => Uint8Array) => {
  const edge = (size: number, cells: number): Int32Array => Int32Array.from({ length: cells + 1 }, (_, i) => Math.round((i * size) / cells));
  const [columns, rows] = [edge(width, WIDTH), edge(height, HEIGHT)];
  return (picture) => {
    const out = new Uint8Array(CELLS);
    for (let row = 0; row < HEIGHT; row++) {
      for (let column = 0; column < WIDTH; column++) {
        let sum = 0;
        const [left, right, top, bottom] = [columns[column] as number, columns[column + 1] as number, rows[row] as number, rows[row + 1] as number];
        for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += picture[y * stride + x] as number;
        out[row * WIDTH + column] = Math.round(sum / Math.max(1, (right - left) * (bottom - top)));
      }
    }
    return out;
  };
};
