// SPDX-License-Identifier: Apache-2.0
/** What every ViewerNumberStore does: dense numbers from 16 on, one per viewer for ever. */
import { expect, it } from 'vitest';
import { type AccountId, assetId, type DeviceId } from '#core/ids.ts';
import type { ViewerNumberStore } from '#ports';

const viewer = (index: number, asset = 'cup'): Parameters<ViewerNumberStore['give']>[0] => ({
  asset: assetId(asset),
  account: `account-${index % 7}` as AccountId,
  device: `${index}`.padStart(43, 'd') as DeviceId,
});

export const viewerNumberStoreContract = (open: () => Promise<ViewerNumberStore>): void => {
  it('gives numbers from 16 on without holes, whoever races', async () => {
    const store = await open();
    const given = await Promise.all(Array.from({ length: 60 }, (_, index) => store.give(viewer(index % 30))));
    expect([...new Set(given)].sort((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, index) => 16 + index));
    expect(given.slice(0, 30)).toEqual(given.slice(30));
    expect(await store.count(assetId('cup'))).toBe(30);
  });
  it('keeps a viewer\'s number, per asset, account and device', async () => {
    const store = await open();
    const first = await store.give(viewer(1));
    await store.give(viewer(2));
    expect(await store.give(viewer(1))).toBe(first);
    expect(await store.give({ ...viewer(1), account: 'another' as AccountId })).toBe(18);
    expect(await store.give(viewer(2, 'other'))).toBe(16);
    expect(await store.count(assetId('other'))).toBe(1);
  });
  it('gives numbers of a range, whoever races, until it is full, and keeps them', async () => {
    const store = await open();
    const range = { first: 125, count: 4 };
    const given = await Promise.all([1, 2, 3, 1, 2].map((index) => store.giveWithin(viewer(index), range)));
    expect(new Set(given)).toEqual(new Set([125, 126, 127]));
    expect(given.slice(3)).toEqual(given.slice(0, 2));
    expect(await store.giveWithin(viewer(9), { first: 16, count: 10 })).toBe(16);
    expect(await store.giveWithin(viewer(4), range)).toBe(128);
    expect(await store.giveWithin(viewer(5), range)).toBeUndefined();
    expect(await store.giveWithin(viewer(1), { first: 0, count: 1 })).toBe(given[0]);
    expect(await store.whose(assetId('cup'), 128)).toEqual({ account: viewer(4).account, device: viewer(4).device });
    expect(await store.count(assetId('cup'))).toBe(5);
  });
  it('knows whose a number is', async () => {
    const store = await open();
    const { account, device } = viewer(5);
    const number = await store.give(viewer(5));
    expect(await store.whose(assetId('cup'), number)).toEqual({ account, device });
    for (const nobody of [0, 15, number + 1, -1]) expect(await store.whose(assetId('cup'), nobody)).toBeUndefined();
    expect(await store.whose(assetId('other'), number)).toBeUndefined();
  });
};
