// SPDX-License-Identifier: Apache-2.0
/** What every AuditStore does: a gapless chain, also when appends run in parallel or fail. */
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import type { AuditEntry, AuditStore } from '#ports';
import { at } from './values.ts';

const seal = (previous: string, entry: Omit<AuditEntry, 'hash'>): string => {
  const { seq, actor, action, target, detail } = entry;
  return createHash('sha256')
    .update(JSON.stringify([previous, seq, entry.at, actor, action, target, detail]))
    .digest('base64url');
};
const entry = (number: number) => ({ at: at(number), actor: 'ann', action: 'event.create', target: `event-${number}`, detail: { number, quick: true, name: 'é"\\' } });

const verify = (entries: readonly AuditEntry[]): void => {
  let previous = '';
  for (const [index, { hash, ...rest }] of entries.entries()) {
    expect(rest.seq).toBe(index + 1);
    expect(hash).toBe(seal(previous, rest));
    previous = hash;
  }
};

export const auditStoreContract = (open: () => Promise<AuditStore>): void => {
  it('numbers and chains entries, and reads them back as sealed', async () => {
    const store = await open();
    const first = await store.append(entry(1), seal);
    expect(first).toMatchObject({ ...entry(1), seq: 1 });
    await store.append(entry(2), seal);
    const read = await store.read(0, 10);
    expect(read[0]).toEqual(first);
    verify(read);
    expect(await store.read(1, 10)).toEqual(read.slice(1));
    expect(await store.read(0, 1)).toEqual(read.slice(0, 1));
    expect(await store.read(2, 10)).toEqual([]);
  });

  it('keeps one chain under parallel appends', async () => {
    const store = await open();
    const appended = await Promise.all(Array.from({ length: 100 }, (_, number) => store.append(entry(number), seal)));
    const read = await store.read(0, 1000);
    verify(read);
    expect(read).toHaveLength(100);
    expect([...appended].sort((a, b) => a.seq - b.seq)).toEqual(read);
  });

  it('leaves no gap where sealing failed', async () => {
    const store = await open();
    const outcomes = await Promise.allSettled([
      store.append(entry(1), seal),
      store.append(entry(2), () => {
        throw new RangeError('cannot seal');
      }),
      store.append(entry(3), seal),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect((outcomes[1] as PromiseRejectedResult).reason).toBeInstanceOf(RangeError);
    const read = await store.read(0, 10);
    verify(read);
    expect(read.map(({ target }) => target)).toEqual(['event-1', 'event-3']);
  });
};
