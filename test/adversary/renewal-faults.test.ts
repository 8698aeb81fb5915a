// SPDX-License-Identifier: Apache-2.0
/**
 * Lost answers, restarts, replays, rollbacks, clones, forged stops and reordering, against three renewal nodes with one
 * concurrency record: nothing is lost, nothing counted twice, nobody honest stopped.
 */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Device } from '#client/device.ts';
import type { Session } from '#client/session-types.ts';
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { accountHash, renewalKey, sessionKey, stateKey } from '#core/keys/ladder.ts';
import { encodeRequest, nextState, openAnswer } from '#core/license/renewal-message.ts';
import { encodeState } from '#core/license/renewal-state.ts';
import { makeSessionId, placeOf, sessionIdBytes } from '#core/license/session-id.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import { nodeLadderHash as fast } from '#adapters/node/ladder-hash.ts';
import { signJws } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import type { ConcurrencyRecord } from '#ports';
import type { Renewal } from '#renewal/renewal.ts';
import { FILM, GROUP, LIVE, liveGroup, makeDevice, SCHEDULE, SECOND, seededRandom, type TestDevice, type Viewer } from './license-world.ts';
import { createRenewalWorld, dead, hashedAccount, type Host, LICENSES, NODES, type RenewalWorld, sealMedia } from './renewal-world.ts';

let stage: RenewalWorld;
let device: TestDevice;
beforeEach(async () => {
  stage = await createRenewalWorld();
  device = await makeDevice();
});

/** Keeps an eye on sessions: every second their frame of now must decrypt. */
const watching = async (sessions: readonly Session[]): Promise<{ readonly each: () => Promise<void>; readonly missed: string[] }> => {
  const plays = await sealMedia(stage.world, LIVE);
  const missed: string[] = [];
  const start = stage.world.clock.now();
  const each = async (): Promise<void> => {
    const now = stage.world.clock.now();
    for (const session of sessions) if (!(await plays(session, Math.floor(now / SCHEDULE.period)))) missed.push(`${session.id} at ${(now - start) / SECOND} s: ${session.state}`);
  };
  return { each, missed };
};
const answerOf = async (node: Renewal, bytes: Uint8Array): Promise<Uint8Array> => {
  const outcome = await node.answer(bytes);
  if (outcome.kind !== 'answered') throw new Error(`${outcome.code} ${outcome.detail}`);
  return outcome.bytes;
};
const renewOn = async (node: Renewal, viewer: Viewer, position = liveGroup(stage.world.clock.now())) => {
  const { bytes, mac } = viewer.request(position);
  return viewer.accept(mac, await answerOf(node, bytes));
};

/** A client that goes on with the viewer's state and key as they are now; its clock is `late` µs off, so that its requests are its own. */
const fork = (viewer: Viewer, late: number): Viewer => {
  const { renewalKey: key } = viewer.sealed;
  const copy: Viewer = {
    ...viewer,
    state: viewer.state,
    request: (position) => encodeRequest(hash, key, { position: position as GrantGroup, clientTime: (stage.world.clock.now() + late) as Micros, state: copy.state }),
    accept(mac, bytes) {
      const opened = openAnswer(hash, key, mac, bytes);
      copy.state = nextState(copy.state, opened);
      return opened;
    },
  };
  return copy;
};

describe('nodes that die', () => {
  it('fault 1, B082 B086: killed between request and answer, the client asks the next node for the same right; one heartbeat, no stall', async () => {
    const session = await stage.watch(LIVE);
    const { each, missed } = await watching([session]);
    const bodies: string[] = [];
    const [first = '', second = ''] = NODES;
    const [works, spare] = [stage.hosts.get(first) as Host, stage.hosts.get(second) as Host];
    // It does its work, the heartbeat included, and never answers again.
    stage.hosts.set(first, async (request) => {
      bodies.push(Buffer.from(await request.clone().arrayBuffer()).toString('hex'));
      await works(request);
      stage.hosts.set(first, dead);
      throw new TypeError('connection reset');
    });
    stage.hosts.set(second, async (request) => {
      bodies.push(Buffer.from(await request.clone().arrayBuffer()).toString('hex'));
      return spare(request);
    });
    await stage.pass(25, each);
    expect(missed).toEqual([]);
    expect(bodies.length).toBeGreaterThanOrEqual(2);
    expect(bodies[1]).toBe(bodies[0]);
    expect(await stage.count()).toBe(1);
    await stage.pass(120, each, 1);
    expect([missed, session.state, await stage.count()]).toEqual([[], 'active', 1]);
  });

  it('fault 2, B082 B012: every node and the licence server restarted in turn under sessions: no frame is missed, no session lost', async () => {
    const sessions = await Promise.all(Array.from({ length: 12 }, (_, i) => stage.watch(LIVE, { account: `account-${i}` })));
    const { each, missed } = await watching(sessions);
    const first = stage.world.licenses;
    for (let round = 0; round < 2; round++) {
      for (const host of NODES) {
        stage.hosts.set(host, dead);
        await stage.pass(7, each, 1);
        stage.hosts.set(host, stage.node().handler);
        await stage.pass(3, each, 1);
      }
      stage.hosts.set(LICENSES, dead);
      await stage.pass(10, each, 1);
      const restarted = await stage.world.licenseNode({ record: stage.record });
      stage.hosts.set(LICENSES, restarted.handler);
    }
    expect(missed).toEqual([]);
    expect(sessions.map(({ state }) => state)).toEqual(sessions.map(() => 'active'));
    for (let i = 0; i < sessions.length; i++) expect(await stage.count(`account-${i}`)).toBe(1);
    for (const session of sessions) void session.stop();
    first.close();
  });

  it('B092 all nodes gone for less than what is open: degraded, not stopped; back, and active again', async () => {
    const session = await stage.watch(LIVE);
    const { each, missed } = await watching([session]);
    const states: string[] = [];
    session.on('degraded', () => states.push('degraded'));
    session.on('renewed', () => states.push('renewed'));
    const kept = NODES.map((host): [string, Host] => [host, stage.hosts.get(host) as Host]);
    for (const host of NODES) stage.hosts.set(host, dead);
    await stage.pass(50, each, 1);
    expect(session.state).toBe('degraded');
    for (const [host, handler] of kept) stage.hosts.set(host, handler);
    await stage.pass(12, each, 1);
    expect([missed, session.state, states.at(-1)]).toEqual([[], 'active', 'renewed']);
  });
});

describe('replays and copies', () => {
  it('fault 8, B086: one request a thousand times on three nodes: the same bytes, one heartbeat, no longer right, also later', async () => {
    const viewer = await stage.world.start(device, LIVE);
    await stage.world.clock.advance(20);
    const { bytes, mac } = viewer.request(liveGroup(stage.world.clock.now()));
    const nodes = [stage.node(), stage.node(), stage.node()];
    const answers = new Set<string>();
    for (let i = 0; i < 1000; i++) answers.add(Buffer.from(await answerOf(nodes[i % 3] as Renewal, bytes)).toString('hex'));
    expect(answers.size).toBe(1);
    const beats = await stage.store.live({}, stage.world.clock.now());
    expect(beats.map(({ session, at }) => [session, at])).toEqual([[viewer.sid, stage.world.clock.now()]]);
    const first = openAnswer(hash, viewer.sealed.renewalKey, mac, Buffer.from([...answers][0] ?? '', 'hex'));
    for (const wait of [3, 10, 25]) {
      await stage.world.clock.advance(wait);
      const later = openAnswer(hash, viewer.sealed.renewalKey, mac, await answerOf(nodes[wait % 3] as Renewal, bytes));
      expect([later.opened, later.issued, Buffer.from(later.stateMac).toString('hex')]).toEqual([first.opened, first.issued, Buffer.from(first.stateMac).toString('hex')]);
    }
    expect(await stage.store.live({}, stage.world.clock.now())).toEqual(beats);
  });

  it('fault 9: rolled back to an earlier state: refused, alarm, and a new licence only for the device itself', async () => {
    const viewer = await stage.world.start(device, LIVE);
    const node = stage.node();
    const old = viewer.state;
    for (let i = 0; i < 3; i++) {
      await stage.world.clock.advance(20);
      expect((await renewOn(node, viewer)).act).toBe('extend');
    }
    await stage.world.clock.advance(5);
    viewer.state = old;
    const before = viewer.state;
    const answer = await renewOn(stage.node(), viewer);
    expect(answer).toMatchObject({ act: 'relicense', nodes: [] });
    expect(Buffer.from(viewer.state).equals(Buffer.from(before))).toBe(true);
    expect(stage.world.told.filter(({ kind }) => kind === 'renewal.clone')).toEqual([expect.objectContaining({ severity: 'alert', session: viewer.sid })]);
    expect((await stage.world.relicense(viewer, { signer: (await makeDevice()).sign })).status).toBe(403);
    const again = await stage.world.relicense(viewer);
    expect(again.status).toBe(201);
    expect((await renewOn(node, await stage.world.open(again.body, device))).act).toBe('extend');
  });

  it('fault 10, B046: a copied profile is found within one renewal of both, whichever renews first, and cannot prove the device', async () => {
    for (const cloneFirst of [true, false]) {
      const fresh = await makeDevice();
      const viewer = await stage.world.start(fresh, LIVE);
      const nodes = [stage.node(), stage.node()] as const;
      await stage.world.clock.advance(18);
      await renewOn(nodes[0], viewer);
      // All that storage holds is copied: state and renewal key. The device's private key cannot be.
      const [mine, theirs] = [fork(viewer, 0), fork(viewer, 7)];
      const acts: string[] = [];
      for (let i = 0; i < 3; i++) {
        await stage.world.clock.advance(9);
        acts.push((await renewOn(nodes[0], cloneFirst ? theirs : mine)).act);
        await stage.world.clock.advance(9);
        acts.push((await renewOn(nodes[1], cloneFirst ? mine : theirs)).act);
      }
      // Both present one state, which a lost answer would explain; from their next renewals on only one line goes on.
      expect(acts.slice(0, 2)).toEqual(['extend', 'extend']);
      expect(acts.slice(2, 4)).toContain('relicense');
      expect((await stage.world.relicense(viewer, { signer: device.sign })).status).toBe(403);
      expect((await stage.world.relicense(viewer)).status).toBe(201);
      expect(stage.world.told.some(({ kind, session }) => kind === 'renewal.clone' && session === viewer.sid)).toBe(true);
      expect(await stage.count()).toBe(1);
    }
  });
});

describe('stops', () => {
  const stopBody = async (viewer: Viewer, signer: TestDevice, changes: { sid?: string; at?: number } = {}): Promise<object> => {
    const at = stage.world.clock.now();
    return { sid: changes.sid ?? viewer.sid, at: changes.at ?? at, proof: await signJws({ sid: viewer.sid, at, reason: 'viewer' }, { typ: 'stop+jwt', key: signer.sign }) };
  };

  it('fault 11, B085: forged by another device, for another session or another time: refused, told, and the slot kept', async () => {
    const viewer = await stage.world.start(device, LIVE);
    const other = await stage.world.start(await makeDevice(), FILM);
    expect(await stage.count()).toBe(2);
    const forged = [await stopBody(viewer, await makeDevice()), await stopBody(viewer, device, { sid: other.sid }), await stopBody(viewer, device, { at: stage.world.clock.now() + SECOND })];
    for (const body of forged) expect((await stage.world.post('/v1/stop', body)).status).toBe(403);
    expect(stage.world.told.filter(({ kind, severity }) => kind === 'session.stop-forged' && severity === 'alert')).toHaveLength(3);
    expect(await stage.count()).toBe(2);
    expect((await renewOn(stage.node(), viewer)).act).toBe('extend');
  });

  it('fault 12, B028: duplicated and reordered renewals and stops: idempotent, and a late renewal revives nothing', async () => {
    const viewer = await stage.world.start(device, LIVE);
    const node = stage.node();
    const sent: { bytes: Uint8Array; mac: Uint8Array; answer: ReturnType<Viewer['accept']> }[] = [];
    for (let i = 0; i < 3; i++) {
      await stage.world.clock.advance(18);
      const request = viewer.request(liveGroup(stage.world.clock.now()));
      sent.push({ ...request, answer: viewer.accept(request.mac, await answerOf(node, request.bytes)) });
    }
    // The network delivers old ones again, out of order, at nodes that never saw them.
    for (const { bytes, mac, answer } of [sent[1], sent[0], sent[2], sent[0]].filter((item) => item !== undefined)) {
      const again = openAnswer(hash, viewer.sealed.renewalKey, mac, await answerOf(stage.node(), bytes));
      expect([again.act, again.opened]).toEqual(['extend', answer.opened]);
    }
    expect(stage.world.told.filter(({ kind }) => kind === 'renewal.clone')).toEqual([]);
    await stage.world.clock.advance(9);
    expect((await renewOn(stage.node(), viewer)).act).toBe('extend');
    expect(await stage.count()).toBe(1);
    const late = viewer.request(liveGroup(stage.world.clock.now()));
    const stop = await stopBody(viewer, device);
    for (let i = 0; i < 3; i++) expect(await stage.world.post('/v1/stop', stop)).toMatchObject({ status: 200, body: { stopped: true } });
    expect(await stage.count()).toBe(0);
    // A node without the licence server's revocations learns it from the record.
    const remote = stage.world.renewalNode({ record: stage.record, flags: () => undefined });
    for (const target of [node, remote]) {
      const answer = openAnswer(hash, viewer.sealed.renewalKey, late.mac, await answerOf(target, late.bytes));
      expect(answer).toMatchObject({ act: 'end', reason: 'viewer', nodes: [] });
    }
    expect(await stage.count()).toBe(0);
    expect((await stage.world.relicense(viewer)).status).toBe(403);
  });

  it('B047 a session that the viewer chose to end learns by which one, and the other plays', async () => {
    stage = await createRenewalWorld({ policy: { interval: 20_000, duration: 60_000, limit: 1, mode: 'deny-new' } });
    const first = await stage.watch(LIVE);
    const refused = await stage.watch(FILM).catch((error: Error) => error.message);
    expect(refused).toContain('concurrency-limit');
    const conflicts = (await stage.world.post('/v1/sessions', await stage.world.startBody(device, FILM))).body['conflicts'] as { sid: string; deviceName: string; terminationCode: string }[];
    expect(conflicts).toMatchObject([{ sid: first.id, deviceName: 'device 0' }]);
    const second = await stage.watch(FILM, { end: [conflicts[0]?.terminationCode ?? ''] });
    expect(second.state).toBe('active');
    await stage.pass(25);
    expect(first.end).toMatchObject({ code: 'replaced', text: 'Playback was continued on another device.' });
    expect([await stage.count(), second.state]).toEqual([1, 'active']);
  });
});

describe('the session that took the place', () => {
  const elsewhere = (): ConcurrencyRecord => createGuardedConcurrency({ store: stage.store, clock: stage.world.clock, events: () => undefined, metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined } });
  it.each(['the same process', 'another process, which was told of the end alone'])('B041 B047 terminate-oldest names it, on a node of %s', async (where) => {
    stage = await createRenewalWorld({ policy: { interval: 20_000, duration: 60_000, limit: 1, mode: 'terminate-oldest' } });
    const first = await stage.watch(LIVE);
    if (where !== 'the same process') for (const host of NODES) stage.hosts.set(host, stage.world.renewalNode({ record: elsewhere() }).handler);
    const second = await stage.watch(FILM);
    await stage.pass(25);
    expect(first.end).toMatchObject({ code: 'concurrency', by: second.id });
    expect([await stage.count(), second.state]).toEqual([1, 'active']);
  });

  it('a record that lost the flag counts nobody who is over', async () => {
    stage = await createRenewalWorld({ policy: { interval: 20_000, duration: 60_000, limit: 1, mode: 'terminate-oldest' } });
    const first = await stage.watch(LIVE);
    await stage.watch(FILM);
    await stage.store.unflag(hashedAccount('account-1'), first.id, stage.world.clock.now());
    expect(await stage.count()).toBe(2);
    for (const host of NODES) stage.hosts.set(host, stage.world.renewalNode({ record: elsewhere() }).handler);
    await stage.pass(25);
    expect(first.end).toMatchObject({ code: 'concurrency' });
    expect(await stage.count()).toBe(1);
  });
});

describe('fault 20, B084: a master secret is replaced', () => {
  it('under 10,000 sessions: all of them go on; after the overlap the old epoch is refused', async () => {
    const { world } = stage;
    const random = seededRandom('many');
    const { clock } = world;
    const viewer = await world.start(device, LIVE);
    const { epochByte, zone } = placeOf(viewer.sid);
    const { gen } = viewer.claims;
    const day = 24 * 3600;
    // Half a minute before the change. The sessions are made from the zone key, as a licence server does, without 10,000 licences.
    await clock.advance(day - 10);
    const epoch = world.licenses.zoneKeys(epochByte, zone, clock.now());
    if (epoch === undefined) throw new Error('no zone key');
    const owned = { device: new Uint8Array(32), asset: LIVE, gen };
    const g0 = liveGroup(clock.now()) as GrantGroup;
    const sessions = Array.from({ length: 10_000 }, (_, i) => {
      const sid = makeSessionId(epochByte, zone, random.bytes(16));
      const owner = accountHash(fast, `account-${i % 2500}`);
      const key = sessionKey(fast, epoch.zoneKey, { ...owned, sid: sessionIdBytes(sid), accountHash: owner });
      const state = encodeState(fast, stateKey(fast, key), {
        ...owned, sid, accountHash: owner, level: 1, policy: 1, groupMillis: GROUP / 1000, interval: 20_000, duration: 60_000, ownInterval: 0, ownDuration: 0,
        live: true, timed: false, end: (g0 + 100_000) as GrantGroup, g0, t0: clock.now(), opened: g0, issued: clock.now(), spent: 0,
      });
      return { renewalKey: renewalKey(fast, key), state };
    });
    const node = stage.world.renewalNode({ hash: fast });
    const renewAll = (): Record<string, number> => {
      const outcomes: Record<string, number> = {};
      for (const item of sessions) {
        const { bytes, mac } = encodeRequest(fast, item.renewalKey, { position: liveGroup(clock.now()) as GrantGroup, clientTime: clock.now(), state: item.state });
        const outcome = node.renew(bytes);
        const name = outcome.kind === 'answered' ? outcome.act : outcome.code;
        outcomes[name] = (outcomes[name] ?? 0) + 1;
        if (outcome.kind === 'answered') item.state = nextState(item.state, openAnswer(fast, item.renewalKey, mac, outcome.bytes));
      }
      return outcomes;
    };
    for (let round = 0; round < 2; round++) {
      expect(renewAll()).toEqual({ extend: 10_000 });
      await clock.advance(20);
      await world.licenses.refresh();
    }
    expect(placeOf((await world.start(await makeDevice(), LIVE)).sid).epochByte).not.toBe(epochByte);
    await clock.advance(day);
    await world.licenses.refresh();
    expect(renewAll()).toEqual({ 'epoch-unknown': 10_000 });
  }, 60_000);
});

it('B009 a start is two requests with public-key work on both sides; a renewal is one, smaller both ways, without any', async () => {
  const operations = { count: 0 };
  const spies = (['sign', 'verify', 'deriveBits', 'deriveKey', 'generateKey'] as const).map((name) => {
    const real = crypto.subtle[name].bind(crypto.subtle) as (...args: unknown[]) => unknown;
    return vi.spyOn(crypto.subtle, name).mockImplementation(((...args: unknown[]) => {
      const [algorithm] = args;
      // HMAC is no public-key work.
      if (!JSON.stringify(algorithm).includes('HMAC')) operations.count += 1;
      return real(...args);
    }) as never);
  });
  try {
    const bytes = { up: 0, down: 0 };
    const weighed = (host: Host): Host => async (request) => {
      bytes.up += (await request.clone().arrayBuffer()).byteLength;
      const response = await host(request);
      bytes.down += (await response.clone().arrayBuffer()).byteLength;
      return response;
    };
    for (const [name, host] of [...stage.hosts]) stage.hosts.set(name, weighed(host));
    const session = await stage.watch(LIVE);
    const start = { requests: stage.seen.filter((line) => !line.endsWith('/keys')).length, operations: operations.count, ...bytes };
    // The stop that lies ready for a closing page is signed anew beside each renewal; that is no part of it.
    await stage.pass(1);
    [operations.count, bytes.up, bytes.down, stage.seen.length] = [0, 0, 0, 0];
    const viewer = await stage.world.start(device, LIVE);
    operations.count = 0;
    const { bytes: request, mac } = viewer.request(liveGroup(stage.world.clock.now()));
    const answer = await answerOf(stage.node(), request);
    viewer.accept(mac, answer);
    expect(operations.count).toBe(0);
    await stage.pass(21);
    const renewal = { requests: stage.seen.length, ...bytes };
    expect([start.requests, renewal.requests]).toEqual([2, 1]);
    expect(start.operations).toBeGreaterThanOrEqual(4);
    expect(renewal.up * 3).toBeLessThan(start.up);
    expect(renewal.down * 3).toBeLessThan(start.down);
    expect([request.length <= 256, answer.length <= 512, session.state]).toEqual([true, true, 'active']);
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
});

it('B007 B013 the client needs no storage: a device that lives in memory renews like any other', async () => {
  const session = await stage.watch(LIVE);
  const kept: Device | undefined = stage.devices.get(session);
  expect(kept?.stored).toBe(false);
  await stage.pass(70, undefined, 1);
  expect(session.state).toBe('active');
});
