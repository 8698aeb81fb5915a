// SPDX-License-Identifier: Apache-2.0
/**
 * The one question every media request is asked: may this token fetch this asset now?
 *
 * docs/wire/media.md. Token formats are decoders behind `authorize`; callers see typed claims or a denial value. A token
 * once verified costs a map look-up until its key leaves the bundle; expiry and revocation are looked at every time.
 * Invariant: no token text leaves this file, and refused tokens are not remembered (they cannot push good ones out).
 */
import type { ErrorCode } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { TokenClaims } from '#core/token/media-claims.ts';
import { checkTokenTimes, type MediaTokenKeyId, verifyMediaToken } from '#crypto/media-token.ts';
import type { KeyRing } from '#edge/key-ring.ts';

/** A refusal to be answered as a problem document; `detail` is for the developer and holds no secret. */
export type Denial = { readonly ok: false; readonly code: ErrorCode; readonly detail: string };
/** What `authorize` says of a request. */
export type Authorization = { readonly ok: true; readonly claims: TokenClaims } | Denial;

/** Where a request may carry its token. The path wins over the query, the query over the header. */
export type TokenCarriage = { readonly path?: string | undefined; readonly query?: string | undefined; readonly header?: string | null | undefined };

/** Checks tokens and remembers good ones. */
export type Authorizer = {
  authorize(request: { readonly token: string | undefined; readonly asset: AssetId; readonly keys: KeyRing; readonly now: Micros }): Authorization;
  /** Tokens remembered now. */
  readonly size: number;
};

const BEARER = 'bearer ';

/** The token of a request, or undefined if it carries none. `query` is the raw query string. */
export const carriedToken = ({ path, query, header }: TokenCarriage): string | undefined => {
  if (path !== undefined) return path;
  if (query?.includes('token=') === true) {
    const given = new URLSearchParams(query).get('token');
    if (given !== null) return given;
  }
  if (typeof header !== 'string' || header.slice(0, BEARER.length).toLowerCase() !== BEARER) return undefined;
  return header.slice(BEARER.length).trim();
};

const denied = (code: ErrorCode, detail: string): Denial => ({ ok: false, code, detail });

type Verified = { readonly claims: TokenClaims; readonly kid: MediaTokenKeyId };

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

  return {
    get size() {
      return young.size + old.size;
    },
    authorize: ({ token, asset, keys, now }) => {
      if (token === undefined || token === '') return denied('token-missing', 'a media request carries a token in path, query or Authorization header');
      const keyOf = (kid: MediaTokenKeyId): Uint8Array | undefined => keys.mediaTokenKey(kid, now);
      let entry = recall(token, keys);
      if (entry === undefined) {
        const verdict = verifyMediaToken(token, { keyOf, now });
        if (!verdict.ok) return verdict;
        entry = verdict;
        remember(token, { claims: verdict.claims, kid: verdict.kid });
      } else {
        if (keyOf(entry.kid) === undefined) return denied('token-invalid', 'the key of this media token is not valid any more');
        const late = checkTokenTimes(entry.claims, now);
        if (late !== undefined && !late.ok) return late;
      }
      const { claims } = entry;
      if (claims.asset !== asset) return denied('token-wrong-asset', 'the media token is for another asset');
      if (keys.isRevoked(claims.session, now)) return denied('session-ended', 'the session of this media token was ended');
      return { ok: true, claims };
    },
  };
};
