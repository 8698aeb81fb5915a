// SPDX-License-Identifier: Apache-2.0
/**
 * CBOR (RFC 8949) as signed documents need it: deterministic when written, unambiguous when read.
 *
 * Reading is looser than writing in one point, the order of map keys, because other makers' tokens sort differently;
 * nothing else that could be read in two ways passes: no indefinite lengths, no repeated keys, no floats, no tag magic.
 * Invariant: bytes are looked over once in linear time before they are decoded; depth and item count are bounded.
 */
import { cdeEncodeOptions, decode, encode, Tag } from 'cbor2';

export { Tag };

/** A token nests claims in a message and keys in a recipient: at most this deep. */
export const MAX_CBOR_DEPTH = 10;
/** Data items in one document. */
export const MAX_CBOR_ITEMS = 1024;

/** Deterministic encoding (RFC 8949 section 4.2). Maps are `Map`s where keys are integers. */
export const encodeCbor = (value: unknown): Uint8Array => new Uint8Array(encode(value, cdeEncodeOptions));

/** Whether `bytes` are one well-formed item of definite lengths, integers below 2^53, within the bounds above. */
const isPlain = (bytes: Uint8Array): boolean => {
  const open: number[] = [1];
  let at = 0;
  for (let items = 0; open.length > 0; items++) {
    if (items >= MAX_CBOR_ITEMS || open.length > MAX_CBOR_DEPTH || at >= bytes.length) return false;
    const initial = bytes[at++] as number;
    const major = initial >> 5;
    const info = initial & 31;
    if (info > 27) return false;
    let value = info;
    if (info >= 24) {
      const width = 1 << (info - 24);
      if (at + width > bytes.length) return false;
      value = 0;
      for (const end = at + width; at < end; at++) value = value * 256 + (bytes[at] as number);
      if (value > Number.MAX_SAFE_INTEGER) return false;
    }
    const last = open.length - 1;
    open[last] = (open[last] as number) - 1;
    if (major === 2 || major === 3) {
      if (value > bytes.length - at) return false;
      at += value;
    } else if (major === 4 || major === 5) {
      // Every member takes a byte at least: a length beyond what is left is a lie.
      const members = major === 4 ? value : 2 * value;
      if (members > bytes.length - at) return false;
      open.push(members);
    } else if (major === 6) {
      open.push(1);
    } else if (major === 7 && (info < 20 || info > 22)) {
      return false;
    }
    while (open.length > 0 && open[open.length - 1] === 0) open.pop();
  }
  return at === bytes.length;
};

/**
 * The value in `bytes`, or undefined if they are not exactly one plain item. Maps become `Map`s, tags `Tag`s whatever
 * their number, byte strings views of `bytes`. Never throws.
 */
export const decodeCbor = (bytes: Uint8Array): unknown => {
  if (!isPlain(bytes)) return undefined;
  try {
    return decode(bytes, { rejectStreaming: true, rejectDuplicateKeys: true, rejectBigInts: true, ignoreGlobalTags: true, preferMap: true });
  } catch {
    return undefined;
  }
};

/** Whether a decoded value is a byte string. */
export const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array;
