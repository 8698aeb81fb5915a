// SPDX-License-Identifier: Apache-2.0
/**
 * Claims of a media token: who may fetch which asset until when, and how that viewer's copy is marked.
 *
 * docs/wire/media.md; the watermarking claims carry the registered names of ETSI TS 104 002 clause 5.4 in a JWT profile.
 * Unknown claims are ignored (RFC 7519 section 4), repeated ones make the token invalid, `nbf` is honoured when present.
 * Invariant: claims that left `parseMediaClaims` are typed, bounded and safe in a path or a log line; signatures and times
 * are the verifier's business (`crypto/media-token.ts`).
 */
import { isAssetId, isSessionId } from '#core/ids.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { type JsonObject, parseStrictObject } from '#core/token/strict-json.ts';

/** The JOSE `typ` of a media token; a verifier accepts this one and no other. */
export const MEDIA_TOKEN_TYPE = 'media+jwt';
/** Longest compact token that is looked at; a direct-mode pattern of 65,535 bits does not belong in a URL. */
export const MAX_MEDIA_TOKEN_LENGTH = 4096;

/** How the viewer's copy is marked. `pattern` present: direct mode; absent: indirect mode from `id`, `operator`, `keyVersion`. */
export type MarkClaims = {
  /** `wmver`, u8. */
  readonly version: number;
  /** `wmvnd`, u8: whose keys and pattern generator apply. */
  readonly vendor: number;
  /** `wmpatlen`, u16: pattern length in bits, at least 1. */
  readonly patternLength: number;
  /** `wmsegduration`, ticks and timescale; ignored where pace information is available. */
  readonly segmentDuration?: { readonly ticks: number; readonly timescale: number };
  /** `wmpattern`: base64url bits (most significant first) or a compact JWE of them. */
  readonly pattern?: string;
  /** `wmid`, 1-256 visible ASCII characters. */
  readonly id?: string;
  /** `wmopid`, unsigned. */
  readonly operator?: number;
  /** `wmkeyver`, unsigned: which derivation key. */
  readonly keyVersion?: number;
};

/** What an authorised request may do. `issuedAt`, `expiresAt` have whole seconds on the wire. */
export type TokenClaims = {
  readonly session: SessionId;
  readonly asset: AssetId;
  readonly issuedAt: Micros;
  readonly expiresAt: Micros;
  /** Not before this instant. */
  readonly notBefore?: Micros;
  readonly mark?: MarkClaims;
};

const MAX_SECONDS = 2 ** 33;
const VISIBLE = /^[\x21-\x7e]{1,256}$/;
const PATTERN = /^[A-Za-z0-9_-]+$/;
const COMPACT_JWE = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}$/;

const isUint = (value: unknown, max: number = Number.MAX_SAFE_INTEGER): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max && !Object.is(value, -0);

/** An optional member: absent is fine, present must satisfy the check. */
const optional = (claims: JsonObject, name: string, check: (value: unknown) => boolean): boolean => claims[name] === undefined || check(claims[name]);

const isSegmentDuration = (value: unknown): value is [number, number] =>
  Array.isArray(value) && value.length === 2 && isUint(value[0]) && value[0] > 0 && isUint(value[1], 2 ** 32 - 1) && value[1] > 0;
const isPattern = (value: unknown): value is string => typeof value === 'string' && (PATTERN.test(value) || COMPACT_JWE.test(value));

const MARK_NAMES = ['wmver', 'wmvnd', 'wmpatlen', 'wmsegduration', 'wmpattern', 'wmid', 'wmopid', 'wmkeyver'];

/** The mark in the claims, `none` if there is none, undefined if it is malformed. */
const parseMark = (claims: JsonObject): MarkClaims | 'none' | undefined => {
  if (!MARK_NAMES.some((name) => claims[name] !== undefined)) return 'none';
  const { wmver, wmvnd, wmpatlen, wmsegduration, wmpattern, wmid, wmopid, wmkeyver } = claims;
  if (!isUint(wmver, 255) || !isUint(wmvnd, 255) || !isUint(wmpatlen, 65_535) || wmpatlen === 0) return undefined;
  const wellFormed =
    optional(claims, 'wmsegduration', isSegmentDuration) &&
    optional(claims, 'wmpattern', isPattern) &&
    optional(claims, 'wmid', (value) => typeof value === 'string' && VISIBLE.test(value)) &&
    optional(claims, 'wmopid', (value) => isUint(value)) &&
    optional(claims, 'wmkeyver', (value) => isUint(value));
  if (!wellFormed) return undefined;
  return {
    version: wmver,
    vendor: wmvnd,
    patternLength: wmpatlen,
    ...(isSegmentDuration(wmsegduration) && { segmentDuration: { ticks: wmsegduration[0], timescale: wmsegduration[1] } }),
    ...(isPattern(wmpattern) && { pattern: wmpattern }),
    ...(typeof wmid === 'string' && { id: wmid }),
    ...(isUint(wmopid) && { operator: wmopid }),
    ...(isUint(wmkeyver) && { keyVersion: wmkeyver }),
  };
};

/** Claims of a media token's payload, or undefined if any of them is missing, mistyped or out of bounds. Never throws. */
export const parseMediaClaims = (payload: string): TokenClaims | undefined => {
  const claims = parseStrictObject(payload);
  if (claims === undefined) return undefined;
  const { iss, aud, sub, asset, iat, exp, nbf } = claims;
  if (iss !== 'sealcast' || aud !== 'media') return undefined;
  if (typeof sub !== 'string' || !isSessionId(sub) || typeof asset !== 'string' || !isAssetId(asset)) return undefined;
  if (!isUint(iat, MAX_SECONDS) || !isUint(exp, MAX_SECONDS) || exp <= iat) return undefined;
  if (nbf !== undefined && !isUint(nbf, MAX_SECONDS)) return undefined;
  const mark = parseMark(claims);
  if (mark === undefined) return undefined;
  return {
    session: sub,
    asset,
    issuedAt: microsFromSeconds(iat),
    expiresAt: microsFromSeconds(exp),
    ...(nbf !== undefined && { notBefore: microsFromSeconds(nbf) }),
    ...(mark !== 'none' && { mark }),
  };
};

const seconds = (at: Micros): number => Math.floor(at / 1_000_000);

/** The JSON payload of a media token. Instants are cut to whole seconds, so a token never outlives what was asked for. */
export const encodeMediaClaims = (claims: TokenClaims): string => {
  const { mark, notBefore } = claims;
  // Every renewal mints a token. Ids and numbers need no escapes, so what all tokens hold is written as it is.
  const common = `"iss":"sealcast","aud":"media","sub":"${claims.session}","asset":"${claims.asset}","iat":${seconds(claims.issuedAt)},"exp":${seconds(claims.expiresAt)}`;
  const from = notBefore === undefined ? '' : `,"nbf":${seconds(notBefore)}`;
  if (mark === undefined) return `{${common}${from}}`;
  const marked = JSON.stringify({
    wmver: mark.version,
    wmvnd: mark.vendor,
    wmpatlen: mark.patternLength,
    wmsegduration: mark.segmentDuration && [mark.segmentDuration.ticks, mark.segmentDuration.timescale],
    wmpattern: mark.pattern,
    wmid: mark.id,
    wmopid: mark.operator,
    wmkeyver: mark.keyVersion,
  });
  return `{${common}${from},${marked.slice(1)}`;
};
