// SPDX-License-Identifier: Apache-2.0
/** Timed release with real key servers and edges on a fake clock: what is said in docs/wire/release.md and what becomes of faults. */
import { describe, expect, test } from 'vitest';
import { consecutive, createWorld, early, EVENT, periodsOf } from './world.ts';

describe('an edge', () => {
  test('B162 B163: secrets come ahead, sealed, and leave at their instants: in order, once, never early', async () => {
    const world = await createWorld();
    const edge = await world.edge();
    await world.clock.advance(3000);
    const client = edge.client();
    await world.clock.advance(5000);
    expect(edge.edge.bound().status).toBe('sync');
    const periods = periodsOf(client);
    expect(periods.length).toBeGreaterThanOrEqual(49);
    expect(consecutive(periods)).toBe(true);
    expect(early(client)).toBe(0);
    // Commit-wait: late by the clock's bound, which is a millisecond and a half here, and no more.
    for (const { frame, truth } of client.frames.slice(1)) expect(truth - frame.releaseAt).toBeLessThan(3000);
    expect(edge.edge.intake.book(EVENT)?.horizon(edge.edge.clock.utc())).toBeGreaterThan(8_900_000);
    await edge.edge.stop();
  });

  test('B164: edges whose clocks are skewed by ±5 ms release within 20 ms of each other, and the same bytes', async () => {
    const world = await createWorld();
    const one = await world.edge({ name: 'edge-1', host: 'host-1', skewMillis: 5, chrony: false });
    const two = await world.edge({ name: 'edge-2', host: 'host-2', skewMillis: -5, peers: [one] });
    await world.clock.advance(4000);
    const [a, b] = [one.client(), two.client()];
    await world.clock.advance(3000);
    const times = new Map(a.frames.map(({ frame, truth }) => [frame.period, { truth, secret: frame.secret }]));
    const both = b.frames.filter(({ frame }) => times.has(frame.period) && frame.flags === 0);
    expect(both.length).toBeGreaterThan(20);
    for (const { frame, truth } of both) {
      expect(Math.abs(truth - (times.get(frame.period)?.truth ?? 0))).toBeLessThan(20_000);
      expect(frame.secret).toEqual(times.get(frame.period)?.secret);
    }
    expect(early(a) + early(b)).toBe(0);
    await Promise.all([one.edge.stop(), two.edge.stop()]);
  });

  test('one key server lost changes nothing; an outage of all of them for 8 s is not seen', async () => {
    const world = await createWorld();
    const edge = await world.edge();
    await world.clock.advance(3000);
    const client = edge.client();
    (world.keyServers[0] as { down: boolean }).down = true;
    await world.clock.advance(5000);
    (world.keyServers[1] as { down: boolean }).down = true;
    await world.clock.advance(8000);
    for (const keys of world.keyServers) keys.down = false;
    await world.clock.advance(3000);
    expect(consecutive(periodsOf(client))).toBe(true);
    expect(client.messages.filter(({ type }) => type === 'hold')).toEqual([]);
    expect(early(client)).toBe(0);
    expect(edge.events.some(({ kind }) => kind === 'release.horizon-short')).toBe(true);
    await edge.edge.stop();
  });

  test('an outage of 30 s: it stalls and says so, is not ready, releases nothing early, and goes on within 2 s of the return', async () => {
    const world = await createWorld();
    const edge = await world.edge();
    await world.clock.advance(3000);
    const client = edge.client();
    await world.clock.advance(2000);
    for (const keys of world.keyServers) keys.down = true;
    await world.clock.advance(30_000);
    expect(client.messages.filter(({ type }) => type === 'hold')).toEqual([{ type: 'hold', reason: 'horizon' }]);
    expect(client.messages.some(({ type }) => type === 'drain')).toBe(true);
    expect(edge.edge.readiness().ready).toBe(false);
    const stalled = client.frames.length;
    for (const keys of world.keyServers) keys.down = false;
    const returned = world.truth();
    await world.clock.advance(3000);
    expect((client.frames[stalled]?.truth ?? Number.POSITIVE_INFINITY) - returned).toBeLessThanOrEqual(2_000_000);
    expect(client.messages.some(({ type }) => type === 'resume')).toBe(true);
    expect(early(client)).toBe(0);
    await edge.edge.stop();
  });

  test.each([3_600_000, -3_600_000, 50, -50, 10, -10])('B170: a system clock stepped by %d ms moves no release: it stops until the time is sure again', async (step) => {
    const world = await createWorld();
    const edge = await world.edge({ chrony: true });
    await world.clock.advance(3000);
    const client = edge.client();
    await world.clock.advance(1000);
    edge.step(step);
    await world.clock.advance(300);
    expect(edge.edge.bound().status).toBe('fault');
    expect(client.messages).toContainEqual({ type: 'hold', reason: 'clock' });
    await world.clock.advance(6000);
    // chrony's word is against two key servers now, where it is far off.
    expect(edge.edge.bound().status).toBe('sync');
    expect(client.messages.some(({ type }) => type === 'resume')).toBe(true);
    expect(early(client)).toBe(0);
    expect(edge.counters.get('sealcast_release_clock_faults_total{the system clock was stepped}')).toBe(1);
    await edge.edge.stop();
  });

  test('a restart on a host whose clock went back releases nothing: the high-water mark is a lower bound of time', async () => {
    const world = await createWorld();
    const edge = await world.edge({ host: 'host-1', alone: true });
    await world.clock.advance(2000);
    expect(edge.edge.bound().status).toBe('single-host');
    await edge.edge.stop();
    const floor = edge.floor.value;
    expect(floor).toBeGreaterThan(0);
    const again = await world.edge({ host: 'host-1', alone: true, skewMillis: -3_600_000, floor });
    const client = again.client({ hello: false });
    await world.clock.advance(5000);
    expect(again.edge.bound().status).toBe('fault');
    expect(client.frames).toEqual([]);
    await again.edge.stop();
  });

  test('single-host mode is refused as soon as an edge on a second host enrols', async () => {
    const world = await createWorld();
    for (const keys of world.keyServers) keys.skew = 0;
    const edge = await world.edge({ host: 'host-1', alone: true });
    await world.clock.advance(2000);
    expect(edge.edge.bound().status).toBe('single-host');
    const other = await world.edge({ name: 'edge-2', host: 'host-2' });
    await world.clock.advance(500);
    await world.clock.advance(2500);
    expect(edge.edge.bound().status).not.toBe('single-host');
    await world.clock.advance(3000);
    expect(edge.edge.bound().status).toBe('sync');
    expect(edge.log.some((line) => line.includes('"status":"single-host"'))).toBe(true);
    await Promise.all([edge.edge.stop(), other.edge.stop()]);
  });

  test('an edge that is not authorised gets nothing; one whose authorisation ends is out within one horizon and learns of no other event', async () => {
    const world = await createWorld();
    world.allowed = ['edge-1'];
    const mine = await world.edge({ name: 'edge-1', host: 'host-1' });
    const foreign = await world.edge({ name: 'edge-2', host: 'host-2' });
    await world.clock.advance(4000);
    expect(foreign.edge.intake.books.size).toBe(0);
    const client = mine.client();
    await world.clock.advance(1000);
    world.allowed = [];
    const at = world.truth();
    await world.clock.advance(15_000);
    expect(Math.max(...client.frames.map(({ frame }) => frame.releaseAt))).toBeLessThanOrEqual(at + 10_100_000);
    expect(mine.edge.intake.books.size).toBe(0);
    // Let in again, it goes on as if it were new.
    world.allowed = 'all';
    await world.clock.advance(3000);
    const again = mine.client();
    await world.clock.advance(1000);
    expect(again.frames.length).toBeGreaterThan(8);
    expect(early(again)).toBe(0);
    await Promise.all([mine.edge.stop(), foreign.edge.stop()]);
  });

  test('the event ends: clients are sent away with 4404', async () => {
    const world = await createWorld();
    const edge = await world.edge();
    await world.clock.advance(3000);
    const client = edge.client();
    world.ended = true;
    await world.clock.advance(5000);
    expect(client.code).toBe(4404);
    await edge.edge.stop();
  });
});

describe('what key servers may not do', () => {
  const altered = async (alter: (body: Record<string, unknown>) => Record<string, unknown>, skew = 0): Promise<(reason: string) => number> => {
    const world = await createWorld({ keyServers: 3 });
    const edge = await world.edge();
    await world.clock.advance(3000);
    const bad = world.keyServers[2] as (typeof world.keyServers)[number];
    bad.alter = alter;
    bad.skew = skew;
    const client = edge.client();
    await world.clock.advance(6000);
    expect(early(client)).toBe(0);
    // The other two keep the event going whatever the third says.
    expect(consecutive(periodsOf(client))).toBe(true);
    await edge.edge.stop();
    return (reason) => edge.counters.get(`sealcast_release_grants_refused_total{${reason}}`) ?? 0;
  };
  const grants = (body: Record<string, unknown>): string[] => body['grants'] as string[];

  test('a forged grant: opened by nobody, or not signed by it', async () => {
    const refused = await altered((body) => ({ ...body, grants: grants(body).map((jwe) => `${jwe.slice(0, -6)}AAAAAA`) }));
    expect(refused('audience')).toBeGreaterThan(0);
  });
  test('a replayed grant', async () => {
    let first: string[] | undefined;
    const refused = await altered((body) => {
      if (grants(body).length > 0) first ??= grants(body);
      return { ...body, grants: first ?? [] };
    });
    expect(refused('replayed')).toBeGreaterThan(0);
  });
  test('a grant made for another edge', async () => {
    const other = await createWorld();
    const stranger = await other.edge({ name: 'edge-9' });
    let foreign: string[] | undefined;
    (other.keyServers[0] as { alter: unknown }).alter = (body: Record<string, unknown>) => {
      if (grants(body).length > 0) foreign = grants(body);
      return body;
    };
    await other.clock.advance(3000);
    await stranger.edge.stop();
    const refused = await altered((body) => ({ ...body, grants: foreign ?? [] }));
    expect(refused('audience')).toBeGreaterThan(0);
  });
  test('a description with other times; schedules that are not signed by it', async () => {
    const refused = await altered((body) => ({ ...body, info: { ...(body['info'] as object), t0: 1 } }));
    expect(refused('shape') + refused('shifted')).toBe(0);
    const unsigned = await altered((body) => ({ ...body, schedules: ['e30.e30.c2ln'] }));
    expect(unsigned('signature')).toBeGreaterThan(0);
  });
  test('answers that are none', async () => {
    expect((await altered(() => ({ grants: 'all of them' })))('shape')).toBeGreaterThan(0);
  });
  test('a key server whose clock is 20 s ahead gives too much, which is refused', async () => {
    expect((await altered((body) => body, 20_000_000))('horizon')).toBeGreaterThan(0);
  });
});
