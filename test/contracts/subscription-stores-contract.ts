// SPDX-License-Identifier: Apache-2.0
/** What every CollectionStore, RootStore and UsageStore does: pages without gaps, one root per device and plan, reports all or nothing. */
import { expect, it } from 'vitest';
import { type AccountId, assetId, type DeviceId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { CollectionStore, Membership, RootRecord, RootStore, StoredUsage, UsageChain, UsageStore } from '#ports';

const membership = (collection: string, index: number, more: Partial<Membership> = {}): Membership => ({
  collection, asset: assetId(`film-${String(index).padStart(3, '0')}`), published: (1_700_000_000_000_000 + index) as Micros, scope: 'account', actions: ['play', 'download'], ...more,
});

export const collectionStoreContract = (open: () => Promise<CollectionStore>): void => {
  it('keeps one membership per collection and asset, the newest', async () => {
    const store = await open();
    await store.put(membership('films', 1));
    await store.put(membership('films', 1, { owner: 'Studio' }));
    await store.put(membership('archive', 1, { scope: 'shared' }));
    expect(await store.ofAssets([assetId('nothing'), assetId('film-001')])).toEqual([[], [membership('archive', 1, { scope: 'shared' }), membership('films', 1, { owner: 'Studio' })]]);
    expect(await store.remove('films', assetId('film-001'))).toBe(true);
    expect(await store.remove('films', assetId('film-001'))).toBe(false);
    expect(await store.collections()).toEqual([{ collection: 'archive', titles: 1 }]);
  });

  it('pages through a collection by asset, without gap or repetition', async () => {
    const store = await open();
    for (const index of [5, 3, 9, 1, 7]) await store.put(membership('films', index));
    await store.put(membership('other', 2));
    const first = await store.list('films', { limit: 2 });
    const rest = await store.list('films', { after: first[1]?.asset as never, limit: 10 });
    expect([...first, ...rest].map(({ asset }) => asset)).toEqual(['film-001', 'film-003', 'film-005', 'film-007', 'film-009']);
  });
};

const root = (device: string, plan: string, at: number, more: Partial<RootRecord> = {}): Omit<RootRecord, 'renewals'> => ({
  account: 'someone' as AccountId, device: device.padEnd(43, 'd') as DeviceId, plan, collection: 'films', jti: `${device}-${plan}-${at}`, issuedAt: at as Micros, begin: 0 as Micros, end: (at + 100) as Micros, revoked: false, ...more,
});

export const rootStoreContract = (open: () => Promise<RootStore>): void => {
  it('keeps the newest root of a device and plan, and counts renewals', async () => {
    const store = await open();
    for (const at of [10, 20, 30]) await store.put(root('a', 'family', at));
    await store.put(root('a', 'sports', 25));
    await store.put(root('b', 'family', 40, { account: 'other' as AccountId }));
    expect((await store.list({ account: 'someone' as AccountId, limit: 9 })).map(({ plan, issuedAt, renewals }) => [plan, issuedAt, renewals])).toEqual([['family', 30, 2], ['sports', 25, 0]]);
    expect((await store.list({ device: root('b', 'family', 40).device, limit: 9 }))[0]).toEqual({ ...root('b', 'family', 40, { account: 'other' as AccountId }), renewals: 0 });
    expect(await store.list({ limit: 1 })).toHaveLength(1);
  });

  it('counts devices whose plan is good now', async () => {
    const store = await open();
    await store.put(root('a', 'family', 10));
    await store.put(root('b', 'family', 10));
    const { end: _end, ...bought } = root('c', 'film', 10);
    await store.put(bought);
    await store.put(root('d', 'family', 10, { begin: 500 as Micros, end: 600 as Micros }));
    expect(await store.plans(50 as Micros)).toEqual([{ plan: 'family', collection: 'films', devices: 2 }, { plan: 'film', collection: 'films', devices: 1 }]);
    expect(await store.plans(110 as Micros)).toEqual([{ plan: 'film', collection: 'films', devices: 1 }]);
  });
};

const device = 'D'.repeat(43) as DeviceId;
const hashOf = (seq: number, chain = 1): Uint8Array => new Uint8Array(32).fill(seq * 8 + chain);
const chainAt = (seq: number, chain = 1): UsageChain => ({ device, chain, seq, head: hashOf(seq, chain), account: 'someone' as AccountId, updatedAt: seq as Micros });
const used = (seq: number, more: Partial<StoredUsage> = {}): StoredUsage => ({
  device, chain: 1, seq, hash: hashOf(seq), text: `{"seq":${seq}}`, account: 'someone' as AccountId, title: assetId(`film-${seq % 2}`), owner: 'Studio', action: 'play', plan: 'family', started: (seq * 10) as Micros,
  played: 60 as Micros, offline: seq > 2, counted: true, uncertain: false, receivedAt: seq as Micros, ...more,
});

export const usageStoreContract = (open: () => Promise<UsageStore>): void => {
  it('appends records and head together, only where the chain stands as expected', async () => {
    const store = await open();
    expect(await store.chain(device)).toBeUndefined();
    expect(await store.append(chainAt(2), undefined, [used(1), used(2)])).toBe(true);
    expect(await store.append(chainAt(2), undefined, [used(1), used(2)])).toBe(false);
    expect(await store.append(chainAt(4), chainAt(3), [used(4)])).toBe(false);
    expect(await store.append(chainAt(4), chainAt(2), [used(3), used(4)])).toBe(true);
    expect(await store.chain(device)).toEqual(chainAt(4));
    expect(await store.hashes(device, 1, 2, 4)).toEqual([hashOf(2), hashOf(3)]);
    expect((await store.list({ device, limit: 9 })).map(({ seq }) => seq)).toEqual([4, 3, 2, 1]);
    expect((await store.list({ title: assetId('film-0'), limit: 1 }))[0]).toEqual(used(4));
  });

  it('lets one of two racing reports in', async () => {
    const store = await open();
    const both = await Promise.all([store.append(chainAt(1), undefined, [used(1)]), store.append(chainAt(1), undefined, [used(1)])]);
    expect(both.filter(Boolean)).toHaveLength(1);
    expect(await store.list({ device, limit: 9 })).toHaveLength(1);
  });

  it('keeps a lost chain beside its next one', async () => {
    const store = await open();
    await store.append(chainAt(1), undefined, [used(1)]);
    expect(await store.append(chainAt(1, 2), undefined, [used(1, { chain: 2, hash: hashOf(1, 2) })])).toBe(true);
    expect(await store.append(chainAt(2), chainAt(1), [used(2)])).toBe(false);
    expect((await store.chain(device))?.chain).toBe(2);
    expect(await store.list({ device, limit: 9 })).toHaveLength(2);
  });

  it('sums what counts by title, account and owner', async () => {
    const store = await open();
    await store.append(chainAt(5), undefined, [used(1), used(2, { counted: false }), used(3, { uncertain: true }), used(4, { action: 'download', counted: false, played: 0 as Micros }), used(5, { owner: 'Other' })]);
    const range = { from: 0 as Micros, to: 1000 as Micros, limit: 9 };
    expect(await store.totals('title', range)).toEqual([
      { key: 'film-1', plays: 3, offlinePlays: 2, uncertain: 1, downloads: 0, played: 180 },
      { key: 'film-0', plays: 0, offlinePlays: 0, uncertain: 0, downloads: 1, played: 60 },
    ]);
    expect((await store.totals('owner', range)).map(({ key, plays }) => [key, plays])).toEqual([['Studio', 2], ['Other', 1]]);
    expect((await store.totals('account', { ...range, from: 30 as Micros, to: 50 as Micros }))[0]).toMatchObject({ key: 'someone', plays: 1, downloads: 1 });
  });
};
