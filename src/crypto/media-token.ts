// SPDX-License-Identifier: Apache-2.0
/**
 * Mints and verifies media tokens: JWS compact (RFC 7515), HS256 with a zone's media-token key, `typ` `media+jwt`.
 *
 * docs/wire/media.md. Synchronous and without a JOSE library, because every media request starts here: the whole check
 * is one short HMAC. Type and algorithm are constants (RFC 8725 sections 3.1 and 3.11), never read from the token to decide.
 * Invariant: claims leave `verifyMediaToken` only after signature, type, algorithm and times were checked.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { Micros } from '#core/time.ts';
import { encodeMediaClaims, MAX_MEDIA_TOKEN_LENGTH, MEDIA_TOKEN_TYPE, parseMediaClaims, type TokenClaims } from '#core/token/media-claims.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';
import { hmacSha256 } from '#crypto/hmac.ts';

/** Which MTK[e,z] signs: written `"{epoch}.{zone index}"` in the token's header. */
export type MediaTokenKeyId = { readonly epoch: number; readonly zone: number };

/** A node signs with one or two keys at a time, so the header of the last one is nearly always the next one's. */
let last: MediaTokenKeyId & { readonly text: string } = { epoch: -1, zone: -1, text: '' };
const headerOf = ({ epoch, zone }: MediaTokenKeyId): string => {
  if (last.epoch !== epoch || last.zone !== zone) last = { epoch, zone, text: encodeBase64url(encodeUtf8(JSON.stringify({ alg: 'HS256', typ: MEDIA_TOKEN_TYPE, kid: `${epoch}.${zone}` }))) };
  return last.text;
};

/** `key`: the 32 bytes MTK[e,z] of `kid`; `hmac`: a faster one than the portable. Answers a compact JWS safe in a path, a query and a header. */
export const mintMediaToken = (options: { key: Uint8Array; kid: MediaTokenKeyId; claims: TokenClaims; hmac?: LadderHash['hmac'] }): string => {
  const { key, kid, claims, hmac = hmacSha256 } = options;
  if (key.length !== 32) throw new RangeError(`a media-token key is 32 bytes; got ${key.length}`);
  const signed = `${headerOf(kid)}.${encodeBase64url(passingUtf8(encodeMediaClaims(claims)))}`;
  return `${signed}.${encodeBase64url(hmac(key, passingUtf8(signed)))}`;
};

const encoder = new TextEncoder();
const passing = new Uint8Array(4096);
/** UTF-8 in memory that the next call writes over. Every renewal mints a token. */
const passingUtf8 = (text: string): Uint8Array => (text.length * 3 > passing.length ? encoder.encode(text) : passing.subarray(0, encoder.encodeInto(text, passing).written));

/** What a verifier says of a token: its claims, or the code and rule of its refusal. */
export type MediaTokenVerdict =
  | { readonly ok: true; readonly claims: TokenClaims; readonly kid: MediaTokenKeyId }
  /** `detail` names the rule that failed and no part of the token. */
  | { readonly ok: false; readonly code: 'token-invalid' | 'token-expired'; readonly detail: string };

const KID = /^(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,2})$/;
const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})$/;

const invalid = (detail: string): MediaTokenVerdict => ({ ok: false, code: 'token-invalid', detail });

const decodeText = (part: string): string | undefined => {
  try {
    return decodeUtf8(decodeBase64url(part));
  } catch {
    return undefined;
  }
};
const decodeSignature = (part: string): Uint8Array | undefined => {
  try {
    return decodeBase64url(part);
  } catch {
    return undefined;
  }
};

/** The key id of a header that asks for exactly what we accept; any other header is not a media token. */
const parseHeader = (part: string): MediaTokenKeyId | undefined => {
  const text = decodeText(part);
  const header = text === undefined ? undefined : parseStrictObject(text);
  // `crit` names extensions a verifier must understand (RFC 7515 section 4.1.11); there are none here.
  if (header === undefined || header['alg'] !== 'HS256' || header['typ'] !== MEDIA_TOKEN_TYPE || 'crit' in header) return undefined;
  const kid = typeof header['kid'] === 'string' ? KID.exec(header['kid']) : null;
  const epoch = Number(kid?.[1]);
  const zone = Number(kid?.[2]);
  return kid !== null && epoch < 2 ** 32 && zone < 256 ? { epoch, zone } : undefined;
};

/**
 * Whether a token's header calls it one of ours: then it is verified as such and as nothing else. Other JWTs and CWTs are
 * `crypto/wm-token.ts`'s business. Text that is no token at all counts as ours, for one plain refusal.
 */
export const isMediaToken = (token: string): boolean => {
  const dot = token.indexOf('.');
  if (dot < 0) return token.length < 64 || token.length > MAX_MEDIA_TOKEN_LENGTH || !/^[A-Za-z0-9_-]+$/.test(token);
  const text = dot > 512 ? undefined : decodeText(token.slice(0, dot));
  const header = text === undefined ? undefined : parseStrictObject(text);
  return header === undefined || header['typ'] === MEDIA_TOKEN_TYPE;
};

/** Whether claims verified earlier still hold at `now`. */
export const checkTokenTimes = (claims: Pick<TokenClaims, 'expiresAt' | 'notBefore'>, now: Micros): MediaTokenVerdict | undefined => {
  if (now >= claims.expiresAt) return { ok: false, code: 'token-expired', detail: 'the media token has expired' };
  if (claims.notBefore !== undefined && now < claims.notBefore) return invalid('the media token is not valid yet');
  return undefined;
};

/**
 * Verdict on a compact media token. `keyOf` answers the 32-byte MTK of a key id, or undefined if it is unknown or not
 * valid now. Never throws for any token text.
 */
export const verifyMediaToken = (
  token: string,
  options: { keyOf: (kid: MediaTokenKeyId) => Uint8Array | undefined; now: Micros },
): MediaTokenVerdict => {
  if (token.length > MAX_MEDIA_TOKEN_LENGTH) return invalid(`a media token has at most ${MAX_MEDIA_TOKEN_LENGTH} characters; got ${token.length}`);
  const parts = COMPACT.exec(token);
  if (parts === null) return invalid('a media token is a compact JWS with three base64url parts');
  const [, header = '', payload = '', signature = ''] = parts;
  const kid = parseHeader(header);
  if (kid === undefined) return invalid(`the header must be HS256, ${MEDIA_TOKEN_TYPE}, with a key id of epoch and zone`);
  const key = options.keyOf(kid);
  if (key === undefined) return invalid('the key of this media token is not known here');
  const given = decodeSignature(signature);
  const expected = hmacSha256(key, encodeUtf8(`${header}.${payload}`));
  if (given === undefined || !equalBytes(expected, given)) return invalid('the signature does not match');
  const text = decodeText(payload);
  const claims = text === undefined ? undefined : parseMediaClaims(text);
  if (claims === undefined) return invalid('the claims are incomplete or malformed');
  return checkTokenTimes(claims, options.now) ?? { ok: true, claims, kid };
};
