// SPDX-License-Identifier: Apache-2.0
/**
 * Roots and leaves over HTTP: bodies of `/v1/keys/-/roots` and `/v1/keys/-/leaves` to the port and back.
 *
 * docs/wire/keys.md, "Service interface". Invariant: every member is checked before the port is asked.
 */
import { assetId } from '#core/ids.ts';
import { encodeOpenNode } from '#core/license/open-node.ts';
import { jsonObject, type Members, membersOf } from '#core/license/shape.ts';
import { LICENSE_ACTIONS, namesFrom } from '#core/subscription/leaf.ts';
import { COLLECTION, END_OF_MONTHS, FIRST_MONTH } from '#core/subscription/root-keys.ts';
import type { Micros } from '#core/time.ts';
import type { LeafKeySource, LeafOrder } from '#ports';

/** Bytes of a body that orders 10,000 leaves. */
export const MAX_LEAVES_BODY: number = 4 * 1024 * 1024;
const MAX_ORDERS = 10_000;
const MAX_WRAPS = 8;

const bodyOf = (text: string, required: readonly string[]): Members => membersOf(jsonObject(text, 'body', 'bad-request'), 'body', 'bad-request', required);

/** Answers the body of `roots`. Throws `bad-request`. */
export const answerRoots = async (keys: LeafKeySource, text: string): Promise<unknown> => {
  const body = bodyOf(text, ['collection', 'scope', 'account', 'from', 'to']);
  const nodes = await keys.rootNodes({
    collection: body.text('collection', { most: 64, pattern: COLLECTION }),
    scope: body.oneOf('scope', ['account', 'shared']),
    account: body.bytes('account', 32),
    from: body.integer('from', FIRST_MONTH, END_OF_MONTHS),
    to: body.integer('to', FIRST_MONTH, END_OF_MONTHS),
  });
  return { nodes: nodes.map(encodeOpenNode) };
};

const orderOf = (value: unknown): LeafOrder => {
  const order = membersOf(value, 'order', 'bad-request', ['asset', 'duration', 'under']);
  return {
    asset: assetId(order.value('asset')),
    duration: order.integer('duration', 0, Number.MAX_SAFE_INTEGER) as Micros,
    under: order.list('under', MAX_WRAPS).map((item) => {
      const under = membersOf(item, 'order root', 'bad-request', ['collection', 'scope', 'month', 'actions']);
      return {
        collection: under.text('collection', { most: 64, pattern: COLLECTION }),
        scope: under.oneOf('scope', ['account', 'shared']),
        month: under.integer('month', FIRST_MONTH, END_OF_MONTHS - 1),
        actions: namesFrom(under.list('actions', LICENSE_ACTIONS.length), LICENSE_ACTIONS, 'order actions'),
      };
    }),
  };
};

/** Answers the body of `leaves`: texts in order, null where there is none. Throws `bad-request`. */
export const answerLeaves = async (keys: LeafKeySource, text: string): Promise<unknown> => {
  const body = bodyOf(text, ['account', 'orders']);
  const leaves = await keys.leaves({ account: body.bytes('account', 32), orders: body.list('orders', MAX_ORDERS).map(orderOf) });
  return { leaves: leaves.map((leaf) => leaf ?? null) };
};
