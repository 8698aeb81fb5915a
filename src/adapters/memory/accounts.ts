// SPDX-License-Identifier: Apache-2.0
/** Enforcement records of accounts, in memory. Invariant: an update has no `await` inside, so it is atomic. */
import type { AccountState, AccountStore } from '#ports';

/** Accounts in memory. */
export const createMemoryAccounts = (): AccountStore => {
  const accounts = new Map<string, AccountState>();
  return {
    get: async (account) => structuredClone(accounts.get(account)),
    async update(account, change) {
      const next = structuredClone(change(structuredClone(accounts.get(account))));
      accounts.set(account, next);
      return structuredClone(next);
    },
    async list({ level, limit }) {
      const found = [...accounts.values()].filter(({ record }) => level === undefined || record.level === level).sort((a, b) => b.record.since - a.record.since);
      return structuredClone(found.slice(0, limit));
    },
    async levels() {
      const counts = { 1: 0, 2: 0, 3: 0 };
      for (const { record } of accounts.values()) counts[record.level] += 1;
      return counts;
    },
  };
};
