// SPDX-License-Identifier: Apache-2.0
/**
 * The unlock tree: which nodes open a range of grant groups, and which unlock keys a node gives.
 *
 * docs/wire/keys.md (U, UK) and docs/wire/renewal.md (node encoding). Every 256 groups form a block with a binary tree of
 * depth 8; a node opens exactly the groups below it, and nobody can climb from a node to its parent.
 * Invariant: `coverGroups` answers the least set of nodes that opens [from, to) and nothing else.
 */
import { SealcastError } from '#core/errors.ts';
import { msg, u32, u8 } from './encoding.ts';
import type { LadderHash } from './ladder.ts';

/** log2 of the groups in one block. */
export const TREE_DEPTH = 8;
const BLOCK_SIZE = 1 << TREE_DEPTH;
const MAX_GROUP = 2 ** 32;
/** Half-open ranges longer than this are a caller's mistake, not a licence. */
const MAX_RANGE = 1 << 16;

/** Place of a node: `path` holds the `depth` (0..8) highest of g's low 8 bits, in its own low bits. */
export type TreeNode = { readonly block: number; readonly depth: number; readonly path: number };
/** A node with its 32-byte key U. */
export type OpenNode = TreeNode & { readonly key: Uint8Array };

/** First group below a node, and the number of groups below it. */
export const groupsBelow = (node: TreeNode): { readonly first: number; readonly count: number } => {
  const height = TREE_DEPTH - node.depth;
  return { first: node.block * BLOCK_SIZE + (node.path << height), count: 1 << height };
};

/** Least set of nodes for groups [from, to), in order; empty if to <= from. Throws RangeError outside u32 or above 65,536 groups. */
export const coverGroups = (from: number, to: number): readonly TreeNode[] => {
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to > MAX_GROUP) throw new RangeError('grant groups must be u32 integers');
  if (to - from > MAX_RANGE) throw new RangeError(`a range has at most ${MAX_RANGE} grant groups`);
  const nodes: TreeNode[] = [];
  for (let at = from; at < to; ) {
    // The highest subtree that starts at `at` and ends by `to`.
    let height = 0;
    while (height < TREE_DEPTH && at % (1 << (height + 1)) === 0 && at + (1 << (height + 1)) <= to) height++;
    nodes.push({ block: Math.floor(at / BLOCK_SIZE), depth: TREE_DEPTH - height, path: (at % BLOCK_SIZE) >> height });
    at += 1 << height;
  }
  return nodes;
};

const CHILD: readonly [Uint8Array, Uint8Array] = [msg('node', u8(0)), msg('node', u8(1))];
const KEK = msg('kek');

/** U(b, ""). */
export const blockRoot = (hash: LadderHash, session: Uint8Array, block: number): Uint8Array => hash.hmac(session, msg('unlock', u32(block)));

/** Key of the descendant reached from `key` by the `steps` lowest bits of `path`, highest of them first. */
const descend = (hash: LadderHash, key: Uint8Array, path: number, steps: number): Uint8Array => {
  let at = key;
  for (let bit = steps - 1; bit >= 0; bit--) at = hash.hmac(at, (path >> bit) & 1 ? CHILD[1] : CHILD[0]);
  return at;
};

/** Keys of the nodes that open [from, to), from the session key. Servers only. */
export const openNodes = (hash: LadderHash, session: Uint8Array, from: number, to: number): readonly OpenNode[] => {
  // Consecutive nodes of one cover share most of their way down, so inner nodes are kept for the call.
  const known = new Map<number, Uint8Array>();
  const nodeKey = (block: number, depth: number, path: number): Uint8Array => {
    const id = block * 512 + (1 << depth) + path;
    let key = known.get(id);
    if (key === undefined) {
      key = depth === 0 ? blockRoot(hash, session, block) : hash.hmac(nodeKey(block, depth - 1, path >> 1), path & 1 ? CHILD[1] : CHILD[0]);
      known.set(id, key);
    }
    return key;
  };
  return coverGroups(from, to).map((node) => ({ ...node, key: nodeKey(node.block, node.depth, node.path) }));
};

/** UK of every group below `node`, in order. Costs three HMACs a group. */
export const unlockKeysBelow = (hash: LadderHash, node: OpenNode): readonly { readonly group: number; readonly key: Uint8Array }[] => {
  let level: Uint8Array[] = [node.key];
  for (let depth = node.depth; depth < TREE_DEPTH; depth++) level = level.flatMap((key) => [hash.hmac(key, CHILD[0]), hash.hmac(key, CHILD[1])]);
  const { first } = groupsBelow(node);
  return level.map((leaf, index) => ({ group: first + index, key: hash.hmac(leaf, KEK) }));
};

/** UK of groups [from, to), in order, from the session key. Servers only. */
export const unlockKeys = (hash: LadderHash, session: Uint8Array, from: number, to: number): readonly Uint8Array[] =>
  openNodes(hash, session, from, to).flatMap((node) => unlockKeysBelow(hash, node).map(({ key }) => key));

/** The client's side: nodes in, unlock keys out. */
export type Unlocker = {
  /** Takes the nodes of a licence or an answer. Throws `bad-request` for a node that cannot exist. */
  add(nodes: readonly OpenNode[]): void;
  /** UK of a group, or undefined while no node opens it. */
  unlockKey(group: number): Uint8Array | undefined;
  /** Forgets nodes that only open groups before `group`, so that a channel watched for days keeps constant memory. */
  forgetBefore(group: number): void;
  /** Nodes held. */
  readonly size: number;
};

const validNode = ({ block, depth, path, key }: OpenNode): boolean =>
  Number.isInteger(block) && block >= 0 && block < MAX_GROUP / BLOCK_SIZE && Number.isInteger(depth) && depth >= 0 && depth <= TREE_DEPTH &&
  Number.isInteger(path) && path >= 0 && path < 1 << depth && key.length === 32;

/** `limit` bounds the nodes held; the ones for the earliest groups go first. */
export const createUnlocker = (hash: LadderHash, limit: number = 1024): Unlocker => {
  let held: OpenNode[] = [];
  let last: { readonly group: number; readonly key: Uint8Array } | undefined;
  const endOf = (node: OpenNode): number => groupsBelow(node).first + groupsBelow(node).count;
  return {
    add(nodes) {
      for (const node of nodes) {
        if (!validNode(node)) throw new SealcastError('bad-request', `unlock node must have depth 0-8, a path within it and a 32-byte key; got depth ${node.depth}, ${node.key.length} bytes`);
        const there = held.some((other) => other.block === node.block && other.depth === node.depth && other.path === node.path);
        if (!there) held.push(node);
      }
      if (held.length > limit) held = [...held].sort((a, b) => groupsBelow(a).first - groupsBelow(b).first).slice(held.length - limit);
    },
    unlockKey(group) {
      if (last?.group === group) return last.key;
      const node = held.find((candidate) => group >= groupsBelow(candidate).first && group < endOf(candidate));
      if (node === undefined) return undefined;
      const steps = TREE_DEPTH - node.depth;
      const key = hash.hmac(descend(hash, node.key, group - groupsBelow(node).first, steps), KEK);
      last = { group, key };
      return key;
    },
    forgetBefore(group) {
      held = held.filter((node) => endOf(node) > group);
    },
    get size() {
      return held.length;
    },
  };
};
