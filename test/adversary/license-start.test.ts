// SPDX-License-Identifier: Apache-2.0
/** Session starts, devices and batches against a client that lies, replays and forges (docs/wire/session.md). */
import { beforeAll, describe, expect, it } from 'vitest';
import type { Micros } from '#core/time.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { makeKeyPair, importSigningKey, type JwsKey } from '#crypto/jose.ts';
import { createWorld, FILM, FILM_SECONDS, GROUP, LIVE, liveGroup, makeDevice, SECOND, START, type TestDevice, type World } from './license-world.ts';

let world: World;
let device: TestDevice;
let stranger: TestDevice;
beforeAll(async () => {
  [world, device, stranger] = await Promise.all([createWorld(), makeDevice(), makeDevice()]);
});

const refused = async (body: unknown, path = '/v1/sessions'): Promise<string> => {
  const answer = await world.post(path, body);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.body.status).toBe(answer.status);
  return String(answer.body.code);
};

describe('session start', () => {
  it('B001 answers a limited licence that opens the first term and no more', async () => {
    const answer = await world.post('/v1/sessions', await world.startBody(device, LIVE));
    expect(answer.status).toBe(201);
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const viewer = await world.open(answer.body, device);
    const live = liveGroup(START);
    expect(viewer.claims.terms).toEqual({ interval: 20_000, duration: 60_000 });
    expect(viewer.claims.horizon).toEqual({ from: live - 5, to: live + 600 });
    expect([live - 5, live, live + 9].map(viewer.opens)).toEqual([true, true, true]);
    expect([live - 6, live + 10, live + 599].map(viewer.opens)).toEqual([false, false, false]);
    expect(answer.body['renew']).toEqual({ urls: ['/v1/renew'] });
    expect(answer.body['mediaTokenExpires']).toBe(START + 120 * SECOND);
  });

  it('gives the grant keys of the key server', async () => {
    const viewer = await world.start(device, FILM);
    const grants = await world.keyServer.grantKeys({ asset: FILM, from: viewer.claims.horizon.from, to: viewer.claims.horizon.to });
    expect(viewer.claims.horizon).toEqual({ from: 0, to: FILM_SECONDS / 6 });
    for (const { group, key } of grants) expect(viewer.grant(group)).toEqual(group < 10 ? key : undefined);
  });

  it('starts a title where the viewer is', async () => {
    const viewer = await world.start(device, FILM, { body: { position: 300 * SECOND } });
    expect(viewer.claims.horizon.from).toBe(50);
    expect([49, 50, 59, 60].map(viewer.opens)).toEqual([false, true, true, false]);
  });

  it('B020 records session and heartbeat', async () => {
    const viewer = await world.start(device, LIVE);
    expect(await world.stores.sessions.get(viewer.sid)).toMatchObject({ account: 'account-1', device: device.id, asset: LIVE, deviceName: 'TV' });
    const live = await world.stores.heartbeats.live({ asset: LIVE }, world.clock.now());
    expect(live.find((beat) => beat.session === viewer.sid)).toMatchObject({ kind: 'initial', expiresAt: START + 60 * SECOND });
  });

  it('is only readable by the device it was made for', async () => {
    const answer = await world.post('/v1/sessions', await world.startBody(device, LIVE));
    await expect(world.open(answer.body, stranger)).rejects.toThrow('not for this device');
  });

  it('lets an entitlement tighten the terms and never loosen them, also in later licences', async () => {
    const tight = await world.start(device, LIVE, { entitlement: await world.entitlement({ terms: { interval: 5, duration: 12 } }) });
    expect(tight.claims.terms).toEqual({ interval: 5000, duration: 12_000 });
    const again = await world.open((await world.relicense(tight)).body, device);
    expect(again.claims.terms).toEqual({ interval: 5000, duration: 12_000 });
    const loose = await world.start(device, LIVE, { entitlement: await world.entitlement({ terms: { interval: 500, duration: 5000 } }) });
    expect(loose.claims.terms).toEqual({ interval: 20_000, duration: 60_000 });
  });

  it('ends the horizon of an event with the entitlement', async () => {
    const until = Math.floor(START / SECOND) + 90;
    const viewer = await world.start(device, LIVE, { entitlement: await world.entitlement({ until }) });
    expect(viewer.claims.horizon.to).toBe(Math.ceil((until * SECOND) / GROUP));
    expect(viewer.claims.expiresAt).toBe(until * SECOND);
  });

  it('takes entitlements of an HS256 backend', async () => {
    const key: JwsKey = { alg: 'HS256', key: world.hmacSecret };
    await expect(world.start(device, LIVE, { entitlement: await world.entitlement({}, { key, kid: 'hmac' }) })).resolves.toBeDefined();
  });
});

describe('session start refuses', () => {
  const bodies: readonly [string, Record<string, unknown>][] = [
    ['an unknown member', { extra: 1 }],
    ['a missing proof', { proof: undefined }],
    ['a malformed asset', { asset: '../x' }],
    ['a negative position', { position: -1 }],
    ['a fractional position', { position: 0.5 }],
    ['a device without agree key', { device: { sign: {} } }],
    ['an overlong entitlement', { entitlement: 'x'.repeat(9000) }],
  ];
  it.each(bodies)('%s', async (_name, body) => {
    expect(await refused(await world.startBody(device, LIVE, { body }))).toBe('bad-request');
  });
  it('a private key in the body, a short coordinate, a control character in the name', async () => {
    for (const change of [{ sign: { ...device.signJwk, d: device.signJwk.x } }, { sign: { ...device.signJwk, x: 'AAAA' } }, { name: 'a\u0000b' }, { name: 'x'.repeat(65) }]) {
      expect(await refused(await world.startBody(device, LIVE, { body: { device: { sign: device.signJwk, agree: device.agreeJwk, ...change } } }))).toBe('bad-request');
    }
  });
  it('bodies that are no JSON object, repeat a name, are no UTF-8 or too large', async () => {
    for (const body of ['', '[]', '{"a":1,"a":2}', '{', 'null']) expect(await refused(body)).toBe('bad-request');
    const broken = await world.licenses.handler(new Request('https://license.example/v1/sessions', { method: 'POST', body: Uint8Array.of(0xff, 0xfe) }));
    expect(broken.status).toBe(400);
    expect(await refused(JSON.stringify({ entitlement: 'x'.repeat(40_000) }))).toBe('payload-too-large');
  });
  it('a nonce that is foreign, altered, of another form or over 60 s old', async () => {
    const body = await world.startBody(device, LIVE);
    const last = body.nonce.at(-1) === 'A' ? 'Q' : 'A';
    for (const nonce of ['AAAA', 'not base64!', `${body.nonce.slice(0, 10)}${body.nonce[10] === 'A' ? 'B' : 'A'}${body.nonce.slice(11)}`, body.nonce.slice(0, -1) + last]) expect(await refused({ ...body, nonce })).toBe('nonce-invalid');
    await world.clock.advance(61);
    expect(await refused(body)).toBe('nonce-invalid');
    world.clock.set(START);
  });
  it('a proof for another entitlement, nonce, asset, agree key, by another key or of another type', async () => {
    const other = await makeDevice();
    for (const proof of [{ ent: 'A'.repeat(43) }, { nonce: 'x' }, { asset: FILM }, { agree: other.id }, { extra: 1 }]) expect(await refused(await world.startBody(device, LIVE, { proof }))).toBe('proof-invalid');
    expect(await refused(await world.startBody(device, LIVE, { signer: other.sign }))).toBe('proof-invalid');
    expect(await refused(await world.startBody(device, LIVE, { proofTyp: 'license-proof+jwt' }))).toBe('proof-invalid');
    expect(await refused(await world.startBody(device, LIVE, { body: { proof: 'a.b.c' } }))).toBe('proof-invalid');
    expect(await refused(await world.startBody(device, LIVE, { body: { device: { sign: { ...device.signJwk, x: device.agreeJwk.x }, agree: device.agreeJwk } } }))).toBe('proof-invalid');
    // An agree key exchanged on the way is not the one that was signed.
    expect(await refused(await world.startBody(device, LIVE, { body: { device: { sign: device.signJwk, agree: other.agreeJwk } } }))).toBe('proof-invalid');
  });
  it('an entitlement that is forged, of another type, unsigned, or signed under an unknown key', async () => {
    const forger = await importSigningKey((await makeKeyPair('sign')).privateJwk);
    const header = Buffer.from('{"alg":"none","typ":"entitlement+jwt","kid":"shop"}').toString('base64url');
    const good = await world.entitlement();
    for (const entitlement of [
      await world.entitlement({}, { key: forger }),
      await world.entitlement({}, { kid: 'nobody' }),
      await world.entitlement({}, { typ: 'session-proof+jwt' }),
      `${header}.${good.split('.')[1]}.`,
      good.slice(0, -4),
    ]) expect(await refused(await world.startBody(device, LIVE, { entitlement }))).toBe('entitlement-invalid');
  });
  it('algorithm confusion: a public key used as HMAC secret', async () => {
    const keys = await world.get('/v1/licenses/keys');
    const text = encodeUtf8(JSON.stringify((keys.body['keys'] as unknown[])[0]));
    const entitlement = await world.entitlement({}, { key: { alg: 'HS256', key: text }, kid: 'shop' });
    expect(await refused(await world.startBody(device, LIVE, { entitlement }))).toBe('entitlement-invalid');
  });
  it('claims that are missing, out of range, for another audience or of another issuer', async () => {
    const now = Math.floor(START / SECOND);
    for (const claims of [{ aud: 'other' }, { iss: 'https://evil.example' }, { sub: 'a b' }, { sub: undefined }, { jti: undefined }, { jti: 'x'.repeat(129) }, { exp: now + 400 }, { exp: now - 10, iat: now }, { iat: now + 100, exp: now + 200 }, { assets: [] }, { asset: LIVE }, { asset: '*', assets: undefined }, { assets: undefined }, { terms: { speed: 2 } }, { terms: { interval: 0 } }, { until: 'never' }]) {
      expect(await refused(await world.startBody(device, LIVE, { entitlement: await world.entitlement(claims) }))).toBe('entitlement-invalid');
    }
  });
  it('an expired entitlement, and one whose time to watch is over', async () => {
    const now = Math.floor(START / SECOND);
    for (const claims of [{ iat: now - 300, exp: now }, { until: now }]) expect(await refused(await world.startBody(device, LIVE, { entitlement: await world.entitlement(claims) }))).toBe('entitlement-expired');
  });
  it('an entitlement for another asset', async () => {
    expect(await refused(await world.startBody(device, LIVE, { entitlement: await world.entitlement({ assets: [FILM] }) }))).toBe('token-wrong-asset');
    expect(await refused(await world.startBody(device, LIVE, { entitlement: await world.entitlement({ assets: undefined, asset: FILM }) }))).toBe('token-wrong-asset');
  });
  it('a replayed start: same nonce, same jti', async () => {
    const body = await world.startBody(device, LIVE);
    expect((await world.post('/v1/sessions', body)).status).toBe(201);
    expect(await refused(body)).toBe('entitlement-used');
  });
  it('a used entitlement in a fresh start, also at another server and by two at once', async () => {
    const entitlement = await world.entitlement();
    const node = await world.licenseNode();
    const bodies = await Promise.all([world.startBody(device, LIVE, { entitlement }), world.startBody(stranger, LIVE, { entitlement })]);
    const answers = await Promise.all(bodies.map((body, index) => (index === 0 ? world.licenses : node).handler(new Request('https://x.example/v1/sessions', { method: 'POST', body: JSON.stringify(body) }))));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 409]);
    node.close();
  });
  it('assets without keys or without a catalogue entry, and titles that are not ready', async () => {
    expect(await refused(await world.startBody(device, 'nothing' as typeof LIVE))).toBe('not-found');
    const { keyServer, stores } = world;
    await keyServer.createAsset({ asset: 'draft' as typeof LIVE, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule: { period: GROUP as Micros, periodsPerGroup: 1 } });
    expect(await refused(await world.startBody(device, 'draft' as typeof LIVE))).toBe('not-found');
    await stores.catalogue.create({ asset: 'draft' as typeof LIVE, kind: 'title', name: 'Draft', state: 'created', createdAt: START, clearKey: 'off' });
    expect(await refused(await world.startBody(device, 'draft' as typeof LIVE))).toBe('key-unavailable');
    expect(await refused(await world.startBody(device, FILM, { body: { position: FILM_SECONDS * SECOND } }))).toBe('bad-request');
  });
  it('an event that has ended', async () => {
    const over = await createWorld();
    const viewer = await over.start(device, LIVE);
    const entry = await over.stores.catalogue.get(LIVE);
    if (entry !== undefined) await over.stores.catalogue.update({ ...entry, state: 'ended', endedAt: over.clock.now() });
    for (const answer of [await over.post('/v1/sessions', await over.startBody(device, LIVE)), await over.relicense(viewer)]) {
      expect(answer).toMatchObject({ status: 403, body: { code: 'session-ended', reason: 'content-ended', viewer: 'This programme has ended.' } });
    }
  });
  it('leaves no session and no heartbeat behind', async () => {
    const quiet = await createWorld();
    await quiet.post('/v1/sessions', await quiet.startBody(device, FILM, { body: { position: FILM_SECONDS * SECOND } }));
    await quiet.post('/v1/sessions', await quiet.startBody(device, LIVE, { proof: { asset: FILM } }));
    expect(await quiet.stores.sessions.list({ limit: 10 })).toEqual([]);
    expect(await quiet.stores.heartbeats.live({}, quiet.clock.now())).toEqual([]);
  });
});

describe('devices', () => {
  it('registers, answers 200 again, and refuses above the limit', async () => {
    const small = await createWorld({ deviceLimit: 1 });
    const register = async (of: TestDevice, changes: Record<string, unknown> = {}) => {
      const { asset: _asset, ...body } = await small.startBody(of, LIVE, { proofTyp: 'device-proof+jwt' });
      return small.post('/v1/devices', { ...body, ...changes });
    };
    expect(await register(device)).toMatchObject({ status: 201, body: { device: device.id } });
    expect((await register(device)).status).toBe(200);
    expect(await register(stranger)).toMatchObject({ status: 409, body: { code: 'device-limit', limit: 1 } });
    expect((await register(device, { proof: 'a.b.c' })).body.code).toBe('proof-invalid');
    await small.licenses.revokeDevice(device.id as never);
    expect((await register(device)).body.code).toBe('device-revoked');
    expect((await register(stranger)).status).toBe(201);
  });
  it('plays unregistered devices only if policy allows', async () => {
    const strict = await createWorld({ unregisteredDevices: 'deny' });
    const answer = await strict.post('/v1/sessions', await strict.startBody(device, LIVE));
    expect(answer).toMatchObject({ status: 403, body: { code: 'device-unknown' } });
    const { asset: _asset, ...body } = await strict.startBody(device, LIVE, { proofTyp: 'device-proof+jwt' });
    await strict.post('/v1/devices', body);
    expect((await strict.post('/v1/sessions', await strict.startBody(device, LIVE))).status).toBe(201);
    // Registered by one account, a device is a stranger to another.
    const other = await strict.startBody(device, LIVE, { entitlement: await strict.entitlement({ sub: 'account-2' }) });
    expect((await strict.post('/v1/sessions', other)).body.code).toBe('device-unknown');
  });
  it('refuses a revoked device, and ends its sessions', async () => {
    const { asset: _asset, ...body } = await world.startBody(stranger, LIVE, { proofTyp: 'device-proof+jwt' });
    await world.post('/v1/devices', body);
    const viewer = await world.start(stranger, LIVE);
    expect(await world.licenses.revokeDevice(stranger.id as never)).toBe(true);
    expect(await world.licenses.revokeDevice(stranger.id as never)).toBe(false);
    expect(await refused(await world.startBody(stranger, LIVE))).toBe('device-revoked');
    expect(await world.stores.sessions.get(viewer.sid)).toMatchObject({ endReason: 'device-revoked' });
    expect(world.renewOn(world.renewal, viewer, liveGroup(START))).toMatchObject({ act: 'end', reason: 'device-revoked' });
  });
});

describe('batch', () => {
  it('B111 answers many licences for one entitlement, each item on its own', async () => {
    const entitlement = await world.entitlement();
    const items = await Promise.all([world.startBody(device, LIVE, { entitlement }), world.startBody(device, FILM, { entitlement }), world.startBody(device, FILM, { entitlement, proof: { nonce: 'x' } })]);
    const answer = await world.post('/v1/licenses/batch', { items });
    const results = answer.body['items'] as Record<string, unknown>[];
    expect(results.map((item) => item['status'])).toEqual([201, 201, 403]);
    expect((await world.open(results[1] as Record<string, unknown>, device)).claims.asset).toBe(FILM);
    expect(((await world.post('/v1/licenses/batch', { items })).body['items'] as { code: string }[]).map(({ code }) => code)).toEqual(['entitlement-used', 'entitlement-used', 'proof-invalid']);
  });
  it('is bounded', async () => {
    expect(await refused({ items: [] }, '/v1/licenses/batch')).toBe('bad-request');
    expect(await refused({ items: Array.from({ length: 65 }, () => ({})) }, '/v1/licenses/batch')).toBe('bad-request');
  });
});

describe('routes', () => {
  it('answers preflights, unknown routes and wrong methods', async () => {
    const preflight = await world.licenses.handler(new Request('https://x.example/v1/sessions', { method: 'OPTIONS' }));
    expect([preflight.status, preflight.headers.get('access-control-allow-methods')]).toEqual([204, 'GET, POST']);
    expect((await world.get('/v1/nothing')).body['code']).toBe('not-found');
    expect((await world.get('/v1/stop')).body['code']).toBe('method-not-allowed');
    expect((await world.get('/v1/__proto__')).status).toBe(404);
    expect((await world.get('/v1/sessions')).headers.get('access-control-expose-headers')).toBe('Sealcast-Media-Token, Date');
  });
});
