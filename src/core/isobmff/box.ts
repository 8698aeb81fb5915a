// SPDX-License-Identifier: Apache-2.0
/**
 * ISO BMFF boxes: reading headers, listing children, writing new boxes (ISO/IEC 14496-12 clause 4.2).
 *
 * Invariant: a box that claims more bytes than its container has, or fewer than its own header, is a typed error; every
 * returned array is a view of the input, so what nobody rewrites stays byte-exact.
 */
import { SealcastError } from '#core/errors.ts';
import { ByteReader } from '#core/bytes/reader.ts';

/** One box inside `source`; all arrays are views. */
export type Box = {
  /** Four characters (each byte as one Latin-1 character), e.g. `moof`. */
  readonly type: string;
  /** Offset of the box header in the array it was read from. */
  readonly start: number;
  /** 8, 16 with a 64-bit size, 16 more for `uuid`. */
  readonly headerSize: number;
  /** Header and body. */
  readonly bytes: Uint8Array;
  readonly body: Uint8Array;
};

/** What the first bytes of a box say. `size` 0 means: up to the end of the input. */
export type BoxHeader = { readonly type: string; readonly headerSize: number; readonly size: number };

/** Bytes that always suffice for `readBoxHeader`. */
export const MAX_BOX_HEADER = 32;

/** Reads a box header at `at`; undefined where fewer bytes than the header are there. Throws `media-malformed` for an impossible size. */
export const readBoxHeader = (bytes: Uint8Array, at: number = 0): BoxHeader | undefined => {
  if (bytes.length - at < 8) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, bytes.length - at);
  const type = fourCharacters(bytes, at + 4);
  let size = view.getUint32(0);
  let headerSize = 8;
  if (size === 1) {
    headerSize = 16;
    if (view.byteLength < 16) return undefined;
    const large = view.getBigUint64(8);
    if (large > BigInt(Number.MAX_SAFE_INTEGER)) throw new SealcastError('media-malformed', `box ${printable(type)} claims more than 2^53 bytes`);
    size = Number(large);
    if (size === 0) throw new SealcastError('media-malformed', `box ${printable(type)} has the 64-bit size 0`);
  }
  if (type === 'uuid') headerSize += 16;
  if (view.byteLength < headerSize) return undefined;
  if (size !== 0 && size < headerSize) throw new SealcastError('media-malformed', `box ${printable(type)} claims ${size} bytes, fewer than its header`);
  return { type, headerSize, size };
};

/** All boxes of `bytes` from `from` on, which have to fill it exactly. Only the last may have size 0 ("up to the end"). */
export const readBoxes = (bytes: Uint8Array, from: number = 0): readonly Box[] => {
  const found: Box[] = [];
  for (let at = from; at < bytes.length; ) {
    const header = readBoxHeader(bytes, at);
    if (header === undefined) throw new SealcastError('media-truncated', `${bytes.length - at} bytes are too few for a box header`);
    const size = header.size === 0 ? bytes.length - at : header.size;
    if (size > bytes.length - at) throw new SealcastError('media-truncated', `box ${printable(header.type)} claims ${size} bytes, ${bytes.length - at} are there`);
    const whole = bytes.subarray(at, at + size);
    found.push({ type: header.type, start: at, headerSize: header.headerSize, bytes: whole, body: whole.subarray(header.headerSize) });
    at += size;
  }
  return found;
};

/** The first box of that type; undefined where there is none. */
export const findBox = (boxes: readonly Box[], type: string): Box | undefined => boxes.find((box) => box.type === type);

/** The one box of that type; `media-malformed` if it is missing or there several times. */
export const onlyBox = (boxes: readonly Box[], type: string, inside: string): Box => {
  const found = boxes.filter((box) => box.type === type);
  const [first] = found;
  if (first === undefined || found.length > 1) throw new SealcastError('media-malformed', `${inside} must hold one ${type} box, holds ${found.length}`);
  return first;
};

/** Follows a path of plain container boxes, e.g. `descend(trak, 'mdia/minf/stbl')`; each must be there once. */
export const descend = (box: Box, path: string): Box => path.split('/').reduce((inside, type) => onlyBox(readBoxes(inside.body), type, inside.type), box);

/** Version, flags and a reader standing behind them. */
export type FullBox = { readonly version: number; readonly flags: number; readonly reader: ByteReader };
export const readFullBox = (box: Box): FullBox => {
  const reader = new ByteReader(box.body, `box ${printable(box.type)}`);
  return { version: reader.u8(), flags: reader.u24(), reader };
};

/** A new box with a 32-bit size from its parts. */
export const writeBox = (type: string, ...parts: readonly Uint8Array[]): Uint8Array => {
  let size = 8;
  for (const part of parts) size += part.length;
  if (size > 0xffffffff) throw new SealcastError('media-too-large', `box ${printable(type)} would exceed 4 GB`);
  const out = new Uint8Array(size);
  writeBoxHeader(out, 0, type, size);
  let at = 8;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};

/** A new box that starts with version (8 bits) and flags (24 bits). */
export const writeFullBox = (type: string, version: number, flags: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  writeBox(type, new Uint8Array([version, (flags >>> 16) & 0xff, (flags >>> 8) & 0xff, flags & 0xff]), ...parts);

/** Writes an 8-byte header into `out`. */
export const writeBoxHeader = (out: Uint8Array, at: number, type: string, size: number): void => {
  if (type.length !== 4) throw new RangeError('a box type has four characters');
  new DataView(out.buffer, out.byteOffset, out.byteLength).setUint32(at, size);
  for (let i = 0; i < 4; i++) out[at + 4 + i] = type.charCodeAt(i);
};

/** Four bytes as four Latin-1 characters. */
export const fourCharacters = (bytes: Uint8Array, at: number): string =>
  String.fromCharCode(bytes[at] as number, bytes[at + 1] as number, bytes[at + 2] as number, bytes[at + 3] as number);

/** A four-character code fit for messages: other bytes become dots. */
export const printable = (type: string): string => type.replace(/[^\x20-\x7e]/g, '.');
