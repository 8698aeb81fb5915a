// SPDX-License-Identifier: Apache-2.0
/** What every MasterSecretStore, SecretStore and OperatorStore does. */
import { expect, it } from 'vitest';
import type { MasterSecretStore, OperatorRecord, OperatorStore, SecretStore } from '#ports';
import { at, bytes } from './values.ts';

const epochRecord = (epoch: number, seed = epoch) => ({ epoch, sealed: bytes(60, seed), notBefore: at(epoch), retireAt: at(epoch + 1), notAfter: at(epoch + 2) });

export const masterSecretStoreContract = (open: () => Promise<MasterSecretStore>): void => {
  it('keeps epochs in order, each once', async () => {
    const store = await open();
    expect(await Promise.all([store.create(epochRecord(7)), store.create(epochRecord(7, 99))])).toEqual([true, false]);
    expect(await store.create(epochRecord(3))).toBe(true);
    expect(await store.create(epochRecord(4_000_000_000))).toBe(true);
    expect(await store.list()).toEqual([epochRecord(3), epochRecord(7), epochRecord(4_000_000_000)]);
  });

  it('removes an epoch, harmlessly twice', async () => {
    const store = await open();
    await store.create(epochRecord(1));
    await store.remove(1);
    await store.remove(1);
    expect(await store.list()).toEqual([]);
    expect(await store.create(epochRecord(1, 5))).toBe(true);
  });
};

export const secretStoreContract = (open: () => Promise<SecretStore>): void => {
  it('keeps the first value of a name, for everyone who asks', async () => {
    const store = await open();
    expect(await store.get('signing')).toBeUndefined();
    const kept = await Promise.all([1, 2, 3].map((seed) => store.putIfAbsent('signing', bytes(32, seed))));
    expect(new Set(kept.map((sealed) => sealed.join())).size).toBe(1);
    expect(await store.get('signing')).toEqual(kept[0]);
    expect(await store.putIfAbsent('other', bytes(1, 9))).toEqual(bytes(1, 9));
  });

  it('does not share memory with its callers', async () => {
    const store = await open();
    const mine = bytes(32, 1);
    (await store.putIfAbsent('a', mine)).fill(0);
    mine.fill(0);
    (await store.get('a'))?.fill(0);
    expect(await store.get('a')).toEqual(bytes(32, 1));
  });
};

const operator = (name: string, change: Partial<OperatorRecord> = {}): OperatorRecord => ({ name, role: 'operate', tokenHash: `hash-of-${name}`, createdAt: at(0), ...change });

export const operatorStoreContract = (open: () => Promise<OperatorStore>): void => {
  it('keeps operators by name and finds them by token hash', async () => {
    const store = await open();
    expect(await store.create(operator('ann', { role: 'keys' }))).toBe(true);
    expect(await store.create(operator('bob', { role: 'view' }))).toBe(true);
    expect(await store.create(operator('ann', { tokenHash: 'another' }))).toBe(false);
    expect(await store.byTokenHash('hash-of-bob')).toEqual(operator('bob', { role: 'view' }));
    expect(await store.byTokenHash('another')).toBeUndefined();
    expect(await store.list()).toEqual([operator('ann', { role: 'keys' }), operator('bob', { role: 'view' })]);
  });
};
