// SPDX-License-Identifier: Apache-2.0
/** What ingest takes, what it refuses and with which status: DASH-IF Live Media Ingest 1.1, section 5. */
import { createHash } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { writeBrands } from '#core/isobmff/segment-boxes.ts';
import { createPackager } from '#packager/index.ts';
import type { Packager } from '#packager/index.ts';
import type { OperationalEvent } from '#ports';
import { makeClip, moved, recentStart } from './ingest-clip.ts';
import type { Clip } from './ingest-clip.ts';
import { CREDENTIAL, EVENT, quietLog, quietMetrics, randomKeys } from './ingest-harness.ts';

let clip: Clip;
let packager: Packager;
let events: OperationalEvent[];
let logged: string[];
let start: number;
beforeAll(async () => {
  clip = await makeClip();
});
beforeEach(() => {
  events = [];
  logged = [];
  start = recentStart(10);
  packager = createPackager({
    keys: randomKeys({ scheme: 'cenc' }),
    store: createMemoryObjects(),
    aes: nodeSampleAes,
    random: systemRandom,
    clock: systemClock,
    metrics: quietMetrics,
    log: { ...quietLog, warn: (message, fields) => logged.push(`${message} ${JSON.stringify(fields)}`) },
    events: (event) => events.push(event),
    ingestAccess: async (asset) =>
      asset === EVENT
        ? { credentialHash: createHash('sha256').update(CREDENTIAL).digest('base64url'), open: true }
        : asset === 'over'
          ? { credentialHash: createHash('sha256').update(CREDENTIAL).digest('base64url'), open: false }
          : undefined,
  });
});

type Send = { method?: string; headers?: Record<string, string>; path?: string; event?: string; body?: Uint8Array | readonly Uint8Array[] | undefined };
const send = (options: Send = {}): Promise<Response> => {
  const { body } = options;
  const parts = body === undefined ? undefined : body instanceof Uint8Array ? [body] : body;
  const stream =
    parts === undefined
      ? null
      : new ReadableStream<Uint8Array>({
          start(controller) {
            for (const part of parts) controller.enqueue(part);
            controller.close();
          },
        });
  return packager.ingestHandler(
    new Request(`http://ingest.test/ingest/${options.event ?? EVENT}/${options.path ?? 'Streams(v720.cmfv)'}`, {
      method: options.method ?? 'PUT',
      body: stream,
      headers: { authorization: `Bearer ${CREDENTIAL}`, ...options.headers },
      duplex: 'half',
    } as RequestInit),
  );
};
const codeOf = async (response: Response): Promise<string> => ((await response.json()) as { code: string }).code;
const chunk = (index: number): Uint8Array => moved(clip.video, clip.video.chunks[index] as Uint8Array, start);
const chunks = (from: number, to: number): Uint8Array[] => Array.from({ length: to - from }, (_, index) => chunk(from + index));
const statusOf = async (): Promise<number | undefined> => (await packager.status(EVENT))[0]?.latestSegment;
const segmentSize = async (number: number): Promise<number> => {
  const response = await packager.originHandler(new Request(`http://origin.test/origin/${EVENT}/v720/${number}.m4s`));
  return response.ok ? (await response.arrayBuffer()).byteLength : -response.status;
};

describe('who may send', () => {
  test.each([
    ['an empty header', { authorization: '' }],
    ['a wrong token', { authorization: 'Bearer nonsense' }],
    ['a wrong password', { authorization: `Basic ${btoa('match-1:nonsense')}` }],
    ['a scheme we do not know', { authorization: `Digest ${CREDENTIAL}` }],
    ['broken base64', { authorization: 'Basic %%%' }],
  ])('403 for %s', async (_, headers) => {
    const response = await send({ headers, body: clip.video.init });
    expect(response.status).toBe(403);
    expect(await codeOf(response)).toBe('credential-invalid');
  });
  test('401 with a challenge without any credential', async () => {
    const response = await packager.ingestHandler(
      new Request(`http://ingest.test/ingest/${EVENT}/Streams(v.cmfv)`, { method: 'PUT', body: clip.video.init as Uint8Array<ArrayBuffer> }),
    );
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toContain('Basic');
  });
  test('HTTP Basic is taken too', async () => {
    expect((await send({ headers: { authorization: `Basic ${btoa(`anyone:${CREDENTIAL}`)}` }, body: clip.video.init })).status).toBe(200);
  });
  test.each(['nowhere', 'over', 'Not-An-Id', '..%2f..'])('404 for the event %s', async (event) => {
    expect((await send({ event, body: clip.video.init })).status).toBe(404);
  });
});

describe('what may be sent', () => {
  test('412 before the header, with the reason in the log and before the operator', async () => {
    const response = await send({ body: chunk(0) });
    expect(response.status).toBe(412);
    expect(await codeOf(response)).toBe('ingest-init-missing');
    expect(logged.join()).toContain('send the CMAF header');
    expect(events).toMatchObject([{ kind: 'ingest.refused', severity: 'warning', asset: EVENT, data: { code: 'ingest-init-missing', status: 412, track: 'v720' } }]);
  });
  test('415 only for a content type that is not media', async () => {
    expect((await send({ headers: { 'content-type': 'text/html' }, body: clip.video.init })).status).toBe(415);
    expect((await send({ headers: { 'content-type': 'video/mp4' }, body: clip.video.init })).status).toBe(200);
    expect((await send({ body: clip.video.init })).status).toBe(200);
  });
  test('415 with the setting that helps for video that is not H.264', async () => {
    const hevc = clip.video.init.slice();
    const at = Buffer.from(hevc).indexOf('avc1', Buffer.from(hevc).indexOf('stsd'));
    hevc.set(new TextEncoder().encode('hev1'), at);
    const response = await send({ body: hevc });
    expect(response.status).toBe(415);
    expect(((await response.json()) as { detail: string }).detail).toContain('-c:v libx264');
  });
  test('a header that does not continue the track is refused and changes nothing', async () => {
    await send({ body: [clip.video.init, ...chunks(0, 10)] });
    expect((await send({ body: clip.audio.init })).status).toBe(415);
    expect((await send({ body: chunks(10, 20) })).status).toBe(200);
    expect(await statusOf()).toBe(start / 2 + 1);
  });
  test('manifests are taken and not used; deletes too', async () => {
    expect((await send({ path: 'manifest.mpd', body: new TextEncoder().encode('<MPD/>') })).status).toBe(200);
    expect((await send({ path: 'chunk-stream0-00001.m4s', method: 'DELETE' })).status).toBe(204);
    expect(await packager.status(EVENT)).toEqual([]);
  });
  test('405 and 400 for other methods and paths', async () => {
    expect((await send({ method: 'PATCH', body: clip.video.init })).status).toBe(405);
    expect((await send({ path: 'picture.jpg', body: clip.video.init })).status).toBe(400);
  });
  test('an empty request is a welcome test of the connection', async () => {
    expect((await send({ method: 'POST' })).status).toBe(200);
  });
});

describe('damaged media loses nothing that came before', () => {
  test.each([
    ['cut off in the middle of a chunk', (bytes: Uint8Array) => bytes.subarray(0, bytes.length - 40), 400, 'media-truncated'],
    ['noise', () => new Uint8Array(64).fill(0xee), 415, 'media-unsupported'],
    ['a progressive file', () => concatBytes(Uint8Array.of(0, 0, 0, 16), new TextEncoder().encode('mdat'), new Uint8Array(8)), 415, 'media-unsupported'],
  ])('%s', async (_, damage, status, code) => {
    const response = await send({ body: [clip.video.init, ...chunks(0, 10), damage(chunk(10))] });
    expect(response.status).toBe(status);
    expect(await codeOf(response)).toBe(code);
    expect(await segmentSize(start / 2)).toBeGreaterThan(1000);
    expect((await send({ body: chunks(10, 20) })).status).toBe(200);
    expect(await segmentSize(start / 2 + 1)).toBeGreaterThan(1000);
  });
});

test('a lost connection is an outage, not an offence: what came stays, the source may go on', async () => {
  let step = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        step += 1;
        if (step === 1) controller.enqueue(concatBytes(clip.video.init, ...chunks(0, 12), chunk(12).subarray(0, 100)));
        else controller.error(new Error('connection reset'));
      },
    },
    { highWaterMark: 0 },
  );
  const init: RequestInit & { duplex: 'half' } = { method: 'PUT', body, headers: { authorization: `Bearer ${CREDENTIAL}` }, duplex: 'half' };
  await packager.ingestHandler(new Request(`http://ingest.test/ingest/${EVENT}/Streams(v720.cmfv)`, init));
  expect(events.map((event) => event.kind)).toEqual(['ingest.started', 'ingest.stopped']);
  expect((await send({ body: [clip.video.init, ...chunks(10, 20)] })).status).toBe(200);
  expect(await segmentSize(start / 2 + 1)).toBeGreaterThan(1000);
  expect(events.map((event) => event.kind)).not.toContain('ingest.gap');
});

describe('order', () => {
  test('a segment sent twice is harmless', async () => {
    await send({ body: [clip.video.init, ...chunks(0, 20)] });
    const before = await segmentSize(start / 2);
    expect((await send({ body: chunks(0, 20) })).status).toBe(200);
    expect(await segmentSize(start / 2)).toBe(before);
    expect(await statusOf()).toBe(start / 2 + 1);
  });
  test('a segment players were told is missing comes too late', async () => {
    await send({ body: [clip.video.init, ...chunks(0, 10), ...chunks(20, 30)] });
    const response = await send({ body: chunks(10, 20) });
    expect(response.status).toBe(400);
    expect(await codeOf(response)).toBe('ingest-out-of-order');
    expect(events.map((event) => event.kind)).toContain('ingest.gap');
    expect(await segmentSize(start / 2 + 2)).toBeGreaterThan(1000);
    expect(await segmentSize(start / 2 + 1)).toBe(-404);
  });
  test('two sources of one feed interleave without doubling', async () => {
    await send({ body: clip.video.init });
    const both = await Promise.all([send({ body: chunks(0, 25) }), send({ body: chunks(0, 25) })]);
    expect(both.map((response) => response.status)).toEqual([200, 200]);
    const sizes = await Promise.all([0, 1].map((index) => segmentSize(start / 2 + index)));
    expect(sizes).toEqual(await sizesOfOneSource());
  });
  test.each([
    [-3600, 'behind'],
    [3600, 'ahead of'],
  ])('media that is not on Unix time (%i s) is refused with the difference', async (difference, word) => {
    start += difference;
    const response = await send({ body: [clip.video.init, chunk(0)] });
    expect(response.status).toBe(400);
    expect(((await response.json()) as { detail: string }).detail).toContain(word);
  });
  test('a source that counts from zero is put on the clock', async () => {
    const zero = (from: number, to: number): Uint8Array[] => clip.video.chunks.slice(from, to) as Uint8Array[];
    expect((await send({ body: [clip.video.init, ...zero(0, 20)] })).status).toBe(200);
    const first = (await statusOf()) as number;
    expect(Math.abs(first * 2 + 2 - Date.now() / 1000)).toBeLessThan(4);
    expect((await send({ body: zero(20, 30) })).status).toBe(200);
    expect(await statusOf()).toBe(first + 1);
    expect(events.map((event) => event.kind)).not.toContain('ingest.gap');
  });
  test('the last segment (lmsg) closes the track; its header opens it again', async () => {
    const last = concatBytes(writeBrands('styp', 'msdh', ['cmfs', 'lmsg']), chunk(9));
    await send({ body: [clip.video.init, ...chunks(0, 9), last] });
    expect((await send({ body: chunks(10, 20) })).status).toBe(400);
    expect((await send({ body: [clip.video.init, ...chunks(10, 20)] })).status).toBe(200);
    expect(await statusOf()).toBe(start / 2 + 1);
  });
});

/** The sizes one source alone gives. */
const sizesOfOneSource = async (): Promise<readonly number[]> => {
  const other = createPackager({
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
  const kept = packager;
  packager = other;
  await send({ body: [clip.video.init, ...chunks(0, 25)] });
  const sizes = await Promise.all([0, 1].map((index) => segmentSize(start / 2 + index)));
  packager = kept;
  return sizes;
};
