// SPDX-License-Identifier: Apache-2.0
/**
 * A/B watermarking with others on the other side: an encoder, an edge and an origin written from ETSI TS 104 002 alone.
 *
 * Nothing of ours is used in them: clauses 5.4 (tokens, bit order), 5.5 (pace information) and 5.7 (origin addresses, decision
 * of the edge) say all they know. First their encoder and edge with our packager between them, then our edge before their origin.
 */
import { createHash, createHmac } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { createLog } from '#adapters/node/log.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { assetId } from '#core/ids.ts';
import { type Micros, type Millis, microsFromSeconds } from '#core/time.ts';
import { createEdge, type Edge } from '#edge/index.ts';
import { createPackager } from '#packager/index.ts';
import { type Clip, makeClip, moved, recentStart } from './ingest-clip.ts';
import { CREDENTIAL, EVENT, quietLog, quietMetrics, randomKeys } from './ingest-harness.ts';

// ---- the other side -----------------------------------------------------------------------------------------------

/** Annex C: COSE_Mac0 of a CWT in direct mode, bytes by hand. */
const theirToken = (key: Uint8Array, pattern: Uint8Array, expires: number): string => {
  const head = (major: number, value: number): Buffer => (value < 24 ? Buffer.of((major << 5) | value) : value < 256 ? Buffer.of((major << 5) | 24, value) : value < 65_536 ? Buffer.of((major << 5) | 25, value >> 8, value & 255) : Buffer.concat([Buffer.of((major << 5) | 26), (() => { const b = Buffer.alloc(4); b.writeUInt32BE(value); return b; })()]));
  const bytes = (data: Uint8Array): Buffer => Buffer.concat([head(2, data.length), data]);
  const entries: [number, Buffer][] = [[4, head(0, expires)], [6, head(0, expires - 3600)], [300, head(0, 1)], [301, head(0, 9)], [302, head(0, pattern.length * 8)], [304, bytes(pattern)]];
  const claims = Buffer.concat([head(5, entries.length), ...entries.flatMap(([label, value]) => [head(0, label), value])]);
  const header = Buffer.from('a10105', 'hex');
  const signed = Buffer.concat([head(4, 4), head(3, 4), Buffer.from('MAC0'), bytes(header), bytes(new Uint8Array()), bytes(claims)]);
  const tag = createHmac('sha256', key).update(signed).digest();
  return Buffer.concat([Buffer.of(0xd1), head(4, 4), bytes(header), head(5, 0), bytes(claims), bytes(tag)]).toString('base64url');
};
/** Clause 5.5: {1: version, 2: [{6: position}]}, nothing else on egress. */
const theirPace = (bytes: Uint8Array): number => {
  const [map, one, version, two, list, item, six, ...rest] = bytes;
  if (map !== 0xa2 || one !== 1 || version !== 1 || two !== 2 || list !== 0x81 || item !== 0xa1 || six !== 6) throw new Error('no sidecar of one discrete segment');
  const [first = 0, second = 0, third = 0] = rest;
  const value = (first & 31) < 24 ? first & 31 : (first & 31) === 24 ? second : second * 256 + third;
  return first >> 5 === 1 ? -1 - value : value;
};
/** Clause 5.4: position 0 is the most significant bit of byte 0. */
const theirBit = (pattern: Uint8Array, position: number): number => {
  const at = position % (pattern.length * 8);
  return ((pattern[at >> 3] ?? 0) >> (7 - (at % 8))) & 1;
};
/** Clause 5.7.2: pace information from the origin, the decision, the variant; other objects as they are. */
const theirEdge = (origin: string) => async (pattern: Uint8Array, folder: string, file: string): Promise<{ status: number; body: Buffer; variant: string | undefined; position: number }> => {
  const fetched = async (address: string): Promise<{ response: Response; body: Buffer }> => {
    const response = await fetch(`${origin}/${address}`);
    return { response, body: Buffer.from(await response.arrayBuffer()) };
  };
  if (!/^\d+(?:\.\d+)?\.m4s$/.test(file)) {
    const { response, body } = await fetched(`${folder}/${file}`);
    return { status: response.status, body, variant: undefined, position: -1 };
  }
  const pace = await fetched(`${folder}/WMPaceInfo/${file}`);
  if (pace.response.status !== 200 || pace.response.headers.get('content-type') !== 'application/cbor') return { status: 400, body: pace.body, variant: undefined, position: -1 };
  const position = theirPace(pace.body);
  const variant = position < 0 || theirBit(pattern, position) === 0 ? 'a' : 'b';
  const { response, body } = await fetched(`${folder}/${variant}/${file}`);
  if (response.status !== 200) throw new Error(`${response.status} for ${folder}/${variant}/${file}: ${body.toString()}`);
  // The origin offers both, and they agree.
  expect(theirPace(Buffer.from(response.headers.get('WMPaceInfoEgress') ?? '', 'base64url'))).toBe(position);
  return { status: response.status, body, variant, position };
};

const listen = (server: Server): Promise<string> => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)));
const PATTERN = Uint8Array.of(0b00001010, 0b11110101);

describe('their encoder and edge, our packager', () => {
  let clip: Clip;
  let origin: Awaited<ReturnType<typeof serve>>;
  let first: number;

  beforeAll(async () => {
    clip = await makeClip();
    const packager = createPackager({
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
    origin = await serve((request) => (new URL(request.url).pathname.startsWith('/ingest/') ? packager.ingestHandler(request) : packager.originHandler(request)), { host: '127.0.0.1', port: 0, log: createLog({ level: 'silent' }) });
    const start = recentStart(10);
    const send = async (variant: number, body: Uint8Array, position: number): Promise<void> => {
      // Clause 5.5.2: the header stands on every request, JSON in any spacing and order.
      const pace = `{ "position": ${position}, "lastpart": true, "version": 1, "variant": ${variant}, "firstpart": true }`;
      const response = await fetch(`${origin.url}/ingest/${EVENT}/Streams(v720.cmfv)`, { method: 'POST', body: body as Uint8Array<ArrayBuffer>, headers: { authorization: `Bearer ${CREDENTIAL}`, WMPaceInfoIngest: pace } });
      expect(response.status).toBe(200);
    };
    const segmentOf = (index: number): number => Math.floor(index / 10);
    first = Math.floor(start / 2);
    for (const variant of [0, 1]) {
      await send(variant, clip.video.init, 0);
      for (let index = 0; index < clip.video.chunks.length; index++) await send(variant, moved(clip.video, clip.video.chunks[index] as Uint8Array, start), positionOf(segmentOf(index)));
    }
  }, 60_000);
  afterAll(() => origin.close(0 as Millis));
  /** Their encoder counts from 4; the third segment is not watermarked. */
  const positionOf = (segment: number): number => (segment === 2 ? -1 : 4 + segment);

  test('B201 the edge finds pace information, the bit decides, the variants differ and the header is one', async () => {
    const ask = theirEdge(`${origin.url}/origin/${EVENT}`);
    expect((await ask(PATTERN, 'v720', 'init.mp4')).status).toBe(200);
    const seen: string[] = [];
    for (let segment = 0; segment < 4; segment++) {
      const mine = await ask(PATTERN, 'v720', `${first + segment}.m4s`);
      const other = await ask(PATTERN.map((byte) => byte ^ 255), 'v720', `${first + segment}.m4s`);
      expect([mine.status, other.status]).toEqual([200, 200]);
      expect(mine.position).toBe(positionOf(segment));
      seen.push(`${mine.variant}${other.variant}`);
      if (mine.variant !== other.variant) expect(mine.body.equals(other.body)).toBe(false);
      else expect(mine.body.equals(other.body)).toBe(true);
    }
    // Bits 4, 5, -, 7 of 0000 1010.
    expect(seen).toEqual(['ba', 'ab', 'aa', 'ab']);
    expect((await ask(PATTERN, 'v720', '1.m4s')).status).toBe(400);
    const manifest = (await ask(PATTERN, '.', 'manifest.mpd')).body.toString();
    expect(manifest).toContain('v720');
    expect(manifest).not.toMatch(/watermark|wmpace|variant/i);
  });
});

describe('their origin and token service, our edge', () => {
  const KEY = new Uint8Array(32).fill(0x61);
  let origin: Server;
  let edge: Edge;
  const asked: string[] = [];

  beforeAll(async () => {
    // Strictly the addresses of clause 5.7.2; variants `0` and `1`, every field an origin might add.
    origin = createServer((request, answer) => {
      const path = (request.url ?? '').replace('/vod/', '');
      asked.push(path);
      const [, folder, kind, file] = /^(film\/v1)\/(?:(0|1|WMPaceInfo)\/)?([a-z0-9]+\.[a-z0-9]+)$/.exec(path) ?? [];
      const number = Number(/^\d+/.exec(file ?? '')?.[0] ?? Number.NaN);
      if (folder === undefined || (Number.isNaN(number) && kind !== undefined) || (!Number.isNaN(number) && kind === undefined)) return void answer.writeHead(404).end();
      const position = number === 3 ? Buffer.of(0x20) : Buffer.of(number);
      const pace = Buffer.concat([Buffer.from('a201010281a106', 'hex'), position]);
      if (kind === 'WMPaceInfo') return void answer.writeHead(200, { 'content-type': 'application/cbor', 'cache-control': 'max-age=3600' }).end(pace);
      answer.writeHead(200, { 'content-type': 'video/mp4', 'cache-control': 'max-age=3600', etag: `"${kind ?? 'h'}-${file}"`, 'last-modified': 'Fri, 01 Jan 2027 00:00:00 GMT', 'x-variant': String(kind), ...(kind !== undefined && { WMPaceInfoEgress: pace.toString('base64url') }) });
      answer.end(`variant ${kind ?? 'none'} of ${file}`);
    });
    const base = await listen(origin);
    edge = createEdge({
      origin: (request) => fetch(request),
      originBase: `${base}/vod`,
      bundle: async () => ({
        version: 1, issuedAt: systemClock.now(), edge: 'e', zone: { index: 0, name: 'z' }, epochs: [{ epoch: 0, mediaTokenKey: new Uint8Array(32), notBefore: 0 as Micros, notAfter: (systemClock.now() + microsFromSeconds(3600)) as Micros }],
        revokedSessions: [], revokedDevices: [], validUntil: (systemClock.now() + microsFromSeconds(600)) as Micros,
        tokenKeys: [{ format: 'cwt', kid: '', alg: 'HS256', key: KEY, asset: assetId('film') }],
        marks: [{ asset: assetId('film'), sequencing: true, representations: ['v1'], names: 'digits', pace: 'origin', alphabet: 2, book: 'adaptive', schedule: [], keys: [], viewerKeys: [] }],
      }),
      clock: systemClock,
      random: systemRandom,
      log: quietLog,
      metrics: quietMetrics,
      events: () => undefined,
    });
    await edge.refresh();
  });
  afterAll(() => {
    edge.stop();
    origin.closeAllConnections();
    origin.close();
  });

  test('B201 their token picks the variant, in path, query and header; nothing of theirs leaks through', async () => {
    const text = theirToken(KEY, PATTERN, Math.floor(Date.now() / 1000) + 600);
    const ways: ((file: string) => Request)[] = [
      (file) => new Request(`http://edge/media/${text}/film/v1/${file}`),
      (file) => new Request(`http://edge/media/film/v1/${file}?CTA-Common-Access-Token=${text}`),
      (file) => new Request(`http://edge/media/film/v1/${file}`, { headers: { authorization: `Bearer ${text}` } }),
    ];
    for (const way of ways) {
      const got: string[] = [];
      for (const number of [0, 1, 2, 3, 4, 5, 6, 7, 8, 15]) {
        const response = await edge.handler(way(`${number}.m4s`));
        got.push(/variant (.)/.exec(await response.text())?.[1] ?? `${response.status}`);
        expect(JSON.stringify([...response.headers])).not.toMatch(/variant|wmpace|last-modified|2027/i);
      }
      // 0000 1010 1111 0101 by position; position -1 is the first variant.
      expect(got.join('')).toBe('0000101011');
      expect(await (await edge.handler(way('init.mp4'))).text()).toBe('variant none of init.mp4');
    }
    expect(asked.filter((path) => path === 'film/v1/WMPaceInfo/4.m4s')).toHaveLength(1);
    expect(asked.some((path) => /^film\/v1\/\d+\.m4s$/.test(path))).toBe(false);
  });
});
