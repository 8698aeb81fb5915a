// SPDX-License-Identifier: Apache-2.0
/**
 * Roots and leaves: nodes of a collection's months, and title keys wrapped under the keys of those months.
 *
 * docs/wire/subscription.md, "Keys" and "Leaf"; design section 3. Invariant: root secrets and title keys never leave this role:
 * what leaves is a node of asked months, or a title key under a root key.
 */
import { SealcastError } from '#core/errors.ts';
import type { AssetId, GrantKey, KeyGroup } from '#core/ids.ts';
import { type LadderHash, leafWrapKey } from '#core/keys/ladder.ts';
import { encodeLeaf, type LeafClaims, leafTag, type LeafWrap } from '#core/subscription/leaf.ts';
import { COLLECTION, END_OF_MONTHS, FIRST_MONTH, groupLeafWrapKey, monthAt, rootKey, rootNodes, scopedRootSecret } from '#core/subscription/root-keys.ts';
import { MAX_PLAN_MONTHS } from '#core/subscription/root.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import type { AssetKeyRecord, KeyWrapper, LeafKeySource, LeafOrder, PeriodKey } from '#ports';
import { type AssetKeys, keyingOf } from './asset-keys.ts';

/** Leaves of one request at most. */
export const MAX_LEAVES = 10_000;
const MAX_WRAPS = 8;
const KEY_GROUPS: readonly KeyGroup[] = ['video', 'audio'];
const MONTH_KEY_CACHE = 4096;
/** Stands for the account in the shared scope, which has none. */
const NOBODY = new Uint8Array(32);

/** Leaves for licence servers, and in-band leaves for packagers. */
export type LeafKeys = LeafKeySource & {
  /** Root keys of a bundle by month: one call serves a whole batch of groups. */
  bundle(collection: string): { leaf(of: { readonly asset: AssetId; readonly gen: number; readonly group: GrantGroup; readonly starts: Micros; readonly key: GrantKey }): Promise<NonNullable<PeriodKey['leaf']>> };
};

/** `rootSecret` answers the 32 bytes of a collection, made at the first question. */
export const createLeafKeys = (options: { assets: AssetKeys; rootSecret: (collection: string) => Promise<Uint8Array>; wrapper: KeyWrapper; hash: LadderHash }): LeafKeys => {
  const { assets, wrapper, hash } = options;

  const secretOf = async (collection: string): Promise<Uint8Array> => {
    if (!COLLECTION.test(collection)) throw new SealcastError('bad-request', 'a collection is 1-64 of A-Z, a-z, 0-9, dot, dash and underscore, starting with a letter or digit');
    return options.rootSecret(collection);
  };

  /** Titles of a batch share few months: each month's key costs ten hashes, once. */
  const monthKeys = (account: Uint8Array): ((under: LeafOrder['under'][number]) => Promise<Uint8Array>) => {
    const known = new Map<string, Promise<Uint8Array>>();
    return (under) => {
      const id = `${under.scope}/${under.month}/${under.collection}`;
      let key = known.get(id);
      if (key === undefined) {
        if (known.size >= MONTH_KEY_CACHE) known.clear();
        key = secretOf(under.collection).then((secret) => rootKey(hash, scopedRootSecret(hash, secret, under.scope, account), under.month));
        known.set(id, key);
      }
      return key;
    };
  };

  const leafOf = async (order: LeafOrder, record: AssetKeyRecord | undefined, keyOf: ReturnType<typeof monthKeys>): Promise<string | undefined> => {
    if (record === undefined) return undefined;
    const keying = keyingOf(record);
    // A leaf opens the whole asset at once: nothing that is released in time, or keyed by somebody else, can have one.
    if (keying.mode === 'timed' || record.importedKeys.length > 0) return undefined;
    const claims: LeafClaims = { title: order.asset, gen: keying.gen, scheme: keying.scheme, salt: keying.salt, entryKid: keying.entryKid, schedule: keying.schedule, keyGroups: KEY_GROUPS, duration: order.duration, actions: order.actions };
    const titleKey = await assets.titleKey(record);
    const wraps: LeafWrap[] = [];
    for (const under of order.under) {
      const key = await keyOf(under);
      wraps.push({ ...under, wrap: wrapper.wrap(leafWrapKey(hash, key, order.asset, keying.gen), titleKey), tag: leafTag(hash, key, claims, under) });
    }
    return encodeLeaf({ ...claims, wraps });
  };

  return {
    bundle(collection) {
      const keyOf = monthKeys(NOBODY);
      return {
        async leaf({ asset, gen, group, starts, key }) {
          const month = monthAt(starts);
          return { month, wrap: wrapper.wrap(groupLeafWrapKey(hash, await keyOf({ collection, scope: 'shared', month }), asset, gen, group), key) };
        },
      };
    },
    async rootNodes({ collection, scope, account, from, to }) {
      if (!Number.isInteger(from) || !Number.isInteger(to) || from < FIRST_MONTH || to > END_OF_MONTHS || to <= from || to - from > MAX_PLAN_MONTHS) throw new SealcastError('bad-request', `root months must be [from, to), 1-${MAX_PLAN_MONTHS} of them`);
      return rootNodes(hash, scopedRootSecret(hash, await secretOf(collection), scope, account), from, to);
    },
    async leaves({ account, orders }) {
      if (orders.length > MAX_LEAVES || orders.some(({ under }) => under.length === 0 || under.length > MAX_WRAPS)) throw new SealcastError('bad-request', `at most ${MAX_LEAVES} leaves are made at once, each under 1-${MAX_WRAPS} root keys`);
      const keyOf = monthKeys(account);
      const texts: (string | undefined)[] = [];
      const records = await assets.records(orders.map(({ asset }) => asset));
      for (const [index, order] of orders.entries()) texts.push(await leafOf(order, records[index], keyOf));
      return texts;
    },
  };
};
