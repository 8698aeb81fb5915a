// SPDX-License-Identifier: Apache-2.0
/**
 * Claims of a release token: which session may be pushed the release secrets of which event, until when.
 *
 * docs/wire/release.md, "Release token". It gives a place in the fan-out and nothing else: secrets are public once released.
 * Invariant: claims that left `parseReleaseClaims` are typed and bounded; signature and times are the verifier's business
 * (`crypto/release-token.ts`).
 */
import { type AssetId, isAssetId, isSessionId, type SessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';

/** The JOSE `typ` of a release token; a verifier accepts this one and no other. */
export const RELEASE_TOKEN_TYPE = 'release+jwt';
/** Longest compact token that is looked at. */
export const MAX_RELEASE_TOKEN_LENGTH = 1024;
/** Connections of one account per edge: two devices with a spare edge each, and one reconnecting. */
export const DEFAULT_CONNECTIONS = 6;

/** What the bearer may do. `issuedAt`, `expiresAt` have whole seconds on the wire. */
export type ReleaseClaims = {
  readonly session: SessionId;
  readonly asset: AssetId;
  /** base64url account hash: what connections are counted by. */
  readonly account: string;
  /** Connections of the account that one edge holds at once, 1-64. */
  readonly connections: number;
  readonly issuedAt: Micros;
  readonly expiresAt: Micros;
};

const isUint = (value: unknown, max: number): value is number => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max;
const MAX_SECONDS = 2 ** 33;

/** Claims of a release token's payload, or undefined if any of them is missing, mistyped or out of bounds. Never throws. */
export const parseReleaseClaims = (payload: string): ReleaseClaims | undefined => {
  const claims = parseStrictObject(payload);
  if (claims === undefined) return undefined;
  const { iss, aud, sub, asset, acc, max, iat, exp } = claims;
  if (iss !== 'sealcast' || aud !== 'release') return undefined;
  if (typeof sub !== 'string' || !isSessionId(sub) || typeof asset !== 'string' || !isAssetId(asset)) return undefined;
  if (typeof acc !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(acc) || !isUint(max, 64) || max < 1) return undefined;
  if (!isUint(iat, MAX_SECONDS) || !isUint(exp, MAX_SECONDS) || exp <= iat) return undefined;
  return { session: sub, asset, account: acc, connections: max, issuedAt: microsFromSeconds(iat), expiresAt: microsFromSeconds(exp) };
};

/** The JSON payload of a release token. Instants are cut to whole seconds. */
export const encodeReleaseClaims = (claims: ReleaseClaims): string =>
  JSON.stringify({
    iss: 'sealcast', aud: 'release', sub: claims.session, asset: claims.asset, acc: claims.account, max: claims.connections,
    iat: Math.floor(claims.issuedAt / 1_000_000), exp: Math.floor(claims.expiresAt / 1_000_000),
  });
