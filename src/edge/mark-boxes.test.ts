// SPDX-License-Identifier: Apache-2.0
/** Mark boxes on their way into the cache: every split of the bytes, every policy, every tier. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { isSealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import { joinSites, type WithoutSites } from '#core/mark/index.ts';
import type { Position } from '#core/watermark/index.ts';
import { viewerIdBytes } from '#core/token/viewer-id.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { createAlignedBook, markKey, markKeys, position, viewerNumber } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { createMarkBoxOpener } from '#crypto/mark-box.ts';
import type { EdgeOptions } from '#edge/edge.ts';
import { createWorld, objectAnswer, type World } from '../../test/runtimes/edge-in-process.ts';
import { boxKeyOf, MARK_SECRET, markedSegment, type MarkedSegment } from '../../test/vectors/marked-segments.ts';
import { type BoxOutcome, createUnboxer, type MarkPolicy } from './mark-boxes.ts';

const CUP = assetId('cup');
const SLOTS = 4;
const unboxerOf = (segment: number, policy?: MarkPolicy, outcomes: BoxOutcome[] = []): ReturnType<typeof createUnboxer> =>
  createUnboxer({ opener: createMarkBoxOpener({ asset: CUP, representation: 'v720', segment }, boxKeyOf), slots: SLOTS, ...(policy && { policy }), onBox: (outcome) => outcomes.push(outcome) });
const through = async (bytes: Uint8Array, cuts: readonly number[], unboxer: ReturnType<typeof createUnboxer>): Promise<Uint8Array> => {
  const out: Uint8Array[] = [];
  let at = 0;
  for (const cut of [...cuts.map((value) => value % bytes.length).sort((a, b) => a - b), bytes.length]) {
    out.push(await unboxer.push(bytes.subarray(at, cut)));
    at = cut;
  }
  out.push(await unboxer.end());
  return concatBytes(...out);
};

describe('taking mark boxes out', () => {
  it('gives the same bytes and places however the reads fall', async () => {
    const { boxed, plain, profile } = await markedSegment({ asset: CUP, segment: 3, slots: SLOTS });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(100_000), { maxLength: 12 }), async (cuts) => {
        const unboxer = unboxerOf(3);
        expect(Buffer.compare(await through(concatBytes(...boxed), cuts, unboxer), plain)).toBe(0);
        expect(joinSites(unboxer.marks)).toEqual(profile.sites);
      }),
      { numRuns: 40 },
    );
  });
  it('any bytes end in bytes or in unmarkable', async () => {
    const { boxed } = await markedSegment({ asset: CUP, segment: 3, slots: SLOTS, size: 400 });
    const whole = concatBytes(...boxed);
    const ends = async (bytes: Uint8Array): Promise<void> => {
      try {
        await through(bytes, [50], unboxerOf(3));
      } catch (error) {
        expect(isSealcastError(error, 'unmarkable'), String(error)).toBe(true);
      }
    };
    await fc.assert(fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), ends));
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(whole.length), async (at, flip, cut) => {
        const bytes = whole.slice(0, Math.max(1, cut));
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ flip;
        await ends(bytes);
      }),
    );
  });
  it.each<[string, MarkPolicy['noSites'], WithoutSites, boolean]>([
    ['coding that is not parsed is served', 'serve', 'mbaff', true],
    ['coding that is not parsed is refused where told', 'refuse', 'mbaff', false],
    ['an object without any reference picture is served', 'serve', 'no-places', true],
    ['an object without any reference picture is refused where told', 'refuse', 'no-places', false],
  ])('%s', async (_name, noSites, without, served) => {
    const { boxed, plain } = await markedSegment({ asset: CUP, segment: 3, slots: SLOTS, without });
    const outcomes: BoxOutcome[] = [];
    const answer = await through(concatBytes(...boxed), [], unboxerOf(3, { noSites, unmarkable: 'refuse' }, outcomes)).catch((error: unknown) => (isSealcastError(error, 'unmarkable') ? 'refused' : error));
    expect(answer).toEqual(served ? plain : 'refused');
    expect(new Set(outcomes)).toEqual(new Set(['none']));
  });
  it.each<[BoxOutcome, Partial<Parameters<typeof markedSegment>[0]>]>([
    ['missing', { change: () => undefined }],
    ['not-authentic', { secret: new Uint8Array(32) }],
    ['malformed', { change: (box) => box.map((byte, i) => (i === 24 ? 9 : byte)) }],
  ])('what cannot be opened (%s) is served and counted where the operator says so', async (outcome, options) => {
    const { boxed, plain } = await markedSegment({ asset: CUP, segment: 3, slots: SLOTS, ...options });
    const outcomes: BoxOutcome[] = [];
    expect(await through(concatBytes(...boxed), [], unboxerOf(3, { noSites: 'serve', unmarkable: 'serve' }, outcomes))).toEqual(plain);
    expect(outcomes).toEqual([outcome, outcome, outcome]);
  });
});

const VIEWER_KEY = new Uint8Array(32).fill(0x22);
const schedule = [{ from: 0 as Position, length: 24 }];
const book = createAlignedBook({ alphabet: 2, schedule, keys: markKeys(hmacSha256, MARK_SECRET) });
const PLAN: MarkPlan = {
  asset: CUP, sequencing: true, representations: ['v720'], names: 'letters', pace: 'number', alphabet: 2, book: 'aligned', schedule,
  inBand: { slots: SLOTS, boxKeys: [{ epoch: 0, key: boxKeyOf(0) }] },
  keys: Array.from({ length: 40 }, (_, epoch) => ({ epoch, key: markKey(hmacSha256, MARK_SECRET, epoch) })),
  viewerKeys: [{ version: 1, key: VIEWER_KEY }],
};
const marked = (world: World, viewer: number): RequestInit => ({
  headers: { authorization: `Bearer ${world.token({ mark: { version: 1, vendor: 0, patternLength: 32_768, id: encodeBase64url(viewerIdBytes(hmacSha256, VIEWER_KEY, viewer)), keyVersion: 1 } })}` },
});
const worldOf = async (segment: MarkedSegment, options: Partial<EdgeOptions> = {}, length = true): Promise<World> => {
  const body = concatBytes(...segment.boxed);
  const world = await createWorld(() => objectAnswer(body, 'public, max-age=31536000, immutable', length ? { 'content-length': String(body.length), etag: '"x"' } : {}), options);
  world.bundle = { ...world.bundle, version: 2, marks: [PLAN] };
  await world.edge.refresh();
  return world;
};
const bytesOf = async (response: Response): Promise<Uint8Array> => new Uint8Array(await response.arrayBuffer());

describe('marked objects in the cache', () => {
  const copyFor = (segment: MarkedSegment, viewer: number, number: number): Uint8Array => segment.copy((slot) => book.symbol(viewerNumber(viewer), position(number * SLOTS + slot)));
  it('too large to keep, they are marked on their way through', async () => {
    const segment = await markedSegment({ asset: CUP, segment: 1, slots: SLOTS });
    const world = await worldOf(segment, { cache: { maxObjectBytes: 100 } });
    for (const viewer of [16, 17]) expect(await bytesOf(await world.get('v720/1.m4s', marked(world, viewer)))).toEqual(copyFor(segment, viewer, 1));
    expect(world.asked).toHaveLength(2);
  });
  it('too large to keep and not to be marked, they are refused', async () => {
    const world = await worldOf(await markedSegment({ asset: CUP, segment: 1, slots: SLOTS, change: () => undefined }), { cache: { maxObjectBytes: 100 } });
    expect((await world.get('v720/1.m4s', marked(world, 16))).status).toBe(502);
  });
  it('on disk they keep their sealed boxes: places are never stored in the clear', async () => {
    const segment = await markedSegment({ asset: CUP, segment: 1, slots: SLOTS });
    const store = createMemoryObjects();
    const first = await worldOf(segment, { cache: { disk: { store, bytes: 10e6 } } });
    expect(await bytesOf(await first.get('v720/1.m4s', marked(first, 16)))).toEqual(copyFor(segment, 16, 1));
    while ((await store.list('')).length === 0) await new Promise((resolve) => setImmediate(resolve));
    const [path = ''] = await store.list('');
    const stored = (await store.get(path)) as Uint8Array;
    const body = concatBytes(...segment.boxed);
    expect(Buffer.from(stored).indexOf(body)).toBe(stored.length - body.length);
    const second = await worldOf(segment, { cache: { disk: { store, bytes: 10e6 } } });
    expect(await bytesOf(await second.get('v720/1.m4s', marked(second, 17)))).toEqual(copyFor(segment, 17, 1));
    expect(second.asked).toEqual([]);
  });
  it('of an asset that is not marked any more they are refused, not served unmarked', async () => {
    const segment = await markedSegment({ asset: CUP, segment: 1, slots: SLOTS });
    const world = await worldOf(segment);
    expect((await world.get('v720/1.m4s', marked(world, 16))).status).toBe(200);
    world.bundle = { ...world.bundle, version: 3, marks: [] };
    await world.edge.refresh();
    const answer = await world.get('v720/1.m4s');
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([502, 'unmarkable']);
  });
  it('of an asset that the bundle does not name yet are not served, from origin or disk, kept or not', async () => {
    const segment = await markedSegment({ asset: CUP, segment: 1, slots: SLOTS });
    const store = createMemoryObjects();
    const first = await worldOf(segment, { cache: { disk: { store, bytes: 10e6 } } });
    expect((await first.get('v720/1.m4s', marked(first, 16))).status).toBe(200);
    while ((await store.list('')).length === 0) await new Promise((resolve) => setImmediate(resolve));
    for (const cache of [{}, { maxObjectBytes: 100 }, { disk: { store, bytes: 10e6 } }]) {
      const world = await worldOf(segment, { cache });
      world.bundle = { ...world.bundle, version: 3, marks: [] };
      await world.edge.refresh();
      const bytes = await world.get('v720/1.m4s').then(async (answer) => (answer.status === 200 ? (await answer.arrayBuffer()).byteLength : 0)).catch(() => 0);
      expect(bytes).toBe(0);
      expect(world.edge.stats().cachedObjects).toBe(0);
    }
  });
  it('that cannot be marked are told of once a minute, however many ask', async () => {
    const world = await worldOf(await markedSegment({ asset: CUP, segment: 1, slots: SLOTS, change: () => undefined }));
    for (let viewer = 16; viewer < 26; viewer++) expect((await world.get('v720/1.m4s', marked(world, viewer))).status).toBe(502);
    const told = world.events.filter(({ kind }) => kind === 'edge.unmarkable');
    expect(told.map(({ severity, asset, data }) => [severity, asset, data])).toEqual([['alert', 'cup', { representation: 'v720', segment: 1, outcome: 'missing' }]]);
    expect([...world.counted].find(([name]) => name.startsWith('sealcast_edge_mark_boxes_total'))).toEqual(['sealcast_edge_mark_boxes_total missing', 10]);
  });
  it('B196 B200: an edge holds box, mark and viewer keys, and no content key', async () => {
    const world = await worldOf(await markedSegment({ asset: CUP, segment: 1, slots: SLOTS }));
    const names = new Set<string>();
    const walk = (value: unknown): void => {
      if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return;
      for (const [name, inner] of Object.entries(value)) {
        if (/key/i.test(name)) names.add(name);
        walk(inner);
      }
    };
    walk(world.bundle);
    expect([...names].sort()).toEqual(['boxKeys', 'key', 'keys', 'mediaTokenKey', 'viewerKeys', 'zoneKey']);
  });
});
