// SPDX-License-Identifier: Apache-2.0
/**
 * Short-lived tokens signed with a zone's keys: JWS compact, HS256, one `typ` per purpose, `kid` = `"{epoch}.{zone index}"`.
 *
 * docs/wire/release.md. Synchronous and without a JOSE library. Type and algorithm are the caller's constants (RFC 8725
 * sections 3.1 and 3.11), never read from the token to decide. (Media tokens have their own copy, with the edge's cache.)
 * Invariant: a payload leaves `openZoneToken` only after type, algorithm and signature were checked; it never throws.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';
import { hmacSha256 } from '#crypto/hmac.ts';

/** Which zone and epoch a key belongs to. */
export type ZoneKeyId = { readonly epoch: number; readonly zone: number };

const KID = /^(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,2})$/;
const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

/** A compact token over a JSON payload; `key` has 32 bytes. */
export const mintZoneToken = (options: { typ: string; key: Uint8Array; kid: ZoneKeyId; payload: string; hmac?: LadderHash['hmac'] }): string => {
  const { typ, key, kid, payload, hmac = hmacSha256 } = options;
  if (key.length !== 32) throw new RangeError(`a token key is 32 bytes; got ${key.length}`);
  const signed = `${encodeBase64url(encodeUtf8(JSON.stringify({ alg: 'HS256', typ, kid: `${kid.epoch}.${kid.zone}` })))}.${encodeBase64url(encodeUtf8(payload))}`;
  return `${signed}.${encodeBase64url(hmac(key, encodeUtf8(signed)))}`;
};

const decodeText = (part: string): string | undefined => {
  try {
    return decodeUtf8(decodeBase64url(part));
  } catch {
    return undefined;
  }
};

/** The authentic payload of a token of this type, or undefined. `keyOf` answers undefined for keys that are unknown or not valid now. */
export const openZoneToken = (token: string, options: { typ: string; maxLength: number; keyOf: (kid: ZoneKeyId) => Uint8Array | undefined }): string | undefined => {
  const parts = token.length <= options.maxLength ? COMPACT.exec(token) : null;
  if (parts === null) return undefined;
  const [, header = '', payload = '', signature = ''] = parts;
  const head = parseStrictObject(decodeText(header) ?? '');
  if (head === undefined || head['alg'] !== 'HS256' || head['typ'] !== options.typ || 'crit' in head) return undefined;
  const kid = typeof head['kid'] === 'string' ? KID.exec(head['kid']) : null;
  const key = kid === null ? undefined : options.keyOf({ epoch: Number(kid[1]), zone: Number(kid[2]) });
  if (key === undefined) return undefined;
  let given: Uint8Array;
  try {
    given = decodeBase64url(signature);
  } catch {
    return undefined;
  }
  return equalBytes(hmacSha256(key, encodeUtf8(`${header}.${payload}`)), given) ? decodeText(payload) : undefined;
};
