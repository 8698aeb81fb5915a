// SPDX-License-Identifier: Apache-2.0
/**
 * The published bound on what a dishonest client opens (docs/wire/renewal.md; design section 3), sentence by sentence: clients
 * that fork their state over many nodes, seek, stop and restart, batch, replay and roll back, judged by the keys they unwrap.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AssetId, assetId } from '#core/ids.ts';
import type { RenewalAnswer } from '#core/license/renewal-message.ts';
import { decodeState } from '#core/license/renewal-state.ts';
import { ENFORCEMENT_DEFAULTS, type EnforcementPolicy } from '#core/policy/enforcement.ts';
import { micros } from '#core/time.ts';
import { signJws } from '#crypto/jose.ts';
import type { Renewal } from '#renewal/renewal.ts';
import { FILM, GROUP, LIVE, liveGroup, makeDevice, SCHEDULE, SECOND, type TestDevice, type Viewer } from './license-world.ts';
import { createRenewalWorld, type RenewalWorld } from './renewal-world.ts';

const device: TestDevice = await makeDevice();
const LONG: AssetId = assetId('long-1');
/** 4,000 groups, so that no end of a title hides a grant. */
const GROUPS = 4000;
const GROUP_SECONDS = GROUP / SECOND;
/** The term D. */
const TERM = 25;
const TERM_GROUPS = Math.ceil(TERM / GROUP_SECONDS);
const FIRST = 3;
const seconds = (value: number) => micros(value * SECOND);
const enforcement: EnforcementPolicy = { ...ENFORCEMENT_DEFAULTS, interval: { 1: seconds(25), 2: seconds(15), 3: seconds(15) }, slack: seconds(60), strict: seconds(TERM) };

type Level = 1 | 2 | 3;
const atLevel = async (level: Level, enforced = true): Promise<RenewalWorld> => {
  const stage = await createRenewalWorld({ policy: { interval: 15_000, duration: TERM * 1000, limit: 1, level, ...(enforced && { enforcement }) } });
  const { world } = stage;
  await world.keyServer.createAsset({ asset: LONG, kind: 'title', scheme: 'cbcs', mode: 'untimed', schedule: SCHEDULE });
  await world.stores.catalogue.create({ asset: LONG, kind: 'title', name: 'Long', state: 'ready', createdAt: world.clock.now(), duration: seconds(GROUPS * GROUP_SECONDS), clearKey: 'off' });
  return stage;
};
const renew = async (node: Renewal, viewer: Viewer, position: number, move = false): Promise<RenewalAnswer> => {
  const { bytes, mac } = viewer.request(position, move);
  const outcome = await node.answer(bytes);
  if (outcome.kind !== 'answered') throw new Error(outcome.code);
  return viewer.accept(mac, outcome.bytes);
};
const groupsOpen = (viewer: Viewer, most = GROUPS): number[] => Array.from({ length: Math.min(most, viewer.claims.horizon.to - viewer.claims.horizon.from) }, (_, index) => viewer.claims.horizon.from + index).filter((group) => viewer.opens(group));
const stateOf = (viewer: Viewer) => decodeState(viewer.state).state;

describe('a client that stops renewing cannot decrypt past its grant', () => {
  it.each([LIVE, LONG])('B060 %s: what it had opens, and nothing else, however long it waits', async (asset) => {
    const stage = await atLevel(3);
    const viewer = await stage.world.start(device, asset);
    await stage.pass(5);
    const first = asset === LIVE ? liveGroup(stage.world.clock.now()) : 0;
    const { opened } = await renew(stage.node(), viewer, first);
    await stage.pass(300, undefined, 50);
    expect(Math.max(...groupsOpen(viewer))).toBe(opened - 1);
    expect(opened).toBeLessThanOrEqual(first + TERM_GROUPS + 1);
  });
});

describe('a session denied by a server that knows the flag opens no group that ends later than (position or live edge at its last renewal) + D + G', () => {
  const step = fc.record({
    wait: fc.integer({ min: 0, max: 20 }),
    claim: fc.integer({ min: 0, max: 600 }),
    move: fc.boolean(),
    rollBack: fc.option(fc.nat({ max: 20 }), { nil: undefined }),
    replay: fc.boolean(),
    node: fc.nat({ max: 2 }),
  });
  it.each([1, 2, 3] as const)('B086 holds for level %i, forks, seeks, replays and rollbacks over three nodes', async (level) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
        // One level's terms, so that level 1 is bounded, too.
        const stage = await atLevel(level, level > 1);
        const nodes = [stage.node(), stage.node(), stage.node()];
        const viewer = await stage.world.start(device, LONG);
        const states = [viewer.state];
        let bound = (level > 1 ? FIRST : TERM_GROUPS) * GROUP + GROUP;
        for (const { wait, claim, move, rollBack, replay, node } of steps) {
          await stage.pass(wait, undefined, Math.max(1, wait));
          if (rollBack !== undefined) viewer.state = states[rollBack % states.length] as Uint8Array;
          const { bytes, mac } = viewer.request(claim, move);
          const term = stateOf(viewer).duration * 1000;
          for (const each of replay ? nodes : [nodes[node] as Renewal]) {
            const outcome = await each.answer(bytes);
            if (outcome.kind !== 'answered') throw new Error('refused');
            const { act, duration } = viewer.accept(mac, outcome.bytes);
            if (act !== 'extend') continue;
            // The playhead, or where the anchor's live edge is: the claim if it was moved there.
            bound = Math.max(bound, claim * GROUP + Math.max(term, duration * 1000) + GROUP);
          }
          states.push(viewer.state);
        }
        const latest = Math.max(...groupsOpen(viewer, 800).map((group) => (group + 1) * GROUP));
        expect(latest).toBeLessThanOrEqual(bound);

        // From here on every server knows.
        await stage.world.licenses.endSession(viewer.sid, 'operator');
        const before = groupsOpen(viewer, 800).length;
        for (const state of states) {
          viewer.state = state;
          for (const node of nodes) for (const move of [false, true]) expect((await renew(node, viewer, 650, move)).act).not.toBe('extend');
          await stage.pass(TERM, undefined, TERM);
        }
        expect(groupsOpen(viewer, 800)).toHaveLength(before);
      }),
      { numRuns: 10, seed: 4 },
    );
  });

  it('B066 live: ahead of the camera nothing opens beyond the live edge + D + G, whatever position and move are claimed', async () => {
    const stage = await atLevel(1, false);
    const viewer = await stage.world.start(device, LIVE);
    for (let turn = 0; turn < 5; turn++) {
      await stage.pass(10, undefined, 10);
      const edge = stage.world.clock.now();
      await renew(stage.node(), viewer, liveGroup(edge) + 400, true);
      expect((Math.max(...groupsOpen(viewer)) + 1) * GROUP).toBeLessThanOrEqual(edge + TERM * SECOND + GROUP);
    }
  });
});

describe('plus flag delay', () => {
  it('B101 a node that has not heard of the end renews; from the moment it has, nothing opens', async () => {
    const stage = await atLevel(1, false);
    const { world } = stage;
    const viewer = await world.start(device, LONG);
    // Its flags come late, as from a bundle, and it cannot ask the record.
    let heard = false;
    const late = world.renewalNode({ flags: (session, id) => (heard ? world.licenses.flags(session, id) : undefined) });
    await world.licenses.endSession(viewer.sid, 'operator');
    await stage.pass(10, undefined, 10);
    const delayed = await renew(late, viewer, 1);
    expect(delayed.act).toBe('extend');
    expect(delayed.opened).toBeLessThanOrEqual(1 + TERM_GROUPS + 1);
    heard = true;
    await stage.pass(10, undefined, 10);
    const open = groupsOpen(viewer).length;
    expect((await renew(late, viewer, 3)).act).toBe('end');
    expect(groupsOpen(viewer)).toHaveLength(open);
  });
});

describe('plus one emergency term if the counting store was unreachable', () => {
  it('B098 B100 the emergency grants three terms at most, and does not add them up', async () => {
    const stage = await atLevel(1, false);
    const viewer = await stage.world.start(device, LONG);
    stage.reach(false);
    for (const at of [10, 20, 30]) {
      await stage.pass(10, undefined, 10);
      const position = Math.floor(at / GROUP_SECONDS);
      await renew(stage.node(), viewer, position);
      expect(Math.max(...groupsOpen(viewer)) + 1).toBeLessThanOrEqual(position + Math.ceil((3 * TERM) / GROUP_SECONDS) + 1);
    }
  });
});

describe('grants round up; jitter only shortens', () => {
  it('B077 every pause is 0-10 % shorter than the interval, every grant a whole number of groups and at least D', async () => {
    const stage = await atLevel(1, false);
    const viewers = await Promise.all(Array.from({ length: 20 }, async () => stage.world.start(await makeDevice(), LONG, { entitlement: await stage.world.entitlement({ sub: `a-${Math.random()}` }) })));
    await stage.pass(7, undefined, 7);
    const answers = await Promise.all(viewers.map((viewer) => renew(stage.node(), viewer, 1)));
    for (const { after, interval, opened } of answers) {
      expect(after).toBeLessThanOrEqual(interval);
      expect(after).toBeGreaterThanOrEqual(interval * 0.9);
      expect(opened * GROUP_SECONDS).toBeGreaterThanOrEqual(GROUP_SECONDS + TERM);
    }
    expect(new Set(answers.map(({ after }) => after)).size).toBeGreaterThan(10);
  });
});

describe('a state older than two terms gets level-3 terms, then a new licence', () => {
  it('B104 late by one term: strict terms; by two: a new licence, and no key', async () => {
    const stage = await atLevel(1);
    const viewer = await stage.world.start(device, FILM);
    const { duration } = stateOf(viewer);
    const young = viewer.state;
    await stage.pass((duration / 1000) * 1.5, undefined, (duration / 1000) * 1.5);
    const node = stage.world.renewalNode();
    const strict = await renew(node, viewer, 1);
    expect([strict.act, strict.duration]).toEqual(['extend', TERM * 1000]);
    viewer.state = young;
    await stage.pass(duration / 1000, undefined, duration / 1000);
    const open = groupsOpen(viewer).length;
    expect(await renew(node, viewer, 1)).toMatchObject({ act: 'relicense', reason: 'state-old', nodes: [] });
    expect(groupsOpen(viewer)).toHaveLength(open);
  });
});

describe('moving the anchor is one update of the record', () => {
  it('B024 a seek opens three groups where it leads, nothing that was skipped, and counts nobody twice', async () => {
    const stage = await atLevel(3);
    const viewer = await stage.world.start(device, LONG);
    const moved = await renew(stage.node(), viewer, 1000, true);
    expect(moved).toMatchObject({ act: 'extend', g0: 1000, opened: 1000 + FIRST });
    expect(groupsOpen(viewer)).toEqual([0, 1, 2, 1000, 1001, 1002]);
    const next = await renew(stage.node(), viewer, 1000);
    expect(next.opened).toBe(1000 + TERM_GROUPS);
    // Back again, and what was open stays so.
    expect((await renew(stage.node(), viewer, 500, true)).opened).toBe(503);
    expect(groupsOpen(viewer)).toEqual([0, 1, 2, 500, 501, 502, ...Array.from({ length: TERM_GROUPS }, (_, index) => 1000 + index)]);
    expect(await stage.count()).toBe(1);
  });

  it('B086 the same seek again, on another node and later, opens the same', async () => {
    const stage = await atLevel(3);
    const viewer = await stage.world.start(device, LONG);
    const { bytes } = viewer.request(1000, true);
    const first = await stage.node().answer(bytes);
    await stage.pass(12, undefined, 12);
    const again = await stage.node().answer(bytes);
    expect([first, again].map((outcome) => outcome.kind === 'answered' && outcome.opened)).toEqual([1003, 1003]);
  });

  it.each([1, 2, 3] as const)('B016 at level %i twice the speed needs no new licence, and opens no more than the viewer plays', async (level) => {
    const stage = await atLevel(level, level > 1);
    const viewer = await stage.world.start(device, LONG);
    await renew(stage.node(), viewer, 0);
    for (let turn = 1; turn <= 30; turn++) {
      await stage.pass(6, undefined, 6);
      const position = 2 * turn;
      expect(viewer.opens(position), `at group ${position}`).toBe(true);
      const { act, opened } = await renew(stage.node(), viewer, position, true);
      expect([act, opened]).toEqual(['extend', position + Math.ceil(stateOf(viewer).duration / 1000 / GROUP_SECONDS)]);
    }
  });

  it('B075 the store is unreachable: level 1 is served', async () => {
    const stage = await atLevel(1, false);
    const viewer = await stage.world.start(device, LONG);
    stage.reach(false);
    for (const position of [500, 1000, 1500, 2000, 2500]) {
      await renew(stage.node(), viewer, position, true);
      expect(viewer.opens(position)).toBe(true);
    }
  });

  it('B075 the store is unreachable: level 2 is served three times, also if it rolls its state back, and again once it is counted', async () => {
    const stage = await atLevel(2);
    const viewer = await stage.world.start(device, LONG);
    const start = viewer.state;
    stage.reach(false);
    const node = stage.node();
    for (const position of [500, 1000, 1500]) {
      await stage.pass(1);
      await renew(node, viewer, position, true);
      expect(viewer.opens(position)).toBe(true);
    }
    const last = viewer.state;
    for (const state of [last, start]) {
      await stage.pass(1);
      viewer.state = state;
      const { after } = await renew(node, viewer, 3900, true);
      expect(viewer.opens(3900)).toBe(false);
      expect(after).toBeLessThanOrEqual(10_000);
    }
    // Another node knows only what the state says.
    viewer.state = last;
    await renew(stage.node(), viewer, 3900, true);
    expect(viewer.opens(3900)).toBe(false);
    stage.reach(true);
    await stage.pass(30);
    await renew(node, viewer, 3900, true);
    expect([viewer.opens(3900), stateOf(viewer).spent]).toEqual([true, 0]);
  });

  it('B075 the store is unreachable: who rolls back on each of N nodes gets 3 x N moves, each of three groups, and not one more', async () => {
    const stage = await atLevel(2);
    const viewer = await stage.world.start(device, LONG);
    const start = viewer.state;
    stage.reach(false);
    const nodes = [stage.node(), stage.node(), stage.node()];
    let asked = 0;
    let served = 0;
    for (let round = 0; round < 2; round++) {
      for (const node of nodes) {
        for (let move = 0; move < 5; move++) {
          await stage.pass(1);
          viewer.state = start;
          // Beyond the half that level 2 opens in order.
          const position = 2100 + 50 * asked++;
          await renew(node, viewer, position, true);
          if (!viewer.opens(position)) continue;
          served += 1;
          expect([viewer.opens(position + FIRST - 1), viewer.opens(position + FIRST)]).toEqual([true, false]);
        }
      }
    }
    expect(served).toBe(3 * nodes.length);
  });

  it('B074 the store is unreachable: level 3 is told when to ask again, and goes on in order', async () => {
    const stage = await atLevel(3);
    const viewer = await stage.world.start(device, LONG);
    stage.reach(false);
    const { after, opened } = await renew(stage.node(), viewer, 1000, true);
    expect([viewer.opens(1000), after <= 10_000, opened > FIRST]).toEqual([false, true, true]);
    stage.reach(true);
    await stage.pass(30);
    await renew(stage.node(), viewer, 1000, true);
    expect(viewer.opens(1000)).toBe(true);
  });
});

describe('the grant bucket', () => {
  const CAPACITY = { 2: 3600, 3: 900 } as const;
  /** Seeks through the title, at one instant, until nothing more opens; answers for how many seconds keys came out. */
  const collect = async (stage: RenewalWorld, viewer: Viewer, from = 10): Promise<number> => {
    const before = groupsOpen(viewer).length;
    for (let position = from; position < GROUPS - FIRST; position += 10) {
      await renew(stage.node(), viewer, position, true);
      if (!viewer.opens(position)) break;
    }
    return (groupsOpen(viewer).length - before) * GROUP_SECONDS;
  };

  it.each([2, 3] as const)('B074 level %i: seeks open as much as it holds, then as much as flows in', async (level) => {
    const stage = await atLevel(level);
    const viewer = await stage.world.start(device, LONG);
    const first = FIRST * GROUP_SECONDS;
    expect(await collect(stage, viewer)).toBe(CAPACITY[level] - first);
    await stage.pass(2 * first, undefined, 2 * first);
    const again = await collect(stage, viewer, 3000);
    expect(again).toBeGreaterThanOrEqual(first);
    expect(again).toBeLessThanOrEqual(2 * first + first);
  });

  it('B074 stop, restart and batch give nothing back, and a batch opens its first item only', async () => {
    const stage = await atLevel(3);
    const { world } = stage;
    const viewer = await world.start(device, LONG);
    await collect(stage, viewer);
    const at = world.clock.now();
    const proof = await signJws({ sid: viewer.sid, at, reason: 'viewer' }, { typ: 'stop+jwt', key: device.sign });
    expect((await world.post('/v1/stop', { sid: viewer.sid, at, proof })).status).toBe(200);
    const other = await makeDevice();
    expect((await world.post('/v1/sessions', await world.startBody(other, LONG))).body).toMatchObject({ code: 'rate-limited' });

    await stage.pass(60, undefined, 60);
    const entitlement = await world.entitlement();
    const items = await Promise.all(Array.from({ length: 4 }, () => world.startBody(other, LONG, { entitlement })));
    const answer = await world.post('/v1/licenses/batch', { items });
    const viewers = await Promise.all((answer.body['items'] as Record<string, unknown>[]).map((item) => world.open(item, other)));
    expect(viewers.map((each) => groupsOpen(each).length)).toEqual([FIRST, 0, 0, 0]);
    const second = viewers[1] as Viewer;
    const { opened } = await renew(stage.node(), second, 0);
    expect([opened, second.opens(0)]).toEqual([TERM_GROUPS, true]);
  });

  it('B074 who forks one state into many seeks goes on with one of them only', async () => {
    const stage = await atLevel(3);
    const viewer = await stage.world.start(device, LONG);
    const root = viewer.state;
    const children: Uint8Array[] = [];
    for (const position of [500, 1000, 1500, 2000]) {
      viewer.state = root;
      await stage.pass(0.5);
      await renew(stage.node(), viewer, position, true);
      children.push(viewer.state);
    }
    const acts: string[] = [];
    for (const [index, child] of children.entries()) {
      viewer.state = child;
      await stage.pass(0.5);
      acts.push((await renew(stage.node(), viewer, 500 * (index + 1))).act);
    }
    expect(acts).toEqual(['extend', 'relicense', 'relicense', 'relicense']);
  });

  it('B014 watching in order for an hour draws nothing but the start and the first renewal', async () => {
    const stage = await atLevel(3);
    const viewer = await stage.world.start(device, LONG);
    for (let at = 0; at <= 3600; at += 15) {
      const position = Math.floor(at / GROUP_SECONDS);
      expect((await renew(stage.node(), viewer, position)).act).toBe('extend');
      expect(viewer.opens(position)).toBe(true);
      await stage.pass(15, undefined, 15);
    }
    expect(await collect(stage, viewer, 1000)).toBeGreaterThanOrEqual(CAPACITY[3] - TERM);
  });
});
