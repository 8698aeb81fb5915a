// SPDX-License-Identifier: Apache-2.0
/**
 * `wmid`: a viewer number that only the edges of its event can read.
 *
 * 16 bytes: tag = HMAC(key, "viewer-tag" | u64 v)[0:8], then v under the pad HMAC(key, "viewer-pad" | tag)[0:8]; base64url.
 * One viewer of one event has one id, whatever the session, so that evidence adds up; it tells nothing of join order, and
 * the ids of two events have nothing in common. It is bound to a session by the token that carries it.
 * Invariant: an id that opens was made with the key: 64 bits of tag, checked in constant time.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { MarkClaims } from '#core/token/media-claims.ts';

/** First number given to a viewer: 0 is the base copy, 1-15 are an operator's probes. */
export const FIRST_VIEWER = 16;
/** Bytes of an id. */
export const VIEWER_ID_LENGTH = 16;
/** Viewer numbers end here (the limit of code books). */
const MAX_VIEWER = 2 ** 44;

type Hmac = (key: Uint8Array, data: Uint8Array) => Uint8Array;

const half = (hmac: Hmac, key: Uint8Array, label: string, value: Uint8Array): Uint8Array => {
  const name = encodeUtf8(`sealcast/1/${label}`);
  const data = new Uint8Array(2 + name.length + 2 + value.length);
  data[1] = name.length;
  data.set(name, 2);
  data[3 + name.length] = value.length;
  data.set(value, 4 + name.length);
  return hmac(key, data).subarray(0, 8);
};

const numberBytes = (viewer: number): Uint8Array => {
  const bytes = new Uint8Array(8);
  for (let at = 7, rest = viewer; at >= 0; at--, rest = Math.floor(rest / 256)) bytes[at] = rest % 256;
  return bytes;
};
const xor = (a: Uint8Array, b: Uint8Array): Uint8Array => a.map((byte, index) => byte ^ (b[index] as number));

/** The 16 bytes of a viewer's id. `key`: 32 bytes of the event. */
export const viewerIdBytes = (hmac: Hmac, key: Uint8Array, viewer: number): Uint8Array => {
  if (!Number.isInteger(viewer) || viewer < 0 || viewer > MAX_VIEWER) throw new RangeError('a viewer number is an integer of 0..2^44');
  const plain = numberBytes(viewer);
  const tag = half(hmac, key, 'viewer-tag', plain);
  const out = new Uint8Array(VIEWER_ID_LENGTH);
  out.set(tag);
  out.set(xor(plain, half(hmac, key, 'viewer-pad', tag)), 8);
  return out;
};

/** `wmid` of a viewer. */
export const encodeViewerId = (hmac: Hmac, key: Uint8Array, viewer: number): string => encodeBase64url(viewerIdBytes(hmac, key, viewer));

/** The viewer number in a `wmid`, or undefined if it was not made with this key. Never throws. */
export const openViewerId = (hmac: Hmac, key: Uint8Array, id: string): number | undefined => {
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64url(id);
  } catch {
    return undefined;
  }
  if (bytes.length !== VIEWER_ID_LENGTH) return undefined;
  const tag = bytes.subarray(0, 8);
  const plain = xor(bytes.subarray(8), half(hmac, key, 'viewer-pad', tag));
  if (!equalBytes(half(hmac, key, 'viewer-tag', plain), tag)) return undefined;
  return plain.reduce((value, byte) => value * 256 + byte, 0);
};

/** What a session's tokens carry: the viewer's id, and the version of the key that opens it. */
export type ViewerId = { /** u8. */ readonly keyVersion: number; /** 16 bytes. */ readonly id: Uint8Array };

/** `wmvnd` of ids that this software makes and opens. */
export const OWN_VENDOR = 0;

/** Watermark claims of indirect mode. `wmpatlen` is the range of positions. */
export const markClaimsOf = ({ keyVersion, id }: ViewerId): MarkClaims => ({ version: 1, vendor: OWN_VENDOR, patternLength: 32_768, id: encodeBase64url(id), keyVersion });
