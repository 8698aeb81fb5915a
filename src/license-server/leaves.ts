// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/leaves: the leaves of the titles in a root's collection.
 *
 * docs/wire/subscription.md, "Leaf" (B111, B113, B116-B122). A root is the credential: a leaf opens nothing without one.
 * Invariant: the answer depends on the titles and the account only, so that leaves can be kept for ever.
 */
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId, isAssetId } from '#core/ids.ts';
import { membersOf } from '#core/license/shape.ts';
import { LICENSE_ACTIONS } from '#core/subscription/leaf.ts';
import { monthAt } from '#core/subscription/root-keys.ts';
import type { Micros } from '#core/time.ts';
import { parseRootClaims, ROOT_TYPE, type RootClaims } from '#core/subscription/root.ts';
import { importVerifyKey, verifyJws } from '#crypto/jose.ts';
import type { CatalogueStore, Clock, CollectionStore, DeviceStore, LeafKeySource, LeafOrder, Membership } from '#ports';
import type { ServerSecrets } from './server-secrets.ts';

/** Titles of one request at most. */
export const MAX_LEAF_TITLES = 10_000;
const PAGE = 1000;
const MAX_ROOT_LENGTH = 8192;
const MAX_WRAPS = 8;

/** Answer to POST /v1/leaves. */
export type LeavesAnswer = { readonly leaves: readonly string[]; readonly missing: readonly AssetId[]; readonly next?: AssetId };

/** Orders the leaves of titles: one wrap for each collection, in the order of their names. Shared by requests and by static leaves. */
export const ordersOf = async (
  catalogue: Pick<CatalogueStore, 'getMany'>,
  titles: readonly (readonly [AssetId, readonly Membership[]])[],
): Promise<readonly (LeafOrder | undefined)[]> => {
  const entries = await catalogue.getMany(titles.map(([asset]) => asset));
  return titles.map(([asset, memberships], index) => {
    const entry = entries[index];
    const ready = entry !== undefined && ((entry.kind === 'title' && entry.state === 'ready') || (entry.kind === 'event' && entry.state === 'ended'));
    if (!ready || memberships.length === 0) return undefined;
    return {
      asset,
      duration: (entry.archive === undefined ? (entry.duration ?? 0) : entry.archive.to - entry.archive.from) as Micros,
      under: memberships.slice(0, MAX_WRAPS).map(({ collection, scope, published, actions }) => ({ collection, scope, month: monthAt(published), actions: LICENSE_ACTIONS.filter((action) => actions.includes(action)) })),
    };
  });
};

/** Answers the body of POST /v1/leaves. Throws `bad-request`, `token-invalid`, `token-expired`, `device-revoked`. */
export const createLeaves = async (options: {
  readonly secrets: ServerSecrets;
  readonly keys: LeafKeySource;
  readonly catalogue: Pick<CatalogueStore, 'getMany'>;
  readonly collections: CollectionStore;
  readonly devices: DeviceStore;
  readonly clock: Clock;
}): Promise<(body: unknown) => Promise<LeavesAnswer>> => {
  const { keys, catalogue, collections, devices, clock } = options;
  const verifyKey = await importVerifyKey(options.secrets.signingJwk);

  const rootOf = async (token: string): Promise<RootClaims> => {
    const payload = await verifyJws(token, { typ: ROOT_TYPE, key: verifyKey, maxLength: MAX_ROOT_LENGTH });
    if (payload === undefined) throw new SealcastError('token-invalid', `leaves are given for a root licence (typ ${ROOT_TYPE}) of this service`);
    const root = parseRootClaims(payload);
    const now = clock.now();
    if (now >= root.expiresAt || (root.end !== undefined && now >= root.end)) throw new SealcastError('token-expired', 'the root has ended; ask for the next one first');
    if ((await devices.get(root.device))?.revokedAt !== undefined) throw new SealcastError('device-revoked', 'the device was revoked');
    return root;
  };

  return async (body) => {
    const members = membersOf(body, 'body', 'bad-request', ['root'], ['titles', 'collection', 'after']);
    const root = await rootOf(members.text('root', { most: MAX_ROOT_LENGTH }));
    let asked: readonly AssetId[];
    let next: AssetId | undefined;
    if (members.value('titles') !== undefined) {
      const list = members.list('titles', MAX_LEAF_TITLES);
      if (list.length === 0 || !list.every((title): title is AssetId => typeof title === 'string' && isAssetId(title)))
        throw new SealcastError('bad-request', `titles must be a list of 1-${MAX_LEAF_TITLES} asset ids`);
      asked = list;
    } else {
      if (members.value('collection') !== root.collection) throw new SealcastError('bad-request', 'titles, or the collection of the root, must be named');
      const after = members.value('after');
      const page = await collections.list(root.collection, { ...(after !== undefined && { after: assetId(after) }), limit: PAGE });
      asked = page.map(({ asset }) => asset);
      if (page.length === PAGE) next = asked.at(-1);
    }
    const memberships = await collections.ofAssets(asked);
    const orders = await ordersOf(
      catalogue,
      asked.map((asset, index) => [asset, (memberships[index] ?? []).some(({ collection }) => collection === root.collection) ? (memberships[index] ?? []) : []] as const),
    );
    const known = orders.filter((order) => order !== undefined);
    const made = await keys.leaves({ account: root.account, orders: known });
    const leafOf = new Map(known.map((order, index) => [order.asset, made[index]]));
    return { leaves: asked.flatMap((asset) => leafOf.get(asset) ?? []), missing: asked.filter((asset) => leafOf.get(asset) === undefined), ...(next !== undefined && { next }) };
  };
};
