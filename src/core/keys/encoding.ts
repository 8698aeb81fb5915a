// SPDX-License-Identifier: Apache-2.0
/**
 * The one way the key ladder turns names and numbers into bytes: length-prefixed fields, the label first.
 *
 * docs/wire/keys.md, "Encoding". Invariant: two different argument lists never encode to the same bytes, because every
 * field carries its length and every label is unique.
 */
import { encodeUtf8 } from '#core/bytes/utf8.ts';

const MAX_FIELD = 0xffff;

const unsigned = (value: number, limit: number, name: string): number => {
  if (!Number.isSafeInteger(value) || value < 0 || value > limit) throw new RangeError(`${name} must be an integer of 0-${limit}`);
  return value;
};

/** One byte; throws RangeError outside 0-255. */
export const u8 = (value: number): Uint8Array => Uint8Array.of(unsigned(value, 0xff, 'u8'));
/** Two bytes, big-endian. */
export const u16 = (value: number): Uint8Array => {
  unsigned(value, 0xffff, 'u16');
  return Uint8Array.of(value >>> 8, value & 0xff);
};
/** Four bytes, big-endian. */
export const u32 = (value: number): Uint8Array => {
  unsigned(value, 0xffff_ffff, 'u32');
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
};
/** Eight bytes, big-endian, from a safe integer: period indexes and microseconds stay below 2^53. */
export const u64 = (value: number): Uint8Array => {
  unsigned(value, Number.MAX_SAFE_INTEGER, 'u64');
  const out = new Uint8Array(8);
  out.set(u32(Math.floor(value / 2 ** 32)));
  out.set(u32(value % 2 ** 32), 4);
  return out;
};

/** u16 length + bytes. Throws RangeError above 65,535 bytes. */
export const field = (bytes: Uint8Array): Uint8Array => {
  if (bytes.length > MAX_FIELD) throw new RangeError(`a ladder field has at most ${MAX_FIELD} bytes; got ${bytes.length}`);
  const out = new Uint8Array(2 + bytes.length);
  out[0] = bytes.length >>> 8;
  out[1] = bytes.length & 0xff;
  out.set(bytes, 2);
  return out;
};

const LABEL_PREFIX = 'sealcast/1/';

/** Labels are constants of this code, so few that each is encoded once: a renewal makes about twenty messages. */
const labels = new Map<string, Uint8Array>();
const labelField = (label: string): Uint8Array => {
  let encoded = labels.get(label);
  if (encoded === undefined) labels.set(label, (encoded = field(encodeUtf8(LABEL_PREFIX + label))));
  return encoded;
};

const lengthOf = (name: Uint8Array, parts: (string | Uint8Array)[]): number => {
  let length = name.length;
  // The array of a rest parameter is its call's own: texts are encoded in place.
  for (let index = 0; index < parts.length; index++) {
    let part = parts[index] as string | Uint8Array;
    if (typeof part === 'string') parts[index] = part = encodeUtf8(part);
    if (part.length > MAX_FIELD) throw new RangeError(`a ladder field has at most ${MAX_FIELD} bytes; got ${part.length}`);
    length += 2 + part.length;
  }
  return length;
};
const fill = (out: Uint8Array, name: Uint8Array, parts: readonly (string | Uint8Array)[]): Uint8Array => {
  out.set(name);
  let at = name.length;
  for (let index = 0; index < parts.length; index++) {
    const part = parts[index] as Uint8Array;
    out[at++] = part.length >>> 8;
    out[at++] = part.length & 0xff;
    out.set(part, at);
    at += part.length;
  }
  return out;
};

/** `msg(label, x...)`: strings are UTF-8; numbers must be encoded by the caller, who knows their width. */
export const msg = (label: string, ...parts: (string | Uint8Array)[]): Uint8Array => {
  const name = labelField(label);
  return fill(new Uint8Array(lengthOf(name, parts)), name, parts);
};

const passing = new Uint8Array(1024);

/**
 * The same bytes in memory that the next call writes over, for a message that is hashed at once and that nobody keeps. An array
 * of more than 64 bytes costs more than hashing it, and a renewal makes a dozen.
 */
export const passingMsg = (label: string, ...parts: (string | Uint8Array)[]): Uint8Array => {
  const name = labelField(label);
  const length = lengthOf(name, parts);
  return fill(length > passing.length ? new Uint8Array(length) : passing.subarray(0, length), name, parts);
};
