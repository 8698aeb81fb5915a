// SPDX-License-Identifier: Apache-2.0
/**
 * Mints and verifies other makers' media tokens: CWT of ETSI TS 104 002 and CTA-5007, JWT with the same names and RFC 9246.
 *
 * The format is read off the text (a JWT holds dots, a CWT cannot); format, algorithm and key id name the one key a token
 * is verified with, and the key knows which algorithm it is for. No secret is tried, and none is ever used as another kind.
 * Invariant: claims leave `verifyAccessToken` only after signature, key scope, times and pattern were checked.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { TokenKey } from '#core/edge-bundle/token-key.ts';
import type { Micros } from '#core/time.ts';
import { type AccessClaims, readAccessClaims } from '#core/token/access-claims.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';
import { CLAIM_KEYS, type ClaimName } from '#core/token/wm-claims.ts';
import { decodeCbor, encodeCbor } from '#crypto/cbor.ts';
import { parseCose, signCose, type SigningSecret, type TokenAlgorithm, verifyCose } from '#crypto/cose.ts';
import { signEs256, verifyEs256 } from '#crypto/ecdsa.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { openPattern } from '#crypto/sealed-pattern.ts';
import type { TokenKeys } from '#crypto/token-keys.ts';

/** Longest token that is looked at: it travels in URLs. */
export const MAX_ACCESS_TOKEN_LENGTH = 4096;

/** What a verifier says: claims, with the pattern of direct mode opened, or the code and rule of a refusal. */
export type AccessVerdict =
  | { readonly ok: true; readonly claims: AccessClaims; readonly pattern?: Uint8Array; readonly format: TokenKey['format'] }
  | { readonly ok: false; readonly code: 'token-invalid' | 'token-expired'; readonly detail: string };

type Refusal = Extract<AccessVerdict, { ok: false }>;
const invalid = (detail: string): Refusal => ({ ok: false, code: 'token-invalid', detail });

/** A signed text taken apart: how its key is found, whether a secret signed it, and its claims once that is known. */
type Signed = {
  readonly format: TokenKey['format'];
  readonly alg: TokenAlgorithm;
  readonly kid: string;
  verify(secret: SigningSecret): boolean | Promise<boolean>;
  claims(): AccessClaims | undefined;
};

const attempt = <T>(run: () => T): T | undefined => {
  try {
    return run();
  } catch {
    return undefined;
  }
};

const parseCwt = (token: string): Signed | undefined => {
  const bytes = attempt(() => decodeBase64url(token));
  const message = bytes && parseCose(bytes);
  if (message === undefined) return undefined;
  const kid = message.kid === undefined ? '' : attempt(() => decodeUtf8(message.kid as Uint8Array));
  if (kid === undefined) return undefined;
  return {
    format: 'cwt',
    alg: message.alg,
    kid,
    verify: (secret) => verifyCose(message, secret),
    claims: () => {
      const claims = decodeCbor(message.payload);
      if (!(claims instanceof Map)) return undefined;
      const map = claims as Map<unknown, unknown>;
      return readAccessClaims((name) => (name in CLAIM_KEYS ? map.get(CLAIM_KEYS[name as keyof typeof CLAIM_KEYS]) : undefined));
    },
  };
};

const COMPACT = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)$/;
const GENERIC_TYPES: readonly unknown[] = [undefined, 'JWT', 'jwt'];

const parseJwt = (token: string): Signed | undefined => {
  const [, header = '', payload = '', signature = ''] = COMPACT.exec(token) ?? [];
  const fields = attempt(() => parseStrictObject(decodeUtf8(decodeBase64url(header))));
  const given = attempt(() => decodeBase64url(signature));
  if (fields === undefined || given === undefined || 'crit' in fields || !GENERIC_TYPES.includes(fields['typ'])) return undefined;
  const { alg, kid = '' } = fields;
  if ((alg !== 'HS256' && alg !== 'ES256') || typeof kid !== 'string') return undefined;
  const data = encodeUtf8(`${header}.${payload}`);
  return {
    format: 'jwt',
    alg,
    kid,
    verify: (secret) => {
      if (secret.alg !== alg) return false;
      return secret.alg === 'HS256' ? equalBytes(hmacSha256(secret.key, data), given) : verifyEs256(secret.key, data, given);
    },
    claims: () => {
      const claims = attempt(() => parseStrictObject(decodeUtf8(decodeBase64url(payload))));
      // CBOR maps have no counterpart here: `catu` by integer keys exists in CWTs only.
      return claims && readAccessClaims((name) => claims[name]);
    },
  };
};

/** Whether claims verified earlier still hold at `now`. */
export const checkAccessTimes = (claims: Pick<AccessClaims, 'expiresAt' | 'notBefore'>, now: Micros): Refusal | undefined => {
  if (now >= claims.expiresAt) return { ok: false, code: 'token-expired', detail: 'the media token has expired' };
  if (claims.notBefore !== undefined && now < claims.notBefore) return invalid('the media token is not valid yet');
  return undefined;
};

/** What the key says about the tokens under it. */
const outOfScope = (claims: AccessClaims, key: TokenKey): string | undefined => {
  if (key.issuer !== undefined && claims.issuer !== key.issuer) return 'the token must name the issuer its key is for';
  if (claims.audience !== undefined && (key.audience === undefined || !claims.audience.includes(key.audience))) return 'the token is for another audience';
  if (key.asset !== undefined && claims.asset !== undefined && claims.asset !== key.asset) return 'the key of this token is for another asset';
  return undefined;
};

/** Verdict on a CWT or JWT under one of `keys`. Never rejects for any token text; `detail` holds no part of it. */
export const verifyAccessToken = async (token: string, options: { keys: TokenKeys; now: Micros }): Promise<AccessVerdict> => {
  if (token.length > MAX_ACCESS_TOKEN_LENGTH) return invalid(`a media token has at most ${MAX_ACCESS_TOKEN_LENGTH} characters; got ${token.length}`);
  const signed = token.includes('.') ? parseJwt(token) : parseCwt(token);
  if (signed === undefined) return invalid('the token must be a JWT or a CWT, signed with HS256 or ES256');
  const found = options.keys.signing(signed.format, signed.alg, signed.kid);
  if (found === undefined) return invalid('the key of this media token is not known here');
  if (!(await signed.verify(await found.secret()))) return invalid('the signature does not match');
  const read = signed.claims();
  if (read === undefined) return invalid('the claims are incomplete, malformed or ask for a check that is not possible here');
  const scope = outOfScope(read, found.key);
  if (scope !== undefined) return invalid(scope);
  const late = checkAccessTimes(read, options.now);
  if (late !== undefined) return late;
  const asset = read.asset ?? found.key.asset;
  const claims: AccessClaims = asset === undefined ? read : { ...read, asset };
  const pattern = claims.mark?.pattern;
  if (pattern === undefined) return { ok: true, claims, format: signed.format };
  const bits = pattern.kind === 'plain' ? pattern.bits : await openPattern(pattern.sealed, claims.mark?.patternLength ?? 0, options.keys);
  return bits === undefined ? invalid('the encrypted pattern does not open') : { ok: true, claims, pattern: bits, format: signed.format };
};

/** Claims by registered name. CWT: bytes for `wmpattern` and `cti`, a Map for `catu`; JWT: JSON values. Absent ones are left out. */
export type MintedClaims = Readonly<Partial<Record<ClaimName, unknown>>>;

/** A signed token as text. Throws RangeError for a CWT claim without an integer key. */
export const mintAccessToken = async (options: { format: TokenKey['format']; secret: SigningSecret; kid?: string; claims: MintedClaims; cwtTag?: boolean }): Promise<string> => {
  const { format, secret, kid, claims, cwtTag = false } = options;
  const present = Object.entries(claims).filter(([, value]) => value !== undefined);
  if (format === 'cwt') {
    const map = new Map<number, unknown>();
    for (const [name, value] of present) {
      const key = (CLAIM_KEYS as Readonly<Record<string, number>>)[name];
      if (key === undefined) throw new RangeError(`claim ${name} has no key in a CWT`);
      map.set(key, value);
    }
    return encodeBase64url(await signCose({ secret, payload: encodeCbor(map), kid: kid === undefined ? undefined : encodeUtf8(kid), cwtTag }));
  }
  const header = JSON.stringify({ alg: secret.alg, typ: 'JWT', kid });
  const text = `${encodeBase64url(encodeUtf8(header))}.${encodeBase64url(encodeUtf8(JSON.stringify(Object.fromEntries(present))))}`;
  const data = encodeUtf8(text);
  const signature = secret.alg === 'HS256' ? hmacSha256(secret.key, data) : await signEs256(secret.key, data);
  return `${text}.${encodeBase64url(signature)}`;
};
