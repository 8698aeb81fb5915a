// SPDX-License-Identifier: Apache-2.0
/** What every AssetKeyStore does. */
import { expect, it } from 'vitest';
import type { AssetKeyStore } from '#ports';
import { asset, assetKeyRecord, bytes } from './values.ts';

export const assetKeyStoreContract = (open: () => Promise<AssetKeyStore>): void => {
  it('keeps every field, in the order created', async () => {
    const store = await open();
    const full = assetKeyRecord('full', {
      kind: 'title',
      scheme: 'cenc',
      mode: 'timed',
      gen: 65_535,
      sealedTitleKeys: [
        { gen: 65_534, sealed: bytes(76, 8) },
        { gen: 65_535, sealed: bytes(76, 9) },
      ],
      importedKeys: [
        { kid: bytes(16, 5), sealed: bytes(40, 6), keyGroup: 'video', from: 0, to: Number.MAX_SAFE_INTEGER },
        { kid: bytes(16, 7), sealed: bytes(40, 8), keyGroup: 'audio', from: 5, to: 6 },
      ],
    });
    expect(await store.create(full)).toBe(true);
    expect(await store.create(assetKeyRecord('another'))).toBe(true);
    expect(await store.get(full.asset)).toEqual(full);
    expect(await store.list()).toEqual([full, assetKeyRecord('another')]);
    expect(await store.get(asset('absent'))).toBeUndefined();
  });

  it('refuses a second record of an asset and keeps the first', async () => {
    const store = await open();
    await store.create(assetKeyRecord('final'));
    expect(await store.create(assetKeyRecord('final', { salt: bytes(16, 99), sealedTitleKeys: [] }))).toBe(false);
    expect(await store.get(asset('final'))).toEqual(assetKeyRecord('final'));
  });

  it('replaces only the expected generation, whole', async () => {
    const store = await open();
    await store.create(assetKeyRecord('final'));
    const next = assetKeyRecord('final', { gen: 1, sealedTitleKeys: [{ gen: 1, sealed: bytes(76, 5) }] });
    expect(await store.replace(next, 1)).toBe(false);
    expect(await store.get(asset('final'))).toEqual(assetKeyRecord('final'));
    expect(await store.replace(next, 0)).toBe(true);
    expect(await store.get(asset('final'))).toEqual(next);
    expect(await store.replace(assetKeyRecord('absent', { gen: 1 }), 0)).toBe(false);
  });

  it('reads many at once, in the order asked, each as alone', async () => {
    const store = await open();
    for (const name of ['final', 'cup', 'derby']) await store.create(assetKeyRecord(name, name === 'cup' ? { gen: 2, sealedTitleKeys: [{ gen: 1, sealed: bytes(76, 5) }, { gen: 2, sealed: bytes(76, 6) }] } : {}));
    const asked = ['derby', 'absent', 'cup', 'final', 'cup'].map(asset);
    expect(await store.getMany(asked)).toEqual(await Promise.all(asked.map((each) => store.get(each))));
    expect(await store.getMany([])).toEqual([]);
  });

  it('lets one of many racing replacements win', async () => {
    const store = await open();
    await store.create(assetKeyRecord('final'));
    const won = await Promise.all(Array.from({ length: 8 }, (_, index) => store.replace(assetKeyRecord('final', { gen: 1, salt: bytes(16, index) }), 0)));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect((await store.get(asset('final')))?.salt).toEqual(bytes(16, won.indexOf(true)));
  });

  it('does not share memory with its callers', async () => {
    const store = await open();
    const record = assetKeyRecord('final');
    await store.create(record);
    record.salt.fill(0);
    (await store.get(record.asset))?.salt.fill(1);
    expect((await store.get(record.asset))?.salt).toEqual(bytes(16, 1));
  });
};
