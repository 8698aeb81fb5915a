// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { sessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import type { ObjectStore } from '#ports';
import { createWorld, objectAnswer, SESSION, settled } from '../../test/runtimes/edge-in-process.ts';

const text = async (response: Promise<Response> | Response): Promise<string> => (await response).text();
const code = async (response: Promise<Response>): Promise<unknown> => ((await (await response).json()) as { code: unknown }).code;

const streamed = (body: ReadableStream<Uint8Array>, fields: Record<string, string> = {}): Response =>
  new Response(body, { headers: { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable', ...fields } });

describe('the bundle', () => {
  it('is needed: before the first one everything is 503', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    const { edge } = await createWorld(() => objectAnswer('x'), { bundle: async () => undefined });
    expect(edge.readiness()).toEqual({ ready: false, detail: 'no valid edge bundle' });
    const response = await edge.handler(new Request('http://edge/media/cup/v720/1.m4s', { headers: { authorization: `Bearer ${world.token()}` } }));
    expect([response.status, response.headers.get('retry-after'), response.headers.get('access-control-allow-origin')]).toEqual([503, '1', '*']);
    expect(edge.renewalKeys()).toEqual([]);
  });
  it('serves until validUntil and not an instant longer, cached media included', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    expect(await text(world.get('v720/1.m4s'))).toBe('x');
    world.bundle = { ...world.bundle, version: 2, validUntil: (world.clock.now() + microsFromSeconds(10)) as Micros };
    await world.edge.refresh();
    world.clock.advance(9.999);
    expect((await world.get('v720/1.m4s')).status).toBe(200);
    world.clock.advance(0.001);
    expect(await code(world.get('v720/1.m4s'))).toBe('key-unavailable');
    expect(world.edge.readiness().ready).toBe(false);
    expect(world.edge.renewalKeys()).toEqual([]);
  });
  it('is not replaced by an older one', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    world.clock.advance(1);
    world.bundle = { ...world.bundle, version: 3, issuedAt: world.clock.now() };
    await world.edge.refresh();
    world.bundle = { ...world.bundle, version: 2, issuedAt: (world.clock.now() - 1) as Micros };
    await world.edge.refresh();
    expect(world.edge.readiness().bundleVersion).toBe(3);
  });
  it('hands zone keys to a renewal role beside', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    expect(world.edge.renewalKeys()).toMatchObject([{ epoch: 7, zone: 3, zoneKey: new Uint8Array(32).fill(9) }]);
  });
  it('keeps asking: long-polls, backs off while the source is down, and recovers', async () => {
    const requests: { version: number; wait: number }[] = [];
    let release: (() => void) | undefined;
    let down = false;
    const world = await createWorld(() => objectAnswer('x'), {});
    const { edge, clock, events } = await createWorld(() => objectAnswer('x'), {
      bundle: async ({ version, wait, signal }) => {
        requests.push({ version, wait });
        if (down) throw new Error('refused');
        if (version === world.bundle.version) {
          await new Promise<void>((resolve) => {
            release = resolve;
            signal.addEventListener('abort', () => resolve());
          });
        }
        return world.bundle;
      },
    });
    edge.start();
    await settled();
    expect(requests.at(-1)).toEqual({ version: 1, wait: 25_000 });
    world.bundle = { ...world.bundle, version: 2, issuedAt: clock.now() };
    release?.();
    await settled();
    expect(edge.readiness().bundleVersion).toBe(2);

    down = true;
    world.bundle = { ...world.bundle, version: 3, issuedAt: clock.now() };
    release?.();
    await settled();
    // 2 → 3 was still delivered by the poll under way; the next one fails.
    expect(edge.readiness().bundleVersion).toBe(3);
    const failed = requests.length;
    for (let second = 0; second < 60; second++) {
      clock.advance(1);
      await settled();
    }
    const tries = requests.length - failed;
    expect(tries).toBeGreaterThan(8);
    expect(tries).toBeLessThan(25);
    expect(events.filter((event) => event.kind === 'edge.bundle-lost')).toHaveLength(1);
    down = false;
    clock.advance(10);
    await settled();
    world.bundle = { ...world.bundle, version: 4, issuedAt: clock.now() };
    release?.();
    await settled();
    expect(edge.readiness().bundleVersion).toBe(4);
    edge.stop();
    await settled();
    expect(clock.timers).toBe(0);
  });
});

describe('authorisation', () => {
  it('looks at expiry and revocation on every request, remembered or not', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    const bearer = `Bearer ${world.token({ expiresAt: (world.clock.now() + microsFromSeconds(30)) as Micros })}`;
    const ask = (): Promise<Response> => world.get('v720/1.m4s', { headers: { authorization: bearer } });
    expect((await ask()).status).toBe(200);
    expect((await ask()).status).toBe(200);
    expect(world.edge.stats().rememberedTokens).toBe(1);
    world.bundle = { ...world.bundle, version: 2, revokedSessions: [{ session: SESSION, until: (world.clock.now() + microsFromSeconds(10)) as Micros, reason: 'ended' }] };
    await world.edge.refresh();
    expect(await code(ask())).toBe('session-ended');
    world.clock.advance(10);
    expect((await ask()).status).toBe(200);
    world.clock.advance(20);
    expect(await code(ask())).toBe('token-expired');
  });
  it('forgets what a withdrawn key vouched for', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    expect((await world.get('v720/1.m4s')).status).toBe(200);
    world.bundle = { ...world.bundle, version: 2, epochs: world.bundle.epochs.map((epoch) => ({ ...epoch, mediaTokenKey: new Uint8Array(32) })) };
    await world.edge.refresh();
    expect(await code(world.get('v720/1.m4s'))).toBe('token-invalid');
  });
  it('refuses tokens outside their epoch, also remembered ones', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    world.bundle = { ...world.bundle, version: 2, epochs: world.bundle.epochs.map((epoch) => ({ ...epoch, notAfter: (world.clock.now() + microsFromSeconds(5)) as Micros })) };
    await world.edge.refresh();
    expect((await world.get('v720/1.m4s')).status).toBe(200);
    world.clock.advance(5);
    expect(await code(world.get('v720/1.m4s'))).toBe('token-invalid');
  });
  it('remembers at most so many tokens', async () => {
    const world = await createWorld(() => objectAnswer('x'), { rememberedTokens: 10 });
    for (let index = 0; index < 50; index++) {
      const session = sessionId(`BwMAAQIDBAUGBwgJCgsMDQ${String(index).padStart(2, '0')}`);
      await world.get('v720/1.m4s', { headers: { authorization: `Bearer ${world.token({ session })}` } });
    }
    expect(world.edge.stats().rememberedTokens).toBeLessThanOrEqual(10);
  });
  it('does not remember refused tokens', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    for (let index = 0; index < 20; index++) await world.get('v720/1.m4s', { headers: { authorization: `Bearer a.b.${index}` } });
    expect(world.edge.stats().rememberedTokens).toBe(0);
  });
  it('leaves no token in logs, events, problems or origin addresses', async () => {
    const world = await createWorld(() => {
      throw new Error('down');
    });
    const token = world.token();
    const wrong = `${token.slice(0, -4)}AAAA`;
    const bodies = [
      await text(world.edge.handler(new Request(`http://edge/media/${token}/cup/v720/1.m4s`))),
      await text(world.edge.handler(new Request(`http://edge/media/${wrong}/cup/v720/1.m4s`))),
      await text(world.edge.handler(new Request(`http://edge/media/cup/v720/1.m4s?token=${wrong}`))),
      await text(world.edge.handler(new Request(`http://edge/media/${token}/other/v720/1.m4s`))),
    ];
    const said = JSON.stringify([bodies, world.logged, world.events, world.asked, [...world.counted.keys()]]);
    for (const secret of [token, wrong, ...token.split('.')]) expect(said).not.toContain(secret);
    expect(world.logged).not.toEqual([]);
  });
});

describe('the cache in time', () => {
  it('serves a playlist for its lifetime, then asks again; Age counts up', async () => {
    let version = 0;
    const world = await createWorld(() => objectAnswer(`#${++version}`, 'public, max-age=2'));
    expect(await text(world.get('v720/playlist.m3u8'))).toBe('#1');
    world.clock.advance(1.5);
    const cached = await world.get('v720/playlist.m3u8');
    expect([await cached.text(), cached.headers.get('age')]).toEqual(['#1', '1']);
    world.clock.advance(0.5);
    expect(await text(world.get('v720/playlist.m3u8'))).toBe('#2');
  });
  it('counts the time an origin took as age', async () => {
    const slow = Promise.withResolvers<Response>();
    let turn = 0;
    const world = await createWorld(() => (turn++ === 0 ? slow.promise : objectAnswer('b', 'public, max-age=2')));
    const first = world.get('v720/playlist.m3u8');
    await settled();
    world.clock.advance(1.5);
    slow.resolve(objectAnswer('a', 'public, max-age=2'));
    expect(await text(first)).toBe('a');
    expect(await text(world.get('v720/playlist.m3u8'))).toBe('a');
    world.clock.advance(0.6);
    expect(await text(world.get('v720/playlist.m3u8'))).toBe('b');
  });
  it('keeps memory within its budget, and what is used stays', async () => {
    const body = new Uint8Array(10_000);
    const world = await createWorld(() => objectAnswer(body), { cache: { memoryBytes: 100_000 } });
    for (let number = 0; number < 100; number++) await (await world.get(`v720/${number}.m4s`)).arrayBuffer();
    await settled();
    expect(world.edge.stats().cachedBytes).toBeLessThanOrEqual(100_000);
    expect(world.edge.stats().cachedObjects).toBe(9);
    expect(world.edge.stats().arrivingBytes).toBe(0);
    const before = world.asked.length;
    await (await world.get('v720/99.m4s')).arrayBuffer();
    expect(world.asked).toHaveLength(before);
    await (await world.get('v720/0.m4s')).arrayBuffer();
    expect(world.asked).toHaveLength(before + 1);
  });
  it('lets objects that are too large through without keeping them', async () => {
    const body = new Uint8Array(50_000).fill(1);
    const world = await createWorld(() => objectAnswer(body, undefined, { 'content-length': '50000' }), { cache: { maxObjectBytes: 20_000 } });
    const [first, second] = await Promise.all([world.get('v720/1.m4s'), world.get('v720/1.m4s')]);
    expect(new Uint8Array(await first.arrayBuffer())).toEqual(body);
    expect(new Uint8Array(await second.arrayBuffer())).toEqual(body);
    expect(world.asked).toHaveLength(2);
    expect(world.edge.stats().cachedObjects).toBe(0);
  });
  it('breaks off an object that grows without end', async () => {
    const endless = new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array(1000)) });
    const world = await createWorld(() => streamed(endless), { cache: { maxObjectBytes: 20_000 } });
    await expect((await world.get('v720/1.m4s')).arrayBuffer()).rejects.toThrow('20000');
    expect(world.edge.stats()).toMatchObject({ cachedObjects: 0, arrivingBytes: 0 });
  });
});

describe('the disk tier', () => {
  const withDisk = (store: ObjectStore, bytes = 1_000_000, memoryBytes = 0) => createWorld((key) => objectAnswer(key.repeat(100), key.endsWith('m3u8') ? 'public, max-age=60' : undefined, { etag: '"t"' }), { cache: { memoryBytes, disk: { store, bytes } } });

  it('keeps immutable objects over a restart, with their fields, and nothing else', async () => {
    const store = createMemoryObjects();
    const first = await withDisk(store);
    await text(first.get('v720/1.m4s'));
    await text(first.get('v720/playlist.m3u8'));
    await settled();
    expect(await store.list('')).toEqual(['edge-cache/cup/v720/1.m4s']);
    const second = await withDisk(store);
    const response = await second.get('v720/1.m4s', { headers: { range: 'bytes=0-2' } });
    expect([response.status, await response.text(), response.headers.get('etag'), response.headers.get('content-type')]).toEqual([206, 'cup', '"t"', 'video/mp4']);
    expect(second.asked).toEqual([]);
  });
  it('stays within its budget', async () => {
    const store = createMemoryObjects();
    const world = await withDisk(store, 20_000);
    for (let number = 0; number < 50; number++) await text(world.get(`v720/${number}.m4s`));
    await settled();
    let total = 0;
    for (const path of await store.list('')) total += (await store.size(path)) ?? 0;
    expect(total).toBeLessThanOrEqual(20_000);
    expect(total).toBeGreaterThan(10_000);
    expect(world.edge.stats().diskBytes).toBe(total);
  });
  it('is a miss when it fails or holds nonsense', async () => {
    const store = createMemoryObjects();
    await store.put('edge-cache/cup/v720/1.m4s', new Uint8Array([0, 0, 0, 200, 1]));
    await store.put('edge-cache/cup/v720/2.m4s', new Uint8Array([0, 0, 0, 1, 0x7b]));
    const world = await withDisk(store);
    expect(await text(world.get('v720/1.m4s'))).toBe('cup/v720/1.m4s'.repeat(100));
    expect(await text(world.get('v720/2.m4s'))).toBe('cup/v720/2.m4s'.repeat(100));
    const broken: ObjectStore = { ...store, get: () => Promise.reject(new Error('io')), list: () => Promise.reject(new Error('io')), put: () => Promise.reject(new Error('io')) };
    const other = await withDisk(broken);
    expect(await text(other.get('v720/1.m4s'))).toBe('cup/v720/1.m4s'.repeat(100));
    expect(other.logged.join()).toContain('disk cache fault');
  });
});

describe('metrics', () => {
  it('count answers by kind, status and source', async () => {
    const world = await createWorld(() => objectAnswer('x'));
    world.edge.start();
    await text(world.get('v720/1.m4s'));
    await text(world.get('v720/1.m4s'));
    await text(world.get('v720/1.m4s', { headers: { authorization: 'Bearer x' } }));
    world.clock.advance(1);
    world.edge.stop();
    expect(world.counted.get('sealcast_edge_answers_total segment 200 origin')).toBe(1);
    expect(world.counted.get('sealcast_edge_answers_total segment 200 memory')).toBe(1);
    expect(world.counted.get('sealcast_edge_answers_total refusal 401 token-invalid')).toBe(1);
    expect(world.counted.get('sealcast_edge_bundle_version')).toBe(1);
  });
});
