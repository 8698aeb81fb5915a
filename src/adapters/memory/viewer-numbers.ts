// SPDX-License-Identifier: Apache-2.0
/** Viewer numbers in memory. Invariant: giving a number has no `await` inside, so it is atomic. */
import { FIRST_VIEWER } from '#core/token/viewer-id.ts';
import type { ViewerNumberStore } from '#ports';

type Holder = Parameters<ViewerNumberStore['give']>[0];
type Given = { readonly numbers: Map<string, number>; readonly holders: Map<number, Holder>; /** Next free number by the first of a range. */ readonly next: Map<number, number> };

/** Viewer numbers in memory. */
export const createMemoryViewerNumbers = (): ViewerNumberStore => {
  const assets = new Map<string, Given>();
  const of = (asset: string): Given => {
    const known = assets.get(asset) ?? { numbers: new Map<string, number>(), holders: new Map<number, Holder>(), next: new Map<number, number>() };
    assets.set(asset, known);
    return known;
  };
  const giveFrom = (viewer: Holder, first: number, count: number): number | undefined => {
    const { numbers, holders, next } = of(viewer.asset);
    const id = `${viewer.device} ${viewer.account}`;
    const known = numbers.get(id);
    if (known !== undefined) return known;
    const number = next.get(first) ?? first;
    if (number >= first + count) return undefined;
    next.set(first, number + 1);
    numbers.set(id, number);
    holders.set(number, { ...viewer });
    return number;
  };
  return {
    give: async (viewer) => giveFrom(viewer, FIRST_VIEWER, Number.MAX_SAFE_INTEGER) as number,
    giveWithin: async (viewer, { first, count }) => giveFrom(viewer, first, count),
    async whose(asset, number) {
      const holder = assets.get(asset)?.holders.get(number);
      return holder && { account: holder.account, device: holder.device };
    },
    count: async (asset) => assets.get(asset)?.holders.size ?? 0,
  };
};
