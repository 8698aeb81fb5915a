// SPDX-License-Identifier: Apache-2.0
/**
 * Init segments (CMAF headers): `ftyp` and `moov` (ISO/IEC 14496-12 clause 8, CMAF ISO/IEC 23000-19 clause 7.3.1).
 *
 * Invariant: reads only; every number is checked before it sizes a loop or an array.
 */
import { SealcastError } from '#core/errors.ts';
import type { MediaTicks, Timescale } from '#core/time.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { descend, findBox, fourCharacters, onlyBox, printable, readBoxes, readFullBox } from './box.ts';
import type { Box } from './box.ts';
import { parseSampleEntry } from './sample-entry.ts';
import type { EncryptionParameters, SampleEntry, TrackKind } from './sample-entry.ts';
import { parseBrands } from './segment-boxes.ts';
import type { Brands } from './segment-boxes.ts';
import { parseSeigDescriptions } from './sample-groups.ts';

/** `trex`: what a fragment's samples have unless it says otherwise. */
export type SampleDefaults = { readonly duration: number; readonly size: number; readonly flags: number };

/** One track of an init segment. */
export type Track = SampleEntry & {
  readonly id: number;
  readonly kind: TrackKind;
  /** Handler type, e.g. `vide`, `soun`, `text`, `subt`. */
  readonly handler: string;
  readonly timescale: Timescale;
  /** ISO 639-2 code or, from `elng`, a BCP 47 tag; `und` where unknown. */
  readonly language: string;
  /** Media duration in ticks; 0 where the file is fragmented only. */
  readonly duration: MediaTicks;
  readonly defaults: SampleDefaults;
  /** `seig` group descriptions of the sample table, for groups a fragment names without defining them. */
  readonly seig: readonly EncryptionParameters[];
};

/** A parsed init segment. */
export type InitSegment = {
  readonly brands?: Brands;
  readonly tracks: readonly Track[];
  /** Whether `mvex` is there, i.e. fragments may follow. */
  readonly fragmented: boolean;
  /** Whole `pssh` boxes of `moov`. */
  readonly pssh: readonly Uint8Array[];
  readonly bytes: Uint8Array;
};

const MAX_TRACKS = 64;
const KINDS: Readonly<Record<string, TrackKind>> = { vide: 'video', soun: 'audio', text: 'text', subt: 'text', sbtl: 'text' };

/** Parses `[ftyp] moov` (other top-level boxes are ignored). Throws `media-malformed`, `media-truncated`, `media-too-large`. */
export const parseInit = (bytes: Uint8Array): InitSegment => {
  const top = readBoxes(bytes);
  const moov = onlyBox(top, 'moov', 'an init segment');
  const children = readBoxes(moov.body);
  const traks = children.filter((box) => box.type === 'trak');
  if (traks.length > MAX_TRACKS) throw new SealcastError('media-too-large', `${traks.length} tracks; at most ${MAX_TRACKS} are read`);
  const mvex = findBox(children, 'mvex');
  const defaults = mvex === undefined ? new Map<number, SampleDefaults>() : parseTrex(mvex);
  const tracks = traks.map((trak) => parseTrack(trak, defaults));
  const ids = new Set(tracks.map((track) => track.id));
  if (ids.size !== tracks.length) throw new SealcastError('media-malformed', 'two tracks have the same id');
  const ftyp = findBox(top, 'ftyp');
  return {
    ...(ftyp === undefined ? {} : { brands: parseBrands(ftyp) }),
    tracks,
    fragmented: mvex !== undefined,
    pssh: children.filter((box) => box.type === 'pssh').map((box) => box.bytes),
    bytes,
  };
};

const parseTrex = (mvex: Box): Map<number, SampleDefaults> => {
  const defaults = new Map<number, SampleDefaults>();
  for (const box of readBoxes(mvex.body)) {
    if (box.type !== 'trex') continue;
    const { reader } = readFullBox(box);
    const id = reader.u32();
    reader.skip(4);
    defaults.set(id, { duration: reader.u32(), size: reader.u32(), flags: reader.u32() });
  }
  return defaults;
};

const parseTrack = (trak: Box, trex: ReadonlyMap<number, SampleDefaults>): Track => {
  const children = readBoxes(trak.body);
  const tkhd = readFullBox(onlyBox(children, 'tkhd', 'trak'));
  tkhd.reader.skip(tkhd.version === 1 ? 16 : 8);
  const id = tkhd.reader.u32();
  if (id === 0) throw new SealcastError('media-malformed', 'a track has the id 0');
  const mdia = readBoxes(onlyBox(children, 'mdia', 'trak').body);
  const { timescale, duration, language } = parseMdhd(onlyBox(mdia, 'mdhd', 'mdia'));
  const elng = findBox(mdia, 'elng');
  const hdlr = readFullBox(onlyBox(mdia, 'hdlr', 'mdia'));
  hdlr.reader.skip(4);
  const handler = fourCharacters(hdlr.reader.take(4), 0);
  const kind = KINDS[handler] ?? 'other';
  const stbl = descend(onlyBox(mdia, 'minf', 'mdia'), 'stbl');
  const table = readBoxes(stbl.body);
  const stsd = onlyBox(table, 'stsd', 'stbl');
  if (stsd.body.length < 8) throw new SealcastError('media-truncated', 'stsd is too short');
  const [entry, second] = readBoxes(stsd.body, 8);
  if (entry === undefined) throw new SealcastError('media-malformed', 'a track has no sample entry');
  if (second !== undefined) throw new SealcastError('media-unsupported', 'a track has several sample entries; re-encode it with one configuration throughout');
  return {
    ...parseSampleEntry(kind, entry),
    id,
    kind,
    handler: printable(handler),
    timescale,
    duration,
    language: elng === undefined ? language : parseElng(elng, language),
    defaults: trex.get(id) ?? { duration: 0, size: 0, flags: 0 },
    seig: table.filter((box) => box.type === 'sgpd').flatMap((box) => parseSeigDescriptions(box) ?? []),
  };
};

const parseMdhd = (box: Box): { timescale: Timescale; duration: MediaTicks; language: string } => {
  const { version, reader } = readFullBox(box);
  reader.skip(version === 1 ? 16 : 8);
  const timescale = reader.u32();
  if (timescale === 0) throw new SealcastError('media-malformed', 'a track has the timescale 0');
  const duration = (version === 1 ? reader.u64() : BigInt(reader.u32())) as MediaTicks;
  const packed = reader.u16();
  const letters = [packed >> 10, packed >> 5, packed].map((bits) => (bits & 31) + 0x60);
  const language = letters.every((code) => code >= 97 && code <= 122) ? String.fromCharCode(...letters) : 'und';
  return { timescale: timescale as Timescale, duration, language };
};

const parseElng = (box: Box, fallback: string): string => {
  const text = readFullBox(box).reader.rest();
  const end = text.indexOf(0);
  const tag = decodeUtf8Safe(text.subarray(0, end < 0 ? text.length : end));
  return tag !== undefined && /^[A-Za-z0-9-]{2,35}$/.test(tag) ? tag : fallback;
};

const decodeUtf8Safe = (bytes: Uint8Array): string | undefined => {
  try {
    return decodeUtf8(bytes);
  } catch {
    return undefined;
  }
};
