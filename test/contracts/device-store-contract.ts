// SPDX-License-Identifier: Apache-2.0
/** What every DeviceStore does; the cap holds under concurrency. */
import { expect, it } from 'vitest';
import type { DeviceStore } from '#ports';
import { account, at, device, deviceRecord } from './values.ts';

export const deviceStoreContract = (open: () => Promise<DeviceStore>): void => {
  it('registers, reads and lists by account in order', async () => {
    const store = await open();
    expect(await store.register(deviceRecord(2, 'ann'), 5)).toBe('registered');
    expect(await store.register(deviceRecord(1, 'ann'), 5)).toBe('registered');
    expect(await store.register(deviceRecord(3, 'bob'), 5)).toBe('registered');
    expect(await store.get(device(2))).toEqual(deviceRecord(2, 'ann'));
    expect(await store.listByAccount(account('ann'))).toEqual([deviceRecord(2, 'ann'), deviceRecord(1, 'ann')]);
    expect(await store.listByAccount(account('eve'))).toEqual([]);
    expect(await store.get(device(9))).toBeUndefined();
  });

  it('answers for a known device without changing it, at the cap too', async () => {
    const store = await open();
    await store.register(deviceRecord(1, 'ann'), 1);
    expect(await store.register(deviceRecord(1, 'ann', { name: 'renamed' }), 1)).toBe('exists');
    expect(await store.register(deviceRecord(1, 'bob'), 5)).toBe('taken');
    expect(await store.get(device(1))).toEqual(deviceRecord(1, 'ann'));
  });

  it('holds the cap; revoked devices do not count but stay known', async () => {
    const store = await open();
    await store.register(deviceRecord(1, 'ann'), 2);
    await store.register(deviceRecord(2, 'ann'), 2);
    expect(await store.register(deviceRecord(3, 'ann'), 2)).toBe('limit');
    expect(await store.register(deviceRecord(3, 'bob'), 2)).toBe('registered');
    expect(await store.revoke(device(1), at(9))).toBe(true);
    expect(await store.register(deviceRecord(4, 'ann'), 2)).toBe('registered');
    expect(await store.get(device(1))).toEqual(deviceRecord(1, 'ann', { revokedAt: at(9) }));
    expect(await store.register(deviceRecord(1, 'ann'), 9)).toBe('exists');
    expect(await store.register(deviceRecord(5, 'cat'), 0)).toBe('limit');
  });

  it('revokes once', async () => {
    const store = await open();
    await store.register(deviceRecord(1, 'ann'), 1);
    expect(await Promise.all([store.revoke(device(1), at(1)), store.revoke(device(1), at(2))])).toEqual([true, false]);
    expect((await store.get(device(1)))?.revokedAt).toBe(at(1));
    expect(await store.revoke(device(2), at(1))).toBe(false);
  });

  it('B070 sets, changes and removes the policy of one device, and nothing else', async () => {
    const store = await open();
    await store.register(deviceRecord(1, 'ann'), 5);
    await store.register(deviceRecord(2, 'ann'), 5);
    expect(await store.setPolicy(device(1), { interval: 5000, duration: 9000, limit: 2, mode: 'deny-new' })).toBe(true);
    expect(await store.get(device(1))).toEqual(deviceRecord(1, 'ann', { policy: { interval: 5000, duration: 9000, limit: 2, mode: 'deny-new' } }));
    expect(await store.setPolicy(device(1), { limit: 1 })).toBe(true);
    expect(await store.listByAccount(account('ann'))).toEqual([deviceRecord(1, 'ann', { policy: { limit: 1 } }), deviceRecord(2, 'ann')]);
    await store.revoke(device(1), at(3));
    expect(await store.setPolicy(device(1), undefined)).toBe(true);
    expect(await store.get(device(1))).toEqual(deviceRecord(1, 'ann', { revokedAt: at(3) }));
    expect(await store.setPolicy(device(3), { limit: 1 })).toBe(false);
  });

  it('holds the cap when devices race', async () => {
    const store = await open();
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, index) => store.register(deviceRecord(index, 'ann'), 3)));
    expect(outcomes.filter((outcome) => outcome === 'registered')).toHaveLength(3);
    expect(outcomes.filter((outcome) => outcome === 'limit')).toHaveLength(17);
    expect(await store.listByAccount(account('ann'))).toHaveLength(3);
  });

  it('gives a device that two accounts claim at once to one of them', async () => {
    const store = await open();
    const outcomes = await Promise.all(['ann', 'bob'].map((owner) => store.register(deviceRecord(1, owner), 3)));
    expect([...outcomes].sort()).toEqual(['registered', 'taken']);
    expect((await store.get(device(1)))?.account).toBe(['ann', 'bob'][outcomes.indexOf('registered')]);
  });
};
