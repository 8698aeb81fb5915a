// SPDX-License-Identifier: Apache-2.0
/** What every SingleUseStore does: one winner per id until it expires. */
import { expect, it } from 'vitest';
import type { SingleUseStore } from '#ports';
import { at } from './values.ts';

export const singleUseStoreContract = (open: () => Promise<SingleUseStore>): void => {
  it('gives an id to one of many that race', async () => {
    const store = await open();
    const won = await Promise.all(Array.from({ length: 50 }, () => store.claim('jti-1', at(60), at(0))));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect(await store.claim('jti-2', at(60), at(0))).toBe(true);
  });

  it('forgets an id at its expiry, not before', async () => {
    const store = await open();
    expect(await store.claim('jti', at(60), at(0))).toBe(true);
    expect(await store.claim('jti', at(120), at(59))).toBe(false);
    expect(await store.claim('jti', at(120), at(60))).toBe(true);
    expect(await store.claim('jti', at(180), at(119))).toBe(false);
  });

  it('keeps unexpired ids while many expired ones are swept', async () => {
    const store = await open();
    expect(await store.claim('kept', at(1_000_000), at(0))).toBe(true);
    await Promise.all(Array.from({ length: 3000 }, (_, index) => store.claim(`old-${index}`, at(index % 5), at(0))));
    await Promise.all(Array.from({ length: 3000 }, (_, index) => store.claim(`new-${index}`, at(200), at(100))));
    expect(await store.claim('kept', at(1_000_000), at(100))).toBe(false);
    expect(await store.claim('new-2999', at(300), at(100))).toBe(false);
    expect(await store.claim('old-7', at(300), at(100))).toBe(true);
  });
};
