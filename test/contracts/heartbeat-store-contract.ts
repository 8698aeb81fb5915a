// SPDX-License-Identifier: Apache-2.0
/** What every HeartbeatStore does. */
import { expect, it } from 'vitest';
import type { HeartbeatStore } from '#ports';
import { account, asset, at, heartbeat, session } from './values.ts';

export const heartbeatStoreContract = (open: () => Promise<HeartbeatStore>): void => {
  it('answers live sessions by account and asset', async () => {
    const store = await open();
    await store.record(heartbeat(1));
    await store.record(heartbeat(2, { asset: asset('movie') }));
    await store.record(heartbeat(3, { account: account('bob') }));
    const live = async (filter: Parameters<HeartbeatStore['live']>[0]) => (await store.live(filter, at(1))).map((each) => each.session).sort();
    expect(await live({})).toEqual([session(1), session(2), session(3)]);
    expect(await live({ account: account('ann') })).toEqual([session(1), session(2)]);
    expect(await live({ asset: asset('final') })).toEqual([session(1), session(3)]);
    expect(await live({ account: account('ann'), asset: asset('movie') })).toEqual([session(2)]);
    expect(await live({ account: account('eve') })).toEqual([]);
    expect((await store.live({ account: account('bob') }, at(1)))[0]).toEqual(heartbeat(3, { account: account('bob') }));
  });

  it('replaces the heartbeat of a session, its account included', async () => {
    const store = await open();
    await store.record(heartbeat(1));
    const renewed = heartbeat(1, { account: account('bob'), at: at(180), expiresAt: at(480), kind: 'renewal' });
    await store.record(renewed);
    expect(await store.live({}, at(200))).toEqual([renewed]);
    expect(await store.live({ account: account('ann') }, at(200))).toEqual([]);
  });

  it('stops counting at the expiry instant', async () => {
    const store = await open();
    await store.record(heartbeat(1));
    expect(await store.live({}, at(299))).toHaveLength(1);
    expect(await store.live({}, at(300))).toHaveLength(0);
  });

  it('removes a session, harmlessly twice', async () => {
    const store = await open();
    await store.record(heartbeat(1));
    await store.remove(session(1));
    await store.remove(session(1));
    expect(await store.live({}, at(0))).toEqual([]);
  });

  it('counts right after thousands have come and gone', async () => {
    const store = await open();
    await Promise.all(Array.from({ length: 2500 }, (_, number) => store.record(heartbeat(number, { expiresAt: at(10) }))));
    await Promise.all(Array.from({ length: 2500 }, (_, number) => store.record(heartbeat(10_000 + number, { at: at(20), expiresAt: at(30) }))));
    expect(await store.live({ account: account('ann') }, at(20))).toHaveLength(2500);
  });
};
