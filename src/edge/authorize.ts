// SPDX-License-Identifier: Apache-2.0
/**
 * The one question every media request is asked: may this token fetch this asset now?
 *
 * docs/wire/media.md. Token formats are decoders behind `authorize`; callers see typed claims or a denial value. A token
 * once verified costs a map look-up until its key leaves the bundle; expiry and revocation are looked at every time.
 * Invariant: no token text leaves this file, and refused tokens are not remembered (they cannot push good ones out).
 */
import { decodeBase64url } from '#core/bytes/base64url.ts';
import type { ErrorCode } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { AccessClaims } from '#core/token/access-claims.ts';
import type { MarkClaims, TokenClaims } from '#core/token/media-claims.ts';
import { matchesUriRules, type RequestAddress } from '#core/token/uri-rules.ts';
import { sha256 } from '#crypto/hmac.ts';
import { checkTokenTimes, isMediaToken, type MediaTokenKeyId, verifyMediaToken } from '#crypto/media-token.ts';
import { checkAccessTimes, verifyAccessToken } from '#crypto/wm-token.ts';
import type { Denial, Granted, ViewerMark } from '#edge/granted.ts';
import type { KeyRing } from '#edge/key-ring.ts';

/** What `authorize` says of a request. */
export type Authorization = { readonly ok: true; readonly claims: Granted } | Denial;

/** Where a request may carry its token. The path wins over the query, the query over the header fields. */
export type TokenCarriage = {
  readonly path?: string | undefined;
  readonly query?: string | undefined;
  /** Authorization. */
  readonly header?: string | null | undefined;
  /** CTA-Common-Access-Token. */
  readonly accessToken?: string | null | undefined;
};

/** A request to judge. `address` is asked for only where a token's rules need it. */
export type AccessRequest = { readonly token: string | undefined; readonly asset: AssetId; readonly keys: KeyRing; readonly now: Micros; address(): RequestAddress };

/** Checks tokens and remembers good ones. */
export type Authorizer = {
  /** At once for remembered tokens and for ours; other makers' tokens take a promise the first time. Never rejects. */
  authorize(request: AccessRequest): Authorization | Promise<Authorization>;
  /** Tokens remembered now. */
  readonly size: number;
};

const BEARER = 'bearer ';
/** Query members that may hold a token: ours, RFC 9246, CTA-5007. */
export const TOKEN_MEMBERS = ['token', 'URISigningPackage', 'CTA-Common-Access-Token'] as const;

/** Cookies that may hold a token: what renewals set unless the token names another. */
const COOKIE = /(?:^|; *)(?:CTA-Common-Access-Token|URISigningPackage)=([A-Za-z0-9_.-]{1,4096})(?:;|$)/;

/** The token in a Cookie field. It counts where a request has no other, or only one that has ended. */
export const cookieToken = (header: string | null): string | undefined => (header === null || header.length > 16_384 ? undefined : COOKIE.exec(header)?.[1]);

/** The token of a request, or undefined if it carries none. `query` is the raw query string. */
export const carriedToken = ({ path, query, header, accessToken }: TokenCarriage): string | undefined => {
  if (path !== undefined) return path;
  if (query !== undefined && TOKEN_MEMBERS.some((name) => query.includes(`${name}=`))) {
    const given = new URLSearchParams(query);
    for (const name of TOKEN_MEMBERS) {
      const value = given.get(name);
      if (value !== null) return value;
    }
  }
  if (typeof header === 'string' && header.slice(0, BEARER.length).toLowerCase() === BEARER) return header.slice(BEARER.length).trim();
  return typeof accessToken === 'string' && accessToken !== '' ? accessToken : undefined;
};

const denied = (code: ErrorCode, detail: string): Denial => ({ ok: false, code, detail });

/** The mark of one of our own tokens; undefined if its pattern cannot be used. */
const ownMark = (mark: MarkClaims): ViewerMark | undefined => {
  if (mark.pattern === undefined) {
    return mark.id === undefined ? undefined : { kind: 'id', vendor: mark.vendor, id: mark.id, operator: mark.operator, keyVersion: mark.keyVersion ?? 0 };
  }
  try {
    const bits = decodeBase64url(mark.pattern);
    return bits.length === Math.ceil(mark.patternLength / 8) ? { kind: 'pattern', bits, length: mark.patternLength } : undefined;
  } catch {
    return undefined;
  }
};

const ownClaims = (claims: TokenClaims): Granted | undefined => {
  const { session, asset, expiresAt, notBefore } = claims;
  const mark = claims.mark && ownMark(claims.mark);
  if (claims.mark !== undefined && mark === undefined) return undefined;
  return { session, asset, expiresAt, ...(notBefore !== undefined && { notBefore }), ...(mark !== undefined && { mark }) };
};

const foreignClaims = (claims: AccessClaims, pattern: Uint8Array | undefined): Granted => {
  const { session, asset, expiresAt, notBefore, uri, mark, renewal } = claims;
  const viewer: ViewerMark | undefined =
    mark === undefined
      ? undefined
      : pattern !== undefined
        ? { kind: 'pattern', bits: pattern, length: mark.patternLength }
        : { kind: 'id', vendor: mark.vendor, id: mark.id ?? '', operator: mark.operator, keyVersion: mark.keyVersion ?? 0 };
  return {
    expiresAt,
    ...(session !== undefined && { session }),
    ...(asset !== undefined && { asset }),
    ...(notBefore !== undefined && { notBefore }),
    ...(uri !== undefined && { uri }),
    ...(viewer !== undefined && { mark: viewer }),
    ...(renewal !== undefined && { renewal }),
  };
};

/** `kid`: of our own tokens, whose keys end with their epoch; other makers' keys end with the bundle that names them. */
type Verified = { readonly claims: Granted; readonly kid?: MediaTokenKeyId };

/** `remembered`: how many verified tokens are kept at most; one is about 600 bytes. */
export const createAuthorizer = (options: { remembered: number }): Authorizer => {
  // Two generations instead of a strict order of use: a hit in the young one, which is nearly every hit, changes nothing.
  let young = new Map<string, Verified>();
  let old = new Map<string, Verified>();
  let keysOfVerified: unknown;

  const remember = (token: string, entry: Verified): void => {
    if (young.size >= options.remembered / 2) {
      old = young;
      young = new Map();
    }
    young.set(token, entry);
  };
  const recall = (token: string, keys: KeyRing): Verified | undefined => {
    // Another set of keys: what the old ones vouched for counts no longer.
    if (keysOfVerified !== keys.identity) {
      young.clear();
      old.clear();
      keysOfVerified = keys.identity;
    }
    const recent = young.get(token);
    if (recent !== undefined) return recent;
    const known = old.get(token);
    if (known === undefined) return undefined;
    old.delete(token);
    remember(token, known);
    return known;
  };

  /** Times and key of a token verified earlier. */
  const stillHolds = ({ claims, kid }: Verified, keys: KeyRing, now: Micros): Denial | undefined => {
    if (kid === undefined) return checkAccessTimes(claims, now);
    if (keys.mediaTokenKey(kid, now) === undefined) return denied('token-invalid', 'the key of this media token is not valid any more');
    const late = checkTokenTimes(claims, now);
    return late === undefined || late.ok ? undefined : late;
  };

  /** What a verified token is asked at every request. */
  const permits = (claims: Granted, { asset, keys, now, address }: AccessRequest): Authorization => {
    if (claims.asset !== undefined && claims.asset !== asset) return denied('token-wrong-asset', 'the media token is for another asset');
    if (claims.uri !== undefined && !matchesUriRules(claims.uri, address(), sha256)) return denied('token-wrong-asset', 'the media token is for other addresses');
    if (claims.session !== undefined && keys.isRevoked(claims.session, now)) return denied('session-ended', 'the session of this media token was ended');
    return { ok: true, claims };
  };

  const authorizeForeign = async (token: string, request: AccessRequest): Promise<Authorization> => {
    const { keys, now } = request;
    const verdict = await verifyAccessToken(token, { keys: keys.tokenKeys, now });
    if (!verdict.ok) return verdict;
    const claims = foreignClaims(verdict.claims, verdict.pattern);
    // While a signature was checked the keys may have changed: what an old key vouched for is not remembered.
    if (keys.identity === keysOfVerified) remember(token, { claims });
    return permits(claims, request);
  };

  return {
    get size() {
      return young.size + old.size;
    },
    authorize: (request) => {
      const { token, keys, now } = request;
      if (token === undefined || token === '') return denied('token-missing', 'a media request carries a token in path, query or header');
      const entry = recall(token, keys);
      if (entry !== undefined) return stillHolds(entry, keys, now) ?? permits(entry.claims, request);
      if (!isMediaToken(token)) return authorizeForeign(token, request);
      const verdict = verifyMediaToken(token, { keyOf: (kid) => keys.mediaTokenKey(kid, now), now });
      if (!verdict.ok) return verdict;
      const claims = ownClaims(verdict.claims);
      if (claims === undefined) return denied('token-invalid', 'the watermark claims of this media token cannot be used');
      remember(token, { claims, kid: verdict.kid });
      return permits(claims, request);
    },
  };
};
