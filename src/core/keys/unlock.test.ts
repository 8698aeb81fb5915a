// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHex } from '#core/bytes/hex.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { coverGroups, createUnlocker, groupsBelow, openNodes, TREE_DEPTH, type TreeNode, unlockKeys } from './unlock.ts';

const SK = new Uint8Array(32).fill(5);
const range = fc.tuple(fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 2 ** 32 - 3000, max: 2 ** 32 - 1200 })), fc.integer({ min: 0, max: 1200 })).map(([from, length]) => [from, from + length] as const);
const groupsOf = (nodes: readonly TreeNode[]): number[] => nodes.flatMap((node) => Array.from({ length: groupsBelow(node).count }, (_, i) => groupsBelow(node).first + i));

/** Least number of nodes by recursion over whole trees: a subtree counts once if it lies inside, else the sum of its halves. */
const leastCount = (from: number, to: number): number => {
  const count = (first: number, size: number): number => {
    if (first >= to || first + size <= from) return 0;
    if (first >= from && first + size <= to) return 1;
    return count(first, size / 2) + count(first + size / 2, size / 2);
  };
  let sum = 0;
  for (let block = Math.floor(from / 256); block * 256 < to; block++) sum += count(block * 256, 256);
  return sum;
};

describe('coverGroups', () => {
  it('opens exactly the range, with as few nodes as brute force', () => {
    fc.assert(
      fc.property(range, ([from, to]) => {
        const nodes = coverGroups(from, to);
        expect(groupsOf(nodes)).toEqual(Array.from({ length: to - from }, (_, i) => from + i));
        expect(nodes).toHaveLength(leastCount(from, to));
        for (const { depth, path } of nodes) expect(depth >= 0 && depth <= TREE_DEPTH && path >= 0 && path < 1 << depth).toBe(true);
      }),
    );
  });
  it('names whole blocks by their root', () => {
    expect(coverGroups(256, 768)).toEqual([{ block: 1, depth: 0, path: 0 }, { block: 2, depth: 0, path: 0 }]);
    expect(coverGroups(5, 5)).toEqual([]);
  });
  it('refuses ranges outside u32 and absurdly long ones', () => {
    for (const [from, to] of [[-1, 2], [0.5, 2], [0, 2 ** 32 + 1], [0, 70_000]] as const) expect(() => coverGroups(from, to)).toThrow(RangeError);
  });
});

describe('unlocker', () => {
  it('gives a client exactly the keys of the opened groups', () => {
    fc.assert(
      fc.property(range.filter(([from, to]) => to - from <= 64), fc.nat(100), ([from, to], around) => {
        const unlocker = createUnlocker(hash);
        unlocker.add(openNodes(hash, SK, from, to));
        const expected = unlockKeys(hash, SK, from, to).map(encodeHex);
        expect(Array.from({ length: to - from }, (_, i) => encodeHex(unlocker.unlockKey(from + i) ?? new Uint8Array()))).toEqual(expected);
        expect(unlocker.unlockKey(to + around)).toBeUndefined();
        if (from > around) expect(unlocker.unlockKey(from - around - 1)).toBeUndefined();
      }),
      { numRuns: 40 },
    );
  });
  it('keeps bounded memory and forgets what is behind', () => {
    const unlocker = createUnlocker(hash, 8);
    for (let g = 1; g < 60; g += 2) unlocker.add(openNodes(hash, SK, g, g + 1));
    expect(unlocker.size).toBe(8);
    expect(unlocker.unlockKey(1)).toBeUndefined();
    expect(unlocker.unlockKey(59)).toBeDefined();
    unlocker.add(openNodes(hash, SK, 59, 60));
    expect(unlocker.size).toBe(8);
    unlocker.forgetBefore(59);
    expect(unlocker.size).toBe(1);
  });
  it('refuses nodes that cannot exist', () => {
    const unlocker = createUnlocker(hash);
    const key = new Uint8Array(32);
    for (const node of [{ block: 0, depth: 9, path: 0, key }, { block: 0, depth: 2, path: 4, key }, { block: -1, depth: 0, path: 0, key }, { block: 2 ** 24, depth: 0, path: 0, key }, { block: 0, depth: 0, path: 0, key: new Uint8Array(31) }]) {
      expect(() => unlocker.add([node])).toThrow(/unlock node/);
    }
  });
});
