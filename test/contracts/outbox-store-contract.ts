// SPDX-License-Identifier: Apache-2.0
/** What every OutboxStore does: order, bounds per target, nothing twice. */
import { expect, it } from 'vitest';
import type { OutboxEntry, OutboxStore } from '#ports';
import { at } from './values.ts';

const entry = (target: string, number: number): OutboxEntry => ({ target, id: `msg_${number}`, at: at(number), body: `{"number":${number},"text":"é\\"\\\\"}` });

export const outboxStoreContract = (open: () => Promise<OutboxStore>): void => {
  it('keeps entries whole, per target, in the order they were pushed', async () => {
    const store = await open();
    for (const number of [3, 1, 2]) await store.push(entry('a', number), 10);
    await store.push(entry('b', 1), 10);
    expect(await store.list('a', 10)).toEqual([entry('a', 3), entry('a', 1), entry('a', 2)]);
    expect(await store.list('a', 2)).toEqual([entry('a', 3), entry('a', 1)]);
    expect(await store.list('b', 10)).toEqual([entry('b', 1)]);
    expect(await store.list('c', 10)).toEqual([]);
  });

  it('takes an entry once, and removes it for its target only', async () => {
    const store = await open();
    expect(await store.push(entry('a', 1), 10)).toBe(0);
    expect(await store.push({ ...entry('a', 1), body: 'changed' }, 10)).toBe(0);
    await store.push(entry('b', 1), 10);
    expect(await store.list('a', 10)).toEqual([entry('a', 1)]);
    await store.remove('a', 'msg_1');
    await store.remove('a', 'msg_1');
    expect([await store.list('a', 10), await store.list('b', 10)]).toEqual([[], [entry('b', 1)]]);
  });

  it('drops the oldest beyond the bound and says how many, also when pushed in parallel', async () => {
    const store = await open();
    const dropped = await Promise.all(Array.from({ length: 50 }, (_, number) => store.push(entry('a', number), 20)));
    await store.push(entry('b', 0), 20);
    expect(dropped.reduce((sum, each) => sum + each, 0)).toBe(30);
    expect((await store.list('a', 100)).map(({ id }) => id)).toEqual(Array.from({ length: 20 }, (_, number) => `msg_${number + 30}`));
    expect(await store.push(entry('a', 60), 5)).toBe(16);
    expect(await store.list('b', 100)).toHaveLength(1);
  });

  it('prunes what is old, of every target', async () => {
    const store = await open();
    for (const number of [1, 5, 9]) for (const target of ['a', 'b']) await store.push(entry(target, number), 10);
    expect(await store.prune(at(5))).toBe(2);
    expect((await store.list('b', 10)).map(({ id }) => id)).toEqual(['msg_5', 'msg_9']);
  });
};
