// SPDX-License-Identifier: Apache-2.0
/**
 * Changes of collections, and the static leaf of a shared one beside the content.
 *
 * docs/wire/subscription.md, "Leaf" (B121). The leaf of a title is made when it joins a collection of shared scope and made again
 * when its memberships change or its media is ready; it names nobody. Invariant: a leaf lies beside the media only while some
 * shared collection holds the title.
 */
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId } from '#core/ids.ts';
import { ordersOf } from '#license-server/index.ts';
import type { OperationsActions } from '#operations/index.ts';
import { eventFolder, titleFolder } from '#packager/index.ts';
import type { CatalogueStore, CollectionStore, LeafKeySource, ObjectStore } from '#ports';

/** What changes collections of this process. */
export type Collections = {
  readonly setMembership: NonNullable<OperationsActions['setMembership']>;
  readonly removeMembership: NonNullable<OperationsActions['removeMembership']>;
  /** Makes the asset's static leaf as its memberships are now, or takes it away. */
  refreshLeaf(asset: AssetId): Promise<void>;
};

/** No account: shared leaves are under the collection's own secret. */
const NOBODY = new Uint8Array(32);

/** `media`: where the packager of this process keeps content; absent: leaves are given on request only. */
export const createCollections = (options: { readonly catalogue: CatalogueStore; readonly collections: CollectionStore; readonly keys: Pick<LeafKeySource, 'leaves'>; readonly media?: ObjectStore }): Collections => {
  const { catalogue, collections, keys, media } = options;

  const refreshLeaf = async (asset: AssetId): Promise<void> => {
    const entry = await catalogue.get(asset);
    if (media === undefined || entry === undefined) return;
    const path = `${entry.kind === 'event' ? eventFolder(asset) : titleFolder(asset)}/leaf.json`;
    const [memberships = []] = await collections.ofAssets([asset]);
    const [order] = await ordersOf(catalogue, [[asset, memberships.filter(({ scope }) => scope === 'shared')]]);
    const [leaf] = order === undefined ? [] : await keys.leaves({ account: NOBODY, orders: [order] });
    if (leaf === undefined) await media.remove(path);
    else await media.put(path, encodeUtf8(leaf));
  };

  return {
    refreshLeaf,
    async setMembership(membership) {
      await collections.put(membership);
      await refreshLeaf(membership.asset);
    },
    async removeMembership(collection, asset) {
      const removed = await collections.remove(collection, asset);
      if (removed) await refreshLeaf(asset);
      return removed;
    },
  };
};
