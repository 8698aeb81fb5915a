// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { mintReleaseToken, verifyReleaseToken } from '#crypto/release-token.ts';
import { mintZoneToken } from '#crypto/zone-token.ts';

const key = new Uint8Array(32).fill(4);
const kid = { epoch: 3, zone: 1 };
const now = 1_800_000_000_000_000 as Micros;
const claims = { session: 'A'.repeat(24) as SessionId, asset: 'final' as AssetId, account: 'B'.repeat(43), connections: 6, issuedAt: now, expiresAt: (now + 60_000_000) as Micros };
const keyOf = (id: { epoch: number; zone: number }): Uint8Array | undefined => (id.epoch === 3 && id.zone === 1 ? key : undefined);
const verify = (token: string, at: number = now): ReturnType<typeof verifyReleaseToken> => verifyReleaseToken(token, { keyOf, now: at as Micros });

describe('release tokens', () => {
  test('round trip, and expiry', () => {
    const token = mintReleaseToken({ key, kid, claims });
    expect(verify(token)).toEqual({ ok: true, claims });
    expect(verify(token, now + 60_000_000)).toEqual({ ok: false, code: 'token-expired' });
  });
  test('another key, another zone, another type, a changed character: invalid', () => {
    const token = mintReleaseToken({ key, kid, claims });
    const payload = { iss: 'sealcast', aud: 'release', sub: claims.session, asset: claims.asset, acc: claims.account, max: 6, iat: 1_800_000_000, exp: 1_800_000_060 };
    const bad = [
      mintReleaseToken({ key: new Uint8Array(32), kid, claims }),
      mintReleaseToken({ key, kid: { epoch: 4, zone: 1 }, claims }),
      mintMediaToken({ key, kid, claims: { session: claims.session, asset: claims.asset, issuedAt: now, expiresAt: claims.expiresAt } }),
      mintZoneToken({ typ: 'media+jwt', key, kid, payload: JSON.stringify(payload) }),
      mintZoneToken({ typ: 'release+jwt', key, kid, payload: JSON.stringify({ ...payload, aud: 'media' }) }),
      mintZoneToken({ typ: 'release+jwt', key, kid, payload: JSON.stringify({ ...payload, max: 1000 }) }),
      `${encodeBase64url(encodeUtf8('{"alg":"none","typ":"release+jwt","kid":"3.1"}'))}.${token.split('.')[1]}.${'A'.repeat(43)}`,
      token.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A')),
      '',
    ];
    for (const each of bad) expect(verify(each)).toEqual({ ok: false, code: 'token-invalid' });
  });
  test('never throws', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.array(fc.base64String(), { minLength: 3, maxLength: 3 }).map((parts) => parts.join('.'))), (token) => !verify(token).ok),
      { seed: 2, numRuns: 500 },
    );
  });
});
