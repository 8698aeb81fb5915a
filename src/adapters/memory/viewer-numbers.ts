// SPDX-License-Identifier: Apache-2.0
/** Viewer numbers in memory. Invariant: giving a number has no `await` inside, so it is atomic. */
import { FIRST_VIEWER } from '#core/token/viewer-id.ts';
import type { ViewerNumberStore } from '#ports';

type Holder = Parameters<ViewerNumberStore['give']>[0];

/** Viewer numbers in memory. */
export const createMemoryViewerNumbers = (): ViewerNumberStore => {
  const assets = new Map<string, { readonly numbers: Map<string, number>; readonly holders: Holder[] }>();
  const of = (asset: string): { readonly numbers: Map<string, number>; readonly holders: Holder[] } => {
    const known = assets.get(asset) ?? { numbers: new Map<string, number>(), holders: [] };
    assets.set(asset, known);
    return known;
  };
  return {
    async give(viewer) {
      const { numbers, holders } = of(viewer.asset);
      const id = `${viewer.device} ${viewer.account}`;
      const known = numbers.get(id);
      if (known !== undefined) return known;
      const number = FIRST_VIEWER + holders.length;
      numbers.set(id, number);
      holders.push({ ...viewer });
      return number;
    },
    async whose(asset, number) {
      const holder = assets.get(asset)?.holders[number - FIRST_VIEWER];
      return holder && { account: holder.account, device: holder.device };
    },
    count: async (asset) => assets.get(asset)?.holders.length ?? 0,
  };
};
