// SPDX-License-Identifier: Apache-2.0
import { createHmac, createSign, createVerify, diffieHellman, generateKeyPairSync, hkdfSync, createPublicKey, createPrivateKey, createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { CompactEncrypt, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { PrivateJwk, TokenKey } from '#core/edge-bundle/token-key.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { microsFromSeconds } from '#core/time.ts';
import { matchesUriRules } from '#core/token/uri-rules.ts';
import { patternBit } from '#core/token/wm-claims.ts';
import { decodeCbor, encodeCbor } from '#crypto/cbor.ts';
import { importEs256Private } from '#crypto/ecdsa.ts';
import { sha256 } from '#crypto/hmac.ts';
import { sealPattern, sealPatternTo } from '#crypto/sealed-pattern.ts';
import { createTokenKeys } from '#crypto/token-keys.ts';
import { type MintedClaims, mintAccessToken, verifyAccessToken } from '#crypto/wm-token.ts';

type NodeJwk = Extract<Parameters<typeof createPublicKey>[0], { format: 'jwk' }>['key'];

const key = Uint8Array.from({ length: 32 }, (_, index) => index);
const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const { kty, crv, x, y, d } = pair.privateKey.export({ format: 'jwk' }) as Required<NodeJwk>;
const publicJwk = { kty, crv, x, y } as PublicJwk;
const privateJwk = { kty, crv, x, y, d } as PrivateJwk;
const agreement = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }) as unknown as PrivateJwk;
const patternKey = new Uint8Array(16).fill(7);

const list: TokenKey[] = [
  { format: 'cwt', kid: '', alg: 'HS256', key },
  { format: 'cwt', kid: 'k1', alg: 'HS256', key: new Uint8Array(32).fill(1) },
  { format: 'cwt', kid: 'e1', alg: 'ES256', key: publicJwk },
  { format: 'jwt', kid: 'j1', alg: 'HS256', key: new Uint8Array(32).fill(2), issuer: 'cdn', audience: 'edge' },
  { format: 'jwt', kid: 'j2', alg: 'ES256', key: publicJwk },
  { format: 'cwt', kid: 'p1', alg: 'A128GCM', key: patternKey },
  { format: 'cwt', kid: 'p2', alg: 'ECDH-SS+A128KW', key: privateJwk },
];
const keys = createTokenKeys(list);
const now = microsFromSeconds(1_850_000_000);
const verify = (token: string, at = now) => verifyAccessToken(token, { keys, now: at });

const VECTOR = '0YRDoQEFoFgqpwFmc2lnbmV0BBpxP7MABhprSdIAGQEsARkBLQAZAS4YIBkBMEQKCwwNWCC-68vUvLf391F-DY55K7GKQP3_ktSaAJEfbtp8lUzNRA';
const CLAIMS: MintedClaims = { iss: 'signet', exp: 1_900_000_000, iat: 1_800_000_000, wmver: 1, wmvnd: 0, wmpatlen: 32, wmpattern: Uint8Array.of(10, 11, 12, 13) };
const bytes = (token: string): Buffer => Buffer.from(token, 'base64url');
const hex = (text: string): string => Buffer.from(text.replaceAll(' ', ''), 'hex').toString('base64url');

describe('ETSI TS 104 002 CWT', () => {
  it('is the published whole-token vector, with and without tag 61', async () => {
    expect(await mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key }, claims: CLAIMS })).toBe(VECTOR);
    expect((await mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key }, claims: CLAIMS, cwtTag: true })).startsWith('2D3RhEOhAQWgWCqn')).toBe(true);
  });
  it('reads it with tags 61 and 17, with one of them, and with none', async () => {
    const message = bytes(VECTOR);
    const forms = [message, message.subarray(1), Buffer.concat([Buffer.from('d83d', 'hex'), message]), Buffer.concat([Buffer.from('d83d', 'hex'), message.subarray(1)])];
    for (const form of forms) {
      expect(await verify(form.toString('base64url'))).toMatchObject({ ok: true, format: 'cwt', pattern: Uint8Array.of(10, 11, 12, 13), claims: { issuer: 'signet', mark: { version: 1, vendor: 0, patternLength: 32 } } });
    }
  });
  it('counts bits from the most significant one, and starts over behind the last', () => {
    const bits = Uint8Array.of(10, 11, 12, 13);
    expect(Array.from({ length: 8 }, (_, position) => patternBit(bits, 32, position))).toEqual([0, 0, 0, 0, 1, 0, 1, 0]);
    expect(patternBit(bits, 32, 4 + 32)).toBe(1);
    expect(patternBit(Uint8Array.of(0x80), 5, 5)).toBe(1);
  });
  it('verifies what another maker wrote by hand, unsorted keys included (HMAC by node:crypto)', async () => {
    // {305: "v17", 6: 1800000000, 4: 1900000000, 302: 2048, 301: 9, 300: 1, 307: 3, 306: 5}
    const payload = Buffer.from('a8190131637631 37 061a6b49d200041a713fb30019012e19080019012d0919012c0119013303190132 05'.replaceAll(' ', ''), 'hex');
    const header = Buffer.from('a2010504426b31', 'hex');
    const signed = Buffer.concat([Buffer.from('84644d414330', 'hex'), Buffer.from([0x40 + header.length]), header, Buffer.from([0x40, 0x58, payload.length]), payload]);
    const mac = createHmac('sha256', new Uint8Array(32).fill(1)).update(signed).digest();
    const token = Buffer.concat([Buffer.from('d184', 'hex'), Buffer.from([0x40 + header.length]), header, Buffer.from([0xa0, 0x58, payload.length]), payload, Buffer.from('5820', 'hex'), mac]);
    const verdict = await verify(token.toString('base64url'));
    expect(verdict).toMatchObject({ ok: true, claims: { mark: { version: 1, vendor: 9, patternLength: 2048, id: 'v17', operator: 5, keyVersion: 3 } } });
    expect(verdict).not.toHaveProperty('pattern');
  });
  it('agrees with node:crypto on COSE_Sign1, both ways', async () => {
    const secret = { alg: 'ES256' as const, key: await importEs256Private(privateJwk) };
    const token = bytes(await mintAccessToken({ format: 'cwt', secret, kid: 'e1', claims: CLAIMS }));
    expect(token[0]).toBe(0xd2);
    const header = Buffer.from('a2012604426531', 'hex');
    const claims = bytes(VECTOR).subarray(9, 9 + 42);
    const signed = Buffer.concat([Buffer.from('846a5369676e617475726531', 'hex'), Buffer.from([0x47]), header, Buffer.from('40582a', 'hex'), claims]);
    expect(createVerify('sha256').update(signed).verify({ key: createPublicKey({ key: publicJwk as unknown as NodeJwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }, token.subarray(-64))).toBe(true);
    const theirs = createSign('sha256').update(signed).sign({ key: createPrivateKey({ key: privateJwk as unknown as NodeJwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' });
    const built = Buffer.concat([Buffer.from('d284', 'hex'), Buffer.from([0x47]), header, Buffer.from('a0582a', 'hex'), claims, Buffer.from('5840', 'hex'), theirs]);
    expect(await verify(built.toString('base64url'))).toMatchObject({ ok: true });
  });
});

describe('encrypted patterns', () => {
  const bits = Uint8Array.of(10, 11, 12, 13);
  const mint = (wmpattern: unknown): Promise<string> => mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key }, claims: { ...CLAIMS, wmpattern } });
  it('open: COSE_Encrypt0 under a shared key', async () => {
    expect(await verify(await mint(await sealPattern(bits, { key: patternKey, kid: 'p1', iv: new Uint8Array(12) })))).toMatchObject({ ok: true, pattern: bits });
  });
  it('open: COSE_Encrypt with ECDH-SS + A128KW', async () => {
    const sealed = await sealPatternTo(bits, { sender: agreement, recipient: publicJwk, kid: 'p2', contentKey: new Uint8Array(16).fill(3), iv: new Uint8Array(12), nonce: new Uint8Array(16).fill(4) });
    expect(await verify(await mint(sealed))).toMatchObject({ ok: true, pattern: bits });
  });
  it('open: the same, wrapped by node:crypto', async () => {
    const recipientHeader = Buffer.from('a101381f', 'hex');
    const nonce = Buffer.alloc(16, 4);
    const shared = diffieHellman({ privateKey: createPrivateKey({ key: agreement as unknown as NodeJwk, format: 'jwk' }), publicKey: createPublicKey({ key: publicJwk as unknown as NodeJwk, format: 'jwk' }) });
    // COSE_KDF_Context: [-3, [null, nonce, null], [null, null, null], [128, protected]]
    const info = Buffer.concat([Buffer.from('842283f650', 'hex'), nonce, Buffer.from('f683f6f6f6821880', 'hex'), Buffer.from('44', 'hex'), recipientHeader]);
    const kek = Buffer.from(hkdfSync('sha256', shared, Buffer.alloc(0), info, 16));
    const cek = Buffer.alloc(16, 3);
    const wrap = createCipheriv('id-aes128-wrap', kek, Buffer.alloc(8, 0xa6));
    const wrapped = Buffer.concat([wrap.update(cek), wrap.final()]);
    const gcm = createCipheriv('aes-128-gcm', cek, Buffer.alloc(12));
    gcm.setAAD(Buffer.from('8367456e637279707443a1010140', 'hex'));
    const ciphertext = Buffer.concat([gcm.update(bits), gcm.final(), gcm.getAuthTag()]);
    const plain = (buffer: Buffer): Uint8Array => new Uint8Array(buffer);
    const sender = new Map<number, unknown>([[1, 2], [-1, 1], [-2, plain(bytes(agreement.x))], [-3, plain(bytes(agreement.y))]]);
    const recipient = [plain(recipientHeader), new Map<number, unknown>([[4, plain(Buffer.from('p2'))], [-2, sender], [-22, plain(nonce)]]), plain(wrapped)];
    const sealed = [Uint8Array.of(0xa1, 1, 1), new Map([[5, new Uint8Array(12)]]), plain(ciphertext), [recipient]];
    expect(await verify(await mint(sealed))).toMatchObject({ ok: true, pattern: bits });
  });
  it('open: compact JWE in the JWT profile', async () => {
    const wmpattern = await new CompactEncrypt(bits).setProtectedHeader({ alg: 'dir', enc: 'A128GCM', kid: 'p1' }).encrypt(patternKey);
    const token = await mintAccessToken({ format: 'jwt', secret: { alg: 'ES256', key: await importEs256Private(privateJwk) }, kid: 'j2', claims: { ...CLAIMS, wmpattern } });
    expect(await verify(token)).toMatchObject({ ok: true, format: 'jwt', pattern: bits });
  });
  it('of another key, of another length or altered are refused', async () => {
    const refused = async (sealed: unknown): Promise<void> => expect(await verify(await mint(sealed))).toMatchObject({ ok: false, code: 'token-invalid' });
    await refused(await sealPattern(bits, { key: new Uint8Array(16), kid: 'p1', iv: new Uint8Array(12) }));
    await refused(await sealPattern(bits, { key: patternKey, kid: 'p9', iv: new Uint8Array(12) }));
    await refused(await sealPattern(bits.subarray(1), { key: patternKey, kid: 'p1', iv: new Uint8Array(12) }));
    await refused([new Uint8Array(0), new Map(), new Uint8Array(20)]);
    await refused(new Map());
    // Two static keys without nonce or salt.
    const loose = new Map<number, unknown>([[4, new TextEncoder().encode('p2')], [-2, new Map<number, unknown>([[1, 2], [-1, 1], [-2, new Uint8Array(32)], [-3, new Uint8Array(32)]])]]);
    await refused([Uint8Array.of(0xa1, 1, 1), new Map([[5, new Uint8Array(12)]]), new Uint8Array(20), [[Uint8Array.of(0xa1, 1, 0x38, 0x1f), loose, new Uint8Array(24)]]]);
  });
});

describe('JWT', () => {
  const secret = new Uint8Array(32).fill(2);
  const claims = { iss: 'cdn', aud: 'edge', exp: 1_900_000_000, iat: 1_800_000_000 };
  const sign = (claimSet: Record<string, unknown>, header: Record<string, unknown> = {}, by = secret): Promise<string> => new SignJWT(claimSet).setProtectedHeader({ alg: 'HS256', kid: 'j1', ...header }).sign(by);
  it('of jose with the registered watermark names', async () => {
    expect(await verify(await sign({ ...claims, wmver: 1, wmvnd: 4, wmpatlen: 64, wmid: 'v', wmopid: 1, wmkeyver: 2 }))).toMatchObject({ ok: true, claims: { mark: { vendor: 4, id: 'v', operator: 1, keyVersion: 2 } } });
    expect(await verify(await sign({ ...claims, wmver: 1, wmvnd: 4, wmpatlen: 32, wmpattern: 'CgsMDQ' }))).toMatchObject({ ok: true, pattern: Uint8Array.of(10, 11, 12, 13) });
  });
  it('is held to the issuer and audience of its key', async () => {
    expect((await verify(await sign(claims))).ok).toBe(true);
    for (const change of [{ iss: 'other' }, { iss: undefined }, { aud: 'other' }, { aud: ['a', 'b'] }]) expect(await verify(await sign({ ...claims, ...change }))).toMatchObject({ ok: false, code: 'token-invalid' });
  });
  const address = { scheme: 'https', host: 'edge.example', port: '', path: '/media/cup/v720/1.m4s', query: '' };
  it('of RFC 9246: a regular expression or a hash of the address', async () => {
    const uri = 'https://edge.example/media/cup/v720/1.m4s';
    for (const [cdniuc, allowed] of [
      ['regex:https://edge\\.example/media/cup/.*', true],
      ['regex:/media/cup/', false],
      [`hash:sha-256;${encodeBase64url(sha256(new TextEncoder().encode(uri)))}`, true],
      [`hash:sha-256;${'A'.repeat(43)}`, false],
    ] as const) {
      const verdict = await verify(await sign({ ...claims, cdniv: 1, cdnicrit: 'exp,cdniuc', cdniuc }));
      expect(verdict.ok && matchesUriRules(verdict.claims.uri ?? [], address, sha256), cdniuc).toBe(allowed);
    }
  });
  it.each([
    ['a critical claim that is not understood', { cdnicrit: 'exp,cdniip' }],
    ['another claim set version', { cdniv: 2 }],
    ['a client address', { cdniip: 'x' }],
    ['an address rule of another kind', { cdniuc: 'path:/x' }],
    ['a regular expression that backtracks', { cdniuc: 'regex:(a+)+b' }],
    ['a regular expression that looks around', { cdniuc: 'regex:(?=a).*' }],
    ['many unbounded repeats', { cdniuc: 'regex:.*a.*b.*c.*d.*e' }],
    ['leading zeros', { wmver: '01', wmvnd: 1, wmpatlen: 8, wmid: 'x' }],
    ['an unknown watermark version', { wmver: 2, wmvnd: 1, wmpatlen: 8, wmid: 'x' }],
    ['indirect mode without an id', { wmver: 1, wmvnd: 1, wmpatlen: 8 }],
    ['a pattern of another length', { wmver: 1, wmvnd: 1, wmpatlen: 8, wmpattern: 'CgsMDQ' }],
    ['no expiry', { exp: undefined }],
    ['a watermark without iat', { iat: undefined, wmver: 1, wmvnd: 1, wmpatlen: 8, wmid: 'x' }],
    ['proof of possession', { cnf: { jwk: {} } }],
  ])('with %s is refused', async (_name, change) => {
    expect(await verify(await sign({ ...claims, ...change }))).toMatchObject({ ok: false, code: 'token-invalid' });
  });
  it('with leading zeros in its JSON is refused under a right signature', async () => {
    const signed = `${Buffer.from('{"alg":"HS256","kid":"j1"}').toString('base64url')}.${Buffer.from('{"iss":"cdn","aud":"edge","exp":01900000000}').toString('base64url')}`;
    expect(await verify(`${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`)).toMatchObject({ ok: false });
  });
  it('never crosses algorithms, formats or types', async () => {
    const es = await importEs256Private(privateJwk);
    const pem = pair.publicKey.export({ format: 'pem', type: 'spki' });
    const refused = async (token: string): Promise<void> => expect(await verify(token)).toMatchObject({ ok: false, code: 'token-invalid' });
    await refused(await sign(claims, { kid: 'j2' }, Buffer.from(pem)));
    await refused(await sign(claims, { kid: 'j2' }, new TextEncoder().encode(JSON.stringify(publicJwk))));
    await refused(await mintAccessToken({ format: 'jwt', secret: { alg: 'ES256', key: es }, kid: 'j1', claims }));
    await refused(await mintAccessToken({ format: 'jwt', secret: { alg: 'ES256', key: es }, kid: 'e1', claims }));
    await refused(await mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key: secret }, kid: 'j1', claims: CLAIMS }));
    await refused(await sign(claims, { typ: 'entitlement+jwt' }));
    await refused(await sign(claims, { alg: 'HS512' }, new Uint8Array(64)));
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    for (const alg of ['none', 'NONE', '', null]) await refused(`${part({ alg, kid: 'j1' })}.${part(claims)}.${'A'.repeat(43)}`);
    await refused(`${part({ alg: 'HS256', kid: 'j1', crit: ['exp'] })}.${part(claims)}.${'A'.repeat(43)}`);
  });
});

describe('CTA-5007', () => {
  const mint = (change: MintedClaims): Promise<string> => mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key }, claims: { exp: 1_900_000_000, catv: 1, ...change } });
  const rules = new Map<number, unknown>([[3, new Map([[1, '/media/cup/']])], [8, new Map([[0, '.m4s']])], [0, new Map([[4, ['https?']]])], [1, new Map<number, unknown>([[-1, sha256(new TextEncoder().encode('edge.example'))]])]]);
  const address = { scheme: 'https', host: 'edge.example', port: '8443', path: '/media/cup/v720/1.m4s', query: 'x=1' };
  it('limits the address; every component has to match', async () => {
    const verdict = await verify(await mint({ catu: rules, catm: ['GET', 'HEAD'], catreplay: 0, catr: new Map([[0, 0], [1, 300]]) }));
    if (!verdict.ok) throw new Error(verdict.detail);
    expect(verdict.claims.renewal).toMatchObject({ by: 'same', lifetime: 300, window: 150 });
    const allows = (change: Partial<typeof address>): boolean => matchesUriRules(verdict.claims.uri ?? [], { ...address, ...change }, sha256);
    expect(allows({})).toBe(true);
    for (const change of [{ path: '/media/other/v720/1.m4s' }, { path: '/media/cup/manifest.mpd' }, { scheme: 'ftp' }, { host: 'other.example' }]) expect(allows(change)).toBe(false);
  });
  it('and watermark claims stand in one token', async () => {
    expect(await verify(await mint({ ...CLAIMS, catu: rules }))).toMatchObject({ ok: true, claims: { mark: { vendor: 0 }, uri: [{}, {}, {}, {}] } });
  });
  it.each<[string, MintedClaims]>([
    ['one-time use', { catreplay: 1 }],
    ['a place', { catgeoiso3166: ['DE'] }],
    ['a network', { catnip: [] }],
    ['another method', { catm: ['POST'] }],
    ['another version', { catv: 2 }],
    ['an unknown component', { catu: new Map([[9, new Map([[0, 'x']])]]) }],
    ['an unknown match', { catu: new Map([[3, new Map([[7, 'x']])]]) }],
    ['an address rule that is no map', { catu: 'x' }],
  ])('asking for %s is refused', async (_name, change) => {
    expect(await verify(await mint(change))).toMatchObject({ ok: false, code: 'token-invalid' });
  });
});

describe('hostile CWTs', () => {
  it('times hold to the instant', async () => {
    expect(await verify(VECTOR, microsFromSeconds(1_900_000_000))).toMatchObject({ ok: false, code: 'token-expired' });
    const later = await mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key }, claims: { ...CLAIMS, nbf: 1_860_000_000 } });
    expect(await verify(later)).toMatchObject({ ok: false, code: 'token-invalid' });
  });
  it.each<[string, string]>([
    ['truncated', hex('d18443a10105a0582aa701')],
    ['indefinite array', hex('d19f43a10105a041a04100ff')],
    ['indefinite bytes', hex('d1845f43a10105ffa0401820')],
    ['a length of 2^64-1', hex('d184 5bffffffffffffffff a0')],
    ['a list of 2^32 members', hex('9affffffff')],
    ['a map of 2^63 members', hex('bb8000000000000000')],
    ['a tag bomb', hex(`${'c1'.repeat(2000)}00`)],
    ['nested lists', hex(`${'81'.repeat(3000)}00`)],
    ['bytes behind the message', hex(`${bytes(VECTOR).toString('hex')}00`)],
    ['three members', hex('83 43a10105 a0 40')],
    ['an algorithm in the unprotected header', hex('84 40 a10105 41a0 4100')],
    ['a repeated protected label', hex('84 45a201050105 a0 41a0 4100')],
    ['a key id in both headers', hex('84 47a2010504426b31 a104426b31 41a0 4100')],
    ['a critical header', hex('84 46a20105028101 a0 41a0 4100')],
    ['Mac0 in the tag of Sign1', hex(`d2${bytes(VECTOR).subarray(1).toString('hex')}`)],
    ['an unknown tag', hex(`d3${bytes(VECTOR).subarray(1).toString('hex')}`)],
    ['an empty text', ''],
  ])('%s is refused', async (_name, token) => {
    expect(await verify(token)).toMatchObject({ ok: false, code: 'token-invalid' });
  });
  it('repeated claims under a right signature', async () => {
    const payload = Buffer.from('a3041a713fb300061a6b49d200041a713fb301', 'hex');
    const signed = Buffer.concat([Buffer.from('84644d41433043a1010540', 'hex'), Buffer.from([0x40 + payload.length]), payload]);
    const mac = createHmac('sha256', key).update(signed).digest();
    const token = Buffer.concat([Buffer.from('8443a10105a0', 'hex'), Buffer.from([0x40 + payload.length]), payload, Buffer.from('5820', 'hex'), mac]);
    expect(await verify(token.toString('base64url'))).toMatchObject({ ok: false, detail: expect.stringContaining('claims') });
  });
  it('any single changed byte', async () => {
    const good = bytes(VECTOR);
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
        const changed = Buffer.from(good);
        changed[at] = (changed[at] as number) ^ flip;
        const verdict = await verify(changed.toString('base64url'));
        return !verdict.ok && !verdict.detail.includes('CgsMDQ');
      }),
      { numRuns: 300 },
    );
  });
  it('any bytes at all: an answer, no exception, and decoding what was encoded', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (noise) => !(await verify(Buffer.from(noise).toString('base64url'))).ok), { numRuns: 300 });
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => decodeCbor(noise) !== null || noise[0] === 0xf6), { numRuns: 500 });
    const value = fc.array(fc.oneof(fc.maxSafeInteger().filter((number) => !Object.is(number, -0)), fc.string(), fc.boolean()), { maxLength: 20 });
    fc.assert(
      fc.property(value, (list) => {
        expect(decodeCbor(encodeCbor(list))).toEqual(list);
      }),
    );
  });
});
