// SPDX-License-Identifier: Apache-2.0
/** The release channel against edges in memory on a fake clock: join, hedging, losses, lies, outages, drains. */
import { describe, expect, test } from 'vitest';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { type FakeClock, createFakeClock } from '../../../test/interop/fake-clock.ts';
import { EVENT, type FakeEdges, createFakeEdges } from '../../../test/interop/fake-edges.ts';
import { openReleaseChannel } from './channel.ts';
import type { ReleaseChannel, ReleaseChannelOptions, ReleaseEvents } from './channel-types.ts';

const seeded = (seed: number) => {
  let state = seed;
  return { bytes: (length: number) => Uint8Array.from({ length }, () => (state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0) >>> 24) };
};

type World = { clock: FakeClock; edges: FakeEdges; channel: ReleaseChannel; released: ReleaseEvents['released'][]; mistrusted: ReleaseEvents['mistrusted'][]; held: (string | undefined)[] };
const world = async (count: number, options: Partial<ReleaseChannelOptions> = {}, before: (edges: FakeEdges) => void = () => undefined): Promise<World> => {
  const clock = createFakeClock();
  const edges = await createFakeEdges(clock, count);
  before(edges);
  const channel = openReleaseChannel({
    event: EVENT, urls: edges.edges.map(({ url }) => url), token: () => 'token', keyOf: edges.keyOf, clock, random: seeded(7), fetch: edges.fetch, openSocket: edges.openSocket, caps: ['ws', 'eme'], ...options,
  });
  const released: ReleaseEvents['released'][] = [];
  const mistrusted: ReleaseEvents['mistrusted'][] = [];
  const held: (string | undefined)[] = [];
  channel.on('released', (event) => released.push(event));
  channel.on('mistrusted', (event) => mistrusted.push(event));
  channel.on('held', ({ reason }) => held.push(reason));
  return { clock, edges, channel, released, mistrusted, held };
};
/** Periods of the last `seconds` that are not here. */
const gaps = ({ edges, channel }: World, seconds: number): number => {
  let missing = 0;
  for (let p = edges.last() - seconds * 10; p < edges.last() - 1; p++) if (channel.secret(p as CryptoPeriod) === undefined) missing += 1;
  return missing;
};

describe('release channel', () => {
  test('gets every secret by push from two edges, the first copy counts, the clock is right within its bound', async () => {
    const it = await world(2, {}, ({ edges }) => void ((edges[1] as (typeof edges)[number]).conduct.down = 30));
    await it.clock.advance(12_000);
    expect(gaps(it, 10)).toBe(0);
    expect(it.channel.connections.filter(({ up }) => up)).toHaveLength(2);
    const { periods, arrivalP50, ways, late } = it.channel.statistics;
    expect(periods).toBeGreaterThan(105);
    expect(arrivalP50).toBeLessThanOrEqual(16);
    expect(ways.push + ways.second).toBe(periods);
    expect(late).toBe(0);
    const reading = it.channel.now();
    expect(Math.abs((reading?.now ?? 0) - it.clock.now())).toBeLessThanOrEqual(reading?.error ?? 0);
    expect(it.mistrusted).toEqual([]);
    it.channel.stop();
  });

  test('B179: a late joiner gets the current secret within a round trip and the past of its window in one answer', async () => {
    const it = await world(1);
    await it.clock.advance(45);
    expect(it.channel.secret(it.edges.last())).toBeDefined();
    const to = (it.edges.last() + 1) as CryptoPeriod;
    it.channel.need((to - 60) as CryptoPeriod, to);
    await it.clock.advance(60);
    for (let p = to - 60; p < to; p++) expect(it.channel.secret(p as CryptoPeriod)).toEqual(it.edges.secret(p as CryptoPeriod));
    expect(it.edges.edges[0]?.httpPulled.filter((path) => path.startsWith('/blocks/'))).toHaveLength(1);
    it.channel.stop();
  });

  test('B176: lost pushes are pulled before their frames are due, or within a segment at worst', async () => {
    const it = await world(1, {}, ({ edges }) => void ((edges[0] as (typeof edges)[number]).conduct.lose = (p) => p % 7 === 0));
    const due = new Map<number, number>();
    it.channel.on('released', ({ from }) => due.set(from, it.clock.now()));
    await it.clock.advance(30_000);
    expect(gaps(it, 28)).toBe(0);
    const lost = [...due].filter(([p]) => p % 7 === 0);
    expect(lost.length).toBeGreaterThan(35);
    const after = lost.map(([p, at]) => at - (it.edges.info.firstRelease + p * 100_000)).sort((a, b) => a - b);
    expect(after.at(-1)).toBeLessThan(300_000);
    expect(it.channel.statistics.ways.pull).toBeGreaterThan(35);
    expect(it.channel.connections.every(({ up }) => up)).toBe(true);
    it.channel.stop();
  });

  test('with two edges a push that one of them loses costs nothing: no pull', async () => {
    const it = await world(2, {}, ({ edges }) => edges.forEach(({ conduct }, i) => void (conduct.lose = (p) => p % 4 === 2 * i)));
    await it.clock.advance(20_000);
    expect(gaps(it, 18)).toBe(0);
    expect(it.channel.statistics.ways.pull).toBe(0);
    expect(it.channel.statistics.late).toBe(0);
    it.channel.stop();
  });

  test('B177: a secret that does not match its commitment is dropped and its edge left with 4400; the other one serves', async () => {
    const it = await world(3, {}, ({ edges }) => void ((edges[0] as (typeof edges)[number]).conduct.lie = (p) => p % 30 === 0));
    await it.clock.advance(20_000);
    const liar = it.edges.edges[0];
    expect(it.mistrusted.every(({ edge, what }) => edge === liar?.url && what === 'secret')).toBe(true);
    expect(it.mistrusted.length).toBeGreaterThan(0);
    expect(liar?.closed).toContain(4400);
    expect(liar?.connections).toBe(0);
    expect(gaps(it, 18)).toBe(0);
    for (let p = it.edges.last() - 150; p < it.edges.last(); p++) expect(it.channel.secret(p as CryptoPeriod)).toEqual(it.edges.secret(p as CryptoPeriod));
    it.channel.stop();
  });

  test('an edge that says another T0 than is signed is left', async () => {
    const it = await world(2, {}, ({ edges }) => void ((edges[0] as (typeof edges)[number]).conduct.shift = -1_000_000));
    await it.clock.advance(5000);
    expect(it.channel.plan).toMatchObject({ firstRelease: it.edges.info.firstRelease });
    expect(it.mistrusted.map(({ edge }) => edge)).toContain(it.edges.edges[0]?.url);
    expect(gaps(it, 3)).toBe(0);
    it.channel.stop();
  });

  test('a secret before its time is noticed and its edge left', async () => {
    const it = await world(2, { edges: 2 });
    await it.clock.advance(3000);
    (it.edges.edges[0] as (typeof it.edges.edges)[number]).conduct.skew = 80_000;
    await it.clock.advance(3000);
    expect(it.mistrusted).toContainEqual(expect.objectContaining({ what: 'early', edge: it.edges.edges[0]?.url }));
    it.channel.stop();
  });

  test('an edge that dies under a client with two costs nothing, and the third takes its place within a second', async () => {
    const it = await world(3);
    await it.clock.advance(5000);
    const used = it.edges.edges.filter(({ connections }) => connections > 0);
    expect(used).toHaveLength(2);
    used[0]?.kill();
    await it.clock.advance(1000);
    expect(it.edges.edges.filter(({ conduct, connections }) => !conduct.dead && connections === 1)).toHaveLength(2);
    await it.clock.advance(5000);
    expect(gaps(it, 10)).toBe(0);
    expect(it.channel.statistics.late).toBe(0);
    it.channel.stop();
  });

  test('resumes where it was: a reconnection says the last period and gets what came since', async () => {
    const it = await world(1);
    await it.clock.advance(5000);
    const [edge] = it.edges.edges;
    edge?.kill();
    await it.clock.advance(2000);
    if (edge !== undefined) edge.conduct.dead = false;
    await it.clock.advance(10_000);
    expect(edge?.hellos.at(-1)?.last).toBeGreaterThan(0);
    expect(gaps(it, 15)).toBe(0);
    it.channel.stop();
  });

  test('hold: says so, moves to an edge that releases, and does not hammer when none does', async () => {
    const it = await world(3);
    await it.clock.advance(5000);
    const used = it.edges.edges.filter(({ connections }) => connections > 0);
    used[0]?.hold('clock');
    await it.clock.advance(4000);
    expect(it.edges.edges.filter(({ connections }) => connections > 0)).not.toContain(used[0]);
    expect(it.held).toEqual([]);
    for (const edge of it.edges.edges) edge.hold('key-server');
    const before = it.edges.edges.reduce((sum, { httpPulled, pulled }) => sum + httpPulled.length + pulled.length, 0);
    await it.clock.advance(30_000);
    expect(it.held.at(-1)).toBe('key-server');
    const requests = it.edges.edges.reduce((sum, { httpPulled }) => sum + httpPulled.length, 0) - before;
    expect(requests).toBeLessThan(60);
    for (const edge of it.edges.edges) edge.resume();
    await it.clock.advance(2000);
    expect(it.held.at(-1)).toBeUndefined();
    const { channel, edges } = it;
    expect(channel.secret((edges.last() - 1) as CryptoPeriod)).toBeDefined();
    channel.stop();
  });

  test('drain: connects anew before it lets go, and misses nothing', async () => {
    const it = await world(3);
    await it.clock.advance(5000);
    const leaving = it.edges.edges.find(({ connections }) => connections > 0);
    leaving?.drain(it.edges.edges.filter((edge) => edge !== leaving).map(({ url }) => url), 1000);
    await it.clock.advance(6000);
    expect(leaving?.connections).toBe(0);
    expect(it.edges.edges.filter(({ connections }) => connections > 0)).toHaveLength(2);
    expect(gaps(it, 10)).toBe(0);
    expect(it.channel.statistics.late).toBe(0);
    it.channel.stop();
  });

  test('without WebSocket: server-sent events; the clock over HTTP', async () => {
    const it = await world(2, { openSocket: undefined });
    await it.clock.advance(8000);
    expect(gaps(it, 6)).toBe(0);
    expect(it.channel.now()?.error).toBeLessThan(15_000);
    it.channel.stop();
  });

  test('where WebSockets never open it falls back to event streams', async () => {
    const it = await world(1, { openSocket: () => { throw new TypeError('blocked'); } });
    await it.clock.advance(12_000);
    expect(gaps(it, 3)).toBe(0);
    it.channel.stop();
  });

  test.each([['{"type":"welcome"}'], ['{"type":"sched","jws":[]'], [new Uint8Array(49).fill(1)], [new Uint8Array([1, 2])], ['x'.repeat(140_000)]])('nonsense from an edge ends its connection with 4400', async (nonsense) => {
    const it = await world(2);
    await it.clock.advance(2000);
    const [edge] = it.edges.edges;
    edge?.say(nonsense);
    await it.clock.advance(1000);
    expect(edge?.closed).toContain(4400);
    expect(gaps(it, 2)).toBe(0);
    it.channel.stop();
  });

  test('seeking back asks for the blocks of the past once, whatever it is asked in the same second', async () => {
    const it = await world(1);
    await it.clock.advance(2000);
    const to = (it.edges.last() - 3000) as CryptoPeriod;
    for (let n = 0; n < 20; n++) {
      it.channel.need((to - 40) as CryptoPeriod, to);
      await it.clock.advance(20);
    }
    const paths = it.edges.edges[0]?.httpPulled ?? [];
    expect(paths.filter((path) => path.startsWith('/blocks/')).length).toBeLessThanOrEqual(2);
    expect(it.channel.secret((to - 1) as CryptoPeriod)).toBeDefined();
    it.channel.stop();
  });

  test('a stepped wall clock and a wake ask for the time anew', async () => {
    const it = await world(1);
    await it.clock.advance(5000);
    let stepped = 0;
    it.channel.on('stepped', () => (stepped += 1));
    it.clock.step(3_600_000);
    await it.clock.advance(2000);
    expect(stepped).toBe(1);
    it.channel.wake();
    await it.clock.advance(1000);
    expect(it.channel.now()).toBeDefined();
    it.channel.stop();
  });

  test('B168: reports every 7-13 s what it saw: the share of periods whose bytes were here at T, receipts of sampled ones', async () => {
    const it = await world(1);
    await it.clock.advance(500);
    it.channel.received(2 ** 52 as Micros);
    await it.clock.advance(45_000);
    const stats = it.edges.edges[0]?.stats ?? [];
    expect(stats.length).toBeGreaterThanOrEqual(3);
    expect(stats.length).toBeLessThanOrEqual(6);
    expect(stats.reduce((sum, { n }) => sum + n, 0)).toBeGreaterThan(300);
    expect(stats.flatMap(({ receipts }) => receipts ?? []).length).toBeGreaterThanOrEqual(3);
    expect(stats[1]).toMatchObject({ held: 1, delta: 150_000 });
    it.channel.stop();
  });

  test('strict without WebCodecs: the longer δ, and it says so', async () => {
    const clock = createFakeClock();
    const edges = await createFakeEdges(clock, 1, { mode: 'strict', period: 40_000 as Micros, delta: 120_000 as Micros, perBlock: 250 });
    const open = (caps: readonly ('subtle' | 'codecs')[]) => openReleaseChannel({ event: EVENT, urls: [edges.edges[0]?.url ?? ''], token: () => 't', keyOf: edges.keyOf, clock, random: seeded(1), fetch: edges.fetch, openSocket: edges.openSocket, caps });
    const [without, having] = [open(['subtle']), open(['subtle', 'codecs'])];
    await clock.advance(1000);
    expect([without.plan?.delta, without.fallback]).toEqual([150_000, true]);
    expect([having.plan?.delta, having.fallback]).toEqual([120_000, false]);
    without.stop();
    having.stop();
  });

  test('after stop nothing is asked and no timer is left', async () => {
    const it = await world(2);
    await it.clock.advance(1000);
    it.channel.stop();
    await it.clock.advance(3000);
    expect(it.edges.edges.every(({ connections }) => connections === 0)).toBe(true);
    const hellos = it.edges.edges.flatMap(({ hellos }) => hellos).length;
    await it.clock.advance(20_000);
    expect(it.edges.edges.flatMap((edge) => edge.hellos)).toHaveLength(hellos);
  });
});
