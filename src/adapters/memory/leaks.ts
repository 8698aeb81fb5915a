// SPDX-License-Identifier: Apache-2.0
/** Accusations in memory. Invariant: no `await` inside a change, so that it is atomic. */
import type { LeakRecord, LeakStore } from '#ports';

/** Accusations in memory. */
export const createMemoryLeaks = (): LeakStore => {
  const leaks = new Map<string, LeakRecord>();
  return {
    async create(record) {
      if (leaks.has(record.leak)) return false;
      leaks.set(record.leak, structuredClone(record));
      return true;
    },
    get: async (leak) => structuredClone(leaks.get(leak)),
    async update(leak, change) {
      const current = leaks.get(leak);
      if (current === undefined) return undefined;
      const next = structuredClone(change(structuredClone(current)));
      leaks.set(leak, next);
      return structuredClone(next);
    },
    list: async ({ asset, account, limit }) =>
      structuredClone(
        [...leaks.values()]
          .filter((record) => (asset === undefined || record.asset === asset) && (account === undefined || record.account === account))
          .sort((a, b) => b.at - a.at || (a.leak < b.leak ? -1 : 1))
          .slice(0, limit),
      ),
  };
};
