// SPDX-License-Identifier: Apache-2.0
/** The heartbeat queue as the only memory of who watches: what leaves it when, and what a partition does to it. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import type { Micros } from '#core/time.ts';
import type { ConcurrencyRecord } from '#ports';
import { LIVE, liveGroup, makeDevice, SECOND, settle, type Viewer } from './license-world.ts';
import { createRenewalWorld, hashedAccount, type RenewalWorld } from './renewal-world.ts';

const ACCOUNT = hashedAccount('account-1');
const start = async (stage: RenewalWorld): Promise<Viewer> => stage.world.start(await makeDevice(), LIVE);
const renew = async (stage: RenewalWorld, viewer: Viewer, node = stage.node()) => {
  const { bytes, mac } = viewer.request(liveGroup(stage.world.clock.now()));
  const outcome = await node.answer(bytes);
  if (outcome.kind !== 'answered') throw new Error(outcome.code);
  return viewer.accept(mac, outcome.bytes);
};

describe('the heartbeat queue', () => {
  let stage: RenewalWorld;
  beforeEach(async () => {
    stage = await createRenewalWorld();
  });

  it('B021 a heartbeat leaves it after exactly the duration of its licence, and a renewal puts the next one in', async () => {
    const viewer = await start(stage);
    const renewed = await start(stage);
    const { duration } = viewer.claims.terms;
    await stage.pass(duration / 2000, undefined, duration / 2000);
    await renew(stage, renewed);
    const { clock } = stage.world;
    const left = duration / 2000;
    await clock.advance(left - 0.001);
    expect(await stage.count()).toBe(2);
    await clock.advance(0.001);
    expect((await stage.store.live({ account: ACCOUNT }, clock.now())).map(({ session }) => session)).toEqual([renewed.sid]);
    await clock.advance(left);
    expect(await stage.count()).toBe(0);
  });

  it('B027 is all that decides: nothing of what an account watched before is asked for or kept', async () => {
    const limited = await createRenewalWorld({ policy: { interval: 20_000, duration: 60_000, limit: 1, mode: 'deny-new' } });
    for (let watched = 0; watched < 20; watched++) {
      await start(limited);
      expect(await limited.count()).toBe(1);
      await expect(start(limited)).rejects.toThrow('concurrency-limit');
      await limited.pass(61, undefined, 61);
    }
    expect(await limited.store.live({ account: ACCOUNT }, limited.world.clock.now())).toEqual([]);
  });

  it('B042 terminate-oldest flags exactly as many sessions as are over the limit, the oldest first', async () => {
    const limited = await createRenewalWorld({ policy: { interval: 20_000, duration: 60_000, limit: 3, mode: 'terminate-oldest' } });
    const viewers: Viewer[] = [];
    for (let started = 0; started < 6; started++) {
      await limited.pass(1, undefined, 1);
      viewers.push(await start(limited));
    }
    const acts = [];
    for (const viewer of viewers) acts.push((await renew(limited, viewer)).act);
    expect(acts).toEqual(['end', 'end', 'end', 'extend', 'extend', 'extend']);
    expect(await limited.count()).toBe(3);
  });

  it('fault 5, B105: two regions that lost each other both renew; what was ended in one is ended in both once they meet again', async () => {
    const { world } = stage;
    const metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
    let reaches = true;
    // The other region's way to the record.
    const far = new Proxy(stage.store, { get: (target, name: keyof typeof stage.store) => (reaches ? target[name] : () => Promise.reject(new Error('partition'))) });
    const other: ConcurrencyRecord = createGuardedConcurrency({ store: far, breaker: { failuresInRow: 1 }, clock: world.clock, events: () => undefined, metrics });
    const abroad = () => world.renewalNode({ record: other, flags: () => undefined });
    const [here, there, endedHere, endedThere] = [await start(stage), await start(stage), await start(stage), await start(stage)];
    await stage.pass(10, undefined, 10);
    reaches = false;
    expect([(await renew(stage, here)).act, (await renew(stage, there, abroad())).act]).toEqual(['extend', 'extend']);
    const until = (world.clock.now() + 900 * SECOND) as Micros;
    await stage.record.flag(ACCOUNT, endedHere.sid, { reason: 'operator' }, until);
    await other.flag(ACCOUNT, endedThere.sid, { reason: 'leak' }, until);
    await stage.pass(15, undefined, 5);
    // Each knows its own end only.
    expect((await renew(stage, endedHere, abroad())).act).toBe('extend');
    expect((await renew(stage, endedThere, abroad())).reason).toBe('leak');
    reaches = true;
    await stage.pass(30, settle, 5);
    for (const node of [stage.node(), abroad()]) {
      expect((await renew(stage, endedHere, node)).reason).toBe('operator');
      expect((await renew(stage, endedThere, node)).reason).toBe('leak');
      for (const viewer of [here, there]) expect((await renew(stage, viewer, node)).act).toBe('extend');
    }
    expect(await stage.count()).toBe(2);
  });
});
