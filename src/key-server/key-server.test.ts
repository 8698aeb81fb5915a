// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { assetId } from '#core/ids.ts';
import type { CryptoPeriod, GrantGroup, KeySchedule, Micros } from '#core/time.ts';
import { createHttpKeys } from '#adapters/http/keys.ts';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { createSecretBox } from '#adapters/node/secret-box.ts';
import type { AssetKeyRecord, AssetKeyStore, Clock, Fetch } from '#ports';
import { hashCredential } from './handler.ts';
import { createMarkKeys } from './mark-keys.ts';
import { createKeyServer, type KeyServer, type KeyServerOptions } from './key-server.ts';

const NOW = 1_800_000_000_000_000 as Micros;
const schedule: KeySchedule = { period: 2_000_000 as Micros, periodsPerGroup: 3 };
const live = assetId('live');
const film = assetId('film');
const nowPeriod = NOW / schedule.period;

let store: AssetKeyStore;
let server: KeyServer;
const lines: unknown[] = [];
const write = (message: string, fields?: Record<string, unknown>) => void lines.push({ message, ...fields });
let counter = 0;
const options = (changes: Partial<KeyServerOptions> = {}): KeyServerOptions => ({
  store,
  box: createSecretBox(new Uint8Array(32).fill(1)),
  random: { bytes: (length) => new Uint8Array(length).map(() => (counter = (counter * 73 + 41) % 256)) },
  clock: { now: () => NOW } as Clock,
  credentials: [
    { role: 'packager', tokenHash: hashCredential('packager-token') },
    { role: 'license-server', tokenHash: hashCredential('license-token') },
  ],
  log: { debug: write, info: write, warn: write, error: write },
  events: (event) => void lines.push(event),
  metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
  ...changes,
});
const periods = (from: number, to: number) => ({ from: from as CryptoPeriod, to: to as CryptoPeriod });
const groups = (from: number, to: number) => ({ from: from as GrantGroup, to: to as GrantGroup });
const fixed = (kid: number, from: number, to: number, keyGroup: 'video' | 'audio' = 'video') => ({ kid: new Uint8Array(16).fill(kid), key: new Uint8Array(16).fill(kid + 100), keyGroup, from, to });

beforeEach(async () => {
  store = createMemoryStores().assetKeys;
  server = createKeyServer(options());
  await server.createAsset({ asset: live, kind: 'event', scheme: 'cenc', mode: 'untimed', schedule });
  await server.createAsset({ asset: film, kind: 'title', scheme: 'cbcs', mode: 'untimed', schedule });
});

describe('assets', () => {
  it('are made once, with secrets that differ and are sealed in the store', async () => {
    const keying = await server.keying(live);
    expect(keying).toMatchObject({ asset: live, kind: 'event', scheme: 'cenc', mode: 'untimed', gen: 1, schedule });
    await expect(server.createAsset({ asset: live, kind: 'title', scheme: 'cenc', mode: 'untimed', schedule })).rejects.toMatchObject({ code: 'already-exists' });
    const [a, b] = await Promise.all([live, film].map((asset) => server.grantKeys({ asset, ...groups(0, 1) })));
    expect(encodeHex(a?.[0]?.key ?? new Uint8Array())).not.toBe(encodeHex(b?.[0]?.key ?? new Uint8Array()));
    const record = (await store.get(live)) as AssetKeyRecord;
    expect(record.sealedTitleKeys[0]?.sealed.length).toBe(1 + 12 + 32 + 16);
    const entry = await server.entryKey(live);
    expect(encodeHex(record.sealedEntryKey)).not.toContain(encodeHex(entry.key));
    expect(entry.kid).toEqual(keying.entryKid);
  });
  it('refuse schedules that make no sense and timed titles', async () => {
    const make = (changes: object) => server.createAsset({ asset: assetId('x'), kind: 'event', scheme: 'cenc', mode: 'untimed', schedule, ...changes });
    for (const broken of [{ period: 0 }, { period: 1.5 }, { period: 10_000 }, { period: 2_000_001 }, { periodsPerGroup: 0 }, { periodsPerGroup: 2000 }, { period: 3_600_001_000, periodsPerGroup: 1 }]) {
      await expect(make({ schedule: { ...schedule, ...broken } })).rejects.toMatchObject({ code: 'bad-request' });
    }
    await expect(make({ mode: 'timed' })).rejects.toThrow('release secrets');
    const timed = createKeyServer(options({ releaseSecret: async () => new Uint8Array(16).fill(7) }));
    await expect(timed.createAsset({ asset: assetId('x'), kind: 'title', scheme: 'cenc', mode: 'timed', schedule })).rejects.toThrow('only events');
  });
  it('derive timed content keys from the release secret', async () => {
    let secret = 7;
    const timed = createKeyServer(options({ releaseSecret: async () => new Uint8Array(16).fill(secret) }));
    await timed.createAsset({ asset: assetId('t'), kind: 'event', scheme: 'cenc', mode: 'timed', schedule });
    const ask = async () => encodeHex((await timed.contentKeys({ asset: assetId('t'), keyGroup: 'video', ...periods(0, 1) }))[0]?.key ?? new Uint8Array());
    const before = await ask();
    secret = 8;
    expect(await ask()).not.toBe(before);
    await expect(server.contentKeys({ asset: assetId('t'), keyGroup: 'video', ...periods(0, 1) })).rejects.toMatchObject({ code: 'key-unavailable' });
  });
  it('are not found if unknown, and not opened under another key-encryption key', async () => {
    await expect(server.keying(assetId('none'))).rejects.toMatchObject({ code: 'not-found' });
    const stranger = createKeyServer(options({ box: createSecretBox(new Uint8Array(32).fill(2)) }));
    await expect(stranger.grantKeys({ asset: live, ...groups(0, 1) })).rejects.toMatchObject({ code: 'config-invalid' });
  });
  it('use the key of the current generation, also one that another process made', async () => {
    const before = await server.grantKeys({ asset: film, ...groups(0, 1) });
    const record = (await store.get(film)) as AssetKeyRecord;
    const sealed = await options().box.seal(new Uint8Array(32).fill(5), `title-key/${film}/2`);
    expect(await store.replace({ ...record, gen: 2, sealedTitleKeys: [...record.sealedTitleKeys, { gen: 2, sealed }] }, 1)).toBe(true);
    const after = await server.grantKeys({ asset: film, ...groups(0, 1) });
    expect((await server.keying(film)).gen).toBe(2);
    expect(encodeHex(after[0]?.key ?? new Uint8Array())).not.toBe(encodeHex(before[0]?.key ?? new Uint8Array()));
    const next = (await store.get(film)) as AssetKeyRecord;
    await store.replace({ ...next, gen: 3 }, 2);
    await expect(server.grantKeys({ asset: film, ...groups(0, 1) })).rejects.toMatchObject({ code: 'unknown-key' });
  });
});

describe('content keys', () => {
  it('leave at most 60 s ahead of live, and without limit for titles', async () => {
    const ask = (asset: typeof live, from: number, to: number) => server.contentKeys({ asset, keyGroup: 'video', ...periods(from, to) });
    expect(await ask(live, nowPeriod, nowPeriod + 31)).toHaveLength(31);
    await expect(ask(live, nowPeriod + 30, nowPeriod + 32)).rejects.toMatchObject({ code: 'key-unavailable' });
    expect(await ask(live, 0, 2)).toHaveLength(2);
    await expect(ask(film, 2 ** 40, 2 ** 40 + 2)).rejects.toMatchObject({ code: 'bad-request' });
    expect(await ask(film, 5000, 9096)).toHaveLength(4096);
  });
  it('have their own key and id per period and key group', async () => {
    const keys = (await Promise.all((['video', 'audio'] as const).map((keyGroup) => server.contentKeys({ asset: film, keyGroup, ...periods(0, 30) })))).flat();
    expect(new Set(keys.map(({ key }) => encodeHex(key))).size).toBe(60);
    expect(new Set(keys.map(({ kid }) => encodeHex(kid))).size).toBe(60);
    expect(keys[29]).toMatchObject({ period: 29, group: 9 });
  });
  it('refuse ranges that are empty, negative, fractional or too long', async () => {
    for (const [from, to] of [[5, 5], [6, 5], [-1, 1], [0, 1.5], [0, 4097]] as const) {
      await expect(server.contentKeys({ asset: film, keyGroup: 'video', ...periods(from, to) })).rejects.toMatchObject({ code: 'bad-request' });
      await expect(server.grantKeys({ asset: film, ...groups(from, to) })).rejects.toMatchObject({ code: 'bad-request' });
    }
    await expect(server.grantKeys({ asset: film, ...groups(2 ** 32 - 1, 2 ** 32 + 1) })).rejects.toMatchObject({ code: 'bad-request' });
  });
  it('are the same after many grants were cached and dropped', async () => {
    const [first] = await server.grantKeys({ asset: film, ...groups(0, 1) });
    for (let from = 0; from < 16_384; from += 4096) await server.grantKeys({ asset: film, ...groups(from, from + 4096) });
    expect((await server.grantKeys({ asset: film, ...groups(0, 1) }))[0]).toEqual(first);
  });
});

describe('imported keys', () => {
  it('are kept as they are, sealed, and refused in wrong sizes, overlaps and duplicates, whole lists at a time', async () => {
    await server.importKeys(film, [fixed(1, 0, 50), fixed(2, 50, 100), fixed(3, 0, 100, 'audio')]);
    expect(await server.importedKeys(film)).toEqual([fixed(1, 0, 50), fixed(2, 50, 100), fixed(3, 0, 100, 'audio')]);
    const refused: [string, object[]][] = [
      ['key id is 16 bytes; got 15', [{ ...fixed(4, 100, 101), kid: new Uint8Array(15) }]],
      ['key is 16 bytes (AES-128); got 32', [{ ...fixed(4, 100, 101), key: new Uint8Array(32) }]],
      ['from < to', [fixed(4, 101, 101)]],
      ['must not overlap', [fixed(4, 99, 101)]],
      ['must not overlap', [fixed(4, 100, 102), fixed(5, 101, 103)]],
      ['must be unique', [fixed(1, 100, 102)]],
    ];
    for (const [message, keys] of refused) await expect(server.importKeys(film, keys as never)).rejects.toThrow(message);
    expect(await server.importedKeys(film)).toHaveLength(3);
    await expect(server.importKeys(assetId('none'), [])).rejects.toMatchObject({ code: 'not-found' });
  });
  it('of timed events span one period', async () => {
    const timed = createKeyServer(options({ releaseSecret: async () => new Uint8Array(16).fill(7) }));
    await timed.createAsset({ asset: assetId('t'), kind: 'event', scheme: 'cenc', mode: 'timed', schedule });
    await expect(timed.importKeys(assetId('t'), [fixed(1, 0, 2)])).rejects.toThrow('one crypto period');
  });
});

describe('over HTTP', () => {
  const ask = (path: string, token: string | undefined, body?: unknown) =>
    server.handler(new Request(`https://keys.example${path}`, { ...(body !== undefined && { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }), headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }));
  const fetch: Fetch = (request) => server.handler(request);

  it('both clients get what the ports give', async () => {
    await server.importKeys(film, [fixed(1, 0, 50)]);
    const packager = createHttpKeys({ baseUrl: 'https://keys.example/', credential: 'packager-token', fetch });
    const license = createHttpKeys({ baseUrl: 'https://keys.example', credential: 'license-token', fetch });
    for (const asset of [live, film]) {
      expect(await packager.keying(asset)).toEqual(await server.keying(asset));
      const wanted = { asset, keyGroup: 'video' as const, ...periods(3, 9) };
      expect(await packager.contentKeys(wanted)).toEqual(await server.contentKeys(wanted));
      expect(await license.grantKeys({ asset, ...groups(3, 9) })).toEqual(await server.grantKeys({ asset, ...groups(3, 9) }));
      expect(await license.entryKey(asset)).toEqual(await server.entryKey(asset));
      expect(await license.importedKeys(asset)).toEqual(await server.importedKeys(asset));
    }
    await expect(packager.keying(assetId('none'))).rejects.toMatchObject({ code: 'not-found' });
    await expect(packager.contentKeys({ asset: live, keyGroup: 'video', ...periods(nowPeriod + 100, nowPeriod + 101) })).rejects.toMatchObject({ code: 'key-unavailable' });
    await expect(packager.grantKeys({ asset: live, ...groups(0, 1) })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(license.contentKeys({ asset: live, keyGroup: 'video', ...periods(0, 1) })).rejects.toMatchObject({ code: 'forbidden' });
  });
  it('mark keys reach licence servers that run apart, of known assets only, and no packager', async () => {
    const marks = createMarkKeys({ secret: async (asset) => new Uint8Array(32).fill(asset.length) });
    const marked = createKeyServer(options({ marks }));
    await marked.createAsset({ asset: assetId('cup'), kind: 'event', scheme: 'cenc', mode: 'untimed', schedule });
    const client = (credential: string) => createHttpKeys({ baseUrl: 'https://keys.example', credential, fetch: (request) => marked.handler(request) });
    expect(await client('license-token').markKeys({ asset: assetId('cup'), from: 3, to: 9 })).toEqual(await marks.markKeys({ asset: assetId('cup'), from: 3, to: 9 }));
    expect((await client('license-token').markKeys({ asset: assetId('cup'), from: 0, to: 0 })).keys).toEqual([]);
    await expect(client('packager-token').markKeys({ asset: assetId('cup'), from: 0, to: 1 })).rejects.toMatchObject({ code: 'forbidden' });
    await expect(client('license-token').markKeys({ asset: assetId('nobody'), from: 0, to: 1 })).rejects.toMatchObject({ code: 'not-found' });
    await expect(client('license-token').markKeys({ asset: assetId('cup'), from: 0, to: 9999 })).rejects.toMatchObject({ code: 'bad-request' });
    await expect(createHttpKeys({ baseUrl: 'https://keys.example', credential: 'license-token', fetch }).markKeys({ asset: live, from: 0, to: 1 })).rejects.toMatchObject({ code: 'key-unavailable' });
  });
  it('box keys reach packagers and licence servers that run apart, of known assets only', async () => {
    const marks = createMarkKeys({ secret: async (asset) => new Uint8Array(32).fill(asset.length) });
    const marked = createKeyServer(options({ marks }));
    await marked.createAsset({ asset: assetId('cup'), kind: 'event', scheme: 'cenc', mode: 'untimed', schedule });
    const client = (credential: string) => createHttpKeys({ baseUrl: 'https://keys.example', credential, fetch: (request) => marked.handler(request) });
    const own = await marks.boxKeys({ asset: assetId('cup'), from: 3, to: 5 });
    for (const credential of ['packager-token', 'license-token']) expect(await client(credential).boxKeys({ asset: assetId('cup'), from: 3, to: 5 })).toEqual(own);
    expect((await client('packager-token').boxKeys({ asset: assetId('cup'), from: 0, to: 0 })).keys).toEqual([]);
    await expect(client('packager-token').boxKeys({ asset: assetId('nobody'), from: 0, to: 1 })).rejects.toMatchObject({ code: 'not-found' });
    await expect(client('packager-token').boxKeys({ asset: assetId('cup'), from: 0, to: 9999 })).rejects.toMatchObject({ code: 'bad-request' });
    await expect(client('nobody-token').boxKeys({ asset: assetId('cup'), from: 0, to: 1 })).rejects.toMatchObject({ code: 'credential-invalid' });
    // Keys of epochs, of the choice of places and of marks have nothing in common.
    const { viewerKey, keys } = await marks.markKeys({ asset: assetId('cup'), from: 3, to: 5 });
    expect(new Set([viewerKey, own.choiceKey, ...keys.map(({ key }) => key), ...own.keys.map(({ key }) => key)].map((key) => encodeBase64url(key))).size).toBe(6);
  });
  it('clients refuse box keys of other epochs than asked for', async () => {
    const key = encodeBase64url(new Uint8Array(32));
    for (const answer of [{ choiceKey: key, keys: [] }, { choiceKey: key, keys: [{ epoch: 1, key }, { epoch: 0, key }] }, { choiceKey: key.slice(4), keys: [{ epoch: 0, key }, { epoch: 1, key }] }]) {
      const client = createHttpKeys({ baseUrl: 'https://keys.example', credential: 'x', fetch: async () => new Response(JSON.stringify(answer)) });
      await expect(client.boxKeys({ asset: live, from: 0, to: 2 })).rejects.toMatchObject({ code: 'key-unavailable' });
    }
  });
  it('clients refuse mark keys of other epochs than asked for', async () => {
    const key = encodeBase64url(new Uint8Array(32));
    for (const answer of [{ version: 1, viewerKey: key, keys: [] }, { version: 1, viewerKey: key, keys: [{ epoch: 1, key }, { epoch: 0, key }] }, { version: 1, viewerKey: key.slice(4), keys: [{ epoch: 0, key }, { epoch: 1, key }] }]) {
      const client = createHttpKeys({ baseUrl: 'https://keys.example', credential: 'x', fetch: async () => new Response(JSON.stringify(answer)) });
      await expect(client.markKeys({ asset: live, from: 0, to: 2 })).rejects.toMatchObject({ code: 'key-unavailable' });
    }
  });
  it('clients refuse answers that are not what was asked for', async () => {
    const key = encodeBase64url(new Uint8Array(32));
    const answering = (body: string, status = 200) => createHttpKeys({ baseUrl: 'https://keys.example', credential: 'x', fetch: async () => new Response(body, { status }) });
    for (const body of ['', '{}', '{"keys":1}', '{"keys":[{}]}', JSON.stringify({ keys: [{ group: 9, key }] }), JSON.stringify({ keys: [{ group: 0, key: key.slice(2) }] })]) {
      await expect(answering(body).grantKeys({ asset: live, ...groups(0, 1) })).rejects.toMatchObject({ code: 'key-unavailable' });
    }
    await expect(answering('<html>', 502).keying(live)).rejects.toMatchObject({ code: 'key-unavailable' });
    const dead = createHttpKeys({ baseUrl: 'https://keys.example', credential: 'x', fetch: () => Promise.reject(new Error('refused')) });
    await expect(dead.keying(live)).rejects.toMatchObject({ code: 'key-unavailable' });
  });
  it('refuses without credential, with an unknown one, wrong methods, paths and bodies', async () => {
    const code = async (response: Promise<Response>): Promise<unknown> => ((await (await response).json()) as { code: string }).code;
    expect(await code(ask('/v1/keys/live', undefined))).toBe('token-missing');
    expect(await code(ask('/v1/keys/live', 'guess'))).toBe('credential-invalid');
    expect(await code(ask('/v1/keys/live/entry', 'packager-token'))).toBe('forbidden');
    expect(await code(ask('/v1/keys/live/content', 'packager-token'))).toBe('method-not-allowed');
    expect(await code(ask('/v1/keys/LIVE', 'packager-token'))).toBe('bad-request');
    expect(await code(ask('/v1/other', 'packager-token'))).toBe('not-found');
    for (const body of ['', '[]', { keyGroup: 'text', from: 0, to: 1 }, { keyGroup: 'video', from: -1, to: 1 }, { keyGroup: 'video', from: 0 }, { keyGroup: 'video', from: 0, to: 1, x: 1 }]) {
      expect(await code(ask('/v1/keys/live/content', 'packager-token', body))).toBe('bad-request');
    }
    expect(await code(ask('/v1/keys/live/content', 'packager-token', 'x'.repeat(2000)))).toBe('payload-too-large');
    const response = await ask('/v1/keys/live', 'packager-token');
    expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'no-store']);
    expect((await ask('/v1/keys/live', undefined)).headers.get('www-authenticate')).toContain('Bearer');
  });
});
