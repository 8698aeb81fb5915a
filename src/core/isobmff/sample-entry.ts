// SPDX-License-Identifier: Apache-2.0
/**
 * Sample entries: what a track's samples are coded in, as an RFC 6381 codec string and the few facts manifests need
 * (ISO/IEC 14496-12 clause 12, 14496-14 `esds`, 14496-15 `avcC`, 23001-7 `sinf`).
 *
 * Invariant: unknown codings are described (`codec` = their four characters), never guessed; whether they can be
 * protected or played is decided elsewhere.
 */
import { SealcastError } from '#core/errors.ts';
import type { KeyId } from '#core/ids.ts';
import { ByteReader } from '#core/bytes/reader.ts';
import { findBox, fourCharacters, onlyBox, printable, readBoxes, readFullBox } from './box.ts';
import type { Box } from './box.ts';

/** What a track is, from its handler. */
export type TrackKind = 'video' | 'audio' | 'text' | 'other';

/** `tenc`, or one `seig` group entry (ISO/IEC 23001-7 clauses 8.2 and 6). */
export type EncryptionParameters = {
  readonly isProtected: boolean;
  /** 0, 8 or 16 bytes; 0 means the constant IV counts. */
  readonly ivSize: number;
  readonly kid: KeyId;
  /** 8 or 16 bytes; present only where `ivSize` is 0 and samples are protected. */
  readonly constantIv?: Uint8Array;
  /** Pattern in 16-byte blocks; 0:0 = no pattern. */
  readonly cryptBlocks: number;
  readonly skipBlocks: number;
};
/** `sinf` of a protected sample entry: scheme four characters and the track's defaults. */
export type TrackProtection = { readonly scheme: string; readonly defaults: EncryptionParameters };

/** How the samples of a track are coded and protected. */
export type SampleEntry = {
  /** Four characters of the coding, of the original one where protected (`avc1`, not `encv`). */
  readonly format: string;
  /** RFC 6381, e.g. `avc1.64001f`, `mp4a.40.2`; the four characters where nothing more is known. */
  readonly codec: string;
  readonly protection?: TrackProtection;
  readonly video?: { readonly width: number; readonly height: number };
  readonly audio?: { readonly channels: number; readonly sampleRate: number };
  /** Body of `avcC` for H.264. */
  readonly avcC?: Uint8Array;
};

/** Body bytes before the child boxes of a sample entry. */
export const sampleEntryPrefix = (kind: TrackKind, entry: Box): number => {
  if (kind === 'video') return 78;
  if (kind !== 'audio') return 8;
  // QuickTime sound descriptions of version 1 and 2 carry more fields; MP4 files always say 0 here.
  const version = entry.body.length >= 10 ? (entry.body[8] as number) * 256 + (entry.body[9] as number) : 0;
  return version === 1 ? 44 : version === 2 ? 64 : 28;
};

/** Parses one child of `stsd`. */
export const parseSampleEntry = (kind: TrackKind, entry: Box): SampleEntry => {
  const prefix = sampleEntryPrefix(kind, entry);
  if (kind === 'text' || kind === 'other') return { format: entry.type, codec: entry.type.trim() };
  if (entry.body.length < prefix) throw new SealcastError('media-truncated', `sample entry ${printable(entry.type)} is too short`);
  const children = readBoxes(entry.body, prefix);
  const protection = entry.type === 'encv' || entry.type === 'enca' ? parseSinf(onlyBox(children, 'sinf', entry.type)) : undefined;
  const format = protection?.format ?? entry.type;
  const common = { format, ...(protection === undefined ? {} : { protection: protection.protection }) };
  const fields = new ByteReader(entry.body, `sample entry ${printable(entry.type)}`);
  if (kind === 'video') {
    fields.seek(24);
    const video = { width: fields.u16(), height: fields.u16() };
    const avcC = findBox(children, 'avcC')?.body;
    if (avcC !== undefined && avcC.length < 7) throw new SealcastError('media-truncated', 'avcC is too short');
    const codec = avcC === undefined ? format : `${format}.${[1, 2, 3].map((i) => (avcC[i] as number).toString(16).padStart(2, '0')).join('')}`;
    return { ...common, codec, video, ...(avcC === undefined ? {} : { avcC }) };
  }
  fields.seek(16);
  const channels = fields.u16();
  fields.skip(6);
  const sampleRate = fields.u32() >>> 16;
  const esds = findBox(children, 'esds');
  const described = format === 'mp4a' && esds !== undefined ? parseEsds(esds) : undefined;
  return {
    ...common,
    codec: described?.codec ?? (format === 'fLaC' ? 'flac' : format === 'Opus' ? 'opus' : format),
    audio: { channels: described?.channels ?? channels, sampleRate: described?.sampleRate ?? sampleRate },
  };
};

const parseSinf = (sinf: Box): { format: string; protection: TrackProtection } => {
  const children = readBoxes(sinf.body);
  const format = fourCharacters(new ByteReader(onlyBox(children, 'frma', 'sinf').body, 'box frma').take(4), 0);
  const { reader } = readFullBox(onlyBox(children, 'schm', 'sinf'));
  const scheme = fourCharacters(reader.take(4), 0);
  const tenc = readFullBox(onlyBox(readBoxes(onlyBox(children, 'schi', 'sinf').body), 'tenc', 'schi'));
  tenc.reader.skip(1);
  return { format, protection: { scheme, defaults: parseEncryptionParameters(tenc.reader, tenc.version > 0) } };
};

/** The fields `tenc` and `seig` share, from the pattern byte on. */
export const parseEncryptionParameters = (reader: ByteReader, withPattern: boolean): EncryptionParameters => {
  const pattern = reader.u8();
  const isProtected = reader.u8();
  const ivSize = reader.u8();
  if (isProtected > 1) throw new SealcastError('media-malformed', `isProtected must be 0 or 1, is ${isProtected}`);
  if (ivSize !== 0 && ivSize !== 8 && ivSize !== 16) throw new SealcastError('media-malformed', `an initialization vector has 0, 8 or 16 bytes, not ${ivSize}`);
  const kid = reader.take(16) as KeyId;
  const parameters = {
    isProtected: isProtected === 1,
    ivSize,
    kid,
    cryptBlocks: withPattern ? pattern >> 4 : 0,
    skipBlocks: withPattern ? pattern & 15 : 0,
  };
  if (isProtected === 0 || ivSize !== 0) return parameters;
  const length = reader.u8();
  if (length !== 8 && length !== 16) throw new SealcastError('media-malformed', `a constant initialization vector has 8 or 16 bytes, not ${length}`);
  return { ...parameters, constantIv: reader.take(length) };
};

const SAMPLE_RATES = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/** MPEG-4 descriptors (14496-1): object type, and for AAC the AudioSpecificConfig (14496-3 clause 1.6.2.1). */
const parseEsds = (esds: Box): { codec: string; channels?: number; sampleRate?: number } => {
  const { reader } = readFullBox(esds);
  const es = descriptor(reader, 3);
  es.skip(2);
  const flags = es.u8();
  if (flags & 0x80) es.skip(2);
  if (flags & 0x40) es.skip(es.u8());
  if (flags & 0x20) es.skip(2);
  const decoder = descriptor(es, 4);
  const objectType = decoder.u8();
  decoder.skip(12);
  if (objectType !== 0x40) return { codec: `mp4a.${objectType.toString(16)}` };
  const config = descriptor(decoder, 5);
  const first = config.u16();
  let audioObjectType = first >> 11;
  let bits = first & 0x7ff;
  if (audioObjectType === 31) {
    // Escape: the type continues in six more bits, and everything behind it moves on by as many.
    audioObjectType = 32 + (bits >> 5);
    bits = ((bits & 0x1f) << 6) | (config.u8() >> 2);
  }
  const index = bits >> 7;
  if (index === 15) return { codec: `mp4a.40.${audioObjectType}` };
  const channels = (bits >> 3) & 15;
  const sampleRate = SAMPLE_RATES[index];
  return {
    codec: `mp4a.40.${audioObjectType}`,
    ...(channels === 0 ? {} : { channels: channels === 7 ? 8 : channels }),
    ...(sampleRate === undefined ? {} : { sampleRate }),
  };
};

const descriptor = (reader: ByteReader, tag: number): ByteReader => {
  const found = reader.u8();
  if (found !== tag) throw new SealcastError('media-malformed', `esds: descriptor ${tag} expected, ${found} found`);
  let length = 0;
  for (let i = 0; ; i++) {
    if (i === 4) throw new SealcastError('media-malformed', 'esds: a descriptor length has more than four bytes');
    const byte = reader.u8();
    length = (length << 7) | (byte & 0x7f);
    if ((byte & 0x80) === 0) break;
  }
  return new ByteReader(reader.take(length), 'esds');
};
