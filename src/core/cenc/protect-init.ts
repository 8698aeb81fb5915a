// SPDX-License-Identifier: Apache-2.0
/**
 * Makes the init segment of a protected track, and the clear one back again (ISO/IEC 23001-7 clauses 4.2, 8.1, 8.2;
 * ISO/IEC 14496-12 clause 8.12).
 *
 * With key rotation the defaults name the entry key, which encrypts no sample: every fragment names its own key by
 * `seig`. Invariant: bytes outside the sample entries and the added `pssh` stay as they were.
 */
import { SealcastError } from '#core/errors.ts';
import type { KeyId, ProtectionScheme } from '#core/ids.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { fourCharacters, readBoxes, writeBox, writeFullBox } from '#core/isobmff/box.ts';
import type { Box } from '#core/isobmff/box.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { editBoxes, editChildren, withBody } from '#core/isobmff/rewrite.ts';
import { sampleEntryPrefix } from '#core/isobmff/sample-entry.ts';
import type { EncryptionParameters, TrackKind } from '#core/isobmff/sample-entry.ts';
import { writeEncryptionParameters } from '#core/isobmff/sample-groups.ts';
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { writePssh } from './pssh.ts';

/** What the protected init segment says about keys. */
export type ProtectInitOptions = {
  readonly scheme: ProtectionScheme;
  /** The entry key's id with key rotation; the content key's own id with a single key. */
  readonly defaultKid: KeyId;
  /** `cbcs`: 16 bytes; the constant IV of fragments that do not name their own. Must be absent for `cenc`. */
  readonly constantIv?: Uint8Array;
  /** Ids listed in `moov`'s `pssh`; default `[defaultKid]`, `[]` leaves the box out. */
  readonly psshKids?: readonly KeyId[];
};

/** Encryption parameters of our two schemes for one kind of track. */
export const encryptionParameters = (scheme: ProtectionScheme, kind: TrackKind, kid: KeyId, constantIv: Uint8Array | undefined): EncryptionParameters => {
  if (kid.length !== 16) throw new RangeError(`a key id has 16 bytes, not ${kid.length}`);
  if (scheme === 'cenc') return { isProtected: true, ivSize: 8, kid, cryptBlocks: 0, skipBlocks: 0 };
  if (constantIv?.length !== 16) throw new RangeError('cbcs needs a constant initialization vector of 16 bytes');
  const video = kind === 'video';
  return { isProtected: true, ivSize: 0, kid, constantIv, cryptBlocks: video ? 1 : 0, skipBlocks: video ? 9 : 0 };
};

/**
 * The protected form of a clear init segment: all audio and H.264 tracks become `enca`/`encv`, others (text) stay
 * clear. Throws `media-unsupported` for other video or for a segment that is protected already.
 */
export const protectInit = (bytes: Uint8Array, options: ProtectInitOptions): Uint8Array => {
  for (const track of parseInit(bytes).tracks) {
    if (track.protection !== undefined) throw new SealcastError('media-unsupported', 'the source is encrypted already; decrypt it first');
    if (track.kind === 'video') avcConfigurationOf(track);
  }
  const kids = options.psshKids ?? [options.defaultKid];
  return editBoxes(bytes, (box) => {
    if (box.type !== 'moov') return undefined;
    return editChildren(
      box,
      0,
      (trak) => (trak.type === 'trak' ? editSampleEntries(trak, (kind, entry) => protectEntry(kind, entry, options)) : undefined),
      kids.length > 0 ? [writePssh(kids)] : [],
    );
  });
};

/** The clear form of a protected init segment, playable with decrypted fragments. Clear ones come back as they are. */
export const unprotectInit = (bytes: Uint8Array): Uint8Array =>
  editBoxes(bytes, (box) => {
    if (box.type !== 'moov') return undefined;
    return editChildren(box, 0, (child) => (child.type === 'trak' ? editSampleEntries(child, unprotectEntry) : child.type === 'pssh' ? [] : undefined));
  });

const protectEntry = (kind: TrackKind, entry: Box, options: ProtectInitOptions): Uint8Array | undefined => {
  if (kind !== 'video' && kind !== 'audio') return undefined;
  const parameters = encryptionParameters(options.scheme, kind, options.defaultKid, options.constantIv);
  const sinf = writeBox(
    'sinf',
    writeBox('frma', latin1(entry.type)),
    writeFullBox('schm', 0, 0, new ByteWriter(8).text(options.scheme).u32(0x10000).finish()),
    writeBox('schi', writeFullBox('tenc', options.scheme === 'cbcs' ? 1 : 0, 0, writeEncryptionParameters(parameters))),
  );
  return renamed(withBody(entry, [entry.body, sinf]), entry, kind === 'video' ? 'encv' : 'enca');
};

const unprotectEntry = (kind: TrackKind, entry: Box): Uint8Array | undefined => {
  if (entry.type !== 'encv' && entry.type !== 'enca') return undefined;
  let original: string | undefined;
  const clear = editChildren(entry, sampleEntryPrefix(kind, entry), (child) => {
    if (child.type !== 'sinf') return undefined;
    const frma = readBoxes(child.body).find((box) => box.type === 'frma');
    if (frma !== undefined && frma.body.length >= 4) original = fourCharacters(frma.body, 0);
    return [];
  });
  if (original === undefined) throw new SealcastError('media-malformed', `sample entry ${entry.type} does not say its original format`);
  return renamed(clear === entry.bytes ? clear.slice() : clear, entry, original);
};

/** Edits every sample entry of a `trak`, told the kind of its track. */
const editSampleEntries = (trak: Box, edit: (kind: TrackKind, entry: Box) => Uint8Array | undefined): Uint8Array => {
  const kind = kindOf(trak);
  const inside = (box: Box, path: readonly string[]): Uint8Array =>
    path.length === 0 ? editChildren(box, 8, (entry) => edit(kind, entry)) : editChildren(box, 0, (child) => (child.type === path[0] ? inside(child, path.slice(1)) : undefined));
  return inside(trak, ['mdia', 'minf', 'stbl', 'stsd']);
};

const kindOf = (trak: Box): TrackKind => {
  const mdia = readBoxes(trak.body).find((box) => box.type === 'mdia');
  const hdlr = mdia === undefined ? undefined : readBoxes(mdia.body).find((box) => box.type === 'hdlr');
  const handler = hdlr !== undefined && hdlr.body.length >= 12 ? fourCharacters(hdlr.body, 8) : '';
  return handler === 'vide' ? 'video' : handler === 'soun' ? 'audio' : 'other';
};

const latin1 = (type: string): Uint8Array => Uint8Array.from(type, (character) => character.charCodeAt(0));

/** `bytes` (a new array) with the box type replaced. */
const renamed = (bytes: Uint8Array, box: Box, type: string): Uint8Array => {
  if (box.type === 'uuid') throw new SealcastError('media-malformed', 'a sample entry is a uuid box');
  bytes.set(latin1(type), 4);
  return bytes;
};
