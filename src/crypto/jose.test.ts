// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { calculateJwkThumbprint } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { hmacSha256 } from './hmac.ts';
import { importSigningKey, importVerifyKey, type JwsKey, makeKeyPair, openSealed, sealTo, signJws, thumbprint, thumbprintBytes, verifyJws } from './jose.ts';

const text = (value: unknown): string => encodeBase64url(encodeUtf8(JSON.stringify(value)));
let sign: JwsKey;
let verify: JwsKey;
let publicJwk: PublicJwk;
beforeAll(async () => {
  const pair = await makeKeyPair('sign');
  publicJwk = pair.publicJwk;
  [sign, verify] = await Promise.all([importSigningKey(pair.privateJwk), importVerifyKey(pair.publicJwk)]);
});

describe('JWS', () => {
  it('verifies the example of RFC 7515 A.3 except for its missing type', async () => {
    const key = await importVerifyKey({ kty: 'EC', crv: 'P-256', x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU', y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0' });
    const example = 'eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q';
    expect(await verifyJws(example, { typ: 'stop+jwt', key })).toBeUndefined();
    expect(await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key.key as CryptoKey, Buffer.from(example.split('.')[2] ?? '', 'base64url'), Buffer.from(example.split('.').slice(0, 2).join('.')))).toBe(true);
  });
  it('accepts one type and one algorithm', async () => {
    const token = await signJws({ a: 1 }, { typ: 'stop+jwt', key: sign, kid: 'k' });
    expect(await verifyJws(token, { typ: 'stop+jwt', key: verify })).toEqual({ a: 1 });
    expect(await verifyJws(token, { typ: 'license+jwt', key: verify })).toBeUndefined();
    expect(await verifyJws(token, { typ: 'stop+jwt', key: (kid) => (kid === 'k' ? verify : undefined) })).toEqual({ a: 1 });
    expect(await verifyJws(token, { typ: 'stop+jwt', key: () => undefined })).toBeUndefined();
    expect(await verifyJws(token, { typ: 'stop+jwt', key: verify, maxLength: token.length - 1 })).toBeUndefined();
  });
  it('refuses none, an HMAC under the public key, critical extensions and repeated claims', async () => {
    const payload = text({ a: 1 });
    const hmac = (header: object, body: string, key: Uint8Array): string => {
      const signed = `${text(header)}.${body}`;
      return `${signed}.${encodeBase64url(hmacSha256(key, encodeUtf8(signed)))}`;
    };
    const secret = encodeUtf8(JSON.stringify(publicJwk));
    const tokens = [`${text({ alg: 'none', typ: 'stop+jwt' })}.${payload}.`, hmac({ alg: 'HS256', typ: 'stop+jwt' }, payload, secret), 'a.b.c', '', `${text([])}.${payload}.AA`];
    for (const token of tokens) expect(await verifyJws(token, { typ: 'stop+jwt', key: verify })).toBeUndefined();
    const shared: JwsKey = { alg: 'HS256', key: new Uint8Array(32).fill(1) };
    const under = (header: object, body = payload): string => hmac(header, body, shared.key as Uint8Array);
    expect(await verifyJws(under({ alg: 'HS256', typ: 'stop+jwt' }), { typ: 'stop+jwt', key: shared })).toEqual({ a: 1 });
    for (const token of [under({ alg: 'HS256', typ: 'stop+jwt', crit: ['b64'], b64: true }), under({ alg: 'HS256', typ: 'stop+jwt', b64: false }), under({ alg: 'HS256', typ: 'stop+jwt' }, encodeBase64url(encodeUtf8('{"a":1,"a":2}'))), under({ alg: 'HS256', typ: 'stop+jwt' }, text([1]))]) {
      expect(await verifyJws(token, { typ: 'stop+jwt', key: shared })).toBeUndefined();
    }
  });
  it('refuses a token with any character changed', async () => {
    const token = await signJws({ a: 1 }, { typ: 'stop+jwt', key: sign });
    const altered = (at: number, character: string): Promise<unknown> => verifyJws(token.slice(0, at) + character + token.slice(at + 1), { typ: 'stop+jwt', key: verify });
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.constantFrom('A', 'z', '0', '_', '.', '=', ' '), async (at, character) => {
        fc.pre(token[at] !== character);
        expect(await altered(at, character)).toBeUndefined();
      }),
      { seed: 21, numRuns: 200 },
    );
    // The last character of a 64-byte signature has four spare bits.
    const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].filter((character) => character !== token.at(-1));
    for (const character of others) expect(await altered(token.length - 1, character)).toBeUndefined();
  });
});

describe('JWE', () => {
  it('opens for its recipient and nobody else, and not when altered', async () => {
    const [mine, other] = await Promise.all([makeKeyPair('agree'), makeKeyPair('agree')]);
    const imported = (jwk: JsonWebKey) => crypto.subtle.importKey('jwk', jwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']);
    const key = await imported(mine.privateJwk);
    const sealed = await sealTo(mine.publicJwk, 'secret é');
    expect(sealed).not.toContain('secret');
    expect(await openSealed(sealed, key)).toBe('secret é');
    expect(await openSealed(sealed, await imported(other.privateJwk))).toBeUndefined();
    await fc.assert(fc.asyncProperty(fc.nat(sealed.length - 1), async (at) => {
      const altered = sealed.slice(0, at) + (sealed[at] === 'A' ? 'B' : 'A') + sealed.slice(at + 1);
      expect(await openSealed(altered, key)).toBeUndefined();
    }), { numRuns: 60 });
    await expect(sealTo({ ...mine.publicJwk, x: mine.publicJwk.y }, 'x')).rejects.toThrow();
  });
});

describe('thumbprints', () => {
  it('are what the JOSE library computes', async () => {
    for (let round = 0; round < 5; round++) {
      const { publicJwk: key } = await makeKeyPair('agree');
      expect(await thumbprint(key)).toBe(await calculateJwkThumbprint({ ...key }, 'sha256'));
    }
  });
  it('are SHA-256 over the canonical JWK (RFC 7638), whatever else the key carries', async () => {
    const canonical = encodeUtf8(`{"crv":"P-256","kty":"EC","x":"${publicJwk.x}","y":"${publicJwk.y}"}`);
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', canonical as BufferSource));
    expect(thumbprintBytes(await thumbprint(publicJwk))).toEqual(digest);
    expect(await thumbprint({ ...publicJwk, use: 'sig' } as PublicJwk)).toBe(encodeBase64url(digest));
  });
});
