// SPDX-License-Identifier: Apache-2.0
/** What every LeakStore does: a report once, changes that are atomic, lists with the newest first. */
import { expect, it } from 'vitest';
import { type AccountId, assetId, type DeviceId, type SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { LeakRecord, LeakStore } from '#ports';

const leak = (index: number, more: Partial<LeakRecord> = {}): LeakRecord => ({
  leak: `${index}`.padStart(22, 'L'),
  asset: assetId('cup'),
  at: (1_000_000 + index) as Micros,
  reportedBy: 'desk',
  source: 'restream 3',
  viewer: 4711 + index,
  account: `account-${index % 3}` as AccountId,
  device: `${index}`.padStart(43, 'd') as DeviceId,
  evidence: 31.5,
  bound: 27.631,
  eps: 1e-6,
  viewers: 1_000_000,
  falseAccusation: 2e-8,
  observed: 20,
  erased: 2,
  errorRates: { symbols: 0.024, erasures: 0.09 },
  coalition: { share: 0, size: 1 },
  runnerUp: { viewer: 9, evidence: 4.25 },
  replayed: true,
  growth: [{ position: 885_000_001, evidence: 1.6 }, { position: 885_000_002, evidence: 3.2 }],
  sessions: [],
  carriers: [],
  actions: [],
  ...more,
});

export const leakStoreContract = (open: () => Promise<LeakStore>): void => {
  it('keeps a report as it was, once', async () => {
    const store = await open();
    expect(await store.create(leak(1))).toBe(true);
    expect(await store.create(leak(1, { viewer: 1 }))).toBe(false);
    expect(await store.get(leak(1).leak)).toEqual(leak(1));
    expect(await store.get('unknown')).toBeUndefined();
    const { account: _account, device: _device, source: _source, ...nobody } = leak(2, { runnerUp: null });
    await store.create(nobody);
    expect(await store.get(nobody.leak)).toEqual(nobody);
  });
  it('loses no change, whoever races', async () => {
    const store = await open();
    await store.create(leak(1));
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        store.update(leak(1).leak, (current) => ({ ...current, sessions: [...current.sessions, `s${index}` as SessionId] })),
      ),
    );
    expect(new Set((await store.get(leak(1).leak))?.sessions).size).toBe(20);
    expect(await store.update('unknown', (current) => current)).toBeUndefined();
  });
  it('answers what a change made of it, and keeps nothing of one that throws', async () => {
    const store = await open();
    await store.create(leak(1));
    const action = { at: 5 as Micros, action: 'end-sessions', by: 'desk', automatic: true, sessions: 2 } as const;
    expect(await store.update(leak(1).leak, (current) => ({ ...current, actions: [action] }))).toEqual(leak(1, { actions: [action] }));
    const failed = store.update(leak(1).leak, () => {
      throw new Error('no');
    });
    await expect(failed).rejects.toThrow('no');
    expect((await store.get(leak(1).leak))?.actions).toEqual([action]);
  });
  it('lists the newest first, by asset and by account', async () => {
    const store = await open();
    for (const index of [2, 5, 1, 4, 3]) await store.create(leak(index, index === 4 ? { asset: assetId('other') } : {}));
    const ids = async (filter: Parameters<LeakStore['list']>[0]): Promise<number[]> => (await store.list(filter)).map(({ viewer }) => viewer - 4711);
    expect(await ids({ limit: 9 })).toEqual([5, 4, 3, 2, 1]);
    expect(await ids({ limit: 2 })).toEqual([5, 4]);
    expect(await ids({ asset: assetId('other'), limit: 9 })).toEqual([4]);
    expect(await ids({ account: 'account-2' as AccountId, limit: 9 })).toEqual([5, 2]);
  });
};
