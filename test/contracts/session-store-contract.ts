// SPDX-License-Identifier: Apache-2.0
/** What every SessionStore does. */
import { expect, it } from 'vitest';
import type { SessionStore } from '#ports';
import { account, asset, at, session, sessionRecord } from './values.ts';

export const sessionStoreContract = (open: () => Promise<SessionStore>): void => {
  it('keeps every field and refuses a known id', async () => {
    const store = await open();
    await store.create(sessionRecord(1));
    expect(await store.get(session(1))).toEqual(sessionRecord(1));
    await expect(store.create(sessionRecord(1, { account: account('eve') }))).rejects.toMatchObject({ code: 'already-exists' });
    expect(await store.get(session(1))).toEqual(sessionRecord(1));
    expect(await store.get(session(2))).toBeUndefined();
  });

  it('ends a session once', async () => {
    const store = await open();
    await store.create(sessionRecord(1));
    expect(await Promise.all([store.end(session(1), at(5), 'viewer'), store.end(session(1), at(6), 'operator')])).toEqual([true, false]);
    expect(await store.get(session(1))).toEqual(sessionRecord(1, { endedAt: at(5), endReason: 'viewer' }));
    expect(await store.end(session(2), at(5), 'viewer')).toBe(false);
  });

  it('lists newest first, by any filter', async () => {
    const store = await open();
    await store.create(sessionRecord(2));
    await store.create(sessionRecord(1, { account: account('bob') }));
    await store.create(sessionRecord(3, { asset: asset('movie') }));
    await store.create(sessionRecord(4, { startedAt: at(2) }));
    await store.end(session(2), at(9), 'viewer');
    const ids = async (filter: Parameters<SessionStore['list']>[0]): Promise<number[]> => (await store.list(filter)).map((record) => Number(record.session.replaceAll('s', '')));
    expect(await ids({ limit: 10 })).toEqual([3, 4, 2, 1]);
    expect(await ids({ limit: 2 })).toEqual([3, 4]);
    expect(await ids({ limit: 10, live: true })).toEqual([3, 4, 1]);
    expect(await ids({ limit: 10, live: false })).toEqual([2]);
    expect(await ids({ limit: 10, account: account('ann') })).toEqual([3, 4, 2]);
    expect(await ids({ limit: 10, account: account('ann'), asset: asset('final') })).toEqual([4, 2]);
    expect(await ids({ limit: 10, account: account('ann'), asset: asset('final'), live: true })).toEqual([4]);
    expect(await ids({ limit: 10, asset: asset('absent') })).toEqual([]);
  });

  it('answers sessions ended at or after an instant', async () => {
    const store = await open();
    for (const number of [1, 2, 3]) await store.create(sessionRecord(number));
    await store.end(session(1), at(10), 'viewer');
    await store.end(session(2), at(11), 'operator');
    const ended = async (second: number) => (await store.endedSince(at(second))).map((record) => record.session).sort();
    expect(await ended(10)).toEqual([session(1), session(2)]);
    expect(await ended(11)).toEqual([session(2)]);
    expect(await ended(12)).toEqual([]);
  });
};
