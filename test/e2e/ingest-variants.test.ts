// SPDX-License-Identifier: Apache-2.0
/** Pre-marked variants from an encoder to the origin: ETSI TS 104 002 clauses 5.3, 5.5 and 5.7. */
import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { readProtection } from '#core/cenc/read-protection.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { decodePaceInfo } from '#crypto/pace-cbor.ts';
import { createPackager } from '#packager/index.ts';
import type { Packager } from '#packager/index.ts';
import { type Clip, makeClip, moved, recentStart } from './ingest-clip.ts';
import { CREDENTIAL, EVENT, quietLog, quietMetrics, randomKeys } from './ingest-harness.ts';

let clip: Clip;
let packager: Packager;
let start: number;
beforeAll(async () => {
  clip = await makeClip();
});
beforeEach(() => {
  start = recentStart(10);
  packager = createPackager({
    keys: randomKeys({ scheme: 'cenc' }),
    store: createMemoryObjects(),
    aes: nodeSampleAes,
    random: systemRandom,
    clock: systemClock,
    metrics: quietMetrics,
    log: quietLog,
    events: () => undefined,
    ingestAccess: async () => ({ credentialHash: createHash('sha256').update(CREDENTIAL).digest('base64url'), open: true }),
  });
});

const send = (path: string, body: Uint8Array, pace?: object): Promise<Response> =>
  packager.ingestHandler(
    new Request(`http://ingest.test/ingest/${EVENT}/${path}`, {
      method: 'PUT',
      body: body as Uint8Array<ArrayBuffer>,
      headers: { authorization: `Bearer ${CREDENTIAL}`, ...(pace !== undefined && { WMPaceInfoIngest: JSON.stringify(pace) }) },
    }),
  );
const get = (path: string): Promise<Response> => packager.originHandler(new Request(`http://origin.test/origin/${EVENT}/${path}`));
const chunk = (index: number): Uint8Array => moved(clip.video, clip.video.chunks[index] as Uint8Array, start);
/** All variants have the same pictures here: what is looked at is where they go and how they are protected. */
const sendAll = async (variants: readonly string[], paths: (variant: string) => string, pace?: (index: number) => number): Promise<void> => {
  for (const variant of variants) {
    expect((await send(paths(variant), clip.video.init)).status).toBe(200);
    for (let index = 0; index < clip.video.chunks.length; index++) {
      const response = await send(paths(variant), chunk(index), pace && { version: 1, variant: variants.indexOf(variant), position: pace(index), firstpart: true, lastpart: true });
      expect(response.status).toBe(200);
    }
  }
};
const latest = async (): Promise<number> => {
  const [first] = await packager.status(EVENT);
  return (first?.latestSegment ?? 0) - 1;
};

describe('variants of a live track', () => {
  test('B201 come in under variant paths, are stored side by side, and share one neutral manifest and one header', async () => {
    await sendAll(['a', 'b', 'c'], (variant) => `${variant}/Streams(v720.cmfv)`);
    const number = await latest();
    const bodies = new Map<string, Uint8Array>();
    for (const variant of ['a', 'b', 'c', '0', '1', '2']) {
      const response = await get(`v720/${variant}/${number}.m4s`);
      expect(response.status, variant).toBe(200);
      expect(decodePaceInfo(new Uint8Array(Buffer.from(response.headers.get('wmpaceinfoegress') ?? '', 'base64url')))).toEqual({ kind: 'discrete', position: number % 32_768 });
      bodies.set(variant, new Uint8Array(await response.arrayBuffer()));
    }
    // Live segments stand still once the next has begun.
    expect(bodies.get('0')).toEqual(bodies.get('a'));
    expect(bodies.get('2')).toEqual(bodies.get('c'));
    expect(bodies.get('a')?.length).toBe(bodies.get('b')?.length);
    for (const file of ['manifest.mpd', 'master.m3u8', 'v720/playlist.m3u8']) {
      const text = await (await get(file)).text();
      expect(text).not.toMatch(/watermark|wmpace|v720\.b|\/a\/|\/b\//i);
      expect(text.match(/v720/g)?.length ?? 0).toBeLessThanOrEqual(text.includes('<MPD') ? 3 : 4);
    }
    expect((await get('v720/init.mp4')).status).toBe(200);
  });
  test('never share a keystream: same key, vectors of their own', async () => {
    await sendAll(['a', 'b'], (variant) => `${variant}/Streams(v720.cmfv)`);
    const number = await latest();
    const { tracks } = parseInit(new Uint8Array(await (await get('v720/init.mp4')).arrayBuffer()));
    const [track] = tracks;
    const of = async (variant: string): Promise<{ kids: Uint8Array[]; vectors: string[] }> => {
      const pieces = createBoxSplitter().push(new Uint8Array(await (await get(`v720/${variant}/${number}.m4s`)).arrayBuffer()));
      const samples = pieces.flatMap((piece) => {
        const fragment = parseFragment(piece.bytes, tracks);
        return readProtection(fragment, onlyTrackFragment(fragment), track as NonNullable<typeof track>);
      });
      return { kids: samples.map((sample) => sample?.parameters.kid ?? new Uint8Array()), vectors: samples.map((sample) => encodeHex(sample?.iv ?? new Uint8Array())) };
    };
    const [a, b] = [await of('a'), await of('b')];
    expect(a.kids.map(encodeHex)).toEqual(b.kids.map(encodeHex));
    expect(a.vectors.length).toBeGreaterThan(10);
    const used = new Set(a.vectors);
    expect(b.vectors.some((vector) => used.has(vector))).toBe(false);
  });
  test('nothing is served without a variant in the path, so an edge that knows of none cannot serve a default', async () => {
    await sendAll(['a', 'b'], (variant) => `${variant}/Streams(v720.cmfv)`);
    const number = await latest();
    expect((await get(`v720/${number}.m4s`)).status).toBe(404);
    expect((await get(`v720/${number}.0.m4s`)).status).toBe(404);
    expect((await get(`v720/c/${number}.m4s`)).status).toBe(404);
    expect((await get(`v720.b/${number}.m4s`)).status).toBe(404);
    expect((await get(`v720/b/${number}.0.m4s`)).status).toBe(200);
  });
  test('of a track without variants: the first is what there is', async () => {
    await sendAll(['a'], () => 'Streams(v720.cmfv)');
    const number = await latest();
    expect((await get(`v720/${number}.m4s`)).status).toBe(200);
    expect((await get(`v720/a/${number}.m4s`)).status).toBe(200);
    expect((await get(`v720/WMPaceInfo/${number}.m4s`)).status).toBe(404);
  });
  test('a header that differs between variants is refused: players get one for all', async () => {
    expect((await send('a/Streams(v720.cmfv)', clip.video.init)).status).toBe(200);
    expect((await send('b/Streams(v720.cmfv)', clip.audio.init)).status).toBe(415);
  });
});

describe('pace information', () => {
  test('says the segment number, or the position the encoder gave', async () => {
    await sendAll(['a', 'b'], (variant) => `${variant}/Streams(v720.cmfv)`, () => 33);
    const response = await get(`v720/WMPaceInfo/${await latest()}.m4s`);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/cbor']);
    expect(Buffer.from(await response.arrayBuffer()).toString('base64url')).toBe('ogEBAoGhBhgh');
    expect((await get(`v720/b/${await latest()}.m4s`)).headers.get('wmpaceinfoegress')).toBe('ogEBAoGhBhgh');
  });
  test('the header alone names the variant too', async () => {
    for (const variant of [0, 1]) {
      const pace = { version: 1, variant, position: 5 };
      expect((await send('Streams(v720.cmfv)', clip.video.init, pace)).status).toBe(200);
      for (let index = 0; index < clip.video.chunks.length; index++) expect((await send('Streams(v720.cmfv)', chunk(index), pace)).status).toBe(200);
    }
    expect((await get(`v720/b/${await latest()}.m4s`)).status).toBe(200);
  });
  test.each<[string, string, object]>([
    ['another variant than the path', 'a/Streams(v720.cmfv)', { version: 1, variant: 1, position: 5 }],
    ['a position out of range', 'a/Streams(v720.cmfv)', { version: 1, variant: 0, position: 40_000 }],
    ['another version', 'a/Streams(v720.cmfv)', { version: 2, variant: 0, position: 1 }],
    ['a variant that does not exist', 'Streams(v720.cmfv)', { version: 1, variant: 8, position: 1 }],
  ])('with %s is refused', async (_name, path, pace) => {
    const response = await send(path, clip.video.init, pace);
    expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([400, 'bad-request']);
  });
  test('two positions in one segment are refused: pieces of different positions may not be joined', async () => {
    const path = 'a/Streams(v720.cmfv)';
    expect((await send(path, clip.video.init)).status).toBe(200);
    expect((await send(path, chunk(0), { version: 1, variant: 0, position: 1 })).status).toBe(200);
    expect((await send(path, chunk(1), { version: 1, variant: 0, position: 2 })).status).toBe(400);
  });
});

describe('variants of a title', () => {
  test('are served by letter or digit, with pace; their representation has no segment without a variant', async () => {
    const store = createMemoryObjects();
    for (const variant of ['a', 'b']) await store.put(`titles/film/v720/${variant}/7.m4s`, new TextEncoder().encode(variant));
    await store.put('titles/film/a-en/7.m4s', Uint8Array.of(1));
    packager = createPackager({ keys: randomKeys({ scheme: 'cenc' }), store, aes: nodeSampleAes, random: systemRandom, clock: systemClock, metrics: quietMetrics, log: quietLog, events: () => undefined, ingestAccess: async () => undefined });
    const ask = (path: string): Promise<Response> => packager.originHandler(new Request(`http://origin.test/origin/film/${path}`));
    for (const [path, body] of [['v720/a/7.m4s', 'a'], ['v720/b/7.m4s', 'b'], ['v720/0/7.m4s', 'a'], ['v720/1/7.m4s', 'b']] as const) {
      const response = await ask(path);
      expect([response.status, await response.text()]).toEqual([200, body]);
      expect(decodePaceInfo(new Uint8Array(Buffer.from(response.headers.get('wmpaceinfoegress') ?? '', 'base64url')))).toEqual({ kind: 'discrete', position: 7 });
    }
    expect(decodePaceInfo(new Uint8Array(await (await ask('v720/WMPaceInfo/7.m4s')).arrayBuffer()))).toEqual({ kind: 'discrete', position: 7 });
    for (const path of ['v720/7.m4s', 'v720/c/7.m4s', 'v720/WMPaceInfo/8.m4s', 'a-en/WMPaceInfo/7.m4s']) expect((await ask(path)).status, path).toBe(404);
    expect((await ask('a-en/7.m4s')).status).toBe(200);
  });
});
