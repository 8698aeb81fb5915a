// SPDX-License-Identifier: Apache-2.0
/** Inner delivery from an operator's request over licence server and edges to the tracer; pirates that restart; epochs that grow. */
import { describe, expect, it } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { tracedDelivery } from '#core/edge-bundle/delivery-plan.ts';
import type { Micros } from '#core/time.ts';
import { createTracer, hardReading, type ObservationHeader } from '#core/trace/index.ts';
import { markKeys, position } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { createEdge, type Edge } from '#edge/index.ts';
import { markingFor, tracedAs, withCopies } from '#entry/marking-plans.ts';
import { createMarkKeys } from '#key-server/mark-keys.ts';
import type { AssetMarking, CatalogueStore } from '#ports';
import { createWorld, LIVE, makeDevice, SECOND, START, type TestDevice, type World } from './license-world.ts';

const MW = new Uint8Array(32).fill(0x51);
const SEGMENT = (2 * SECOND) as Micros;
const EDGES = ['ams', 'fra', 'lhr'];
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const devices: TestDevice[] = await Promise.all(Array.from({ length: 12 }, () => makeDevice()));

type Scene = { readonly world: World; readonly catalogue: CatalogueStore; readonly edges: ReadonlyMap<string, { edge: Edge; fetched: () => number }>; readonly entry: () => Promise<AssetMarking> };

const sceneOf = async (marking: AssetMarking): Promise<Scene> => {
  const { viewerNumbers, catalogue } = createMemoryStores();
  await catalogue.create({ asset: LIVE, kind: 'event', name: 'Match', state: 'live', createdAt: START, clearKey: 'off', marking });
  const world = await createWorld({ catalogue, marking: { keys: createMarkKeys({ secret: async () => MW }), viewers: viewerNumbers, catalogue } });
  const edges = new Map(
    EDGES.map((name) => {
      let fetched = 0;
      const edge = createEdge({
        origin: async (request) => {
          fetched += 1;
          return new Response(new URL(request.url).pathname.split('/').at(-2) ?? '', { headers: { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable' } });
        },
        originBase: 'http://origin/origin',
        bundle: world.licenses.bundleSource({ edge: name, zone: 0, renews: false }),
        clock: world.clock,
        random: { bytes: (length) => new Uint8Array(length) },
        log: silent,
        metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
        events: () => undefined,
      });
      return [name, { edge, fetched: () => fetched }] as const;
    }),
  );
  return { world, catalogue, edges, entry: async () => (await catalogue.get(LIVE))?.marking as AssetMarking };
};

/** What a viewer's player gets of the segment of now at an edge: the symbol. */
const watch = async ({ world, edges }: Scene, name: string, token: string): Promise<number> => {
  const edge = (edges.get(name) as { edge: Edge }).edge;
  await edge.refresh();
  const response = await edge.handler(new Request(`http://edge/media/${LIVE}/v720/${Math.floor(world.clock.now() / SEGMENT)}.m4s`, { headers: { authorization: `Bearer ${token}` } }));
  const text = await response.text();
  if (response.status !== 200) throw new Error(`the edge answered ${response.status}`);
  return text.charCodeAt(0) - 97;
};
const numberNow = ({ world }: Scene): number => Math.floor(world.clock.now() / SEGMENT);
const headerOf = (marking: AssetMarking, viewers: number, eps: number): ObservationHeader => ({ asset: LIVE, alphabet: marking.alphabet, slots: 1, ...tracedAs(marking), viewers, eps });

describe('a pirate that restarts its session', () => {
  it.each([1, 5])('B202 B203 every %d segments is named after the same number of segments as one that does not', async (every) => {
    const certifiedAfter = async (restart: number): Promise<number> => {
      const scene = await sceneOf(markingFor({ variants: 5, book: 'aligned', delivery: 'always-on', viewers: 1e6, edges: [] }, { kind: 'event', representations: ['v720'], segment: SEGMENT }, EDGES));
      for (const device of devices.slice(1, 6)) await scene.world.start(device, LIVE);
      const tracer = createTracer(headerOf(await scene.entry(), 1_000_000, 1e-6), markKeys(hmacSha256, MW));
      let token = '';
      for (let i = 0; i < 40; i++) {
        if (i % restart === 0) token = (await scene.world.start(devices[0] as TestDevice, LIVE)).mediaToken;
        await scene.world.licenses.refresh();
        tracer.observe({ position: position(numberNow(scene)), likelihoods: hardReading(5, await watch(scene, 'fra', token), 1e-3) });
        const { verdict, viewer } = tracer.report();
        if (verdict === 'accuse') {
          expect(viewer).toBe(21);
          return i + 1;
        }
        await scene.world.clock.advance(2);
      }
      return Number.POSITIVE_INFINITY;
    };
    const steady = await certifiedAfter(1000);
    expect(steady).toBeLessThan(25);
    expect(await certifiedAfter(every)).toBe(steady);
  });
});

describe('two-phase delivery', () => {
  it('one variant per edge and segment until a leak is followed, and evidence that only later copies give', async () => {
    const scene = await sceneOf(markingFor({ variants: 5, book: 'biased-uniform', delivery: 'two-phase', viewers: 1e5, edges: [] }, { kind: 'event', representations: ['v720'], segment: SEGMENT }, EDGES));
    const { world, catalogue, edges } = scene;
    const tokens = await Promise.all(devices.map(async (device) => (await world.start(device, LIVE)).mediaToken));
    const leak = 7;
    const readings: { at: number; symbol: number }[] = [];
    const segments = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        await world.licenses.refresh();
        for (const [viewer, token] of tokens.entries()) {
          const symbol = await watch(scene, EDGES[viewer % 3] as string, token);
          if (viewer === leak) readings.push({ at: numberNow(scene), symbol });
        }
        await world.clock.advance(2);
      }
    };
    await segments(12);
    for (const { edge, fetched } of edges.values()) {
      expect(fetched()).toBe(12);
      expect(edge.traffic()).toEqual([{ asset: LIVE, segments: 12, variants: 12, bytes: 12, plainBytes: 12 }]);
    }
    const judge = async () => {
      const tracer = createTracer(headerOf(await scene.entry(), 2000, 1e-4), markKeys(hmacSha256, MW));
      for (const { at, symbol } of readings) tracer.observe({ position: position(at), likelihoods: hardReading(5, symbol, 1e-3) });
      return tracer.report();
    };
    const first = await judge();
    expect(first).toMatchObject({ verdict: 'more', viewer: null, delivery: { edge: 1, suspects: [1] } });

    // The operator switches the suspect; the switch begins where no edge has served anything.
    const entry = await catalogue.get(LIVE);
    const { marking, from } = withCopies(entry?.marking, EDGES[1] as string, 'own', world.clock.now());
    expect(from).toBeGreaterThan(numberNow(scene) + 4);
    await catalogue.update({ ...(entry as NonNullable<typeof entry>), marking });
    expect(() => withCopies(marking, EDGES[1] as string, 'own', world.clock.now())).toThrow(expect.objectContaining({ code: 'already-exists' }));
    expect(() => withCopies(marking, 'nowhere', 'own', world.clock.now())).toThrow(expect.objectContaining({ code: 'not-found' }));
    await segments(26);
    const answer = await judge();
    expect(answer).toMatchObject({ verdict: 'accuse', viewer: 16 + leak, since: from });
    const traffic = [...edges].map(([, { edge }]) => edge.traffic()[0]);
    expect(traffic.map((row) => (row?.variants ?? 0) / (row?.segments ?? 1) > 1)).toEqual([false, true, false]);

    // Back to the common copy: later positions only, so what was read stays as it was.
    const closed = withCopies(await scene.entry(), EDGES[1] as string, 'common', world.clock.now()).marking;
    expect(closed.delivery).toMatchObject({ kind: 'two-phase', switched: [{ edge: 1, from, until: expect.any(Number) }] });
    expect(tracedDelivery(closed.delivery as NonNullable<AssetMarking['delivery']>)).toMatchObject({ edges: 4 });
  });
});

describe('prefix delivery', () => {
  const marking = markingFor({ variants: 3, book: 'aligned', delivery: 'prefix', viewers: 50, edges: [{ edge: 'ams', viewers: 3 }, { edge: 'fra', viewers: 10 }] }, { kind: 'event', representations: ['v720'], segment: SEGMENT }, EDGES);

  it('numbers come from the block of the edge that the backend names; who is named by none, or by a full one, is elsewhere', async () => {
    const scene = await sceneOf(marking);
    const delivery = marking.delivery;
    if (delivery?.kind !== 'prefix') throw new Error('no plan');
    const blockOf = (edge: number) => delivery.blocks.find((block) => block.edge === edge) as (typeof delivery.blocks)[number];
    const start = (): Promise<string[]> => Promise.all(devices.map(async (device, index) => (await scene.world.start(device, LIVE, { entitlement: await scene.world.entitlement(index % 3 < 2 ? { edge: EDGES[index % 3] } : {}) })).mediaToken));
    const tracers = devices.slice(0, 3).map(() => createTracer(headerOf(marking, 100, 1e-3), markKeys(hmacSha256, MW)));
    let tokens: string[] = [];
    for (let i = 0; i < 200; i++) {
      if (i % 20 === 0) tokens = await start();
      await scene.world.licenses.refresh();
      const symbols = await Promise.all(tokens.map((token, index) => watch(scene, EDGES[index % 3] as string, token)));
      for (const [index, tracer] of tracers.entries()) tracer.observe({ position: position(numberNow(scene)), likelihoods: hardReading(3, symbols[index] as number, 1e-3) });
      await scene.world.clock.advance(2);
    }
    for (const [edge, tracer] of tracers.entries()) {
      const { verdict, viewer } = tracer.report();
      const { first, digits } = blockOf(edge);
      expect(verdict, `${edge}`).toBe('accuse');
      expect(viewer).toBeGreaterThanOrEqual(Math.max(16, first));
      expect(viewer).toBeLessThan(first + 3 ** digits);
    }
    const [row] = scene.edges.get('ams')?.edge.traffic() ?? [];
    // Four viewers with symbols of their own would need 3 (1 - (2/3)^4) = 2.4 variants.
    expect((row?.variants ?? 9) / (row?.segments ?? 1)).toBeLessThan(2.2);
  });
  it('full blocks everywhere are an error, not another viewer\'s number', async () => {
    const tiny = markingFor({ variants: 2, book: 'aligned', delivery: 'prefix', viewers: 1, edges: [{ edge: 'ams', viewers: 1 }] }, { kind: 'event', representations: ['v720'], segment: SEGMENT }, EDGES);
    const scene = await sceneOf({ ...tiny, delivery: { kind: 'prefix', edges: ['ams'], blocks: [{ edge: 0, first: 16, digits: 1 }, { edge: 1, first: 18, digits: 1 }] } });
    for (const device of devices.slice(0, 4)) await scene.world.start(device, LIVE, { entitlement: await scene.world.entitlement({ edge: 'ams' }) });
    await expect(scene.world.start(devices[4] as TestDevice, LIVE)).rejects.toThrow();
  });
});

describe('epochs of a running event', () => {
  it('grow with the viewers, from behind every position whose key edges have, for edges and tracer alike', async () => {
    // Planned for four viewers: 2^2 codewords.
    const small: AssetMarking = { ...markingFor({ variants: 2, book: 'aligned', delivery: 'always-on', viewers: 1e6, edges: [] }, { kind: 'event', representations: ['v720'], segment: SEGMENT }, EDGES), schedule: [{ from: position(0), length: 2 }] };
    const scene = await sceneOf(small);
    const { mediaToken } = await scene.world.start(devices[0] as TestDevice, LIVE);
    await scene.world.clock.advance(6);
    await scene.world.licenses.refresh();
    const grown = await scene.entry();
    expect(grown.schedule).toHaveLength(2);
    const [old, longer] = grown.schedule;
    expect(old).toEqual({ from: 0, length: 2 });
    expect(longer?.length).toBeGreaterThan(10);
    // Keys of the epoch that ran then and of two more may be out there.
    expect(longer?.from).toBe((Math.floor(START / SEGMENT / 2) + 3) * 2);
    const tracer = createTracer(headerOf(grown, 1000, 1e-3), markKeys(hmacSha256, MW));
    for (let i = 0; i < 40; i++) {
      await scene.world.licenses.refresh();
      tracer.observe({ position: position(numberNow(scene)), likelihoods: hardReading(2, await watch(scene, 'ams', mediaToken), 1e-3) });
      await scene.world.clock.advance(2);
    }
    expect(numberNow(scene)).toBeGreaterThan(longer?.from ?? 0);
    expect((await scene.entry()).schedule).toEqual(grown.schedule);
    expect(tracer.report()).toMatchObject({ verdict: 'accuse', viewer: 16 });
  });
});

describe('plans that cannot be', () => {
  it.each<[string, () => unknown]>([
    ['two phases of a title', () => markingFor({ variants: 2, book: 'biased-uniform', delivery: 'two-phase', viewers: 10, edges: [] }, { kind: 'title', representations: [], segment: SEGMENT }, EDGES)],
    ['more numbers than there are', () => markingFor({ variants: 2, book: 'aligned', delivery: 'prefix', viewers: 1e10, edges: [{ edge: 'a', viewers: 2 ** 52 }] }, { kind: 'event', representations: [], segment: SEGMENT }, EDGES)],
    ['switching copies without phases', () => withCopies(undefined, 'ams', 'own', START as Micros)],
  ])('%s: refused', (_name, run) => expect(run).toThrow(expect.objectContaining({ code: 'bad-request' })));
});
