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
import { type LeafClaims, leafFromText, leafTag, leafText, type LeafText, type LeafWrap, taggedBytes } from '#core/subscription/leaf.ts';
import { COLLECTION, END_OF_MONTHS, FIRST_MONTH, groupLeafWrapKey, monthAt, rootKey, rootNodes, scopedRootSecret } from '#core/subscription/root-keys.ts';
import { MAX_PLAN_MONTHS } from '#core/subscription/root.ts';
import type { GrantGroup, Micros } from '#core/time.ts';
import type { AssetKeyRecord, KeyWrapper, LeafKeySource, LeafOrder, PeriodKey } from '#ports';
import { type AssetKeys, keyingOf } from './asset-keys.ts';

/** Leaves of one request at most. */
export const MAX_LEAVES = 10_000;
const MAX_WRAPS = 8;
const KEY_GROUPS: readonly KeyGroup[] = ['video', 'audio'];
/** Stands for the account in the shared scope, which has none. */
const NOBODY = new Uint8Array(32);

/** A root key by name. */
type Under = Pick<LeafOrder['under'][number], 'collection' | 'scope' | 'month'>;

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
  const monthKeys = (account: Uint8Array): { readonly of: (under: Under) => Promise<Uint8Array>; readonly known: (under: Under) => Uint8Array | undefined } => {
    const keys = new Map<string, Map<string, Map<number, Uint8Array>>>();
    const known = ({ scope, collection, month }: Under): Uint8Array | undefined => keys.get(scope)?.get(collection)?.get(month);
    return {
      known,
      async of(under) {
        const found = known(under);
        if (found !== undefined) return found;
        const key = rootKey(hash, scopedRootSecret(hash, await secretOf(under.collection), under.scope, account), under.month);
        const collections = keys.get(under.scope) ?? new Map<string, Map<number, Uint8Array>>();
        const months = collections.get(under.collection) ?? new Map<number, Uint8Array>();
        keys.set(under.scope, collections.set(under.collection, months.set(under.month, key)));
        return key;
      },
    };
  };

  /** What every leaf of a record needs, made at the first one. The asset keys drop a record as soon as it changes, and this with it. */
  const prepared = new WeakMap<AssetKeyRecord, { readonly titleKey: Uint8Array; readonly duration: Micros; readonly text: LeafText; readonly tagged: Uint8Array }>();
  const prepare = async (order: LeafOrder, record: AssetKeyRecord): Promise<void> => {
    const keying = keyingOf(record);
    const claims: LeafClaims = { title: order.asset, gen: keying.gen, scheme: keying.scheme, salt: keying.salt, entryKid: keying.entryKid, schedule: keying.schedule, keyGroups: KEY_GROUPS, duration: order.duration };
    const text = leafText(claims);
    prepared.set(record, { titleKey: await assets.titleKey(record), duration: order.duration, text, tagged: taggedBytes(text) });
  };

  /** A leaf opens the whole asset at once: nothing that is released in time, or keyed by somebody else, can have one. */
  const leafOf = async (order: LeafOrder, record: AssetKeyRecord | undefined, keys: ReturnType<typeof monthKeys>): Promise<string | undefined> => {
    if (record === undefined || record.mode === 'timed' || record.importedKeys.length > 0) return undefined;
    const known = prepared.get(record);
    // Awaiting what is there already would cost as much as the hashes.
    if (known === undefined || known.duration !== order.duration) await prepare(order, record);
    const { titleKey, text, tagged } = prepared.get(record) as NonNullable<typeof known>;
    const wraps: LeafWrap[] = [];
    for (const under of order.under) {
      const key = keys.known(under) ?? (await keys.of(under));
      wraps.push({ collection: under.collection, scope: under.scope, month: under.month, actions: under.actions, wrap: wrapper.wrap(leafWrapKey(hash, key, order.asset, record.gen), titleKey), tag: leafTag(hash, key, tagged, under) });
    }
    return leafFromText(text, wraps);
  };

  return {
    bundle(collection) {
      const keys = monthKeys(NOBODY);
      return {
        async leaf({ asset, gen, group, starts, key }) {
          const month = monthAt(starts);
          return { month, wrap: wrapper.wrap(groupLeafWrapKey(hash, await keys.of({ collection, scope: 'shared', month }), asset, gen, group), key) };
        },
      };
    },
    async rootNodes({ collection, scope, account, from, to }) {
      if (!Number.isInteger(from) || !Number.isInteger(to) || from < FIRST_MONTH || to > END_OF_MONTHS || to <= from || to - from > MAX_PLAN_MONTHS) throw new SealcastError('bad-request', `root months must be [from, to), 1-${MAX_PLAN_MONTHS} of them`);
      return rootNodes(hash, scopedRootSecret(hash, await secretOf(collection), scope, account), from, to);
    },
    async leaves({ account, orders }) {
      if (orders.length > MAX_LEAVES || orders.some(({ under }) => under.length === 0 || under.length > MAX_WRAPS)) throw new SealcastError('bad-request', `at most ${MAX_LEAVES} leaves are made at once, each under 1-${MAX_WRAPS} root keys`);
      const keys = monthKeys(account);
      const texts: (string | undefined)[] = [];
      const records = await assets.records(orders.map(({ asset }) => asset));
      for (const [index, order] of orders.entries()) texts.push(await leafOf(order, records[index], keys));
      return texts;
    },
  };
};
