// SPDX-License-Identifier: Apache-2.0
/** What every AccountStore does. */
import { expect, it } from 'vitest';
import { type Level, newAccount } from '#core/policy/enforcement.ts';
import type { AccountState, AccountStore } from '#ports';
import { account, at } from './values.ts';

const state = (name: string, level: Level, since: number): AccountState => ({ account: account(name), record: { ...newAccount(at(since)), level } });

export const accountStoreContract = (open: () => Promise<AccountStore>): void => {
  it('B064 keeps what an update makes of it, whole', async () => {
    const store = await open();
    expect(await store.get(account('ann'))).toBeUndefined();
    const full: AccountState = { ...state('ann', 2, 5), override: { interval: 60_000, limit: 2, mode: 'deny-new' }, overrideAt: at(6) };
    expect(await store.update(account('ann'), (current) => {
      expect(current).toBeUndefined();
      return full;
    })).toEqual(full);
    expect(await store.get(account('ann'))).toEqual(full);
  });

  it('updates atomically: 100 at a time lose none', async () => {
    const store = await open();
    const step = () => store.update(account('ann'), (current) => ({ ...state('ann', 1, 0), override: { limit: (current?.override?.limit ?? 0) + 1 } }));
    await Promise.all(Array.from({ length: 100 }, step));
    expect((await store.get(account('ann')))?.override?.limit).toBe(100);
  });

  it('leaves an account as it was when the change throws', async () => {
    const store = await open();
    await store.update(account('ann'), () => state('ann', 1, 0));
    await expect(store.update(account('ann'), () => {
      throw new RangeError('no');
    })).rejects.toThrow(RangeError);
    expect(await store.get(account('ann'))).toEqual(state('ann', 1, 0));
  });

  it('B065 lists by level, the latest move first, and counts accounts per level', async () => {
    const store = await open();
    for (const [name, level, since] of [['a', 1, 1], ['b', 3, 4], ['c', 3, 9], ['d', 2, 3]] as const) await store.update(account(name), () => state(name, level, since));
    await store.update(account('a'), () => state('a', 3, 6));
    const names = async (filter: Parameters<AccountStore['list']>[0]) => (await store.list(filter)).map((each) => each.account);
    expect(await names({ limit: 10 })).toEqual(['c', 'a', 'b', 'd']);
    expect(await names({ level: 3, limit: 2 })).toEqual(['c', 'a']);
    expect(await names({ level: 1, limit: 2 })).toEqual([]);
    expect(await store.levels()).toEqual({ 1: 0, 2: 1, 3: 3 });
  });
};
