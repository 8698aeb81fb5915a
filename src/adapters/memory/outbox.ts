// SPDX-License-Identifier: Apache-2.0
/** Messages on their way out, in memory. Invariant: a target never has more entries than its last push allowed. */
import type { OutboxEntry, OutboxStore } from '#ports';

/** An outbox in memory; it forgets at a restart. */
export const createMemoryOutbox = (): OutboxStore => {
  let entries: OutboxEntry[] = [];
  const of = (target: string): readonly OutboxEntry[] => entries.filter((entry) => entry.target === target);
  return {
    async push(entry, most) {
      if (!of(entry.target).some(({ id }) => id === entry.id)) entries.push({ ...entry });
      const dropped = new Set(of(entry.target).slice(0, -most));
      entries = entries.filter((each) => !dropped.has(each));
      return dropped.size;
    },
    list: async (target, limit) => structuredClone(of(target).slice(0, limit)),
    async remove(target, id) {
      entries = entries.filter((entry) => entry.target !== target || entry.id !== id);
    },
    async prune(before) {
      const { length } = entries;
      entries = entries.filter(({ at }) => at >= before);
      return length - entries.length;
    },
  };
};
