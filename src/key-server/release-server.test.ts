// SPDX-License-Identifier: Apache-2.0
/** The release side of a key server: who gets what, how far ahead, and what replicas agree on. */
import { beforeAll, describe, expect, test } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { isSealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { decodeRun } from '#core/release/block.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { GRANT_TYPE, parseGrant, type ReleaseGrant } from '#core/release/grant.ts';
import { parseBlockSchedule, SCHEDULE_TYPE } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { importJwsKey, type JwsKey, makeKeyPair, openSealed, signJws, verifyJws } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { hashCredential } from './handler.ts';
import { createReleaseFeed, createReleaseFollower } from './release-feed.ts';
import { createReleaseServer, type ReleaseServer } from './release-server.ts';
import type { TimedEvents } from './timed-events.ts';

const EVENT = 'final' as AssetId;
const info = { event: EVENT, version: 1, mode: 'standard' as const, firstRelease: 4_850_000 as Micros, period: 100_000 as Micros, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros, perBlock: 100 };
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
let now = 1_800_000_000_000_000;
const timers: (() => void)[] = [];
const clock = { now: () => now as Micros, monotonic: () => (now / 1000) as Millis, after: (delay: Millis, run: () => void) => {
  const fire = (): void => {
    now += delay * 1000;
    run();
  };
  timers.push(fire);
  queueMicrotask(() => timers.splice(timers.indexOf(fire), 1)[0]?.());
  return () => undefined;
} };
let allowed: 'all' | string[] = 'all';
let grantKeys: CryptoKeyPair;
let scheduleKeys: { publicJwk: PublicJwk; privateJwk: JsonWebKey };
let sign: { publicJwk: PublicJwk; privateJwk: JsonWebKey };
let agree: { publicJwk: PublicJwk; privateJwk: JsonWebKey };
let signKey: JwsKey;
let agreeKey: CryptoKey;
let events: TimedEvents;

const server = async (name: string, source: TimedEvents = events): Promise<ReleaseServer> =>
  createReleaseServer({ name, events: source, grantKey: { kid: 'g', key: { alg: 'EdDSA', key: grantKeys.privateKey } }, scheduleKey: { kid: 's', key: await importJwsKey(scheduleKeys.privateJwk, 'ES256') }, publicKeys: () => [scheduleKeys.publicJwk], hash: ladderHash, clock, log: silent, metrics });
const signed = (claims: Record<string, unknown> = {}): Promise<string> => signJws({ edge: 'edge-1', aud: 'keys-1', iat: Math.floor(now / 1e6), jti: encodeBase64url(crypto.getRandomValues(new Uint8Array(12))), ...claims }, { typ: 'edge-request+jwt', key: signKey });
const ask = async (to: ReleaseServer, path: string, token?: string): Promise<Response> => to.handler(new Request(`http://keys${path}`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }));
const codeOf = async (run: Promise<unknown>): Promise<string> => run.then(() => 'ok', (error: unknown) => (isSealcastError(error) ? error.code : String(error)));
const grantsOf = async (response: Response): Promise<ReleaseGrant[]> => {
  const { grants } = (await response.json()) as { grants: string[] };
  return Promise.all(grants.map(async (jwe) => parseGrant(await verifyJws((await openSealed(jwe, agreeKey)) ?? '', { typ: GRANT_TYPE, key: { alg: 'EdDSA', key: grantKeys.publicKey }, maxLength: 65_536 }))));
};

beforeAll(async () => {
  grantKeys = (await crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify'])) as CryptoKeyPair;
  [scheduleKeys, sign, agree] = (await Promise.all([makeKeyPair('sign'), makeKeyPair('sign'), makeKeyPair('agree')])) as [typeof scheduleKeys, typeof sign, typeof agree];
  signKey = await importJwsKey(sign.privateJwk, 'ES256');
  agreeKey = await crypto.subtle.importKey('jwk', agree.privateJwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']);
  const edge = { edge: 'edge-1', sign: sign.publicJwk, agree: agree.publicJwk, host: 'host-1' };
  const event = () => ({ info, createdAt: 1_799_999_000_000_000 as Micros, edges: allowed, urls: ['/'] });
  events = { find: async (id) => (id === EVENT ? event() : undefined), list: async () => [event()], edge: async (name) => (name === 'edge-1' ? edge : undefined), edges: async () => [edge], eventKey: async (id, epoch) => sha256(encodeUtf8(`${id}/${epoch}`)) };
});

describe('grants', () => {
  test('reach one horizon ahead, start ten seconds back, and bind edge, event and schedule', async () => {
    const [grant] = await grantsOf(await ask(await server('keys-1'), `/v1/events/${EVENT}/grants`, await signed()));
    expect(grant).toMatchObject({ issuer: 'keys-1', edge: 'edge-1', event: EVENT, version: 1, firstRelease: info.firstRelease, period: 100_000 });
    const last = (grant?.from ?? 0) + (grant?.secrets.length ?? 0) / 16 - 1;
    expect(releaseInstant(info, last as CryptoPeriod)).toBeLessThanOrEqual(now + 10_000_000);
    expect(releaseInstant(info, (last + 1) as CryptoPeriod)).toBeGreaterThan(now + 10_000_000);
    expect(releaseInstant(info, grant?.from as CryptoPeriod)).toBeGreaterThanOrEqual(now - 10_000_000);
  });
  test('two servers give the same secrets without knowing each other; sequences rise', async () => {
    const one = await server('keys-1');
    const two = await server('keys-2');
    const [[a], [b], [later]] = [await grantsOf(await ask(one, `/v1/events/${EVENT}/grants`, await signed())), await grantsOf(await ask(two, `/v1/events/${EVENT}/grants`, await signed({ aud: 'keys-2' }))), await grantsOf(await ask(one, `/v1/events/${EVENT}/grants`, await signed()))];
    expect(a?.secrets).toEqual(b?.secrets);
    expect(later?.seq).toBeGreaterThan(a?.seq ?? 0);
  });
  test('a request without new periods waits for a second of them, or for its time', async () => {
    const one = await server('keys-1');
    const [grant] = await grantsOf(await ask(one, `/v1/events/${EVENT}/grants`, await signed()));
    const after = (grant?.from ?? 0) + (grant?.secrets.length ?? 0) / 16 - 1;
    expect((await ask(one, `/v1/events/${EVENT}/grants?after=${after}&block=99999999999&wait=0`, await signed())).status).toBe(204);
    const before = now;
    const [next] = await grantsOf(await ask(one, `/v1/events/${EVENT}/grants?after=${after}&block=99999999999&wait=20`, await signed()));
    expect(next?.from).toBe(after + 1);
    expect(now - before).toBeGreaterThanOrEqual(900_000);
    expect(now - before).toBeLessThanOrEqual(1_500_000);
  });
  test('who is not an enrolled, authorised edge with a fresh, unused request for this server is refused', async () => {
    const one = await server('keys-1');
    const path = `/v1/events/${EVENT}/grants`;
    const once = await signed();
    expect(await codeOf(ask(one, path, once))).toBe('ok');
    expect(await codeOf(ask(one, path, once))).toBe('credential-invalid');
    expect(await codeOf(ask(one, path))).toBe('token-missing');
    expect(await codeOf(ask(one, path, await signed({ edge: 'edge-2' })))).toBe('credential-invalid');
    expect(await codeOf(ask(one, path, await signed({ aud: 'keys-2' })))).toBe('credential-invalid');
    expect(await codeOf(ask(one, path, await signed({ iat: Math.floor(now / 1e6) - 120 })))).toBe('credential-invalid');
    expect(await codeOf(ask(one, '/v1/events/other/grants', await signed()))).toBe('not-found');
    allowed = ['edge-9'];
    expect(await codeOf(ask(one, path, await signed()))).toBe('forbidden');
    expect(((await (await ask(one, '/v1/edges/edge-1/releases', await signed())).json()) as { events: string[] }).events).toEqual([]);
    allowed = 'all';
    for (const query of ['after=-2', 'after=x', 'wait=21', 'block=1.5']) expect(await codeOf(ask(one, `${path}?${query}`, await signed()))).toBe('bad-request');
  });
});

describe('heads of release logs', () => {
  test('are taken from enrolled edges only, and kept as they are', async () => {
    const kept: string[] = [];
    const one = createReleaseServer({ name: 'keys-1', events, grantKey: { kid: 'g', key: { alg: 'EdDSA', key: grantKeys.privateKey } }, scheduleKey: { kid: 's', key: await importJwsKey(scheduleKeys.privateJwk, 'ES256') }, publicKeys: () => [], hash: ladderHash, clock, log: silent, metrics, onLogHead: (edge, jws) => kept.push(`${edge} ${jws}`) });
    const post = async (body: string, token?: string): Promise<string> => codeOf(one.handler(new Request('http://keys/v1/edges/edge-1/log-heads', { method: 'POST', body, ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }) })));
    expect(await post('a.b.c', await signed())).toBe('ok');
    expect(await post('a.b.c')).toBe('token-missing');
    expect(await post('no token', await signed())).toBe('bad-request');
    expect(kept).toEqual(['edge-1 a.b.c']);
  });
});

describe('what is public', () => {
  test('schedules up to 40 s ahead; past secrets a second after their time; nothing before', async () => {
    const one = await server('keys-1');
    const current = Math.floor((now - info.firstRelease) / 10_000_000);
    const payload = await verifyJws(await (await ask(one, `/v1/events/${EVENT}/release/schedule/${current + 3}`)).text(), { typ: SCHEDULE_TYPE, key: await importJwsKey(scheduleKeys.publicJwk, 'ES256'), maxLength: 65_536 });
    expect(parseBlockSchedule(payload).block).toBe(current + 3);
    expect(await codeOf(ask(one, `/v1/events/${EVENT}/release/schedule/${current + 6}`))).toBe('too-early');
    expect(await codeOf(ask(one, `/v1/events/${EVENT}/release/blocks/${current + 1}`))).toBe('too-early');
    const partial = await ask(one, `/v1/events/${EVENT}/release/blocks/${current}`);
    const run = decodeRun(new Uint8Array(await partial.arrayBuffer()));
    expect(releaseInstant(info, (run.from + run.secrets.length / 16 - 1) as CryptoPeriod)).toBeLessThanOrEqual(now - 1_000_000);
    expect(partial.headers.get('cache-control')).toBe('no-store');
    expect((await ask(one, `/v1/events/${EVENT}/release/blocks/${current - 5}?count=3`)).headers.get('cache-control')).toContain('immutable');
    expect(await codeOf(ask(one, `/v1/events/${EVENT}/release/blocks/1`))).toBe('not-found');
  });
});

describe('replicas', () => {
  test('follow the first server by its feed, give the same secrets, and go on without it', async () => {
    const feed = createReleaseFeed({ events, credentials: [{ role: 'key-server', tokenHash: hashCredential('replica-credential') }, { role: 'packager', tokenHash: hashCredential('packager-credential') }], clock });
    let away = false;
    const follower = createReleaseFollower({ url: 'http://first', credential: 'replica-credential', clock, log: silent, fetch: async (request) => {
      if (away) throw new TypeError('away');
      return feed(request);
    } });
    await follower.refresh();
    away = true;
    const replica = await server('keys-2', follower);
    const [theirs] = await grantsOf(await ask(await server('keys-1'), `/v1/events/${EVENT}/grants`, await signed()));
    const [ours] = await grantsOf(await ask(replica, `/v1/events/${EVENT}/grants`, await signed({ aud: 'keys-2' })));
    expect(ours?.secrets).toEqual(theirs?.secrets);
    await expect(follower.refresh()).rejects.toThrow();
    const request = (path: string, credential: string): Request => new Request(`http://first${path}`, { headers: { authorization: `Bearer ${credential}` } });
    expect(await codeOf(feed(request('/v1/keys', 'packager-credential')))).toBe('forbidden');
    expect(await codeOf(feed(request('/v1/keys', 'guess')))).toBe('credential-invalid');
    expect(await codeOf(feed(request(`/v1/keys/${EVENT}/release?epoch=${Math.floor(now / 600e6) + 2}`, 'replica-credential')))).toBe('too-early');
  });
});
