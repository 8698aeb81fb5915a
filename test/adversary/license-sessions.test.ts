// SPDX-License-Identifier: Apache-2.0
/** New licences, secure stops, Clear Key, imported keys and edge bundles (docs/wire/session.md, docs/wire/edge-bundle.md). */
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { parseEdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { KeyId } from '#core/ids.ts';
import { contentKey, importWrapKey, keyIdOf } from '#core/keys/ladder.ts';
import type { CryptoPeriod, GrantGroup, Micros, Millis } from '#core/time.ts';
import { importSigningKey, makeKeyPair, openSealed, signJws } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import type { EnrolledEdge } from '#license-server/options.ts';
import { createWorld, FILM, FILM_SECONDS, LIVE, liveGroup, makeDevice, SCHEDULE, SECOND, START, type TestDevice, type Viewer, until, type World } from './license-world.ts';

const device: TestDevice = await makeDevice();
const thief: TestDevice = await makeDevice();
let world: World;
beforeEach(async () => {
  world = await createWorld();
});

describe('a new licence for a running session', () => {
  it('keeps the session and opens the term where the viewer is now', async () => {
    const viewer = await world.start(device, FILM);
    const answer = await world.relicense(viewer, { position: 400 * SECOND });
    expect(answer.status).toBe(201);
    const next = await world.open(answer.body, device);
    expect(next.sid).toBe(viewer.sid);
    expect([65, 66, 75, 76].map(next.opens)).toEqual([false, true, true, false]);
    expect((await world.stores.sessions.list({ limit: 10 })).length).toBe(1);
    expect(await world.stores.heartbeats.live({}, world.clock.now())).toHaveLength(1);
  });
  it('is refused with a used nonce, a foreign proof, another session\'s proof or a nonce that was not signed', async () => {
    const [viewer, other] = [await world.start(device, FILM), await world.start(device, FILM)];
    const body = await world.relicenseBody(viewer);
    expect((await world.post('/v1/licenses', body)).status).toBe(201);
    expect((await world.post('/v1/licenses', body)).body.code).toBe('nonce-invalid');
    expect((await world.relicense(viewer, { signer: thief.sign })).body.code).toBe('proof-invalid');
    expect((await world.relicense(viewer, { proof: { sid: other.sid } })).body.code).toBe('proof-invalid');
    expect((await world.relicense(viewer, { proof: { nonce: await world.nonce() } })).body.code).toBe('proof-invalid');
    expect((await world.relicense(viewer, { proof: { extra: true } })).body.code).toBe('proof-invalid');
    expect((await world.relicense(viewer, { nonce: 'AAAA' })).body.code).toBe('nonce-invalid');
    expect((await world.post('/v1/licenses', { ...body, sid: 'short' })).body.code).toBe('bad-request');
  });
  it('is refused after the session ended, for unknown sessions, and once the entitlement is over', async () => {
    const viewer = await world.start(device, FILM, { entitlement: await world.entitlement({ until: Math.floor(START / SECOND) + 3600 }) });
    expect((await world.relicense({ ...viewer, sid: 'A'.repeat(24) as typeof viewer.sid })).body.code).toBe('session-ended');
    await world.clock.advance(3600);
    expect((await world.relicense(viewer)).body).toMatchObject({ code: 'session-ended', reason: 'entitlement' });
    const next = await world.start(device, FILM);
    await world.licenses.endSession(next.sid, 'leak');
    expect((await world.relicense(next)).body).toMatchObject({ code: 'session-ended', reason: 'leak', viewer: expect.stringContaining('appeared elsewhere') as string });
  });
});

describe('secure stop', () => {
  const stopBody = async (viewer: Viewer, { at = START as number, signer = device.sign, proof = {}, body = {} } = {}) => ({ sid: viewer.sid, at, proof: await signJws({ sid: viewer.sid, at, reason: 'viewer', ...proof }, { typ: 'stop+jwt', key: signer }), ...body });

  it('B028 B152 ends the session at once and may be repeated', async () => {
    const viewer = await world.start(device, LIVE);
    const body = await stopBody(viewer);
    expect(await world.post('/v1/stop', body)).toMatchObject({ status: 200, body: { stopped: true } });
    expect(await world.post('/v1/stop', body)).toMatchObject({ status: 200, body: { stopped: true } });
    expect(await world.stores.sessions.get(viewer.sid)).toMatchObject({ endReason: 'viewer', endedAt: START });
    expect(await world.stores.heartbeats.live({}, world.clock.now())).toEqual([]);
    expect(world.renewOn(world.renewal, viewer, liveGroup(START))).toMatchObject({ act: 'end', reason: 'viewer' });
    expect((await world.relicense(viewer)).body.code).toBe('session-ended');
  });
  it('B153 refuses and alerts on a stop by another device, for another session or time', async () => {
    const [viewer, other] = [await world.start(device, LIVE), await world.start(device, LIVE)];
    const bodies = [
      await stopBody(viewer, { signer: thief.sign }),
      await stopBody(viewer, { proof: { sid: other.sid } }),
      await stopBody(viewer, { proof: { at: START + 1 } }),
      await stopBody(viewer, { body: { at: START + 1 } }),
      await stopBody(viewer, { body: { sid: other.sid } }),
    ];
    for (const body of bodies) expect((await world.post('/v1/stop', body)).body.code).toBe('proof-invalid');
    expect(world.told.filter(({ kind, severity }) => kind === 'session.stop-forged' && severity === 'alert')).toHaveLength(bodies.length);
    expect((await world.stores.sessions.get(viewer.sid))?.endedAt).toBeUndefined();
    expect((await world.post('/v1/stop', { ...(await stopBody(viewer)), sid: 'A'.repeat(24) })).body.code).toBe('not-found');
  });
});

describe('Clear Key', () => {
  const ask = (asset: string, token?: string, body: unknown = { kids: ['LwVHf8JLtPrv2GUXFW2v_A'], type: 'temporary' }) => world.post(`/v1/clearkey?asset=${asset}${token === undefined ? '' : `&token=${token}`}`, body);
  const setOf = (answer: Awaited<ReturnType<typeof ask>>) => answer.body['keys'] as { kty: string; kid: string; k: string }[];

  it('answers the decoy entry key alone, which decrypts no sample', async () => {
    const entry = await world.keyServer.entryKey(LIVE);
    const answer = await ask(LIVE);
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({ keys: [{ kty: 'oct', kid: encodeBase64url(entry.kid), k: encodeBase64url(entry.key) }], type: 'temporary' });
    const viewer = await world.start(device, LIVE);
    expect(setOf(await ask(LIVE, viewer.mediaToken))).toHaveLength(1);
    const raw = await world.licenses.handler(new Request(`https://x.example/v1/events/${LIVE}/entry-key`));
    expect(new Uint8Array(await raw.arrayBuffer())).toEqual(entry.key);
    const samples = await world.keyServer.contentKeys({ asset: LIVE, keyGroup: 'video', from: (START / SCHEDULE.period) as CryptoPeriod, to: (START / SCHEDULE.period + 5) as CryptoPeriod });
    expect(samples.some(({ key }) => encodeHex(key) === encodeHex(entry.key))).toBe(false);
  });
  it('with detect and a session gives what the session may have by now, as 16-byte keys without padding', async () => {
    const viewer = await world.start(device, FILM);
    await world.clock.advance(30);
    const keys = setOf(await ask(FILM, viewer.mediaToken));
    // 30 s played + 60 s of term = 15 groups of 3 periods, two key groups, and the decoy.
    expect(keys).toHaveLength(15 * 3 * 2 + 1);
    const [first] = await world.keyServer.contentKeys({ asset: FILM, keyGroup: 'video', from: 0 as CryptoPeriod, to: 1 as CryptoPeriod });
    expect(keys).toContainEqual({ kty: 'oct', kid: encodeBase64url(first?.kid ?? new Uint8Array()), k: encodeBase64url(first?.key ?? new Uint8Array()) });
    for (const { kid, k } of keys) expect([kid, k].every((text) => /^[A-Za-z0-9_-]{22}$/.test(text))).toBe(true);
    expect((await world.stores.heartbeats.live({ asset: FILM }, world.clock.now()))[0]).toMatchObject({ session: viewer.sid, kind: 'renewal', at: world.clock.now() });
  });
  it('gives an event\'s sliding window around now', async () => {
    const entry = await world.stores.catalogue.get(LIVE);
    if (entry !== undefined) await world.stores.catalogue.update({ ...entry, clearKey: 'detect' });
    const viewer = await world.start(device, LIVE);
    // 30 s of time shift and 60 s of term, in groups of 3 periods of 2 key groups, and the decoy.
    expect(setOf(await ask(LIVE, viewer.mediaToken))).toHaveLength((5 + 10) * 3 * 2 + 1);
  });
  it('gives no content key without a token, with a bad, foreign or expired one, or after the end', async () => {
    const [viewer, live] = [await world.start(device, FILM), await world.start(device, LIVE)];
    for (const token of [undefined, 'junk', `${viewer.mediaToken.slice(0, -2)}AA`, live.mediaToken]) expect(setOf(await ask(FILM, token))).toHaveLength(1);
    expect(setOf(await ask(FILM, viewer.mediaToken)).length).toBeGreaterThan(1);
    await world.licenses.endSession(viewer.sid, 'operator');
    expect(setOf(await ask(FILM, viewer.mediaToken))).toHaveLength(1);
    const late = await world.start(device, FILM);
    await world.clock.advance(121);
    expect(setOf(await ask(FILM, late.mediaToken))).toHaveLength(1);
  });
  it('refuses what is no Clear Key request, and unknown assets', async () => {
    expect((await ask(FILM, undefined, {})).body.code).toBe('bad-request');
    expect((await ask('nothing')).body.code).toBe('not-found');
    expect((await world.post('/v1/clearkey', { kids: [] })).body.code).toBe('bad-request');
  });
});

describe('imported keys', () => {
  const periods = (FILM_SECONDS * SECOND) / SCHEDULE.period;
  const fixed = [
    { kid: new Uint8Array(16).fill(1), key: new Uint8Array(16).fill(0xa1), keyGroup: 'video' as const, from: 0, to: periods },
    { kid: new Uint8Array(16).fill(2), key: new Uint8Array(16).fill(0xa2), keyGroup: 'audio' as const, from: 0, to: periods / 2 },
    { kid: new Uint8Array(16).fill(3), key: new Uint8Array(16).fill(0xa3), keyGroup: 'audio' as const, from: periods / 2, to: periods },
  ];
  const unwrap = (viewer: Viewer, kid: Uint8Array): Uint8Array | undefined => {
    const item = viewer.sealed.imported.find((candidate) => encodeHex(candidate.kid) === encodeHex(kid));
    const grant = item === undefined ? undefined : viewer.grant(Math.floor(item.from / SCHEDULE.periodsPerGroup));
    return item === undefined || grant === undefined ? undefined : nodeKeyWrapper.unwrap(importWrapKey(hash, grant, viewer.claims, item.from, item.keyGroup), item.wrapped);
  };
  it('reach a viewer wrapped under the grants it has, wherever it starts', async () => {
    await world.keyServer.importKeys(FILM, fixed);
    const early = await world.start(device, FILM);
    expect([1, 2, 3].map((n) => unwrap(early, new Uint8Array(16).fill(n)))).toEqual([fixed[0]?.key, fixed[1]?.key, undefined]);
    const late = await world.start(device, FILM, { body: { position: 400 * SECOND } });
    expect([1, 2, 3].map((n) => unwrap(late, new Uint8Array(16).fill(n)))).toEqual([fixed[0]?.key, undefined, fixed[2]?.key]);
    const answer = await world.post(`/v1/clearkey?asset=${FILM}&token=${early.mediaToken}`, { kids: [] });
    expect((answer.body['keys'] as { kid: string }[]).map(({ kid }) => kid)).toEqual([encodeBase64url(early.claims.entryKid), encodeBase64url(fixed[0]?.kid as KeyId), encodeBase64url(fixed[1]?.kid as KeyId)]);
  });
  it('replace derived keys for packagers', async () => {
    await world.keyServer.importKeys(FILM, fixed.slice(0, 2));
    const ask = (keyGroup: 'video' | 'audio', from: number, to: number) => world.keyServer.contentKeys({ asset: FILM, keyGroup, from: from as CryptoPeriod, to: to as CryptoPeriod });
    expect((await ask('video', 5, 7)).map(({ kid, key }) => [kid, key])).toEqual([[fixed[0]?.kid, fixed[0]?.key], [fixed[0]?.kid, fixed[0]?.key]]);
    await expect(ask('audio', periods / 2 - 1, periods / 2 + 1)).rejects.toMatchObject({ code: 'unknown-key' });
  });
});

describe('a licence opens what the packager encrypted', () => {
  it('derives the same content keys and key ids from its grants', async () => {
    for (const asset of [LIVE, FILM]) {
      const viewer = await world.start(device, asset);
      const group = viewer.claims.horizon.from + 6;
      const first = group * SCHEDULE.periodsPerGroup;
      const packed = await world.keyServer.contentKeys({ asset, keyGroup: 'video', from: first as CryptoPeriod, to: (first + 3) as CryptoPeriod });
      const grant = viewer.grant(group) ?? new Uint8Array(32);
      expect(packed.map(({ period }) => [contentKey(hash, grant, viewer.claims, period, 'video'), keyIdOf(hash, viewer.claims.salt, viewer.claims, period, 'video')])).toEqual(packed.map(({ key, kid }) => [key, kid]));
      expect(packed[0]?.group).toBe(group as GrantGroup);
    }
  });
});

describe('edge bundles', () => {
  const enrol = async () => {
    const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
    const edge: EnrolledEdge = { edge: 'edge-1', sign: sign.publicJwk, agree: agree.publicJwk, zone: 1, renews: true };
    const agreeKey = await crypto.subtle.importKey('jwk', agree.privateJwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']);
    const signKey = await importSigningKey(sign.privateJwk);
    const made = await createWorld({ zones: [{ index: 0, name: 'core' }, { index: 1, name: 'eu-1' }], edges: (id) => (id === 'edge-1' || id === 'edge-2' ? { ...edge, edge: id } : undefined) });
    let jti = 0;
    const request = async (query = '', { id = 'edge-1', claims = {}, key = signKey, typ = 'edge-request+jwt' as const } = {}, signal?: AbortSignal): Promise<Response> => {
      const token = await signJws({ edge: id, iat: Math.floor(made.clock.now() / SECOND), jti: `r${jti++}`, ...claims }, { typ, key });
      return made.licenses.handler(new Request(`https://x.example/v1/edges/${id}/bundle${query}`, { headers: { authorization: `Bearer ${token}` }, ...(signal && { signal }) }));
    };
    const open = async (response: Response) => parseEdgeBundle((await openSealed(await response.text(), agreeKey)) ?? '');
    return { world: made, request, open };
  };

  it('are sealed to the edge and hold its zone only', async () => {
    const { world: made, request, open } = await enrol();
    const response = await request();
    expect([response.status, response.headers.get('content-type'), response.headers.get('access-control-allow-origin')]).toEqual([200, 'application/jose', null]);
    const bundle = await open(response);
    expect(bundle).toMatchObject({ edge: 'edge-1', zone: { index: 1, name: 'eu-1' }, validUntil: bundle.issuedAt + 600 * SECOND, revokedSessions: [] });
    const [epoch] = bundle.epochs;
    expect(epoch?.zoneKey).toEqual(made.licenses.zoneKeys((epoch?.epoch ?? 0) % 256, 1, made.clock.now())?.zoneKey);
    expect(epoch?.zoneKey).not.toEqual(made.licenses.zoneKeys((epoch?.epoch ?? 0) % 256, 0, made.clock.now())?.zoneKey);
  });
  it('wait for a change, wake on a revocation, and answer 204 when there was none', async () => {
    const { world: made, request, open } = await enrol();
    const { version } = await open(await request());
    const quiet = made.clock.pending;
    const waiting = request(`?version=${version}&wait=20`);
    await until(() => made.clock.pending > quiet);
    const viewer = await made.start(device, LIVE);
    await made.licenses.endSession(viewer.sid, 'leak');
    const next = await open(await waiting);
    expect(next.version).toBeGreaterThan(version);
    expect(next.revokedSessions).toEqual([{ session: viewer.sid, until: START + (2 * 180 + 660) * SECOND, reason: 'leak' }]);
    const idle = request(`?version=${next.version}&wait=20`);
    await until(() => made.clock.pending > quiet);
    await made.clock.advance(20);
    expect((await idle).status).toBe(204);
    await made.clock.advance(60);
    const reissued = await open(await request(`?version=${next.version}`));
    expect(reissued.validUntil).toBe(reissued.issuedAt + 600 * SECOND);
    await made.clock.advance(1100);
    await made.licenses.refresh();
    expect((await open(await request())).revokedSessions).toEqual([]);
  });
  it('let go of callers who gave up and of everybody at close', async () => {
    const { world: made } = await enrol();
    const source = made.licenses.bundleSource({ edge: 'in-process', zone: 0, renews: false });
    const first = await source({ version: 0, wait: 0 as Millis, signal: new AbortController().signal });
    const version = first?.version ?? 0;
    const controller = new AbortController();
    const given = source({ version, wait: 20_000 as Millis, signal: controller.signal });
    controller.abort();
    expect(await given).toBeUndefined();
    const open = source({ version, wait: 20_000 as Millis, signal: new AbortController().signal });
    made.licenses.close();
    expect(await open).toBeUndefined();
  });
  it('hold the next master secret before sessions start under it', async () => {
    const { world: made, request, open } = await enrol();
    await made.clock.advance(19 * 3600);
    await made.licenses.refresh();
    const { epochs } = await open(await request());
    expect(epochs.map(({ epoch, notBefore }) => [epoch, notBefore])).toEqual([[2, START + 24 * 3600 * SECOND - 60 * SECOND], [1, START - 60 * SECOND]]);
  });
  it('are refused unsigned, wrongly signed, for another edge, too old or twice, and for bad waits', async () => {
    const { world: made, request } = await enrol();
    const code = async (response: Promise<Response>): Promise<unknown> => ((await (await response).json()) as { code: string }).code;
    expect(await code(made.licenses.handler(new Request('https://x.example/v1/edges/edge-1/bundle')))).toBe('token-missing');
    expect(await code(request('', { key: thief.sign }))).toBe('credential-invalid');
    expect(await code(request('', { id: 'nobody' }))).toBe('credential-invalid');
    expect(await code(request('', { claims: { edge: 'edge-2' } }))).toBe('credential-invalid');
    expect(await code(request('', { typ: 'stop+jwt' as never }))).toBe('credential-invalid');
    expect(await code(request('', { claims: { iat: Math.floor(START / SECOND) - 61 } }))).toBe('credential-invalid');
    expect((await request('', { claims: { jti: 'once' } })).status).toBe(200);
    expect(await code(request('', { claims: { jti: 'once' } }))).toBe('credential-invalid');
    expect(await code(request('?wait=26'))).toBe('bad-request');
    expect(await code(request('?version=-1'))).toBe('bad-request');
  });
});

describe('start-up', () => {
  it('refuses entitlement keys that could be misused, and bad terms', async () => {
    const { publicJwk, privateJwk } = await makeKeyPair('sign');
    const bad = [
      { kid: 'a', alg: 'HS256' as const, key: new Uint8Array(31) },
      { kid: 'a', alg: 'ES256' as const, key: new Uint8Array(32) },
      { kid: 'a', alg: 'HS256' as const, key: publicJwk as JsonWebKey },
      { kid: 'a', alg: 'ES256' as const, key: privateJwk },
      { kid: 'a', alg: 'EdDSA' as const, key: publicJwk as JsonWebKey },
    ];
    for (const key of bad) await expect(createWorld({ entitlementKeys: [key] })).rejects.toMatchObject({ code: 'config-invalid' });
    await expect(createWorld({ entitlementKeys: [{ kid: 'a', alg: 'ES256', key: publicJwk as JsonWebKey }, { kid: 'a', alg: 'ES256', key: publicJwk as JsonWebKey }] })).rejects.toThrow('twice');
    await expect(createWorld({ policy: { interval: 5000, duration: 4000 } })).rejects.toMatchObject({ code: 'config-invalid' });
    await expect(createWorld({ zones: [] })).rejects.toMatchObject({ code: 'config-invalid' });
  });
  it('takes Ed25519 backends', async () => {
    const pair = (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify'])) as CryptoKeyPair;
    const made = await createWorld({ entitlementKeys: [{ kid: 'ed', alg: 'EdDSA', key: await crypto.subtle.exportKey('jwk', pair.publicKey) }] });
    const entitlement = await made.entitlement({}, { key: { alg: 'EdDSA', key: pair.privateKey }, kid: 'ed' });
    await expect(made.start(device, LIVE, { entitlement })).resolves.toBeDefined();
  });
  it('keeps working when the store fails now and then', async () => {
    const flaky = await createWorld();
    const list = flaky.stores.masterSecrets.list;
    let up = true;
    const node = await flaky.licenseNode({ masterSecrets: { ...flaky.stores.masterSecrets, list: () => (up ? list() : Promise.reject(new Error('down'))) } });
    up = false;
    await flaky.clock.advance(5);
    expect(flaky.logged).toContainEqual(expect.objectContaining({ message: 'the licence server could not refresh' }));
    expect(node.zoneKeys(1, 0, flaky.clock.now() as Micros)).toBeDefined();
    node.close();
  });
});
