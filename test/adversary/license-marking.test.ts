// SPDX-License-Identifier: Apache-2.0
/** Viewer numbers and watermark claims from session start over renewals and new licences to the edge (design section 5). */
import { beforeEach, describe, expect, it } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { assetId } from '#core/ids.ts';
import { decodeState } from '#core/license/renewal-state.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { MarkClaims, TokenClaims } from '#core/token/media-claims.ts';
import { openViewerId } from '#core/token/viewer-id.ts';
import { createAlignedBook, epochAt, markKeys, position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { verifyMediaToken } from '#crypto/media-token.ts';
import { createEdge } from '#edge/index.ts';
import { createMarkKeys } from '#key-server/mark-keys.ts';
import type { AssetMarking } from '#ports';
import { createWorld, FILM, LIVE, liveGroup, makeDevice, SECOND, START, type TestDevice, type Viewer, type World } from './license-world.ts';

const device: TestDevice = await makeDevice();
const other: TestDevice = await makeDevice();
const MW = new Uint8Array(32).fill(0x77);
const SEGMENT = (2 * SECOND) as Micros;
const schedule = startSchedule({ alphabet: 5, viewers: 1e9 });
const marking: AssetMarking = { sequencing: true, representations: ['v720'], names: 'letters', pace: 'number', alphabet: 5, book: 'aligned', schedule, segment: SEGMENT };
const keys = createMarkKeys({ secret: async () => MW });
const viewerKey = (await keys.markKeys({ asset: LIVE, from: 0, to: 0 })).viewerKey;

let world: World;
const sessionMark = (token: string): { claims: TokenClaims; mark: MarkClaims } => {
  const verdict = verifyMediaToken(token, { keyOf: ({ epoch, zone }) => world.licenses.zoneKeys(epoch % 256, zone, world.clock.now())?.mediaTokenKey, now: world.clock.now() });
  if (!verdict.ok || verdict.claims.mark === undefined) throw new Error('no mark');
  return { claims: verdict.claims, mark: verdict.claims.mark };
};
const numberOf = (viewer: Viewer): number | undefined => openViewerId(hmacSha256, viewerKey, sessionMark(viewer.mediaToken).mark.id ?? '');

beforeEach(async () => {
  const { viewerNumbers, catalogue } = createMemoryStores();
  const entry = { asset: LIVE, kind: 'event', name: 'Match', state: 'live', createdAt: START, clearKey: 'off', marking } as const;
  await catalogue.create(entry);
  await catalogue.create({ asset: FILM, kind: 'title', name: 'Film', state: 'ready', createdAt: START, duration: (600 * SECOND) as Micros, clearKey: 'off' });
  world = await createWorld({ catalogue, marking: { keys, viewers: viewerNumbers, catalogue } });
});

describe('viewer numbers', () => {
  it('B202 are given from 16 on, one per account and device, and kept over restarts of the session', async () => {
    const first = await world.start(device, LIVE);
    expect(sessionMark(first.mediaToken).mark).toMatchObject({ version: 1, vendor: 0, patternLength: 32_768, keyVersion: 1 });
    expect(numberOf(first)).toBe(16);
    expect(numberOf(await world.start(other, LIVE))).toBe(17);
    for (let restart = 0; restart < 3; restart++) {
      await world.clock.advance(10);
      const again = await world.start(device, LIVE);
      expect(again.sid).not.toBe(first.sid);
      expect(sessionMark(again.mediaToken).mark).toEqual(sessionMark(first.mediaToken).mark);
    }
  });
  it('of unmarked assets do not exist', async () => {
    const viewer = await world.start(device, FILM);
    expect(() => sessionMark(viewer.mediaToken)).toThrow('no mark');
    expect(decodeState(viewer.state).state.mark).toBeUndefined();
  });
  it('B194 stay in tokens of renewals and new licences; the client carries them under the server\'s MAC', async () => {
    const viewer = await world.start(device, LIVE);
    const { mark } = sessionMark(viewer.mediaToken);
    for (let round = 0; round < 3; round++) {
      await world.clock.advance(20);
      const { bytes, mac } = viewer.request(liveGroup(world.clock.now()));
      const answered = world.renewalNode().renew(bytes);
      const outcome = answered instanceof Promise ? await answered : answered;
      if (outcome.kind !== 'answered' || outcome.mediaToken === undefined) throw new Error('no answer');
      viewer.accept(mac, outcome.bytes);
      expect(sessionMark(outcome.mediaToken).mark).toEqual(mark);
      expect(encodeBase64url(decodeState(viewer.state).state.mark?.id ?? new Uint8Array())).toBe(mark.id);
    }
    const { bytes } = viewer.request(liveGroup(world.clock.now()));
    // The last byte of the id stands before state MAC (16) and request MAC (16).
    bytes[bytes.length - 33] = (bytes[bytes.length - 33] ?? 0) ^ 1;
    const forged = world.renewal.renew(bytes);
    expect((forged instanceof Promise ? await forged : forged).kind).toBe('refused');
    const relicensed = await world.relicense(viewer);
    expect(sessionMark(String(relicensed.body['mediaToken'])).mark).toEqual(mark);
  });
});

describe('mark plans of edges', () => {
  const bundleOf = () => world.licenses.bundleSource({ edge: 'e', zone: 0, renews: false })({ version: 0, wait: 0 as Millis, signal: new AbortController().signal });

  it('hold the keys of epochs that are served, at most two ahead, and move on with time', async () => {
    const now = epochAt(schedule, Math.floor(world.clock.now() / SEGMENT)).epoch;
    const before = await bundleOf();
    const epochs = before?.marks?.[0]?.keys.map(({ epoch }) => epoch) ?? [];
    expect(before?.marks).toHaveLength(1);
    expect(epochs).toContain(now);
    expect(Math.max(...epochs)).toBe(now + 2);
    expect(Math.min(...epochs)).toBeGreaterThan(now - 10);
    expect(JSON.stringify(before?.marks)).not.toContain(encodeBase64url(MW));
    await world.clock.advance(60);
    await world.licenses.refresh();
    const after = await bundleOf();
    expect(after?.version).toBeGreaterThan(before?.version ?? 0);
    expect(after?.marks?.[0]?.keys.some(({ epoch }) => epoch === epochAt(schedule, Math.floor(world.clock.now() / SEGMENT)).epoch + 2)).toBe(true);
  });

  it('end to end: every segment a restarting session fetches is of one sequence, that of its viewer number', async () => {
    const edge = createEdge({
      origin: async (request) => new Response(new URL(request.url).pathname.split('/').at(-2) ?? '', { headers: { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable' } }),
      originBase: 'http://origin/origin',
      bundle: world.licenses.bundleSource({ edge: 'e', zone: 0, renews: false }),
      clock: world.clock,
      random: { bytes: (length) => new Uint8Array(length) },
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
      events: () => undefined,
    });
    const book = createAlignedBook({ alphabet: 5, schedule, keys: markKeys(hmacSha256, MW) });
    const got: string[] = [];
    const expected: string[] = [];
    for (let round = 0; round < 6; round++) {
      // A pirate that starts anew every ten seconds.
      const viewer = await world.start(device, LIVE);
      await world.licenses.refresh();
      await edge.refresh();
      for (let segment = 0; segment < 5; segment++) {
        const number = Math.floor(world.clock.now() / SEGMENT);
        const response = await edge.handler(new Request(`http://edge/media/${LIVE}/v720/${number}.m4s`, { headers: { authorization: `Bearer ${viewer.mediaToken}` } }));
        got.push(await response.text());
        expected.push('abcde'[book.symbol(viewerNumber(16), position(number))] ?? '');
        await world.clock.advance(2);
      }
    }
    expect(got).toEqual(expected);
    expect(new Set(got).size).toBeGreaterThan(2);
  });
});

describe('mark keys', () => {
  it('are refused in absurd numbers', async () => {
    for (const [from, to] of [[0, 4097], [-1, 1], [2, 1], [0.5, 1]] as const) await expect(keys.markKeys({ asset: assetId('x'), from, to })).rejects.toMatchObject({ code: 'bad-request' });
  });
});
