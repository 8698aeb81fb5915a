// SPDX-License-Identifier: Apache-2.0
/**
 * The reference of a live event, made from what the packager keeps of it: its variants in the clear.
 *
 * docs/wire/reference.md, "Live events". The mean of all variants stands for the unmarked picture: a variant's mark is then
 * there less a small part of each, and nobody's copy is its own reference. A segment is decoded once; its frames stay beside it.
 * Invariants: segments whose time has not come (timed events before their release) are not looked at; what is missing
 * is a gap without contrast, which matches nothing.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { CELLS } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import { type BookDescription, formatHeader, parseHeader } from '#core/trace/index.ts';
import { isJsonObject, parseStrictObject } from '#core/token/strict-json.ts';
import type { FrameTool, ObjectStore } from '#ports';
import { type Marking, readClip, REFERENCE_RATE, type Reference } from './reference.ts';

/** References of live events. */
export type LiveReferences = {
  /** The last `minutes` of an event, as far as they may be seen; undefined if nothing is kept of it. */
  read(asset: AssetId, minutes: number): Promise<Reference | undefined>;
};

/** Somewhere on disk for a decoder to read from. */
export type Scratch = { write(bytes: Uint8Array): Promise<string>; remove(): Promise<void> };

/** Segments decoded at a time: enough for a decoder to be worth its start. */
const BATCH = 60;
const FORMAT = 'sealcast-live-reference/1';

type Description = Omit<Marking, 'segments' | 'first'> & { readonly representation: string };

const damaged = (rule: string): never => {
  throw new SealcastError('media-malformed', `live reference: ${rule}`);
};

/** Throws `media-malformed`. */
export const parseLiveDescription = (text: string): Description => {
  const value = parseStrictObject(text) ?? damaged('must be one JSON object without repeated names');
  const { format, representation, alphabet, book, segmentMicros } = value;
  if (format !== FORMAT) damaged(`"format" must be "${FORMAT}"`);
  if (typeof representation !== 'string' || !/^[a-z0-9][a-z0-9-]{0,31}$/.test(representation)) return damaged('"representation" must be a track name');
  if (typeof alphabet !== 'number' || typeof segmentMicros !== 'number' || !Number.isSafeInteger(segmentMicros) || segmentMicros < 1 || segmentMicros > 60_000_000) return damaged('"alphabet" and "segmentMicros" must be numbers');
  if (!isJsonObject(book)) return damaged('"book" must be an object');
  const asset = assetId(value['asset']);
  // The book is described and checked as in an observation file.
  const header = parseHeader(formatHeader({ asset, alphabet, slots: 1, book: book as BookDescription, viewers: 1, eps: 0.5 }));
  return { asset, representation, alphabet: header.alphabet, book: header.book, segment: segmentMicros as Micros };
};

/** `until`: media at and after this instant may not be seen yet. `scratch`: one file for the decoder at a time. */
export const createLiveReferences = (options: { readonly objects: ObjectStore; readonly frames: FrameTool; readonly until: (asset: AssetId) => Promise<Micros>; readonly scratch: () => Scratch }): LiveReferences => {
  const { objects, frames, until } = options;

  const variantsOf = ({ representation, alphabet }: Description): string[] => Array.from({ length: alphabet }, (_, variant) => (variant === 0 ? representation : `${representation}.${String.fromCharCode(97 + variant)}`));
  const numbersOf = async (folder: string): Promise<Set<number>> =>
    new Set((await objects.list(folder)).map((path) => Number(/\/(\d+)\.(?:m4s|gray)$/.exec(path)?.[1] ?? -1)).filter((number) => number >= 0));

  /** Decodes segments [from, to], none missing, of one variant; frames in order. */
  const decode = async (folder: string, from: number, to: number, perSegment: number): Promise<Uint8Array> => {
    const header = await objects.get(`${folder}/source.mp4`);
    const parts = header === undefined ? [] : [header];
    for (let number = from; number <= to; number++) parts.push((await objects.get(`${folder}/${number}.m4s`)) ?? damaged('a segment is gone'));
    const scratch = options.scratch();
    try {
      const clip = await readClip({ tool: frames, file: await scratch.write(concatBytes(...parts)), framesPerSecond: REFERENCE_RATE });
      // A rounded first or last frame too few: the neighbour shows the same.
      const wanted = (to - from + 1) * perSegment;
      if (clip.count === 0) return new Uint8Array(wanted * CELLS);
      const out = new Uint8Array(wanted * CELLS);
      for (let n = 0; n < wanted; n++) out.set(clip.frames.subarray(Math.min(n, clip.count - 1) * CELLS, (Math.min(n, clip.count - 1) + 1) * CELLS), n * CELLS);
      return out;
    } finally {
      await scratch.remove();
    }
  };

  /** Makes the mean frames of a run of segments and keeps them. */
  const prepare = async (folder: string, variants: readonly string[], from: number, to: number, perSegment: number): Promise<void> => {
    const sums = new Uint16Array((to - from + 1) * perSegment * CELLS);
    for (const variant of variants) {
      const picture = await decode(`${folder}/${variant}`, from, to, perSegment);
      for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] as number) + (picture[i] as number);
    }
    const size = perSegment * CELLS;
    for (let number = from; number <= to; number++) {
      const mean = Uint8Array.from(sums.subarray((number - from) * size, (number - from + 1) * size), (sum) => Math.round(sum / variants.length));
      await objects.put(`${folder}/gray/${number}.gray`, mean);
    }
  };

  return {
    async read(asset, minutes) {
      const folder = `${asset}/live`;
      const text = await objects.get(`${folder}/live.json`);
      if (text === undefined) return undefined;
      const { representation, ...marking } = parseLiveDescription(decodeUtf8(text).trim());
      if (marking.asset !== asset) damaged('belongs to another event');
      const { segment } = marking;
      const perSegment = (REFERENCE_RATE * segment) / 1_000_000;
      if (!Number.isInteger(perSegment)) throw new SealcastError('media-unsupported', `segments of ${segment / 1_000_000} s cannot be traced live: their length must be a multiple of 0.2 s`);
      const variants = variantsOf({ representation, ...marking });
      const held = await Promise.all(variants.map((variant) => numbersOf(`${folder}/${variant}/`)));
      const released = await until(asset);
      const whole = [...(held[0] ?? [])].filter((number) => (number + 1) * segment <= released && held.every((each) => each.has(number))).sort((a, b) => a - b);
      const last = whole[whole.length - 1];
      if (last === undefined) return undefined;
      const wanted = whole.filter((number) => number > last - (minutes * 60_000_000) / segment);
      const first = wanted[0] ?? last;
      const ready = await numbersOf(`${folder}/gray/`);
      for (let at = 0; at < wanted.length; ) {
        const from = wanted[at] as number;
        if (ready.has(from)) {
          at++;
          continue;
        }
        let end = at;
        while (end + 1 < wanted.length && wanted[end + 1] === (wanted[end] as number) + 1 && !ready.has(wanted[end + 1] as number) && end - at + 1 < BATCH) end++;
        await prepare(folder, variants, from, wanted[end] as number, perSegment);
        at = end + 1;
      }
      const size = perSegment * CELLS;
      const pictures = new Uint8Array((last - first + 1) * size);
      for (const number of wanted) {
        const gray = await objects.get(`${folder}/gray/${number}.gray`);
        // Pruned meanwhile: a gap.
        if (gray?.length === size) pictures.set(gray, (number - first) * size);
      }
      return { ...marking, first, segments: last - first + 1, clip: { framesPerSecond: REFERENCE_RATE, frames: pictures, count: (last - first + 1) * perSegment } };
    },
  };
};
