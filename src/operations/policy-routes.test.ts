// SPDX-License-Identifier: Apache-2.0
/** Concurrency, levels and what-if, as operators ask for them: the real role on memory stores and the real account rules. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createMemoryConcurrency, createMemoryStores } from '#adapters/memory/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import { DEFAULT_POLICY, type PolicyVersion } from '#core/license/decide.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { extendHistory } from '#core/policy/account-history.ts';
import { type AccountEvent, ENFORCEMENT_DEFAULTS, newAccount, observeAccount } from '#core/policy/enforcement.ts';
import type { Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { createOperations } from '#operations/operations.ts';
import type { OperationsOptions } from '#operations/options.ts';
import type { CatalogueEntry, Clock, ConcurrencyStore, StreamStart } from '#ports';

const START = 1_800_000_000_000_000;
const MINUTE = 60_000_000;
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const POLICY: PolicyVersion = { ...DEFAULT_POLICY, enforcement: ENFORCEMENT_DEFAULTS, limit: 2, mode: 'deny-new' };

const setUp = async (overrides: Partial<OperationsOptions> = {}) => {
  const stores = createMemoryStores();
  let now = START;
  let seed = 0;
  let fired: (() => void)[] = [];
  const clock: Clock = {
    now: () => now as Micros,
    monotonic: () => (now / 1000) as Millis,
    after(_delay, run) {
      fired.push(run);
      return () => void (fired = fired.filter((each) => each !== run));
    },
  };
  const record = createMemoryConcurrency();
  const set: unknown[] = [];
  const operations = createOperations({
    ...stores,
    clock, random: { bytes: (length) => new Uint8Array(length).fill(++seed) }, log: silent,
    metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
    exposition: async () => ({ contentType: 'text/plain', body: '' }),
    allowedHosts: ['ops.example'],
    figures: () => ({ totals: {}, levels: {} }),
    readiness: {},
    actions: {
      createEvent: async () => { throw new Error('not here'); },
      endEvent: async () => false, endSession: async () => false, endAccount: async () => 0, revokeDevice: async () => false,
      setLevel: async (account, level, operator) => void set.push({ account, level, operator }),
      setOverride: async (account, override) => void set.push({ account, override }),
    },
    concurrency: record,
    policy: POLICY,
    ...overrides,
  });
  const token = await operations.issueToken('otto', 'operate');
  const call = async (method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> => {
    const response = await operations.handler(new Request(`https://ops.example${path}`, { method, headers: { Authorization: `Bearer ${token}`, ...(body !== undefined && { 'Content-Type': 'application/json' }) }, ...(body !== undefined && { body: JSON.stringify(body) }) }));
    return { status: response.status, body: await response.json() };
  };
  return { stores, operations, record, clock, set, call, step: (by: number) => void (now += by), fireTimers: () => fired.splice(0).forEach((run) => run()) };
};

const id = (fill: number, length: number): string => encodeBase64url(new Uint8Array(length).fill(fill));
const hash = (account: string): AccountId => heartbeatAccount(ladderHash, account as AccountId);
const begin = async ({ stores, record, clock }: Awaited<ReturnType<typeof setUp>>, n: number, account: string, asset: string, collection?: string): Promise<void> => {
  const heartbeat: StreamStart['heartbeat'] = { session: id(n, 18) as SessionId, account: hash(account), device: id(n, 32) as DeviceId, asset: asset as AssetId, at: clock.now(), expiresAt: (clock.now() + 5 * MINUTE) as Micros, kind: 'initial' };
  await stores.sessions.create({ session: heartbeat.session, account: account as AccountId, device: heartbeat.device, deviceName: 'TV', sign: {}, agree: {}, terms: {}, asset: heartbeat.asset, startedAt: clock.now(), entitledUntil: (clock.now() + 60 * MINUTE) as Micros });
  await stores.heartbeats.record(heartbeat);
  await record.admit({ heartbeat, deviceName: 'TV', level: 2, limits: [], mode: 'detection-only', ends: [], ...(collection !== undefined && { collection }) });
};

describe('concurrency', () => {
  test('B023 B024 B025 B026 streams per account, title, collection and of the service, with limits', async () => {
    const room = await setUp();
    await begin(room, 1, 'ann', 'cup', 'sport');
    await begin(room, 2, 'ann', 'film');
    await begin(room, 3, 'bob', 'cup', 'sport');
    await room.stores.accounts.update(hash('ann'), (current) => ({ ...(current ?? { account: hash('ann'), record: newAccount(room.clock.now()) }), override: { limit: 7 } }));
    expect((await room.call('GET', '/v1/operations/concurrency')).body).toEqual({
      at: START, source: 'record', service: 3,
      accounts: [{ id: 'ann', streams: 2, level: 1, limit: 7 }, { id: 'bob', streams: 1, level: 1, limit: 2 }],
      titles: [{ id: 'cup', streams: 2 }, { id: 'film', streams: 1 }],
      collections: [{ id: 'sport', streams: 2 }],
    });
    room.operations.close();
  });

  test('a record that fails, hangs or is cut off: the heartbeats of this process are counted instead', async () => {
    const failing: Pick<ConcurrencyStore, 'live'> = { live: () => Promise.reject(new Error('down')) };
    const cut: Pick<ConcurrencyStore, 'live'> = { live: () => { throw new Error('must not be asked'); } };
    for (const options of [{ concurrency: failing }, { concurrency: cut, emergency: () => ({ since: START as Micros, cause: 'timeout', renewals: 4 }) }]) {
      const room = await setUp(options);
      await begin(room, 1, 'ann', 'cup', 'sport');
      expect((await room.call('GET', '/v1/operations/concurrency')).body).toMatchObject({ source: 'heartbeats', service: 1, accounts: [{ id: 'ann', streams: 1 }], collections: [] });
      room.operations.close();
    }
    const room = await setUp({ concurrency: { live: () => new Promise(() => undefined) } });
    await begin(room, 1, 'ann', 'cup');
    const answer = room.call('GET', '/v1/operations/concurrency');
    await new Promise((done) => setTimeout(done, 20));
    room.fireTimers();
    expect((await answer).body).toMatchObject({ source: 'heartbeats', service: 1 });
    room.operations.close();
  });
});

describe('state', () => {
  test('emergency with its cause, overload with its figures, the newest alert; nothing while all is normal', async () => {
    const load = { factor: 1, sheds: false };
    const now: { emergency?: { since: Micros; cause: string; renewals: number } } = {};
    const { operations, call } = await setUp({ load: () => load, emergency: () => now.emergency });
    expect((await call('GET', '/v1/operations/state')).body).toEqual({ at: START });
    now.emergency = { since: (START - 5) as Micros, cause: 'timeout', renewals: 12 };
    load.factor = 1.5;
    operations.events({ at: (START - 3) as Micros, kind: 'overload.raised', severity: 'warning', message: 'busy', data: { factor: 1.5, lagMillis: 80, cpuPercent: 93 } });
    operations.events({ at: (START - 2) as Micros, kind: 'concurrency.emergency', severity: 'alert', message: 'cut off' });
    expect((await call('GET', '/v1/operations/state')).body).toEqual({
      at: START, emergency: now.emergency, overload: { factor: 1.5, sheds: false, since: START - 3, cause: 'event-loop lag 80 ms, CPU 93 %' }, lastAlert: { at: START - 2, kind: 'concurrency.emergency', message: 'cut off' },
    });
    load.factor = 1;
    operations.events({ at: START as Micros, kind: 'overload.eased', severity: 'info', message: 'calm', data: { factor: 1 } });
    expect((await call('GET', '/v1/operations/state')).body.overload).toBeUndefined();
    operations.close();
  });
});

describe('levels', () => {
  test('B065 accounts per level and the moves between them; moves older than a day are left out', async () => {
    const room = await setUp();
    const move = (at: number, from: number, to: number): void => room.operations.events({ at: at as Micros, kind: 'account.level', severity: 'warning', message: 'moved', account: hash('ann'), data: { from, to, cause: 'leak' } });
    await begin(room, 1, 'ann', 'cup');
    await room.stores.accounts.update(hash('ann'), () => ({ account: hash('ann'), record: { ...newAccount(START as Micros), level: 3 } }));
    move(START - 30 * 60 * MINUTE, 1, 2);
    move(START - MINUTE, 2, 3);
    move(START, 2, 3);
    expect((await room.call('GET', '/v1/operations/levels')).body).toMatchObject({ accounts: { 1: 0, 2: 0, 3: 1 }, flows: [{ from: 2, to: 3, count: 2 }], latest: [{ account: 'ann', from: 2, to: 3, cause: 'leak' }, {}, {}] });
    room.operations.close();
  });

  test('B065 moves from before a restart are in the accounts’ histories, and are counted once', async () => {
    const first = await setUp();
    const change = (at: number, from: 1 | 2, to: 2 | 3) => ({ at: at as Micros, from, to, cause: 'leak' as const, inputs: {} });
    await begin(first, 1, 'ann', 'cup');
    await first.stores.accounts.update(hash('ann'), () => ({ account: hash('ann'), record: { ...newAccount((START - MINUTE) as Micros), level: 3 }, history: { events: [], changes: [change(START - 26 * 60 * MINUTE, 1, 2), change(START - 2 * MINUTE, 1, 2), change(START - MINUTE, 2, 3)] } }));
    first.operations.close();
    const room = await setUp({ accounts: first.stores.accounts, sessions: first.stores.sessions });
    await new Promise((resolve) => setImmediate(resolve));
    room.operations.events({ at: (START + 1) as Micros, kind: 'account.level', severity: 'warning', message: 'moved', account: hash('ann'), data: { from: 3, to: 2, cause: 'operator' } });
    const { body } = await room.call('GET', '/v1/operations/levels');
    expect(body.flows).toEqual([{ from: 1, to: 2, count: 1 }, { from: 2, to: 3, count: 1 }, { from: 3, to: 2, count: 1 }]);
    expect(body.latest.map((move: { from: number; to: number; account: string }) => `${move.account} ${move.from}${move.to}`)).toEqual(['ann 32', 'ann 23', 'ann 12']);
    room.operations.close();
  });

  test('B064 an operator sets a level: audited first, and the account page shows level, override and causes', async () => {
    const room = await setUp();
    await begin(room, 1, 'ann', 'cup');
    const event: AccountEvent = { kind: 'leak', at: START as Micros, evidence: 'trace-1' };
    const { account: record, changes } = observeAccount(newAccount(START as Micros), event, ENFORCEMENT_DEFAULTS);
    await room.stores.accounts.update(hash('ann'), () => ({ account: hash('ann'), record, history: extendHistory(undefined, event, changes), override: { limit: 3, mode: 'terminate-oldest' }, overrideAt: START as Micros }));
    const standing = { level: 3, since: START, override: { limit: 3, mode: 'terminate-oldest' }, overrideAt: START, limit: 3, mode: 'terminate-oldest', causes: [{ at: START, from: 1, to: 3, cause: 'leak', inputs: { evidence: 'trace-1' } }] };
    expect((await room.call('GET', '/v1/accounts/ann')).body.standing).toEqual(standing);
    // Whoever follows the hash of an event finds the account.
    expect((await room.call('GET', `/v1/accounts/${hash('ann')}`)).body).toMatchObject({ account: 'ann', standing });
    // A quiet week later it is shown a level lower, though nothing has been stored yet.
    room.step(ENFORCEMENT_DEFAULTS.relaxAfter);
    expect((await room.call('GET', '/v1/accounts/ann')).body.standing).toMatchObject({ level: 2, causes: [{ cause: 'relaxed' }, { cause: 'leak' }] });
    expect((await room.call('POST', '/v1/accounts/ann/level', { level: 1, note: 'cleared' })).status).toBe(200);
    expect(room.set).toEqual([{ account: 'ann', level: 1, operator: 'otto' }]);
    expect((await room.call('GET', '/v1/audit')).body.entries[0]).toMatchObject({ actor: 'otto', action: 'account.level', target: 'ann', detail: { level: 1, note: 'cleared' } });
    room.operations.close();
  });

  test('B070 an override is strict, and an empty one removes what was set', async () => {
    const room = await setUp();
    for (const body of [{ limit: -1 }, { limit: 1.5 }, { limit: '3' }, { mode: 'never' }, { interval: 99 }, { duration: 8 * 24 * 3600 * 1000 }, { interval: 5000, duration: 5000 }, { other: 1 }, [], { level: 2 }]) {
      expect([body, (await room.call('POST', '/v1/accounts/ann/override', body)).body.code]).toEqual([body, 'bad-request']);
    }
    for (const body of [{}, { level: 4 }, { level: '2' }]) expect((await room.call('POST', '/v1/accounts/ann/level', body)).body.code).toBe('bad-request');
    expect(room.set).toEqual([]);
    expect((await room.call('POST', '/v1/accounts/ann/override', { interval: 60_000, duration: 120_000, limit: 0, mode: 'deny-new', note: 'test' })).status).toBe(200);
    expect((await room.call('POST', '/v1/accounts/ann/override', {})).status).toBe(200);
    expect(room.set).toEqual([{ account: 'ann', override: { interval: 60_000, duration: 120_000, limit: 0, mode: 'deny-new' } }, { account: 'ann', override: undefined }]);
    room.operations.close();
  });

  test('B069 what-if replays recorded events through a changed policy and lists the accounts that would move', async () => {
    const room = await setUp();
    await begin(room, 1, 'ann', 'cup');
    const licence = (n: number, account: string, device: string): AccountEvent => ({ kind: 'initial', at: (START - MINUTE * 60 + n * 10 * MINUTE) as Micros, session: `${account}-${n}`, device: device as DeviceId, asset: 'film' as AssetId, position: 0 as Micros, interval: (5 * MINUTE) as Micros, duration: (90 * MINUTE) as Micros });
    const store = (account: string, events: readonly AccountEvent[]) =>
      room.stores.accounts.update(hash(account), () => {
        let state = { account: hash(account), record: newAccount(events[0]?.at ?? (START as Micros)), history: { events: [], changes: [] } as ReturnType<typeof extendHistory> };
        for (const event of events) {
          const step = observeAccount(state.record, event, ENFORCEMENT_DEFAULTS);
          state = { ...state, record: step.account, history: extendHistory(state.history, event, step.changes) };
        }
        return state;
      });
    // Three licences on two devices without a renewal: innocent by six, suspicious by three.
    await store('ann', [licence(0, 'ann', 'tv'), licence(1, 'ann', 'phone'), licence(2, 'ann', 'tv')]);
    await store('bob', [licence(0, 'bob', 'tv')]);
    const unchanged = await room.call('POST', '/v1/policy/what-if', {});
    expect(unchanged.body).toEqual({ accounts: 2, events: 4, moved: [] });
    const { body } = await room.call('POST', '/v1/policy/what-if', { licenses: 3 });
    expect(body).toMatchObject({ accounts: 2, events: 4, moved: [{ account: 'ann', before: 1, after: 2, changes: [{ from: 1, to: 2, cause: 'suppression', inputs: { licenses: 3, devices: 2 } }] }] });
    expect((await room.stores.accounts.get(hash('ann')))?.record.level).toBe(1);
    expect(body).not.toHaveProperty('refused');
    expect((await room.call('POST', '/v1/policy/what-if', { licenses: 0 })).body.code).toBe('bad-request');
    room.operations.close();
  });

  test('B069 what-if with a limit: whose starts it would have turned away, counted as the record counts', async () => {
    const room = await setUp();
    const start = (minute: number, session: string, device: string, asset = 'film'): AccountEvent => ({ kind: 'initial', at: (START - 100 * MINUTE + minute * MINUTE) as Micros, session, device: device as DeviceId, asset: asset as AssetId, position: 0 as Micros, interval: (5 * MINUTE) as Micros, duration: (90 * MINUTE) as Micros });
    const at = (minute: number): Micros => (START - 100 * MINUTE + minute * MINUTE) as Micros;
    const keep = (account: string, events: readonly AccountEvent[]) => room.stores.accounts.update(hash(account), () => ({ account: hash(account), record: newAccount(START as Micros), history: { events, changes: [] } }));
    await begin(room, 1, 'ann', 'cup');
    // Two at a time; a reload on the same device, a stop and a stream that went silent take no place of their own.
    await keep('ann', [start(0, 'a', 'tv'), start(1, 'b', 'phone'), start(2, 'b2', 'phone'), { kind: 'renewal', at: at(5), session: 'a' }, { kind: 'stop', at: at(6), session: 'b2' }, start(7, 'c', 'tablet'), start(8, 'd', 'laptop'), start(30, 'e', 'laptop')]);
    await keep('bob', [start(0, 'x', 'tv'), start(20, 'y', 'phone')]);
    expect((await room.call('POST', '/v1/policy/what-if', { limit: 2 })).body).toMatchObject({ accounts: 2, moved: [], refused: [{ account: 'ann', starts: 6, refused: 1 }] });
    expect((await room.call('POST', '/v1/policy/what-if', { limit: 1 })).body.refused).toEqual([{ account: 'ann', starts: 6, refused: 4 }]);
    expect((await room.call('POST', '/v1/policy/what-if', { limit: 3 })).body.refused).toEqual([]);
    expect((await room.call('POST', '/v1/policy/what-if', { limit: 0 })).body.code).toBe('bad-request');
    room.operations.close();
  });
});

describe('licensing of devices, events and titles', () => {
  test('whatever the body: taken as it says, or refused with a code; what is taken can be read back', async () => {
    const stores = createMemoryStores();
    const room = await setUp({
      ...stores,
      actions: {
        createEvent: async () => { throw new Error('not here'); },
        endEvent: async () => false, endSession: async () => false, endAccount: async () => 0, revokeDevice: async () => false,
        async setLicensing(asset, licensing) {
          const { collection: _collection, policy: _policy, ...rest } = (await stores.catalogue.get(asset)) as CatalogueEntry;
          await stores.catalogue.update({ ...rest, ...licensing });
          return { ...rest, ...licensing };
        },
        setDevicePolicy: (device, policy) => stores.devices.setPolicy(device, policy),
      },
    });
    const device = encodeBase64url(new Uint8Array(32).fill(5)) as DeviceId;
    await stores.catalogue.create({ asset: 'film' as AssetId, kind: 'title', name: 'Film', state: 'ready', createdAt: START as Micros, clearKey: 'off' });
    await stores.devices.register({ device, account: 'ann' as AccountId, name: 'TV', sign: {}, agree: {}, registeredAt: START as Micros }, 5);
    const value = fc.oneof(fc.integer({ min: -5, max: 2000 }), fc.double(), fc.string({ maxLength: 8 }), fc.constantFrom('deny-new', 'sport', null, true), fc.array(fc.integer(), { maxLength: 2 }));
    const override = fc.dictionary(fc.constantFrom('interval', 'duration', 'limit', 'mode', 'note', 'level', '__proto__', 'toString'), value, { maxKeys: 4 });
    const licensing = fc.dictionary(fc.constantFrom('collection', 'policy', 'note', 'constructor'), fc.oneof(value, override), { maxKeys: 3 });
    await fc.assert(
      fc.asyncProperty(override, licensing, async (policy, body) => {
        const set = await room.call('PUT', `/v1/devices/${device}/policy`, policy);
        expect([200, 400]).toContain(set.status);
        const { note: _note, ...rest } = policy;
        if (set.status === 200) expect((await stores.devices.get(device))?.policy).toEqual(rest);
        const licensed = await room.call('PUT', '/v1/titles/film/licensing', body);
        expect([200, 400]).toContain(licensed.status);
        if (licensed.status === 200) expect((await room.call('GET', '/v1/titles/film')).body.collection).toBe(body['collection']);
      }),
      { seed: 8, numRuns: 300 },
    );
    room.operations.close();
  });
});
