// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { assetId, sessionId } from '#core/ids.ts';
import { micros, microsFromSeconds } from '#core/time.ts';
import type { TokenClaims } from '#core/token/media-claims.ts';
import { type MediaTokenKeyId, mintMediaToken, verifyMediaToken } from '#crypto/media-token.ts';

const key = Uint8Array.from({ length: 32 }, (_, index) => index);
const kid: MediaTokenKeyId = { epoch: 7, zone: 3 };
const session = sessionId('BwMAAQIDBAUGBwgJCgsMDQ4P');
const now = microsFromSeconds(1_800_000_000);
const claims: TokenClaims = {
  session,
  asset: assetId('cup-final'),
  issuedAt: now,
  expiresAt: microsFromSeconds(1_800_000_120),
};
const marked: TokenClaims = {
  ...claims,
  notBefore: now,
  mark: {
    version: 1,
    vendor: 2,
    patternLength: 2048,
    segmentDuration: { ticks: 60_000, timescale: 10_000 },
    pattern: 'CgsMDQ',
    id: 'viewer-17',
    operator: 9,
    keyVersion: 4,
  },
};
const keyOf = (asked: MediaTokenKeyId): Uint8Array | undefined => (asked.epoch === 7 && asked.zone === 3 ? key : undefined);
const verify = (token: string, at = now) => verifyMediaToken(token, { keyOf, now: at });

const header = { alg: 'HS256', typ: 'media+jwt', kid: '7.3' };
const payload = { iss: 'sealcast', aud: 'media', sub: session, asset: 'cup-final', iat: 1_800_000_000, exp: 1_800_000_120 };
const joseToken = (claimSet: Record<string, unknown>, protectedHeader: Record<string, unknown> = header, secret = key): Promise<string> =>
  new SignJWT(claimSet).setProtectedHeader(protectedHeader as { alg: string }).sign(secret);

describe('media tokens and jose agree', () => {
  it('jose verifies ours', async () => {
    const { payload: read, protectedHeader } = await jwtVerify(mintMediaToken({ key, kid, claims: marked }), key, {
      typ: 'media+jwt',
      issuer: 'sealcast',
      audience: 'media',
      algorithms: ['HS256'],
      currentDate: new Date(1_800_000_000_000),
    });
    expect(protectedHeader).toEqual(header);
    expect(read).toEqual({
      ...payload,
      nbf: 1_800_000_000,
      wmver: 1,
      wmvnd: 2,
      wmpatlen: 2048,
      wmsegduration: [60_000, 10_000],
      wmpattern: 'CgsMDQ',
      wmid: 'viewer-17',
      wmopid: 9,
      wmkeyver: 4,
    });
  });

  it('we verify theirs', async () => {
    const token = await joseToken({ ...payload, wmver: 1, wmvnd: 2, wmpatlen: 64, wmid: 'v', wmopid: 0, jti: 'ignored', later: { x: 1 } });
    expect(verify(token)).toEqual({
      ok: true,
      kid,
      claims: { ...claims, mark: { version: 1, vendor: 2, patternLength: 64, id: 'v', operator: 0 } },
    });
  });

  // Signature made by: printf %s "$HEADER.$PAYLOAD" | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f -binary | base64
  it('is one fixed text per claims and key', () => {
    expect(mintMediaToken({ key, kid, claims })).toBe(
      'eyJhbGciOiJIUzI1NiIsInR5cCI6Im1lZGlhK2p3dCIsImtpZCI6IjcuMyJ9.' +
        'eyJpc3MiOiJzZWFsY2FzdCIsImF1ZCI6Im1lZGlhIiwic3ViIjoiQndNQUFRSURCQVVHQndnSkNnc01EUTRQIiwiYXNzZXQiOiJjdXAtZmluYWwiLCJpYXQiOjE4MDAwMDAwMDAsImV4cCI6MTgwMDAwMDEyMH0.' +
        '2waigGiOdLyhQav2G_qp4JT-mzXfHXfTkTY6y8x1low',
    );
  });

  it('round-trips every claim', () => {
    expect(verify(mintMediaToken({ key, kid, claims: marked }))).toEqual({ ok: true, kid, claims: marked });
  });
});

describe('times', () => {
  it('holds until the instant of expiry, not at it', () => {
    const token = mintMediaToken({ key, kid, claims });
    expect(verify(token, micros(claims.expiresAt - 1))).toMatchObject({ ok: true });
    expect(verify(token, claims.expiresAt)).toMatchObject({ ok: false, code: 'token-expired' });
  });
  it('does not hold before nbf', () => {
    expect(verify(mintMediaToken({ key, kid, claims: marked }), micros(now - 1))).toMatchObject({ ok: false, code: 'token-invalid' });
  });
  it('cuts to whole seconds downwards', () => {
    const token = mintMediaToken({ key, kid, claims: { ...claims, expiresAt: micros(claims.expiresAt + 999_999) } });
    expect(verify(token)).toMatchObject({ ok: true, claims: { expiresAt: claims.expiresAt } });
  });
});

describe('refused as token-invalid', () => {
  const refused = (token: string): void => expect(verify(token)).toMatchObject({ ok: false, code: 'token-invalid' });
  const part = (value: unknown): string => btoa(JSON.stringify(value)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

  it('another algorithm with the same secret', async () => {
    const secret = new Uint8Array(64).fill(1);
    refused(await joseToken(payload, { ...header, alg: 'HS384' }, secret));
    refused(await joseToken(payload, { ...header, alg: 'HS512' }, secret));
  });
  it('alg none, in any spelling, with and without a signature', () => {
    for (const alg of ['none', 'None', 'NONE', '', null, ['HS256'], undefined]) {
      refused(`${part({ ...header, alg })}.${part(payload)}.`);
      refused(`${part({ ...header, alg })}.${part(payload)}.${'A'.repeat(43)}`);
    }
  });
  it('an ES256 token whose public key is offered as the HMAC secret', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
    refused(await new SignJWT(payload).setProtectedHeader({ ...header, alg: 'ES256' }).sign(privateKey));
    refused(await joseToken(payload, { ...header, jwk: await exportJWK(publicKey) }, new TextEncoder().encode(JSON.stringify(await exportJWK(publicKey)))));
  });
  it.each([
    ['another typ', { ...header, typ: 'entitlement+jwt' }],
    ['a generic typ', { ...header, typ: 'JWT' }],
    ['no typ', { alg: 'HS256', kid: '7.3' }],
    ['no kid', { alg: 'HS256', typ: 'media+jwt' }],
    ['an unknown epoch', { ...header, kid: '8.3' }],
    ['an unknown zone', { ...header, kid: '7.4' }],
    ['a kid with a leading zero', { ...header, kid: '07.3' }],
    ['a kid beyond u32', { ...header, kid: '4294967303.3' }],
    ['a kid that is a path', { ...header, kid: '../7.3' }],
  ])('%s', async (_name, protectedHeader) => {
    refused(await joseToken(payload, protectedHeader));
  });
  it('critical extensions', () => {
    refused(`${part({ ...header, crit: ['exp'] })}.${part(payload)}.${'A'.repeat(43)}`);
  });
  it.each([
    ['no exp', { exp: undefined }],
    ['no iat', { iat: undefined }],
    ['exp not after iat', { exp: payload.iat }],
    ['exp as text', { exp: '1800000120' }],
    ['fractional exp', { exp: 1_800_000_120.5 }],
    ['negative iat', { iat: -1 }],
    ['exp beyond range', { exp: 2 ** 53 }],
    ['another issuer', { iss: 'someone' }],
    ['another audience', { aud: 'sealcast' }],
    ['a list of audiences', { aud: ['media'] }],
    ['no sub', { sub: undefined }],
    ['a sub that is not a session', { sub: '../../etc' }],
    ['an asset that is a path', { asset: 'a/../b' }],
    ['nbf as text', { nbf: 'now' }],
    ['wmpatlen 0', { wmver: 1, wmvnd: 1, wmpatlen: 0 }],
    ['wmpatlen beyond u16', { wmver: 1, wmvnd: 1, wmpatlen: 65_536 }],
    ['wmver beyond u8', { wmver: 256, wmvnd: 1, wmpatlen: 1 }],
    ['a mark without wmver', { wmvnd: 1, wmpatlen: 1 }],
    ['wmid alone', { wmid: 'x' }],
    ['wmsegduration 0', { wmver: 1, wmvnd: 1, wmpatlen: 1, wmsegduration: [0, 1] }],
    ['wmsegduration of one', { wmver: 1, wmvnd: 1, wmpatlen: 1, wmsegduration: [1] }],
    ['wmpattern that is not base64url', { wmver: 1, wmvnd: 1, wmpatlen: 1, wmpattern: 'a+b' }],
    ['negative wmopid', { wmver: 1, wmvnd: 1, wmpatlen: 1, wmopid: -1 }],
  ])('%s', async (_name, change) => {
    refused(await joseToken({ ...payload, ...change }));
  });
  it('a repeated claim under a right signature', async () => {
    const { hmacSha256 } = await import('#crypto/hmac.ts');
    const raw = JSON.stringify(payload).replace('"asset"', '"asset":"other","asset"');
    const signed = `${part(header)}.${btoa(raw).replaceAll('=', '')}`;
    const signature = Buffer.from(hmacSha256(key, new TextEncoder().encode(signed))).toString('base64url');
    refused(`${signed}.${signature}`);
  });
  it('another key', () => refused(mintMediaToken({ key: new Uint8Array(32), kid, claims })));
  it('a token longer than the limit, whatever it holds', async () => {
    refused('a'.repeat(1_000_000));
    refused(await joseToken({ ...payload, padding: 'x'.repeat(4096) }));
  });
  it('any single change of a character', () => {
    const token = mintMediaToken({ key, kid, claims: marked });
    fc.assert(
      fc.property(fc.nat(token.length - 1), fc.constantFrom(...'ABCabc019-_.=+/ %\0é'), (at, character) => {
        fc.pre(token[at] !== character);
        return !verify(token.slice(0, at) + character + token.slice(at + 1)).ok;
      }),
      { numRuns: 400 },
    );
  });
  it('any text, without throwing and without repeating it', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.array(fc.base64String(), { minLength: 3, maxLength: 3 }).map((parts) => parts.join('.'))), (token) => {
        const verdict = verify(token);
        return !verdict.ok && (token.length < 8 || !verdict.detail.includes(token));
      }),
    );
  });
});

it('refuses a key of another length', () => {
  expect(() => mintMediaToken({ key: new Uint8Array(16), kid, claims })).toThrow(RangeError);
});
