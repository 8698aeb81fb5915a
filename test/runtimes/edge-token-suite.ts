// SPDX-License-Identifier: Apache-2.0
/**
 * Other makers' tokens at the edge, whatever runtime it is in: docs/wire/media.md, "Other makers' tokens", seen from outside.
 *
 * Formats and hostile input are tested beside `crypto/wm-token.ts`; here is what only a whole runtime can get wrong:
 * WebCrypto, carriage in path, query and header, and that keys come with the bundle and go with it.
 */
import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TokenKey } from '#core/edge-bundle/token-key.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { importEs256Private } from '#crypto/ecdsa.ts';
import { sealPattern } from '#crypto/sealed-pattern.ts';
import { type MintedClaims, mintAccessToken } from '#crypto/wm-token.ts';
import { type BundleServer, type FakeOrigin, immutable, startBundleServer, startOrigin } from './edge-environment.ts';
import type { RunningEdge, StartEdge } from './edge-suite.ts';

const secret = new Uint8Array(32).fill(0x11);
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { kty, crv, x, y } = publicKey.export({ format: 'jwk' });
const KEYS: TokenKey[] = [
  { format: 'cwt', kid: '', alg: 'HS256', key: secret },
  { format: 'cwt', kid: 'es', alg: 'ES256', key: { kty, crv, x, y } as PublicJwk },
  { format: 'jwt', kid: 'j', alg: 'HS256', key: secret, issuer: 'cdn' },
  { format: 'jwt', kid: 'es', alg: 'ES256', key: { kty, crv, x, y } as PublicJwk },
  { format: 'cwt', kid: 'one', alg: 'HS256', key: secret, asset: 'cup' as NonNullable<TokenKey['asset']> },
  { format: 'cwt', kid: 'p', alg: 'A128GCM', key: new Uint8Array(16).fill(5) },
];
const seconds = (ahead: number): number => Math.floor(Date.now() / 1000) + ahead;
const times = (): MintedClaims => ({ exp: seconds(120), iat: seconds(-60) });
const mark: MintedClaims = { wmver: 1, wmvnd: 0, wmpatlen: 32, wmpattern: Uint8Array.of(1, 2, 3, 4) };

export const edgeTokenSuite = (runtime: string, start: StartEdge): void => {
  describe(`other makers' tokens in ${runtime}`, () => {
    let origin: FakeOrigin;
    let bundles: BundleServer;
    let edge: RunningEdge;
    const segment = new Uint8Array(1000).fill(3);

    beforeAll(async () => {
      origin = await startOrigin();
      bundles = await startBundleServer();
      bundles.update({ tokenKeys: KEYS });
      origin.on('cup/v720/1.m4s', immutable(segment));
      edge = await start({ origin, bundles });
    });
    afterAll(async () => {
      await edge.close();
      await bundles.close();
      await origin.close();
    });

    const es256 = async (): Promise<{ alg: 'ES256'; key: CryptoKey }> => ({ alg: 'ES256', key: await importEs256Private(privateKey.export({ format: 'jwk' }) as JsonWebKey) });
    const hs256 = { alg: 'HS256' as const, key: secret };
    const path = (text: string, asset = 'cup'): Promise<Response> => edge.fetch(`/media/${text}/${asset}/v720/1.m4s`);
    const ending = async (response: Response): Promise<[number, unknown]> => [response.status, response.status === 200 ? (await response.arrayBuffer()).byteLength : ((await response.json()) as { code: unknown }).code];

    it.each<[string, () => Promise<string>]>([
      ['CWT, HMAC', () => mintAccessToken({ format: 'cwt', secret: hs256, claims: { ...times(), ...mark } })],
      ['CWT, HMAC, tag 61', () => mintAccessToken({ format: 'cwt', secret: hs256, claims: { ...times(), ...mark }, cwtTag: true })],
      ['CWT, ES256', async () => mintAccessToken({ format: 'cwt', secret: await es256(), kid: 'es', claims: { ...times(), ...mark } })],
      ['CWT, encrypted pattern', async () => mintAccessToken({ format: 'cwt', secret: hs256, claims: { ...times(), ...mark, wmpattern: await sealPattern(new Uint8Array(4), { key: new Uint8Array(16).fill(5), kid: 'p', iv: crypto.getRandomValues(new Uint8Array(12)) }) } })],
      ['CWT, CTA-5007', () => mintAccessToken({ format: 'cwt', secret: hs256, claims: { exp: seconds(60), catv: 1, catu: new Map([[3, new Map([[1, '/media/cup/']])]]) } })],
      ['JWT, HS256', () => mintAccessToken({ format: 'jwt', secret: hs256, kid: 'j', claims: { iss: 'cdn', ...times(), ...mark, wmpattern: 'AQIDBA' } })],
      ['JWT, ES256, RFC 9246', async () => mintAccessToken({ format: 'jwt', secret: await es256(), kid: 'es', claims: { exp: seconds(60), cdniv: 1, cdniuc: 'regex:https?://[^/]*/media/cup/.*' } })],
    ])('%s: in path, query and header', async (_name, mint) => {
      const token = await mint();
      const asked = await Promise.all([
        path(token),
        edge.fetch(`/media/cup/v720/1.m4s?token=${token}`),
        edge.fetch(`/media/cup/v720/1.m4s?URISigningPackage=${token}`),
        edge.fetch(`/media/cup/v720/1.m4s?CTA-Common-Access-Token=${token}&CMCD=br%3D1`),
        edge.fetch('/media/cup/v720/1.m4s', { headers: { authorization: `Bearer ${token}` } }),
        edge.fetch('/media/cup/v720/1.m4s', { headers: { 'CTA-Common-Access-Token': token } }),
      ]);
      for (const response of asked) expect(await ending(response)).toEqual([200, 1000]);
    });

    it.each<[string, () => Promise<string>, number, string]>([
      ['expired', () => mintAccessToken({ format: 'cwt', secret: hs256, claims: { ...mark, iat: 1, exp: seconds(-1) } }), 401, 'token-expired'],
      ['under another secret', () => mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key: new Uint8Array(32) }, claims: { ...times(), ...mark } }), 401, 'token-invalid'],
      ['of an unknown key', () => mintAccessToken({ format: 'cwt', secret: hs256, kid: 'nobody', claims: { ...times(), ...mark } }), 401, 'token-invalid'],
      ['ES256 where the key is HMAC', async () => mintAccessToken({ format: 'jwt', secret: await es256(), kid: 'j', claims: { iss: 'cdn', ...times() } }), 401, 'token-invalid'],
      ['of another issuer', () => mintAccessToken({ format: 'jwt', secret: hs256, kid: 'j', claims: { iss: 'x', ...times() } }), 401, 'token-invalid'],
      ['for other addresses', () => mintAccessToken({ format: 'cwt', secret: hs256, claims: { exp: seconds(60), catu: new Map([[3, new Map([[1, '/media/other/']])]]) } }), 403, 'token-wrong-asset'],
    ])('%s: refused', async (_name, mint, status, code) => {
      expect(await ending(await path(await mint()))).toEqual([status, code]);
    });
    it('a key for one asset opens no other', async () => {
      const token = await mintAccessToken({ format: 'cwt', secret: hs256, kid: 'one', claims: { ...times(), ...mark } });
      expect(await ending(await path(token))).toEqual([200, 1000]);
      expect(await ending(await path(token, 'other'))).toEqual([403, 'token-wrong-asset']);
    });
    describe('renewal', () => {
      const cat = (members: readonly (readonly [number, unknown])[], exp: number): Promise<string> => mintAccessToken({ format: 'cwt', secret: hs256, claims: { ...mark, iat: seconds(-600), exp: seconds(exp), catr: new Map(members) } });
      const cdni = (exp: number, claims: MintedClaims = {}): Promise<string> => mintAccessToken({ format: 'jwt', secret: hs256, kid: 'j', claims: { iss: 'cdn', exp: seconds(exp), cdniets: 300, cdnistt: 1, cdnistd: 2, ...claims } });
      const file = '/media/cup/v720/1.m4s';
      const setCookie = (response: Response): string | null => response.headers.get('set-cookie');
      const valueOf = (field: string | null): string => /^[A-Za-z-]+=([^;]+)/.exec(field ?? '')?.[1] ?? '';

      it('RFC 9246: a cookie with the same token until now plus cdniets, for the path that cdnistd says', async () => {
        const response = await edge.fetch(`${file}?URISigningPackage=${await cdni(60)}`);
        const cookie = setCookie(response);
        expect(cookie).toMatch(/^URISigningPackage=[A-Za-z0-9_.-]+; Path=\/media\/cup; Max-Age=300; HttpOnly/);
        const claims = JSON.parse(Buffer.from(valueOf(cookie).split('.')[1] ?? '', 'base64url').toString()) as Record<string, number>;
        expect(claims).toMatchObject({ iss: 'cdn', cdniets: 300, cdnistt: 1 });
        expect(Math.abs((claims['exp'] ?? 0) - seconds(300))).toBeLessThan(20);
        // Carried as a cookie it opens media and is not renewed again before it is old.
        const again = await edge.fetch(file, { headers: { cookie: `other=1; URISigningPackage=${valueOf(cookie)}; x=y` } });
        expect([again.status, setCookie(again)]).toEqual([200, null]);
      });
      it('a cookie takes over from a token in the address that has ended, and from no other', async () => {
        const old = await cdni(-5);
        const cookie = `URISigningPackage=${await cdni(250)}`;
        expect((await edge.fetch(`${file}?URISigningPackage=${old}`, { headers: { cookie } })).status).toBe(200);
        expect(await ending(await edge.fetch(`${file}?URISigningPackage=${old}`, { headers: { cookie: `URISigningPackage=${old}` } }))).toEqual([401, 'token-expired']);
        expect(await ending(await edge.fetch(`${file}?URISigningPackage=${old.slice(0, -2)}AA`, { headers: { cookie } }))).toEqual([401, 'token-invalid']);
      });
      it.each<[string, readonly (readonly [number, unknown])[], 'header' | 'query' | 'cookie', RegExp | null, RegExp | null]>([
        ['automatic, from a header field: a header field', [[0, 0], [1, 300]], 'header', /^[A-Za-z0-9_-]{60,}$/, null],
        ['automatic, from the query: a cookie', [[0, 0], [1, 300]], 'query', null, /^CTA-Common-Access-Token=[A-Za-z0-9_-]{60,}; Path=\/; Max-Age=300; HttpOnly/],
        ['cookie, with a name and attributes of its own', [[0, 1], [1, 300], [3, 'pass'], [5, ['Secure', 'Domain=example.com']]], 'header', null, /^pass=[A-Za-z0-9_-]{60,}; Path=\/; Max-Age=300; Secure; Domain=example.com$/],
        ['header, from a cookie', [[0, 2], [1, 300]], 'cookie', /^[A-Za-z0-9_-]{60,}$/, null],
        ['not before its deadline', [[0, 2], [1, 300], [2, 30]], 'header', null, null],
        ['by redirection: not here', [[0, 3], [1, 300]], 'header', null, null],
      ])('CTA-5007: %s', async (_name, members, how, header, cookie) => {
        const token = await cat(members, 100);
        const response = how === 'query' ? await edge.fetch(`${file}?CTA-Common-Access-Token=${token}`) : await edge.fetch(file, { headers: how === 'cookie' ? { cookie: `CTA-Common-Access-Token=${token}` } : { 'cta-common-access-token': token } });
        expect(response.status).toBe(200);
        for (const [field, wanted] of [[response.headers.get('cta-common-access-token'), header], [setCookie(response), cookie]] as const) {
          if (wanted === null) expect(field).toBeNull();
          else expect(field).toMatch(wanted);
        }
        const renewed = response.headers.get('cta-common-access-token');
        if (renewed !== null) {
          expect(renewed).not.toBe(token);
          const next = await edge.fetch(file, { headers: { 'cta-common-access-token': renewed } });
          expect([next.status, next.headers.get('cta-common-access-token')]).toEqual([200, null]);
        }
      });
      it('of one token happens once in a while, not once per request', async () => {
        const token = await cat([[0, 2], [1, 300]], 100);
        const renewed = await Promise.all(Array.from({ length: 8 }, async () => (await edge.fetch(file, { headers: { 'cta-common-access-token': token } })).headers.get('cta-common-access-token')));
        expect(new Set(renewed).size).toBe(1);
        expect(renewed[0]).not.toBeNull();
      });
      it('of what only its maker can sign, or of refused tokens, does not happen', async () => {
        const foreign = await mintAccessToken({ format: 'jwt', secret: await es256(), kid: 'es', claims: { exp: seconds(60), cdniets: 300, cdnistt: 1 } });
        const served = await edge.fetch(file, { headers: { authorization: `Bearer ${foreign}` } });
        expect([served.status, setCookie(served)]).toEqual([200, null]);
        const refused = await edge.fetch('/media/other/v720/1.m4s', { headers: { authorization: `Bearer ${await cdni(60, { asset: 'cup' })}` } });
        expect([refused.status, setCookie(refused)]).toEqual([403, null]);
      });
      it.each<[string, MintedClaims | readonly (readonly [number, unknown])[]]>([
        ['a renewal without a lifetime', [[0, 1]]],
        ['a renewal of an unknown type', [[0, 9], [1, 300]]],
        ['a header field that is ours', [[0, 2], [1, 300], [4, 'content-length']]],
        ['a cookie name that ends the field', [[0, 1], [1, 300], [3, 'a;b']]],
        ['attributes that end the field', [[0, 1], [1, 300], [5, ['Secure\r\nX-A: b']]]],
        ['a lifetime that is text', { cdniets: '300', cdnistt: 1 }],
        ['a transport without a lifetime', { cdniets: undefined, cdnistt: 1 }],
        ['an unknown transport', { cdnistt: 7 }],
      ])('%s: the token is refused', async (_name, asked) => {
        const token = Array.isArray(asked) ? await cat(asked as readonly (readonly [number, unknown])[], 100) : await cdni(60, asked as MintedClaims);
        expect(await ending(await edge.fetch(file, { headers: { 'cta-common-access-token': token } }))).toEqual([401, 'token-invalid']);
      });
    });

    it('end with their keys, remembered or not', async () => {
      const token = await mintAccessToken({ format: 'cwt', secret: hs256, claims: { ...times(), ...mark } });
      expect((await path(token)).status).toBe(200);
      bundles.update({ tokenKeys: KEYS.slice(1) });
      let response = await path(token);
      while (response.status === 200) {
        await response.arrayBuffer();
        await new Promise((resolve) => setTimeout(resolve, 20));
        response = await path(token);
      }
      expect(await ending(response)).toEqual([401, 'token-invalid']);
    });
  });
};
