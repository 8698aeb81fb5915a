// SPDX-License-Identifier: Apache-2.0
/** Collections, roots and usage in memory. Invariant: no `await` inside a change, so that it is atomic. */
import { equalBytes } from '#core/bytes/equal.ts';
import type { Micros } from '#core/time.ts';
import type { CollectionStore, Membership, RootRecord, RootStore, StoredUsage, UsageChain, UsageStore, UsageTotal } from '#ports';

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What collections hold, in memory. */
export const createMemoryCollections = (): CollectionStore => {
  const members = new Map<string, Membership>();
  const id = (collection: string, asset: string): string => `${collection}/${asset}`;
  return {
    async put(membership) {
      members.set(id(membership.collection, membership.asset), structuredClone(membership));
    },
    remove: async (collection, asset) => members.delete(id(collection, asset)),
    async ofAssets(assets) {
      const found = Map.groupBy(members.values(), ({ asset }) => asset);
      return structuredClone(assets.map((asset) => (found.get(asset) ?? []).toSorted((a, b) => byText(a.collection, b.collection))));
    },
    list: async (collection, { after, limit }) =>
      structuredClone(
        [...members.values()]
          .filter((each) => each.collection === collection && (after === undefined || each.asset > after))
          .sort((a, b) => byText(a.asset, b.asset))
          .slice(0, limit),
      ),
    async collections() {
      const sizes = new Map<string, number>();
      for (const { collection } of members.values()) sizes.set(collection, (sizes.get(collection) ?? 0) + 1);
      return [...sizes].map(([collection, titles]) => ({ collection, titles })).sort((a, b) => byText(a.collection, b.collection));
    },
  };
};

/** Roots given, in memory. */
export const createMemoryRoots = (): RootStore => {
  const roots = new Map<string, RootRecord>();
  return {
    async put(record) {
      const id = `${record.device}/${record.plan}`;
      const before = roots.get(id);
      roots.set(id, { ...structuredClone(record), renewals: before === undefined ? 0 : before.renewals + 1 });
    },
    list: async ({ account, device, limit }) =>
      structuredClone(
        [...roots.values()]
          .filter((each) => (account === undefined || each.account === account) && (device === undefined || each.device === device))
          .sort((a, b) => b.issuedAt - a.issuedAt || byText(a.jti, b.jti))
          .slice(0, limit),
      ),
    async plans(now) {
      const plans = new Map<string, { plan: string; collection: string; devices: number }>();
      for (const { plan, collection, begin, end } of roots.values()) {
        if (begin > now || (end !== undefined && end <= now)) continue;
        const id = `${plan}/${collection}`;
        plans.set(id, { plan, collection, devices: (plans.get(id)?.devices ?? 0) + 1 });
      }
      return [...plans.values()].sort((a, b) => byText(a.plan, b.plan) || byText(a.collection, b.collection));
    },
  };
};

const totalOf = (key: string, records: readonly StoredUsage[]): UsageTotal => {
  const counted = records.filter((each) => each.counted);
  return {
    key,
    plays: counted.length,
    offlinePlays: counted.filter((each) => each.offline).length,
    uncertain: counted.filter((each) => each.uncertain).length,
    downloads: records.filter((each) => each.action === 'download').length,
    played: records.reduce((sum, each) => sum + each.played, 0) as Micros,
  };
};

/** Usage reported by devices, in memory. */
export const createMemoryUsage = (): UsageStore => {
  const chains = new Map<string, UsageChain>();
  const records: StoredUsage[] = [];
  return {
    chain: async (device) => structuredClone(chains.get(device)),
    hashes: async (device, chain, from, to) => structuredClone(records.filter((each) => each.device === device && each.chain === chain && each.seq >= from && each.seq < to).sort((a, b) => a.seq - b.seq).map(({ hash }) => hash)),
    async append(chain, expected, fresh) {
      const known = chains.get(chain.device);
      const current = known !== undefined && known.chain === chain.chain ? known : undefined;
      const fits = expected === undefined ? current === undefined && (known?.chain ?? 0) < chain.chain : current !== undefined && current.seq === expected.seq && equalBytes(current.head, expected.head);
      if (!fits) return false;
      chains.set(chain.device, structuredClone(chain));
      records.push(...structuredClone(fresh));
      return true;
    },
    async totals(by, { from, to, limit }) {
      const groups = Map.groupBy(records.filter(({ started }) => started >= from && started < to), (each) => each[by] as string);
      return [...groups]
        .map(([key, group]) => totalOf(key, group))
        .sort((a, b) => b.plays - a.plays || b.played - a.played || byText(a.key, b.key))
        .slice(0, limit);
    },
    list: async ({ account, device, title, limit }) =>
      structuredClone(
        records
          .filter((each) => (account === undefined || each.account === account) && (device === undefined || each.device === device) && (title === undefined || each.title === title))
          .toReversed()
          .slice(0, limit),
      ),
  };
};
