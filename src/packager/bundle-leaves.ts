// SPDX-License-Identifier: Apache-2.0
/**
 * In-band leaves of a live bundle: the `pssh` box that opens a grant group to whoever holds a root of the collection.
 *
 * docs/wire/subscription.md, "In-band leaf" (B127). It goes into the first chunk of every segment and of every group, so that a
 * viewer who joins inside a group need not wait for the next one. Invariant: a box names key ids of its own group only.
 */
import { SEALCAST_SYSTEM_ID, writePssh } from '#core/cenc/pssh.ts';
import type { KeyGroup } from '#core/ids.ts';
import { keyIdOf, type LadderHash } from '#core/keys/ladder.ts';
import { encodeBundleLeaf } from '#core/subscription/bundle-leaf.ts';
import { type CryptoPeriod, firstPeriodOf } from '#core/time.ts';
import type { AssetKeying, PeriodKey } from '#ports';

/** Key ids that one box names at most; the leaf opens the rest of a longer group too. */
const MAX_KIDS = 32;

/** Makes the box of a period's group; undefined for keys that came without a leaf. */
export const bundleLeafBoxes = (options: { readonly hash: LadderHash; readonly keying: AssetKeying; readonly keyGroup: KeyGroup; readonly collection: string }): ((key: Partial<PeriodKey>) => Uint8Array | undefined) => {
  const { hash, keying, keyGroup, collection } = options;
  let last: { readonly group: number; readonly box: Uint8Array } | undefined;
  return ({ group, leaf }) => {
    if (group === undefined || leaf === undefined) return undefined;
    if (last?.group !== group) {
      const first = firstPeriodOf(group, keying.schedule);
      const kids = Array.from({ length: Math.min(MAX_KIDS, keying.schedule.periodsPerGroup) }, (_, index) => keyIdOf(hash, keying.salt, keying, (first + index) as CryptoPeriod, keyGroup));
      last = { group, box: writePssh(kids, SEALCAST_SYSTEM_ID, encodeBundleLeaf({ collection, month: leaf.month, group, wrap: leaf.wrap })) };
    }
    return last.box;
  };
};
