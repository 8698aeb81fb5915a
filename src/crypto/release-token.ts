// SPDX-License-Identifier: Apache-2.0
/**
 * Mints and verifies release tokens: what a client shows to be pushed the release secrets of an event.
 *
 * docs/wire/release.md, "Release token". Invariant: only claims whose type, signature and times were checked leave
 * `verifyReleaseToken`; a media token is never accepted in its place, nor the other way round.
 */
import type { LadderHash } from '#core/keys/ladder.ts';
import type { Micros } from '#core/time.ts';
import { encodeReleaseClaims, MAX_RELEASE_TOKEN_LENGTH, parseReleaseClaims, RELEASE_TOKEN_TYPE, type ReleaseClaims } from '#core/token/release-claims.ts';
import { mintZoneToken, openZoneToken, type ZoneKeyId } from '#crypto/zone-token.ts';

/** `key`: the 32 bytes RTK[e,z] of `kid`. */
export const mintReleaseToken = (options: { key: Uint8Array; kid: ZoneKeyId; claims: ReleaseClaims; hmac?: LadderHash['hmac'] }): string =>
  mintZoneToken({ typ: RELEASE_TOKEN_TYPE, key: options.key, kid: options.kid, payload: encodeReleaseClaims(options.claims), ...(options.hmac && { hmac: options.hmac }) });

/** The claims of an authentic token that has not expired, or why there are none. Never throws. */
export const verifyReleaseToken = (token: string, options: { keyOf: (kid: ZoneKeyId) => Uint8Array | undefined; now: Micros }): { readonly ok: true; readonly claims: ReleaseClaims } | { readonly ok: false; readonly code: 'token-invalid' | 'token-expired' } => {
  const payload = openZoneToken(token, { typ: RELEASE_TOKEN_TYPE, maxLength: MAX_RELEASE_TOKEN_LENGTH, keyOf: options.keyOf });
  const claims = payload === undefined ? undefined : parseReleaseClaims(payload);
  if (claims === undefined) return { ok: false, code: 'token-invalid' };
  return options.now >= claims.expiresAt ? { ok: false, code: 'token-expired' } : { ok: true, claims };
};
