// SPDX-License-Identifier: Apache-2.0
/**
 * A live event marked inside the bitstream, from the encoder's chunks to two viewers' decrypted pictures: ingest, profile, box,
 * protection, origin, edge.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { retimeFragment } from '#core/isobmff/fragment-writer.ts';
import { parseInit, type Track } from '#core/isobmff/init.ts';
import { applySymbols, boxEpochOf, decodeProfile, isMarkBox } from '#core/mark/index.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { viewerIdBytes } from '#core/token/viewer-id.ts';
import { createAlignedBook, epochAt, markKeys, position, viewerNumber, type Position } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { createEdge, type Edge } from '#edge/index.ts';
import { createMarkKeys } from '#key-server/index.ts';
import { createMarkReferences, createPackager, type Packager } from '#packager/index.ts';
import type { ObjectStore, OperationalEvent } from '#ports';
import { ffmpeg } from '../interop/clips.ts';
import { recentStart } from './ingest-clip.ts';
import { openSegment } from './ingest-decrypt.ts';
import { CREDENTIAL, EVENT, quietLog, quietMetrics, randomKeys } from './ingest-harness.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const SLOTS = 16;
const SECRET = new Uint8Array(32).fill(0x31);
const TOKEN_KEY = new Uint8Array(32).fill(0x42);
const schedule = [{ from: 0 as Position, length: 48 }];
const source = createMarkKeys({ secret: async () => SECRET });
const book = createAlignedBook({ alphabet: 2, schedule, keys: markKeys(hmacSha256, SECRET) });
const keys = randomKeys({ scheme: 'cenc' });
const references = createMemoryObjects();
const events: OperationalEvent[] = [];
const folder = mkdtempSync(join(tmpdir(), 'sealcast-marked-live-'));

let packager: Packager;
let edge: Edge;
let store: ObjectStore;
let init: Uint8Array;
let first: number;
let sent: readonly Uint8Array[];

/** Six seconds of moving texture, 640x360, a key frame every two, chunks of 200 ms. */
const makeSource = (): { init: Uint8Array; media: Track; chunks: readonly Uint8Array[] } => {
  const file = join(folder, 'source.mp4');
  const inputs = ['testsrc2=s=640x360:r=25', 'life=s=160x90:r=25:mold=10:seed=5:ratio=0.4', 'cellauto=s=320x180:rule=110:r=25:scroll=1:seed=9'].flatMap((spec) => ['-f', 'lavfi', '-t', '6', '-i', spec]);
  const filter = '[1:v]scale=640:360,format=yuv420p[a];[2:v]scale=640:360,format=yuv420p[b];[0:v]format=yuv420p[c];[c][a]blend=all_mode=average[d];[d][b]blend=all_mode=average,format=yuv420p[out]';
  ffmpeg(['-v', 'error', ...inputs, '-filter_complex', filter, '-map', '[out]', '-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-threads', '1', '-crf', '20', '-g', '50', '-sc_threshold', '0',
    '-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+skip_trailer', '-frag_duration', '200000', file]);
  const pieces = createBoxSplitter().push(readFileSync(file));
  const header = pieces[0]?.bytes as Uint8Array;
  return { init: header, media: parseInit(header).tracks[0] as Track, chunks: pieces.slice(1).map(({ bytes }) => bytes) };
};
const put = (path: string, body: Uint8Array): Promise<Response> =>
  packager.ingestHandler(new Request(`http://ingest.test/ingest/${EVENT}/${path}`, { method: 'PUT', body: body as Uint8Array<ArrayBuffer>, headers: { authorization: `Bearer ${CREDENTIAL}` } }));
const atOrigin = async (path: string): Promise<Uint8Array> => new Uint8Array(await (await packager.originHandler(new Request(`http://origin.test/origin/${EVENT}/${path}`))).arrayBuffer());
const atEdge = (path: string, viewer: number, headers: Record<string, string> = {}): Promise<Response> => {
  const now = systemClock.now();
  const mark = { version: 1, vendor: 0, patternLength: 32_768, id: encodeBase64url(viewerIdBytes(hmacSha256, hmacSha256(SECRET, Uint8Array.of(1)), viewer)), keyVersion: 1 };
  const token = mintMediaToken({ key: TOKEN_KEY, kid: { epoch: 1, zone: 0 }, claims: { session: 'BwMAAQIDBAUGBwgJCgsMDQ4P' as never, asset: EVENT, issuedAt: now, expiresAt: (now + 60e6) as Micros, mark } });
  return edge.handler(new Request(`http://edge.test/media/${EVENT}/${path}`, { headers: { authorization: `Bearer ${token}`, ...headers } }));
};
const symbolsOf = (viewer: number, number: number) => (slot: number): number => book.symbol(viewerNumber(viewer), position(number * SLOTS + slot));
const pictures = (segment: Uint8Array): Uint8Array => concatBytes(...openSegment(init, segment, keys.keyOf).samples.map(({ data }) => data));
/** The tracer's original with a viewer's places on, in the clear. */
const expected = async (number: number, viewer: number | undefined): Promise<Uint8Array> => {
  const clear = ((await references.get(`${EVENT}/marks/v360/${number}.m4s`)) as Uint8Array).slice();
  if (viewer !== undefined) applySymbols(clear, decodeProfile((await references.get(`${EVENT}/marks/v360/${number}.marks`)) as Uint8Array), symbolsOf(viewer, number));
  const header = (await references.get(`${EVENT}/marks/v360/init.mp4`)) as Uint8Array;
  return concatBytes(...openSegment(header, clear, () => undefined).samples.map(({ data }) => data));
};

beforeAll(async () => {
  store = createMemoryObjects();
  packager = createPackager({
    keys, store, aes: nodeSampleAes, random: systemRandom, clock: systemClock, metrics: quietMetrics, log: quietLog,
    events: (event) => events.push(event),
    ingestAccess: async () => ({ credentialHash: createHash('sha256').update(CREDENTIAL).digest('base64url'), open: true }),
    marks: async (asset) => ({ slots: SLOTS, representations: ['v360', 'still'], keys: source, references: createMarkReferences(references, asset) }),
  });
  const made = makeSource();
  const start = recentStart(8);
  first = start / 2;
  sent = made.chunks.map((chunk) => retimeFragment(chunk, { shift: () => BigInt(start) * BigInt(made.media.timescale) }));
  expect((await put('Streams(v360.cmfv)', made.init)).status).toBe(200);
  for (const chunk of sent) expect((await put('Streams(v360.cmfv)', chunk)).status).toBe(200);
  init = await atOrigin('v360/init.mp4');
  const { keys: markSecrets } = await source.markKeys({ asset: EVENT, ...range(epochAt(schedule, first * SLOTS).epoch, 12) });
  const plan: MarkPlan = {
    asset: EVENT, sequencing: true, representations: ['v360', 'still'], names: 'letters', pace: 'number', alphabet: 2, book: 'aligned', schedule,
    inBand: { slots: SLOTS, boxKeys: (await source.boxKeys({ asset: EVENT, ...range(boxEpochOf(first), 2) })).keys },
    keys: markSecrets,
    viewerKeys: [{ version: 1, key: hmacSha256(SECRET, Uint8Array.of(1)) }],
  };
  const now = systemClock.now();
  const bundle: EdgeBundle = { version: 1, issuedAt: now, edge: 'edge-1', zone: { index: 0, name: 'eu' }, epochs: [{ epoch: 1, mediaTokenKey: TOKEN_KEY, notBefore: 0 as Micros, notAfter: (now + microsFromSeconds(3600)) as Micros }], revokedSessions: [], revokedDevices: [], marks: [plan], validUntil: (now + microsFromSeconds(3600)) as Micros };
  edge = createEdge({ origin: (request) => packager.originHandler(request), originBase: 'http://origin.test/origin', bundle: async ({ version }) => (version === 1 ? undefined : bundle), clock: systemClock, random: systemRandom, log: quietLog, metrics: quietMetrics, events: () => undefined });
  await edge.refresh();
});
afterAll(async () => {
  edge.stop();
  await packager.stop();
  rmSync(folder, { recursive: true, force: true });
});
const range = (from: number, count: number): { from: number; to: number } => ({ from, to: from + count });

describe('a live event marked inside the bitstream', () => {
  test('B191 B193: chunks are profiled as they come, each with a box directly before its moof', async () => {
    const types = readBoxes(await atOrigin(`v360/${first}.m4s`)).map((box) => (box.type === 'uuid' && isMarkBox(box.bytes) ? 'mark' : box.type));
    expect(types.slice(0, 5)).toEqual(['styp', 'prft', 'mark', 'moof', 'mdat']);
    expect(types.filter((type) => type === 'mark')).toHaveLength(types.filter((type) => type === 'moof').length);
    expect(types.filter((type) => type === 'mark')).toHaveLength(10);
    for (const [at, type] of types.entries()) if (type === 'mark') expect(types[at + 1]).toBe('moof');
  });
  test('the places of a segment are spread over its chunks, within the quota and one per cent of its bytes', async () => {
    const number = first + 1;
    const { sites, slots } = decodeProfile((await references.get(`${EVENT}/marks/v360/${number}.marks`)) as Uint8Array);
    expect(slots).toBe(SLOTS);
    expect(sites.count).toBeGreaterThan(100);
    expect(sites.count).toBeLessThanOrEqual(SLOTS * 32);
    const segment = await atOrigin(`v360/${number}.m4s`);
    const boxes = readBoxes(segment).filter(({ bytes }) => isMarkBox(bytes));
    expect(boxes.reduce((sum, { bytes }) => sum + bytes.length, 0) / segment.length).toBeLessThanOrEqual(0.01);
    // Chunks behind the key frame's have boxes with places: the others are as short as a box without any.
    expect(boxes.filter(({ bytes }) => bytes.length > 100).length).toBeGreaterThan(5);
  });
  test('B190 B204: two viewers get two copies of one object, which open to the same pictures but for the marks', async () => {
    for (const number of [first, first + 1]) {
      const [one, two] = await Promise.all([16, 17].map(async (viewer) => new Uint8Array(await (await atEdge(`v360/${number}.m4s`, viewer)).arrayBuffer())));
      expect(Buffer.compare(one as Uint8Array, two as Uint8Array)).not.toBe(0);
      for (const [viewer, copy] of [[16, one], [17, two]] as const) expect(Buffer.compare(pictures(copy as Uint8Array), await expected(number, viewer))).toBe(0);
      // The encoder's own pictures are nobody's copy.
      expect(Buffer.compare(pictures(one as Uint8Array), await expected(number, undefined))).not.toBe(0);
    }
  });
  test('parts of low-latency HLS are the same copy in pieces', async () => {
    const number = first + 1;
    const whole = new Uint8Array(await (await atEdge(`v360/${number}.m4s`, 16)).arrayBuffer());
    const parts: Uint8Array[] = [];
    for (let part = 0; part < 10; part++) parts.push(new Uint8Array(await (await atEdge(`v360/${number}.${part}.m4s`, 16)).arrayBuffer()));
    expect(Buffer.compare(concatBytes(...parts), whole)).toBe(0);
  });
  test('a track without places is reported once, and its chunks are served with a reason', async () => {
    const still = join(folder, 'still.mp4');
    ffmpeg(['-v', 'error', '-f', 'lavfi', '-i', 'color=c=gray:s=320x180:r=25', '-t', '6', '-c:v', 'libx264', '-preset', 'ultrafast', '-g', '50', '-pix_fmt', 'yuv420p', '-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+skip_trailer', '-frag_duration', '200000', still]);
    const [header, ...chunks] = createBoxSplitter().push(readFileSync(still));
    const { timescale } = parseInit(header?.bytes as Uint8Array).tracks[0] as Track;
    await put('Streams(still.cmfv)', header?.bytes as Uint8Array);
    for (const { bytes } of chunks) await put('Streams(still.cmfv)', retimeFragment(bytes, { shift: () => BigInt(first * 2) * BigInt(timescale) }));
    const told = events.filter(({ kind }) => kind === 'packager.no-mark-places');
    expect(told.map(({ severity, data }) => [severity, data?.['representation'], data?.['because']])).toEqual([['warning', 'still', 'no-places']]);
    expect((await atEdge(`still/${first}.m4s`, 16)).status).toBe(200);
  });
});
