// SPDX-License-Identifier: Apache-2.0
/** What every CatalogueStore does. */
import { expect, it } from 'vitest';
import type { Micros } from '#core/time.ts';
import type { CatalogueStore } from '#ports';
import { asset, at, catalogueEntry } from './values.ts';

export const catalogueStoreContract = (open: () => Promise<CatalogueStore>): void => {
  it('keeps every field, present or absent, in the order created', async () => {
    const store = await open();
    const full = catalogueEntry('z-first', { kind: 'title', state: 'ready', endedAt: at(5), duration: 90_000_000 as Micros, ingestCredentialHash: 'hash', clearKey: 'detect' });
    expect(await store.create(full)).toBe(true);
    expect(await store.create(catalogueEntry('a-second'))).toBe(true);
    expect(await store.get(full.asset)).toEqual(full);
    expect(await store.get(asset('a-second'))).toEqual(catalogueEntry('a-second'));
    expect(await store.list()).toEqual([full, catalogueEntry('a-second')]);
    expect(await store.get(asset('absent'))).toBeUndefined();
  });

  it('reads many at once, in the order asked', async () => {
    const store = await open();
    for (const name of ['final', 'cup']) await store.create(catalogueEntry(name));
    expect(await store.getMany([asset('cup'), asset('absent'), asset('final'), asset('cup')])).toEqual([catalogueEntry('cup'), undefined, catalogueEntry('final'), catalogueEntry('cup')]);
    expect(await store.getMany([])).toEqual([]);
  });

  it('refuses a second entry of an asset', async () => {
    const store = await open();
    const won = await Promise.all([1, 2, 3].map((number) => store.create(catalogueEntry('final', { name: `n${number}` }))));
    expect(won).toEqual([true, false, false]);
    expect((await store.get(asset('final')))?.name).toBe('n1');
  });

  it('updates what exists, and forgets fields that the update lacks', async () => {
    const store = await open();
    await store.create(catalogueEntry('final', { endedAt: at(1) }));
    expect(await store.update(catalogueEntry('final', { state: 'live' }))).toBe(true);
    expect(await store.get(asset('final'))).toEqual(catalogueEntry('final', { state: 'live' }));
    expect(await store.update(catalogueEntry('absent'))).toBe(false);
    expect(await store.get(asset('absent'))).toBeUndefined();
  });
};
