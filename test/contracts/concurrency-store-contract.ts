// SPDX-License-Identifier: Apache-2.0
/**
 * What every ConcurrencyStore does, named after the behaviour checklist (SPECS.md).
 * Length: one contract, and a test per line of the checklist.
 */
import { expect, it } from 'vitest';
import type { SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { Admission, ConcurrencyMode, ConcurrencyStore, Heartbeat, StreamLimit, StreamRenewal, StreamStart } from '#ports';
import { account, asset, at, device, heartbeat, session } from './values.ts';

export type StartChange = Partial<Omit<StreamStart, 'heartbeat'>> & { readonly heartbeat?: Partial<Heartbeat>; readonly limit?: number };

/** A start of session `number` on device `number` (so that nothing looks like a reload), at second 0 for 300 s. */
export const startOf = (number: number, change: StartChange = {}): StreamStart => {
  const { heartbeat: beat = {}, limit = 3, ...rest } = change;
  return {
    heartbeat: heartbeat(number, { device: device(number), ...beat }),
    deviceName: `Device ${number}`,
    level: 1,
    limits: [{ scope: 'account', key: '', limit }],
    mode: 'deny-new',
    ends: [],
    ...rest,
  };
};

/** A renewal of session `number` at `second` with a state issued at `issued`. */
export const renewalOf = (number: number, second: number, issued: number, change: Partial<Omit<StreamRenewal, 'heartbeat'>> & { readonly heartbeat?: Partial<Heartbeat> } = {}): StreamRenewal => {
  const { heartbeat: beat = {}, ...rest } = change;
  return {
    heartbeat: heartbeat(number, { device: device(number), at: at(second), expiresAt: at(second + 300), kind: 'renewal', ...beat }),
    level: 1,
    issued: at(issued),
    request: `request-${number}-${second}`,
    ...rest,
  };
};

const granted = (admission: Admission): boolean => admission.granted;
const seconds = (value: number): Micros => (value * 1_000_000) as Micros;

export const concurrencyStoreContract = (open: () => Promise<ConcurrencyStore>): void => {
  const watching = async (store: ConcurrencyStore, second: number): Promise<readonly SessionId[]> => (await store.live({ account: account('ann') }, at(second))).map((each) => each.session);
  const count = async (store: ConcurrencyStore, second: number): Promise<number> => (await store.counts([{ account: account('ann') }], at(second)))[0] as number;
  const fill = async (store: ConcurrencyStore, numbers: readonly number[], change: StartChange = {}): Promise<void> => {
    for (const number of numbers) expect(await store.admit(startOf(number, { ...change, heartbeat: { at: at(number), expiresAt: at(number + 300), ...change.heartbeat } }))).toMatchObject({ granted: true });
  };

  it('B020 B030 records every licence and renewal with account, device, session, title, collection, time and expiry', async () => {
    const store = await open();
    await store.admit(startOf(1, { collection: 'league', level: 2 }));
    expect(await store.live({ account: account('ann') }, at(1))).toEqual([
      { session: session(1), account: account('ann'), device: device(1), asset: asset('final'), at: at(0), expiresAt: at(300), startedAt: at(0), deviceName: 'Device 1', collection: 'league', level: 2 },
    ]);
    expect(await store.renew(renewalOf(1, 180, 0, { level: 3 }))).toEqual({ kind: 'counted', at: at(180), duplicate: false, bucket: 'ok', count: 1 });
    expect(await store.live({ account: account('ann') }, at(200))).toEqual([
      { session: session(1), account: account('ann'), device: device(1), asset: asset('final'), at: at(180), expiresAt: at(480), startedAt: at(0), deviceName: 'Device 1', collection: 'league', level: 3 },
    ]);
  });

  it('B021 B008 B022 a heartbeat leaves with its licence, to the microsecond', async () => {
    const store = await open();
    await fill(store, [1, 2]);
    expect(await watching(store, 300)).toEqual([session(1), session(2)]);
    expect(await watching(store, 301)).toEqual([session(2)]);
    expect(await count(store, 302)).toBe(0);
    expect((await store.counts(['service', { title: asset('final') }], (at(302) - 1) as Micros)).join()).toBe('1,1');
    expect((await store.counts(['service', { title: asset('final') }], at(302))).join()).toBe('0,0');
  });

  it('B023 counts per account, title, collection and service', async () => {
    const store = await open();
    await store.admit(startOf(1, { collection: 'league' }));
    await store.admit(startOf(2, { collection: 'league', heartbeat: { asset: asset('movie') } }));
    await store.admit(startOf(3, { heartbeat: { account: account('bob') } }));
    const scopes = [{ account: account('ann') }, { account: account('bob') }, { account: account('eve') }, { title: asset('final') }, { title: asset('movie') }, { title: asset('none') }, { collection: 'league' }, 'service'] as const;
    expect(await store.counts(scopes, at(1))).toEqual([2, 1, 0, 2, 1, 0, 2, 3]);
    expect((await store.live({ asset: asset('final') }, at(1))).map((each) => each.session)).toEqual([session(1), session(3)]);
    expect((await store.live({ collection: 'league' }, at(1))).map((each) => each.session)).toEqual([session(1), session(2)]);
    expect(await store.live({}, at(1))).toHaveLength(3);
  });

  it('B024 renewals, and new licences under the same id, never count twice', async () => {
    const store = await open();
    await store.admit(startOf(1, { limit: 1 }));
    await store.renew(renewalOf(1, 60, 0));
    expect(await store.admit(startOf(1, { limit: 1, heartbeat: { at: at(90), expiresAt: at(390) } }))).toEqual({ granted: true, flagged: [], ended: [], over: false, counts: [1] });
    expect(await store.counts([{ account: account('ann') }, { title: asset('final') }, 'service'], at(100))).toEqual([1, 1, 1]);
  });

  it('B024 B025 a reload, or parallel requests of one playback, is one stream', async () => {
    const store = await open();
    await store.admit(startOf(1, { limit: 1 }));
    for (const number of [2, 3, 4]) expect(await store.admit(startOf(number, { limit: 1, heartbeat: { device: device(1), at: at(number), expiresAt: at(300 + number) } }))).toMatchObject({ granted: true, flagged: [] });
    expect(await watching(store, 5)).toEqual([session(4)]);
    // What the old page still had on its way is answered, and counts for nothing.
    expect(await store.renew(renewalOf(3, 10, 3))).toMatchObject({ kind: 'counted', count: 1 });
    // A second page that goes on for longer is a second stream, and there is room for one.
    expect(await store.renew(renewalOf(3, 180, 10))).toEqual({ kind: 'readmit', because: 'limit' });
    expect(await watching(store, 181)).toEqual([session(4)]);
  });

  it('B014 a second page of one device comes back into the count while there is room', async () => {
    const store = await open();
    await store.admit(startOf(1));
    await store.admit(startOf(2, { heartbeat: { device: device(1), at: at(1) } }));
    expect(await count(store, 2)).toBe(1);
    expect(await store.renew(renewalOf(1, 180, 0))).toMatchObject({ kind: 'counted', count: 2 });
  });

  it('B028 B012 a stop frees the place at once, and no late renewal brings it back', async () => {
    const store = await open();
    await fill(store, [1, 2, 3]);
    expect(await store.admit(startOf(4, { heartbeat: { at: at(10) } }))).toMatchObject({ granted: false });
    expect(await store.stop(account('ann'), session(2), at(11))).toBe(true);
    expect(await store.stop(account('ann'), session(2), at(11))).toBe(false);
    expect(await store.stop(account('ann'), session(99), at(11))).toBe(false);
    expect(await store.counts([{ account: account('ann') }, { title: asset('final') }, 'service'], at(12))).toEqual([2, 2, 2]);
    expect(await store.renew(renewalOf(2, 12, 2))).toEqual({ kind: 'flagged', flag: { reason: 'viewer' } });
    expect(await store.admit(startOf(4, { heartbeat: { at: at(13), expiresAt: at(300) } }))).toMatchObject({ granted: true, counts: [3] });
  });

  it('B027 needs only the live queue: nothing is left of an account after twice the term', async () => {
    const store = await open();
    await fill(store, [1, 2, 3]);
    expect(await store.admit(startOf(4, { limit: 1, heartbeat: { at: at(700), expiresAt: at(1000) } }))).toMatchObject({ granted: true, counts: [1] });
  });

  it('B029 B040 B046 deny-new refuses the 4th of 3, names the others and touches none', async () => {
    const store = await open();
    await fill(store, [1, 2, 3]);
    const refused = await store.admit(startOf(4, { heartbeat: { at: at(10) } }));
    expect(refused).toMatchObject({ granted: false, because: 'limit', limit: { scope: 'account', limit: 3 } });
    expect(refused.granted === false && refused.because === 'limit' && refused.conflicts.map((each) => [each.session, each.deviceName, each.asset, each.startedAt])).toEqual(
      [1, 2, 3].map((number) => [session(number), `Device ${number}`, asset('final'), at(number)]),
    );
    expect(await watching(store, 11)).toEqual([session(1), session(2), session(3)]);
    expect(await store.renew(renewalOf(1, 20, 1))).toMatchObject({ kind: 'counted', count: 3 });
  });

  it('B032 limits per account, title and collection hold together; the tightest wins', async () => {
    const store = await open();
    const limits: readonly StreamLimit[] = [{ scope: 'account', key: '', limit: 3 }, { scope: 'collection', key: 'league', limit: 2 }, { scope: 'title', key: 'final', limit: 1 }];
    expect(await store.admit(startOf(1, { limits, collection: 'league' }))).toMatchObject({ granted: true, counts: [1, 1, 1] });
    expect(await store.admit(startOf(2, { limits, collection: 'league' }))).toMatchObject({ granted: false, limit: { scope: 'title' } });
    const other = limits.slice(0, 2);
    expect(await store.admit(startOf(3, { limits: other, collection: 'league', heartbeat: { asset: asset('semi') } }))).toMatchObject({ granted: true, counts: [2, 2] });
    expect(await store.admit(startOf(4, { limits: other, collection: 'league', heartbeat: { asset: asset('third') } }))).toMatchObject({ granted: false, limit: { scope: 'collection', limit: 2 } });
    const alone = limits.slice(0, 1);
    expect(await store.admit(startOf(5, { limits: alone, heartbeat: { asset: asset('movie') } }))).toMatchObject({ granted: true, counts: [3] });
    expect(await store.admit(startOf(6, { limits: alone, heartbeat: { asset: asset('news') } }))).toMatchObject({ granted: false, limit: { scope: 'account', limit: 3 } });
  });

  it('B041 B042 terminate-oldest serves the start and flags exactly as many as are over, the oldest first', async () => {
    const store = await open();
    await fill(store, [1, 2, 3, 4, 5], { limit: 5 });
    const mode: ConcurrencyMode = 'terminate-oldest';
    expect(await store.admit(startOf(6, { mode, limit: 3, heartbeat: { at: at(10) } }))).toEqual({ granted: true, flagged: [session(1), session(2), session(3)], ended: [], over: false, counts: [3] });
    expect(await watching(store, 11)).toEqual([session(4), session(5), session(6)]);
    expect(await store.renew(renewalOf(1, 20, 1))).toEqual({ kind: 'flagged', flag: { reason: 'concurrency', by: session(6) } });
    expect(await store.renew(renewalOf(4, 20, 4))).toMatchObject({ kind: 'counted' });
    expect(await store.admit(startOf(7, { mode, limit: 3, heartbeat: { at: at(21) } }))).toMatchObject({ flagged: [session(4)] });
    expect(await store.counts([{ title: asset('final') }, 'service'], at(22))).toEqual([3, 3]);
  });

  it('B042 who leaves a title also leaves its account: nested limits flag no more than needed', async () => {
    const store = await open();
    const limits: readonly StreamLimit[] = [{ scope: 'account', key: '', limit: 3 }, { scope: 'title', key: 'final', limit: 1 }];
    await fill(store, [1], { heartbeat: { asset: asset('movie') } });
    await fill(store, [2]);
    await fill(store, [3], { heartbeat: { asset: asset('news') } });
    expect(await store.admit(startOf(4, { mode: 'terminate-oldest', limits, heartbeat: { at: at(10) } }))).toMatchObject({ granted: true, flagged: [session(2)], counts: [3, 1] });
  });

  it('B043 a flag outlives the licence: not even a renewal after its expiry revives the session', async () => {
    const store = await open();
    await fill(store, [1]);
    await store.admit(startOf(2, { mode: 'terminate-oldest', limit: 1, heartbeat: { at: at(10) } }));
    expect(await store.renew(renewalOf(1, 550, 1))).toMatchObject({ kind: 'flagged' });
    expect(await store.admit(startOf(1, { heartbeat: { at: at(551) } }))).toEqual({ granted: false, because: 'ended', flag: { reason: 'concurrency', by: session(2) } });
  });

  it('B043 a flag is remembered for twice the right, which may be longer than the place in the count', async () => {
    const store = await open();
    await store.admit(startOf(1, { rightUntil: at(3600) }));
    expect(await count(store, 300)).toBe(0);
    await store.flag(account('ann'), session(1), { reason: 'operator' }, at(400), at(400));
    expect(await store.renew(renewalOf(1, 7100, 0))).toMatchObject({ kind: 'flagged' });
    expect(await store.renew(renewalOf(1, 7300, 0))).toMatchObject({ kind: 'counted' });
  });

  it('B044 detection-only always serves and says that it is over', async () => {
    const store = await open();
    const mode: ConcurrencyMode = 'detection-only';
    for (let number = 1; number <= 5; number++) expect(await store.admit(startOf(number, { mode }))).toMatchObject({ granted: true, flagged: [], over: number > 3, counts: [number] });
    for (let number = 1; number <= 5; number++) expect(await store.renew(renewalOf(number, 100, 0))).toMatchObject({ kind: 'counted', count: 5 });
  });

  it('B045 every start brings its own mode and limits', async () => {
    const store = await open();
    await fill(store, [1, 2, 3]);
    expect(await store.admit(startOf(4, { mode: 'detection-only', heartbeat: { at: at(9) } }))).toMatchObject({ granted: true, over: true });
    expect(await store.admit(startOf(5, { heartbeat: { at: at(10) } }))).toMatchObject({ granted: false });
    expect(await store.admit(startOf(5, { limit: 5, heartbeat: { at: at(10) } }))).toMatchObject({ granted: true, counts: [5] });
    expect(await store.admit(startOf(6, { limit: 0, mode: 'terminate-oldest', heartbeat: { at: at(10) } }))).toMatchObject({ granted: false, because: 'limit' });
  });

  it('B047 a viewer ends a chosen session and starts in one call; the ended one learns which session did it', async () => {
    const store = await open();
    await fill(store, [1, 2, 3]);
    expect(await store.admit(startOf(4, { ends: [session(2), session(77)], heartbeat: { at: at(10) } }))).toEqual({ granted: true, flagged: [], ended: [session(2)], over: false, counts: [3] });
    expect(await store.renew(renewalOf(2, 20, 2))).toEqual({ kind: 'flagged', flag: { reason: 'replaced', by: session(4) } });
    // Ending too few changes nothing: neither the start nor the end happens.
    await fill(store, [5], { limit: 9 });
    expect(await store.admit(startOf(6, { limit: 3, ends: [session(1)], heartbeat: { at: at(21) } }))).toMatchObject({ granted: false, because: 'limit' });
    expect(await watching(store, 22)).toEqual([session(1), session(3), session(5), session(4)]);
    expect(await store.renew(renewalOf(1, 23, 1))).toMatchObject({ kind: 'counted' });
  });

  it('B047 nobody ends a session of another account', async () => {
    const store = await open();
    await store.admit(startOf(1, { heartbeat: { account: account('bob') } }));
    expect(await store.admit(startOf(2, { ends: [session(1)] }))).toMatchObject({ granted: true, ended: [] });
    expect(await store.counts([{ account: account('bob') }], at(1))).toEqual([1]);
  });

  it('B048 two starts at one instant with one place left: one in deny-new, both in terminate-oldest with one flagged', async () => {
    const denying = await open();
    await fill(denying, [1, 2]);
    const both = await Promise.all([3, 4].map((number) => denying.admit(startOf(number, { heartbeat: { at: at(10) } }))));
    expect(both.filter(granted)).toHaveLength(1);
    const ending = await open();
    await fill(ending, [1, 2]);
    const served = await Promise.all([3, 4].map((number) => ending.admit(startOf(number, { mode: 'terminate-oldest', heartbeat: { at: at(10) } }))));
    expect(served.every(granted)).toBe(true);
    expect(served.flatMap((admission) => (admission.granted ? admission.flagged : []))).toEqual([session(1)]);
    expect(await count(ending, 11)).toBe(3);
  });

  it('B048 1,000 parallel starts with a limit of 3 grant exactly 3', async () => {
    const store = await open();
    const admissions = await Promise.all(Array.from({ length: 1000 }, (_, number) => store.admit(startOf(number))));
    expect(admissions.filter(granted)).toHaveLength(3);
    expect(await store.counts([{ account: account('ann') }, { title: asset('final') }, 'service'], at(1))).toEqual([3, 3, 3]);
  });

  it('B042 B048 200 parallel starts that terminate leave exactly the limit, and flag every other one once', async () => {
    const store = await open();
    const admissions = await Promise.all(Array.from({ length: 200 }, (_, number) => store.admit(startOf(number, { mode: 'terminate-oldest' }))));
    const flagged = admissions.flatMap((admission) => (admission.granted ? admission.flagged : []));
    expect(admissions.every(granted)).toBe(true);
    expect(flagged).toHaveLength(197);
    expect(new Set(flagged).size).toBe(197);
    expect(await count(store, 1)).toBe(3);
  });

  it('B086 a repeated renewal is answered for its first instant, counted once and given no longer right', async () => {
    const store = await open();
    await store.admit(startOf(1));
    const first = renewalOf(1, 180, 0, { bucket: { capacity: seconds(60), refill: 1, cost: seconds(60) } });
    expect(await store.renew(first)).toMatchObject({ kind: 'counted', at: at(180), duplicate: false, bucket: 'ok' });
    const again = { ...first, heartbeat: { ...first.heartbeat, at: at(240), expiresAt: at(540) } };
    for (let times = 0; times < 20; times++) expect(await store.renew(again)).toMatchObject({ kind: 'counted', at: at(180), duplicate: true, bucket: 'ok' });
    expect((await store.live({ account: account('ann') }, at(241)))[0]).toMatchObject({ at: at(180), expiresAt: at(480) });
  });

  it('B024 a lost answer, a second address and a stalled request are no clones', async () => {
    const store = await open();
    await store.admit(startOf(1));
    const renew = (second: number, issued: number) => store.renew(renewalOf(1, second, issued)).then(({ kind }) => kind);
    expect(await renew(180, 0)).toBe('counted');
    expect(await renew(184, 0)).toBe('counted');
    expect(await renew(188, 0)).toBe('counted');
    // It takes the second answer, whatever became of the others.
    expect(await renew(360, 184)).toBe('counted');
    // The first request of all, held up on its way, arrives now.
    expect(await renew(361, 0)).toBe('counted');
    expect(await renew(540, 360)).toBe('counted');
    // An answer that opened nothing new left the state as it was.
    expect(await renew(541, 360)).toBe('counted');
    expect(await renew(720, 541)).toBe('counted');
  });

  it('B086 clones are found where their heartbeats meet: in lockstep, lagging behind, or rolled back', async () => {
    const renewing = async () => {
      const store = await open();
      await store.admit(startOf(1));
      return (second: number, issued: number) => store.renew(renewalOf(1, second, issued)).then((result) => (result.kind === 'readmit' ? result.because : result.kind));
    };
    const lockstep = await renewing();
    expect([await lockstep(100, 0), await lockstep(101, 0), await lockstep(200, 100), await lockstep(201, 101)]).toEqual(['counted', 'counted', 'counted', 'clone']);
    const lagging = await renewing();
    expect([await lagging(100, 0), await lagging(200, 100), await lagging(201, 0), await lagging(300, 201)]).toEqual(['counted', 'counted', 'counted', 'clone']);
    const rolledBack = await renewing();
    expect([await rolledBack(100, 0), await rolledBack(200, 100), await rolledBack(300, 200), await rolledBack(301, 0)]).toEqual(['counted', 'counted', 'counted', 'clone']);
    // The honest one proves its device, gets a new licence and goes on; the other never does.
    const store = await open();
    await store.admit(startOf(1));
    await store.renew(renewalOf(1, 100, 0));
    await store.renew(renewalOf(1, 200, 100));
    expect(await store.renew(renewalOf(1, 201, 50))).toEqual({ kind: 'readmit', because: 'clone' });
    expect(await store.admit(startOf(1, { heartbeat: { at: at(202), expiresAt: at(502) } }))).toMatchObject({ granted: true, counts: [1] });
    expect(await store.renew(renewalOf(1, 300, 202))).toMatchObject({ kind: 'counted' });
    expect(await store.renew(renewalOf(1, 301, 200))).toEqual({ kind: 'readmit', because: 'clone' });
  });

  it('B086 a clone changes neither count nor expiry', async () => {
    const store = await open();
    await store.admit(startOf(1));
    await store.renew(renewalOf(1, 100, 0));
    await store.renew(renewalOf(1, 200, 100));
    await store.renew(renewalOf(1, 250, 50));
    expect((await store.live({ account: account('ann') }, at(260)))[0]).toMatchObject({ at: at(200), expiresAt: at(500) });
  });

  it('B103 a state issued during an outage is no clone, and a session from then is taken in', async () => {
    const store = await open();
    await store.admit(startOf(1));
    expect(await store.renew(renewalOf(1, 600, 420))).toMatchObject({ kind: 'counted', count: 1 });
    expect(await store.renew(renewalOf(2, 601, 500))).toMatchObject({ kind: 'counted', count: 2 });
  });

  it('B103 heartbeats gathered in an outage are written back: counts are right, late ones change nothing, flags stay', async () => {
    const store = await open();
    await fill(store, [1, 2, 3]);
    await store.flag(account('ann'), session(3), { reason: 'operator' }, at(5), at(900));
    const beat = (number: number, second: number) => ({ ...heartbeat(number, { device: device(number), at: at(second), expiresAt: at(second + 300), kind: 'renewal' }), level: 2 as const });
    await store.renew(renewalOf(2, 400, 2));
    await store.writeBack([beat(1, 250), beat(2, 250), beat(3, 250), beat(4, 260), beat(5, 50), { ...beat(6, 260), account: account('bob') }], at(410));
    expect((await store.live({}, at(410))).map((each) => [each.session, each.at])).toEqual([
      [session(1), at(250)],
      [session(2), at(400)],
      [session(4), at(260)],
      [session(6), at(260)],
    ]);
    expect(await store.counts(['service', { account: account('bob') }], at(410))).toEqual([4, 1]);
    expect(await store.renew(renewalOf(1, 420, 250))).toMatchObject({ kind: 'counted', count: 3 });
  });

  it('B008 B041 a session that comes back after its place was taken is admitted anew, not simply extended', async () => {
    const store = await open();
    await store.admit(startOf(1, { limit: 1 }));
    await store.admit(startOf(2, { limit: 1, heartbeat: { at: at(310), expiresAt: at(610) } }));
    expect(await store.renew(renewalOf(1, 400, 0))).toEqual({ kind: 'readmit', because: 'limit' });
    expect(await store.renew(renewalOf(1, 611, 0))).toMatchObject({ kind: 'counted' });
  });

  it('B064 flags are given once and taken back; one may come before its session', async () => {
    const store = await open();
    await store.admit(startOf(1));
    expect(await store.flag(account('ann'), session(1), { reason: 'leak' }, at(1), at(600))).toBe(true);
    expect(await store.flag(account('ann'), session(1), { reason: 'operator' }, at(2), at(600))).toBe(false);
    expect(await store.renew(renewalOf(1, 3, 0))).toEqual({ kind: 'flagged', flag: { reason: 'leak' } });
    expect(await store.unflag(account('ann'), session(1), at(4))).toBe(true);
    expect(await store.unflag(account('ann'), session(1), at(4))).toBe(false);
    expect(await store.renew(renewalOf(1, 5, 0))).toMatchObject({ kind: 'counted', count: 1 });
    expect(await store.flag(account('ann'), session(2), { reason: 'operator' }, at(5), at(600))).toBe(true);
    expect(await store.admit(startOf(2, { heartbeat: { at: at(6) } }))).toEqual({ granted: false, because: 'ended', flag: { reason: 'operator' } });
    expect(await store.counts(['service', { title: asset('final') }], at(7))).toEqual([1, 1]);
  });

  it('B105 two regions that were apart: flags and heartbeats merge, nobody is ended twice', async () => {
    const regions = [await open(), await open()] as const;
    for (const region of regions) await fill(region, [1, 2, 3]);
    // Apart, each region lets one more in and flags the same oldest session.
    const [east, west] = await Promise.all(regions.map((region, index) => region.admit(startOf(10 + index, { mode: 'terminate-oldest', heartbeat: { at: at(20 + index), expiresAt: at(320) } }))));
    expect([east, west]).toEqual([expect.objectContaining({ flagged: [session(1)] }), expect.objectContaining({ flagged: [session(1)] })]);
    // Healed: each tells the other what it knows.
    for (const [from, to] of [regions, [regions[1], regions[0]] as const]) {
      expect(await to.flag(account('ann'), session(1), { reason: 'concurrency', by: session(10) }, at(60), at(900))).toBe(false);
      await to.writeBack((await from.live({}, at(60))).map(({ session: sid, account: owner, device: on, asset: title, at: when, expiresAt, level }) => ({ session: sid, account: owner, device: on, asset: title, at: when, expiresAt, kind: 'renewal' as const, level })), at(60));
      expect(await to.counts([{ account: account('ann') }, 'service'], at(61))).toEqual([4, 4]);
    }
    const next = await regions[0].admit(startOf(12, { mode: 'terminate-oldest', heartbeat: { at: at(70), expiresAt: at(370) } }));
    expect(next).toMatchObject({ granted: true, flagged: [session(2), session(3)], counts: [3] });
  });

  it('the grant bucket is exact: capacity, draws, refill by server time, nothing given back', async () => {
    const store = await open();
    const bucket = (cost: number) => ({ capacity: seconds(900), refill: 3, cost: seconds(cost) });
    expect(await store.admit(startOf(1, { bucket: bucket(800) }))).toMatchObject({ granted: true });
    const second = startOf(2, { bucket: bucket(101), heartbeat: { at: at(0) } });
    expect(await store.admit(second)).toEqual({ granted: false, because: 'bucket', retryAfter: Math.ceil(1_000_000 / 3) });
    // A refusal takes nothing, and the same start again is not paid for twice.
    expect(await store.admit({ ...second, bucket: bucket(100) })).toMatchObject({ granted: true });
    expect(await store.admit({ ...second, bucket: bucket(100) })).toMatchObject({ granted: true });
    expect(await store.renew(renewalOf(1, 10, 0, { bucket: bucket(31) }))).toMatchObject({ kind: 'counted', bucket: 'short', retryAfter: Math.ceil(1_000_000 / 3) });
    expect(await store.renew(renewalOf(1, 10, 0, { request: 'other', bucket: bucket(30) }))).toMatchObject({ kind: 'counted', bucket: 'ok' });
    await store.stop(account('ann'), session(1), at(11));
    expect(await store.renew(renewalOf(2, 11, 0, { bucket: bucket(4) }))).toMatchObject({ bucket: 'short' });
    expect(await store.renew(renewalOf(2, 12, 11, { bucket: bucket(6) }))).toMatchObject({ bucket: 'ok' });
    // A clock that steps back fills nothing, and a cost above the capacity never fits.
    expect(await store.renew(renewalOf(2, 5, 12, { bucket: bucket(1) }))).toMatchObject({ bucket: 'short' });
    expect(await store.renew(renewalOf(2, 13, 12, { bucket: bucket(901) }))).toMatchObject({ bucket: 'short', retryAfter: 86_400_000_000 });
    expect(await store.renew(renewalOf(2, 350, 13, { bucket: bucket(900) }))).toMatchObject({ bucket: 'ok' });
  });

  it('a detection-only account that never stops starting keeps a bounded record', async () => {
    const store = await open();
    await Promise.all(Array.from({ length: 300 }, (_, number) => store.admit(startOf(number, { mode: 'detection-only' }))));
    expect(await count(store, 1)).toBe(200);
    expect(await store.counts([{ title: asset('final') }, 'service'], at(1))).toEqual([200, 200]);
  });

  it('answers its own records: changing an answer changes nothing', async () => {
    const store = await open();
    await store.admit(startOf(1));
    const [first] = await store.live({}, at(1));
    Object.assign(first as object, { asset: 'other', expiresAt: at(1) });
    expect((await store.live({}, at(1)))[0]).toMatchObject({ asset: asset('final'), expiresAt: at(300) });
  });
};
