// SPDX-License-Identifier: Apache-2.0
/**
 * From a leaf and the nodes of a root to a title's content keys: RootKey → TK → GK → CEK, without any server.
 *
 * docs/wire/subscription.md, "Keys" and "Leaf" (B119-B122); docs/wire/keys.md for what lies below TK.
 * Invariant: the leaf's open part is believed only after its tag matched under the root key; keys of a bounded number of groups
 * are in memory, none after `clear`.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { ContentKey } from '#core/ids.ts';
import { contentKey, grantKey, keyIdOf, leafWrapKey } from '#core/keys/ladder.ts';
import { createUnlocker, type OpenNode } from '#core/keys/unlock.ts';
import { type Leaf, leafTagMatches } from '#core/subscription/leaf.ts';
import type { RootClaims } from '#core/subscription/root.ts';
import { firstPeriodOf, groupAt, groupLength } from '#core/time.ts';
import type { CryptoPeriod, GrantGroup, Micros } from '#core/time.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { unwrapKey } from '../key-wrap.ts';
import type { OpenedKey } from '../session-types.ts';

/** What a root opens leaves with. */
export type OpenRoot = Pick<RootClaims, 'collection' | 'scope' | 'months'> & { readonly nodes: readonly OpenNode[] };

/** TK of a leaf, or undefined if this root opens none of its wraps. */
export const openLeaf = async (leaf: Leaf, root: OpenRoot): Promise<Uint8Array | undefined> => {
  const unlocker = createUnlocker(hash);
  unlocker.add(root.nodes);
  for (const wrap of leaf.wraps) {
    if (wrap.collection !== root.collection || wrap.scope !== root.scope || wrap.month < root.months.from || wrap.month >= root.months.to) continue;
    const key = unlocker.unlockKey(wrap.month);
    if (key === undefined || !leafTagMatches(hash, key, leaf, wrap)) continue;
    const titleKey = await unwrapKey(leafWrapKey(hash, key, leaf.title, leaf.gen), wrap.wrap);
    if (titleKey?.length === 32) return titleKey;
  }
  return undefined;
};

/** Content keys of an opened title. */
export type TitleRing = {
  /** Keys of periods that touch media time [from, to). */
  keysBetween(from: Micros, to: Micros): readonly OpenedKey[];
  /** `near`: the media time it is wanted for. */
  key(kid: Uint8Array, near: Micros): ContentKey | undefined;
  clear(): void;
};

const MAX_DERIVED = 32;
/** A segment may begin just across a group's border. */
const SEARCH = [0, 1, -1, 2, -2] as const;

/** The ring of an opened leaf. It keeps `titleKey`, and wipes it at `clear`. */
export const createTitleRing = (leaf: Leaf, titleKey: Uint8Array): TitleRing => {
  const binding = { asset: leaf.title, mode: 'untimed', scheme: leaf.scheme, gen: leaf.gen } as const;
  const { schedule } = leaf;
  const derived = new Map<GrantGroup, readonly OpenedKey[]>();
  let open = true;

  const groupKeys = (group: GrantGroup): readonly OpenedKey[] => {
    if (!open || group < 0) return [];
    const known = derived.get(group);
    if (known !== undefined) return known;
    const grant = grantKey(hash, titleKey, leaf.title, leaf.gen, group);
    const keys: OpenedKey[] = [];
    const first = firstPeriodOf(group, schedule);
    for (let period = first; period < first + schedule.periodsPerGroup; period = (period + 1) as CryptoPeriod) {
      for (const keyGroup of leaf.keyGroups) {
        keys.push({ kid: keyIdOf(hash, leaf.salt, binding, period, keyGroup), key: contentKey(hash, grant, binding, period, keyGroup), keyGroup, from: (period * schedule.period) as Micros, to: ((period + 1) * schedule.period) as Micros });
      }
    }
    grant.fill(0);
    derived.set(group, keys);
    if (derived.size > MAX_DERIVED) derived.delete(derived.keys().next().value as GrantGroup);
    return keys;
  };

  return {
    keysBetween(from, to) {
      const length = groupLength(schedule);
      const last = Math.min(Math.ceil(to / length), Math.floor(leaf.duration / length) + 1);
      const keys: OpenedKey[] = [];
      for (let group = Math.max(0, Math.floor(from / length)) as GrantGroup; group < last; group = (group + 1) as GrantGroup) keys.push(...groupKeys(group));
      return keys.filter((key) => key.to > from && key.from < to);
    },
    key(kid, near) {
      const wanted = encodeHex(kid);
      const middle = groupAt(Math.max(0, near) as Micros, schedule);
      for (const step of SEARCH) {
        const found = groupKeys((middle + step) as GrantGroup).find((item) => encodeHex(item.kid) === wanted);
        if (found !== undefined) return found.key;
      }
      return undefined;
    },
    clear() {
      open = false;
      titleKey.fill(0);
      derived.clear();
    },
  };
};
