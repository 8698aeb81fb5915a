// SPDX-License-Identifier: Apache-2.0
/**
 * What a stop is worth: places of an account counted from start notices and stops alone, and who may free them.
 *
 * Secure stop and renewals feed one count. No media is fetched here at all: what a cache would serve tells nothing.
 */
import { describe, expect, it } from 'vitest';
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { createMemoryConcurrency } from '#adapters/memory/concurrency.ts';
import { accountId } from '#core/ids.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { ENFORCEMENT_DEFAULTS } from '#core/policy/enforcement.ts';
import { signJws } from '#crypto/jose.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import type { LicenseServerOptions } from '#license-server/options.ts';
import type { ConcurrencyRecord } from '#ports';
import { createWorld, LIVE, liveGroup, makeDevice, SCHEDULE, SECOND, settle, type TestDevice, type Viewer, type World } from './license-world.ts';

const devices: readonly TestDevice[] = await Promise.all([0, 1, 2, 3].map(() => makeDevice()));
const device = (index: number): TestDevice => devices[index] as TestDevice;
const HASHED = heartbeatAccount(hash, accountId('account-1'));
const PERIOD = SCHEDULE.period / SECOND;
const TERM = 60;

type Place = { readonly world: World; readonly count: () => Promise<number>; readonly stop: (viewer: Viewer, changes?: { by?: TestDevice; sid?: string; at?: number; signed?: Record<string, unknown> }) => ReturnType<World['post']> };

const open = async (changes: Partial<LicenseServerOptions> = {}): Promise<Place> => {
  const store = createMemoryConcurrency();
  const guarded: { record?: ConcurrencyRecord } = {};
  const record = new Proxy({} as ConcurrencyRecord, { get: (_, name: keyof ConcurrencyRecord) => guarded.record?.[name] });
  const world = await createWorld({ record, policy: { interval: 20_000, duration: TERM * 1000, limit: 3, mode: 'deny-new' }, ...changes });
  guarded.record = createGuardedConcurrency({ store, clock: world.clock, events: () => undefined, metrics: { count() {}, gauge() {}, observe() {} } });
  return {
    world,
    count: async () => (await store.counts([{ account: HASHED }], world.clock.now()))[0] ?? -1,
    async stop(viewer, { by = viewer.device, sid = viewer.sid, at = world.clock.now(), signed = {} } = {}) {
      return world.post('/v1/stop', { sid, at, proof: await signJws({ sid, at, reason: 'user', ...signed }, { typ: 'stop+jwt', key: by.sign }) });
    },
  };
};
const started = (place: Place, index: number): Promise<Viewer> => place.world.start(device(index), LIVE);
const refusedStart = async ({ world }: Place, index: number): Promise<string | undefined> => (await world.post('/v1/sessions', await world.startBody(device(index), LIVE))).body.code;

describe('places of an account', () => {
  it('B028 B029 B030 B031: three starts are three places, the fourth is refused, a stop lets it in at once; no media was asked for', async () => {
    const place = await open();
    const viewers = [await started(place, 0), await started(place, 1), await started(place, 2)];
    expect(await place.count()).toBe(3);
    expect(await refusedStart(place, 3)).toBe('concurrency-limit');
    expect((await place.stop(viewers[1] as Viewer)).body).toEqual({ stopped: true });
    expect(await place.count()).toBe(2);
    await started(place, 3);
    expect(await place.count()).toBe(3);
  });

  it('B152: a stop that is sent again is acknowledged again and frees nothing more', async () => {
    const place = await open();
    const [first] = [await started(place, 0), await started(place, 1)];
    const at = place.world.clock.now();
    for (let sent = 0; sent < 3; sent++) expect((await place.stop(first as Viewer, { at })).body).toEqual({ stopped: true });
    expect(await place.count()).toBe(1);
    expect(place.world.told.filter(({ kind }) => kind === 'session.ended')).toHaveLength(1);
  });

  it('B153: forged stops are refused and told of, and the place stays taken', async () => {
    const place = await open();
    const [mine, other] = [await started(place, 0), await started(place, 1)] as const;
    const at = place.world.clock.now();
    const forged = [
      await place.stop(mine, { by: device(2) }),
      await place.stop(mine, { by: other.device }),
      await place.stop(mine, { at, signed: { at: at + 1 } }),
      await place.stop(mine, { signed: { sid: other.sid } }),
      await place.stop(mine, { signed: { account: 'account-2' } }),
    ];
    for (const { status, body } of forged) expect([status, body['code']]).toEqual([403, 'proof-invalid']);
    expect(place.world.told.filter(({ kind, severity }) => kind === 'session.stop-forged' && severity === 'alert')).toHaveLength(forged.length);
    expect(await place.count()).toBe(2);
  });

  it('B154: a client that vanishes keeps its place to the end of its licence and no longer', async () => {
    const place = await open();
    for (const index of [0, 1, 2]) await started(place, index);
    await place.world.clock.advance(TERM - 1);
    expect(await refusedStart(place, 3)).toBe('concurrency-limit');
    await place.world.clock.advance(2 + SCHEDULE.periodsPerGroup * PERIOD);
    expect(await place.count()).toBe(0);
    await started(place, 3);
  });

  it('a renewal after the stop neither revives the session nor takes the place again', async () => {
    const place = await open();
    const viewer = await started(place, 0);
    await place.stop(viewer);
    await settle();
    expect(place.world.renewOn(place.world.renewal, viewer, liveGroup(place.world.clock.now()))).toMatchObject({ act: 'end', reason: 'viewer' });
    expect(await place.count()).toBe(0);
  });
});

describe('slotFreedBy', () => {
  it('expiry: a stop is acknowledged and ends the session, and its place is free when its licence ends', async () => {
    const place = await open({ slotFreedBy: 'expiry' });
    const viewers = [await started(place, 0), await started(place, 1), await started(place, 2)];
    expect((await place.stop(viewers[0] as Viewer)).body).toEqual({ stopped: true });
    expect([await place.count(), await refusedStart(place, 3)]).toEqual([3, 'concurrency-limit']);
    expect(place.world.renewOn(place.world.renewal, viewers[0] as Viewer, liveGroup(place.world.clock.now()))).toMatchObject({ act: 'end' });
    await place.world.clock.advance(TERM + SCHEDULE.periodsPerGroup * PERIOD + 1);
    expect(await place.count()).toBe(0);
  });

  it('an operator who ends a session frees its place at once, whatever the setting', async () => {
    const place = await open({ slotFreedBy: 'expiry' });
    const viewer = await started(place, 0);
    await place.world.licenses.endSession(viewer.sid, 'operator');
    expect(await place.count()).toBe(0);
  });

  it('stop: an account on level 3 gets its place back one crypto period later, others at once', async () => {
    const place = await open({ policy: { interval: 20_000, duration: TERM * 1000, limit: 3, mode: 'deny-new', enforcement: ENFORCEMENT_DEFAULTS } });
    await place.stop(await started(place, 0));
    expect(await place.count()).toBe(0);
    await place.world.licenses.accounts.setLevel(accountId('account-1'), 3, 'desk');
    await place.stop(await started(place, 1));
    expect(await place.count()).toBe(1);
    await place.world.clock.advance(PERIOD - 0.1);
    expect(await place.count()).toBe(1);
    await place.world.clock.advance(0.2);
    await settle();
    expect(await place.count()).toBe(0);
  });
});
