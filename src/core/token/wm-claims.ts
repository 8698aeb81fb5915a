// SPDX-License-Identifier: Apache-2.0
/**
 * The watermarking claims of ETSI TS 104 002 clause 5.4, from a CWT (integer keys) or its JWT profile (names).
 *
 * `wmidtyp`, string vendors and keys 200-213 belong to a draft from 2022 and mean nothing here. A claim set with any of
 * these claims has all the mandatory ones. Bits of a pattern are counted from the most significant bit of its first byte.
 * Invariant: what leaves `readWmClaims` is typed and bounded; a sealed pattern has not been opened.
 */
import { decodeBase64url } from '#core/bytes/base64url.ts';

/** A claim by its registered name, whatever the form of the token. */
export type ClaimSource = (name: ClaimName) => unknown;

/** CBOR keys of the claims we know: RFC 8392, CTA-5007, TS 104 002 table 1. */
export const CLAIM_KEYS = {
  iss: 1, sub: 2, aud: 3, exp: 4, nbf: 5, iat: 6, cti: 7, cnf: 8, geohash: 282,
  wmver: 300, wmvnd: 301, wmpatlen: 302, wmsegduration: 303, wmpattern: 304, wmid: 305, wmopid: 306, wmkeyver: 307,
  catreplay: 308, catpor: 309, catv: 310, catnip: 311, catu: 312, catm: 313, catalpn: 314, cath: 315, catgeoiso3166: 316, catgeocoord: 317,
  catgeoalt: 318, cattpk: 319, catifdata: 320, catdpop: 321, catif: 322, catr: 323,
} as const;
/** Claims that only JWTs carry: RFC 9246, and ours. */
const NAMED = ['jti', 'asset', 'cdniv', 'cdnicrit', 'cdniip', 'cdniuc', 'cdniets', 'cdnistt', 'cdnistd'] as const;
/** A claim's registered name. */
export type ClaimName = keyof typeof CLAIM_KEYS | (typeof NAMED)[number];

/** The pattern of direct mode. `sealed`: a COSE_Encrypt0, a COSE_Encrypt or a compact JWE, still closed. */
export type WmPattern = { readonly kind: 'plain'; readonly bits: Uint8Array } | { readonly kind: 'sealed'; readonly sealed: unknown };

/** How a viewer's copy is marked. `pattern` present: direct mode; absent: indirect mode from `id`, `operator`, `keyVersion`. */
export type WmClaims = {
  readonly version: number;
  /** u8: whose keys and pattern generator apply. */
  readonly vendor: number;
  /** u16, in bits, at least 1. */
  readonly patternLength: number;
  /** Ticks and timescale; ignored where pace information is available. */
  readonly segmentDuration?: { readonly ticks: number; readonly timescale: number };
  readonly pattern?: WmPattern;
  /** 1-256 visible ASCII characters. */
  readonly id?: string;
  readonly operator?: number;
  /** Which derivation key. */
  readonly keyVersion?: number;
};

const WM_NAMES = ['wmver', 'wmvnd', 'wmpatlen', 'wmsegduration', 'wmpattern', 'wmid', 'wmopid', 'wmkeyver'] as const;
const VISIBLE = /^[\x21-\x7e]{1,256}$/;
const COMPACT_JWE = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}$/;

/** Whether a value is a whole number of 0..max and not -0. */
export const isUint = (value: unknown, max: number = Number.MAX_SAFE_INTEGER): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max && !Object.is(value, -0);

const patternOf = (value: unknown, bits: number): WmPattern | undefined => {
  let plain = value;
  if (typeof value === 'string') {
    if (COMPACT_JWE.test(value)) return { kind: 'sealed', sealed: value };
    try {
      plain = decodeBase64url(value);
    } catch {
      return undefined;
    }
  }
  if (!(plain instanceof Uint8Array)) return typeof value === 'object' && value !== null ? { kind: 'sealed', sealed: value } : undefined;
  return plain.length === Math.ceil(bits / 8) ? { kind: 'plain', bits: plain } : undefined;
};

/** The mark in the claims, `none` if there is none, undefined if it is malformed. */
export const readWmClaims = (claim: ClaimSource): WmClaims | 'none' | undefined => {
  if (!WM_NAMES.some((name) => claim(name) !== undefined)) return 'none';
  const version = claim('wmver');
  const vendor = claim('wmvnd');
  const patternLength = claim('wmpatlen');
  // Version 1 is the only one there is: what another one means cannot be known.
  if (version !== 1 || !isUint(vendor, 255) || !isUint(patternLength, 65_535) || patternLength === 0) return undefined;
  const duration = claim('wmsegduration');
  const [ticks, timescale, ...more] = Array.isArray(duration) ? (duration as unknown[]) : [];
  if (duration !== undefined && !(isUint(ticks) && ticks > 0 && isUint(timescale, 2 ** 32 - 1) && timescale > 0 && more.length === 0)) return undefined;
  const given = claim('wmpattern');
  const pattern = given === undefined ? undefined : patternOf(given, patternLength);
  const id = claim('wmid');
  const operator = claim('wmopid');
  const keyVersion = claim('wmkeyver');
  if (given !== undefined && pattern === undefined) return undefined;
  if (id !== undefined && !(typeof id === 'string' && VISIBLE.test(id))) return undefined;
  if ((operator !== undefined && !isUint(operator)) || (keyVersion !== undefined && !isUint(keyVersion))) return undefined;
  // Indirect mode without an id would give every viewer the same copy.
  if (pattern === undefined && id === undefined) return undefined;
  return {
    version,
    vendor,
    patternLength,
    ...(isUint(ticks) && isUint(timescale) && { segmentDuration: { ticks, timescale } }),
    ...(pattern !== undefined && { pattern }),
    ...(typeof id === 'string' && { id }),
    ...(isUint(operator) && { operator }),
    ...(isUint(keyVersion) && { keyVersion }),
  };
};

/** Bit of a pattern of `length` bits at a position; positions beyond the pattern start over (as other makers' edges do). */
export const patternBit = (bits: Uint8Array, length: number, position: number): 0 | 1 => {
  const at = position % length;
  return (((bits[at >> 3] as number) >> (7 - (at & 7))) & 1) as 0 | 1;
};
