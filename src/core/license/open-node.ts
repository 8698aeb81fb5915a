// SPDX-License-Identifier: Apache-2.0
/**
 * An unlock node with its key as JSON, as licences and roots carry it sealed to a device.
 *
 * docs/wire/session.md and docs/wire/subscription.md. Holds keys: never log it.
 * Invariant: a parsed node is one that the tree can have.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { type OpenNode, TREE_DEPTH } from '#core/keys/unlock.ts';
import { membersOf } from './shape.ts';

/** The node as JSON. */
export const encodeOpenNode = ({ block, depth, path, key }: OpenNode): Record<string, unknown> => ({ block, depth, path, key: encodeBase64url(key) });

/** A node from parsed JSON; throws `bad-request`. Unknown members are ignored. */
export const parseOpenNode = (value: unknown): OpenNode => {
  const node = membersOf(value, 'unlock node', 'bad-request', ['block', 'depth', 'path', 'key'], [], true);
  const depth = node.integer('depth', 0, TREE_DEPTH);
  return { block: node.integer('block', 0, 2 ** 24 - 1), depth, path: node.integer('path', 0, 2 ** depth - 1), key: node.bytes('key', 32) };
};
