// SPDX-License-Identifier: Apache-2.0
/**
 * Accusations at the operator endpoints: what is taken, what is refused, what is done by itself, what a person decides.
 *
 * Real role on memory stores; observations are made from the real code book, so that the service can judge them itself.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryStores } from '#adapters/memory/index.ts';
import { type AccountId, assetId, type DeviceId, type SessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { formatObservation, hardReading, type Observation, parseAccusation, replayWithGrowth } from '#core/trace/index.ts';
import { createAlignedBook, markKeys, position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { LeakView } from '#operations/api.ts';
import { createOperations } from '#operations/operations.ts';
import type { OperationsOptions } from '#operations/options.ts';
import type { Clock, SessionRecord } from '#ports';

const ASSET = assetId('cup');
const START = 1_780_000_000_000_000;
const SECRET = new Uint8Array(32).fill(7);
const schedule = startSchedule({ alphabet: 5, viewers: 1000 });
const keys = markKeys(hmacSha256, SECRET);
const book = createAlignedBook({ alphabet: 5, schedule, keys });
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const observationOf = (viewer: number, segments = 24, viewers = 1000): Observation => ({
  header: { asset: ASSET, alphabet: 5, slots: 1, book: { kind: 'aligned', schedule }, viewers, eps: 1e-6, source: 'restream 3' },
  readings: Array.from({ length: segments }, (_, n) => ({ position: position(n), likelihoods: hardReading(5, book.symbol(viewerNumber(viewer), position(n)), 0.01) })),
});
const reportOf = (observation: Observation): Record<string, unknown> => {
  const { report } = replayWithGrowth(observation, keys);
  const { viewers, eps } = observation.header;
  return { title: ASSET, ...report, runnerUp: null, viewers, eps, source: 'restream 3', seconds: 3.2 };
};

const setUp = async (overrides: Partial<OperationsOptions> = {}) => {
  let elapsed = 0;
  let timers: { at: number; run: () => void }[] = [];
  const clock: Clock = {
    now: () => (START + elapsed * 1000) as Micros,
    monotonic: () => elapsed as Millis,
    after(delay, run) {
      const timer = { at: elapsed + delay, run };
      timers.push(timer);
      return () => void (timers = timers.filter((other) => other !== timer));
    },
  };
  const advance = async (millis: number): Promise<void> => {
    elapsed += millis;
    const due = timers.filter(({ at }) => at <= elapsed);
    timers = timers.filter(({ at }) => at > elapsed);
    for (const { run } of due) run();
    for (let turn = 0; turn < 20; turn++) await new Promise((done) => setImmediate(done));
  };
  const stores = createMemoryStores();
  const calls: string[] = [];
  const session = (n: number, account: string, asset = ASSET): SessionRecord => ({
    session: `s${n}`.padEnd(24, '0') as SessionId, account: account as AccountId, device: `${n}`.padStart(43, 'd') as DeviceId, deviceName: 'TV', sign: {}, agree: {}, terms: {}, asset, startedAt: clock.now(), entitledUntil: (clock.now() + 1e9) as Micros,
  });
  for (const [n, account, asset] of [[1, 'ann', ASSET], [2, 'ann', ASSET], [3, 'ann', assetId('other')], [4, 'bob', ASSET]] as const) {
    const record = session(n, account, asset);
    await stores.sessions.create(record);
    await stores.viewerNumbers.give(record);
  }
  const operations = createOperations({
    ...stores, clock, log: silent, random: { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) },
    metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
    exposition: () => Promise.resolve({ contentType: 'text/plain', body: '' }),
    allowedHosts: ['ops.example'],
    figures: () => ({ totals: {}, levels: {} }),
    readiness: {},
    judge: async (observation) => replayWithGrowth(observation, keys),
    actions: {
      createEvent: () => Promise.reject(new Error('not asked for')),
      endEvent: () => Promise.resolve(false),
      endSession: () => Promise.resolve(false),
      endAccount: () => Promise.resolve(0),
      revokeDevice: () => Promise.resolve(false),
      async endForLeak(account, asset) {
        const running = await stores.sessions.list({ account, asset, live: true, limit: 9 });
        for (const each of running) await stores.sessions.end(each.session, clock.now(), 'leak');
        calls.push(`end ${account} ${asset} ${running.length}`);
        return running.map((each) => each.session);
      },
      async raiseForLeak(account) {
        calls.push(`raise ${account}`);
      },
      async endAccountForLeak(account) {
        calls.push(`end-account ${account}`);
        return 3;
      },
    },
    ...overrides,
  });
  const token = { view: await operations.issueToken('viewer', 'view'), operate: await operations.issueToken('desk', 'operate') };
  const call = async (method: string, path: string, body?: unknown, as: 'view' | 'operate' = 'operate'): Promise<{ status: number; body: { leak: LeakView; leaks: LeakView[]; code?: string } & Record<string, unknown> }> => {
    const response = await operations.handler(new Request(`https://ops.example${path}`, { method, headers: { Authorization: `Bearer ${token[as]}`, ...(body !== undefined && { 'Content-Type': 'application/json' }) }, ...(body !== undefined && { body: JSON.stringify(body) }) }));
    return { status: response.status, body: (await response.json()) as never };
  };
  const accuse = (viewer = 16, more: Record<string, unknown> = {}) => {
    const observation = observationOf(viewer);
    return call('POST', '/v1/leaks', { report: { ...reportOf(observation), ...more }, observation: formatObservation(observation) });
  };
  return { stores, operations, call, accuse, calls, advance, clock };
};

describe('an accusation', () => {
  it('B202 B203 names account and device, is kept with its evidence, and ends the sessions of the copy', async () => {
    const room = await setUp();
    const { status, body } = await room.accuse();
    expect([status, body.leak]).toEqual([201, expect.objectContaining({ asset: 'cup', viewer: 16, account: 'ann', replayed: true, reportedBy: 'desk', source: 'restream 3', viewers: 1000, actions: [expect.objectContaining({ action: 'end-sessions', automatic: true, by: 'desk', sessions: 2 })] })]);
    expect(body.leak.sessions).toHaveLength(2);
    expect(room.calls).toEqual(['end ann cup 2']);
    expect(body.leak.growth.length).toBeGreaterThan(5);
    expect(body.leak.growth.at(-1)?.evidence).toBeGreaterThanOrEqual(body.leak.bound);
    expect(await room.stores.leaks.get(body.leak.leak)).toMatchObject({ account: 'ann', device: expect.stringMatching(/1$/) });
    const audit = await room.stores.audit.read(0, 10);
    expect(audit.map(({ action, target }) => `${action} ${target}`)).toEqual([`leak.accuse ${body.leak.leak}`, 'leak.end-sessions ann']);
  });
  it('posted again is known, and nothing is done twice', async () => {
    const room = await setUp();
    const first = await room.accuse();
    const again = await room.accuse();
    expect([again.status, again.body.leak.leak]).toEqual([200, first.body.leak.leak]);
    expect(room.calls).toHaveLength(1);
    expect((await room.call('GET', '/v1/leaks', undefined, 'view')).body.leaks).toHaveLength(1);
  });
  it('of a number that no session was given is kept, and touches nobody', async () => {
    const room = await setUp();
    const { status, body } = await room.accuse(500);
    expect([status, body.leak.account, body.leak.actions, room.calls]).toEqual([201, undefined, [], []]);
    expect((await room.call('POST', `/v1/leaks/${body.leak.leak}/decide`, { action: 'end-sessions' })).status).toBe(404);
  });
  it('does nothing by itself where so configured', async () => {
    const room = await setUp({ onAccusation: 'none' });
    const { body } = await room.accuse();
    expect([body.leak.actions, room.calls]).toEqual([[], []]);
    expect((await room.call('POST', `/v1/leaks/${body.leak.leak}/decide`, { action: 'end-sessions', note: 'seen it' })).body.leak.actions).toMatchObject([{ action: 'end-sessions', automatic: false, note: 'seen it' }]);
  });
});

describe('an accusation is refused', () => {
  it('from an operator who may only look', async () => {
    const room = await setUp();
    expect((await room.call('POST', '/v1/leaks', { report: {} }, 'view')).status).toBe(403);
  });
  it('whose bound leaves out viewers that numbers were given to', async () => {
    const room = await setUp();
    for (let n = 10; n < 400; n++) await room.stores.viewerNumbers.give({ asset: ASSET, account: `a${n}` as AccountId, device: `${n}`.padStart(43, 'd') as DeviceId });
    const observation = observationOf(16, 12, 20);
    const report = reportOf(observation);
    expect(report['verdict']).toBe('accuse');
    const { status, body } = await room.call('POST', '/v1/leaks', { report });
    expect([status, body.code, room.calls]).toEqual([400, 'bad-request', []]);
  });
  it('that the observation does not lead to under the mark secret here', async () => {
    const room = await setUp();
    const observation = observationOf(17);
    const framed = { ...reportOf(observation), viewer: 16 };
    expect(await room.call('POST', '/v1/leaks', { report: framed, observation: formatObservation(observation) })).toMatchObject({ status: 400, body: { code: 'bad-request' } });
    expect(await room.call('POST', '/v1/leaks', { report: reportOf(observation), observation: 'not an observation' })).toMatchObject({ status: 400 });
    expect([room.calls, (await room.stores.leaks.list({ limit: 9 })).length]).toEqual([[], 0]);
  });
  it('B195 whatever else is wrong with the report', async () => {
    const good = reportOf(observationOf(16));
    expect(parseAccusation(good)).toMatchObject({ viewer: 16 });
    for (const wrong of [{ verdict: 'more' }, { viewer: -1 }, { viewer: 1.5 }, { evidence: 1 }, { bound: 1 }, { eps: 0 }, { eps: Number.NaN }, { viewers: 0 }, { title: '../x' }, { errorRates: null }, { coalition: { share: 2, size: 1 } }, { growth: Array.from({ length: 513 }, () => ({ position: 1, evidence: 1 })) }, { growth: [1] }, { source: '' }, { runnerUp: 'x' }]) {
      expect(() => parseAccusation({ ...good, ...wrong }), JSON.stringify(wrong)).toThrow(expect.objectContaining({ code: expect.stringMatching(/bad-request/) }));
    }
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(good)), (value, name) => {
        try {
          const { evidence, bound, viewers, eps } = parseAccusation({ ...good, [name]: value });
          return evidence >= bound - 0.01 && bound >= Math.log(viewers / eps) - 0.01;
        } catch (error) {
          return (error as { code?: string }).code === 'bad-request';
        }
      }),
    );
  });
});

describe('account and level', () => {
  const carried = async (room: Awaited<ReturnType<typeof setUp>>, sessions: readonly string[], agents: readonly string[]): Promise<void> => {
    for (const [index, agent] of agents.entries()) await room.operations.carried(`edge-${index}`, [{ session: (sessions[0] ?? '') as SessionId, prefix: '203.0.113.0/24', agent, bytes: 1_000_000, from: room.clock.now(), to: room.clock.now() }]);
  };
  it('B203 an operator raises the level, or ends the account, where nothing speaks for a shared token', async () => {
    const room = await setUp();
    const { leak } = (await room.accuse()).body;
    await carried(room, leak.sessions, ['aa', 'aa']);
    const raised = await room.call('POST', `/v1/leaks/${leak.leak}/decide`, { action: 'raise-level', note: 'third time' });
    expect(raised.body.leak).toMatchObject({ signs: { shared: false, networks: 1, clients: 1 }, carriers: [{ edge: 'edge-0' }, { edge: 'edge-1' }], actions: [{ action: 'end-sessions' }, { action: 'raise-level', automatic: false, by: 'desk', note: 'third time' }] });
    expect((await room.call('POST', `/v1/leaks/${leak.leak}/decide`, { action: 'end-account' })).body.leak.actions.at(-1)).toMatchObject({ action: 'end-account', sessions: 3 });
    expect(room.calls).toEqual(['end ann cup 2', 'raise ann', 'end-account ann']);
  });
  it('a sign of a shared token forbids both, not the end of the sessions', async () => {
    const room = await setUp();
    const { leak } = (await room.accuse()).body;
    await carried(room, leak.sessions, ['aa', 'bb']);
    for (const action of ['raise-level', 'end-account']) expect(await room.call('POST', `/v1/leaks/${leak.leak}/decide`, { action })).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect((await room.call('POST', `/v1/leaks/${leak.leak}/decide`, { action: 'end-sessions' })).status).toBe(200);
    expect((await room.call('POST', `/v1/leaks/${leak.leak}/decide`, { action: 'dismiss' })).body.leak.actions.at(-1)).toMatchObject({ action: 'dismiss' });
    expect(room.calls).toEqual(['end ann cup 2', 'end ann cup 0']);
    expect((await room.stores.audit.read(0, 20)).map(({ action }) => action)).toEqual(['leak.accuse', 'leak.end-sessions', 'leak.end-sessions', 'leak.dismiss']);
  });
  it.each([['aa', ['end ann cup 2', 'raise ann']], ['bb', ['end ann cup 2']]])('configured to raise by itself: after edges were heard, unless they saw another client (%s)', async (second, expected) => {
    const room = await setUp({ onAccusation: 'raise-level' });
    const { leak } = (await room.accuse()).body;
    expect(room.calls).toEqual(['end ann cup 2']);
    await carried(room, leak.sessions, ['aa', second]);
    await room.advance(3000);
    expect(room.calls).toEqual(expected);
  });
  it('what edges say before the accusation knows its sessions is not lost', async () => {
    const room = await setUp();
    await carried(room, ['s1'.padEnd(24, '0')], ['aa']);
    expect((await room.accuse()).body.leak.carriers).toMatchObject([{ edge: 'edge-0', agent: 'aa' }]);
  });
});

describe('who can be accused', () => {
  it('all numbers given out and those kept back, and whose a number is', async () => {
    const room = await setUp();
    expect((await room.call('GET', '/v1/viewers/cup?viewer=16', undefined, 'view')).body).toMatchObject({ asset: 'cup', given: 3, viewers: 19, viewer: 16, account: 'ann' });
    expect((await room.call('GET', '/v1/viewers/cup?viewer=3', undefined, 'view')).body).toMatchObject({ account: null, device: null });
    expect((await room.call('GET', '/v1/viewers/cup?viewer=-1', undefined, 'view')).status).toBe(400);
    expect((await room.call('GET', '/v1/leaks/unknown', undefined, 'view')).status).toBe(404);
  });
});
