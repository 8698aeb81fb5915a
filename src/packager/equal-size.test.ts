// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { parseFragment } from '#core/isobmff/fragment.ts';
import { smallClip } from '../../test/vectors/clips.ts';
import { commonLength, equaliseSizes, padTo } from './equal-size.ts';

describe('equal sizes', () => {
  it('no variant is longer than another, and padding is none or a whole box', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 8 }), (lengths) => {
        const target = commonLength(lengths);
        for (const length of lengths) {
          const padded = padTo(new Uint8Array(length).fill(7), target);
          expect(padded.length).toBe(target);
          expect(padded.subarray(0, length).every((byte) => byte === 7)).toBe(true);
        }
        expect(target - Math.max(...lengths)).toBeLessThanOrEqual(8);
      }),
    );
  });
  it('the box is one that readers skip: the same fragment comes out of a padded segment', () => {
    const { fragments, track } = smallClip('avc');
    const fragment = fragments[0] as Uint8Array;
    const padded = padTo(fragment, fragment.length + 100);
    expect(readBoxes(padded).at(-1)).toMatchObject({ type: 'free' });
    const [piece] = createBoxSplitter().push(concatBytes(padded, fragments[1] as Uint8Array));
    expect(parseFragment(piece?.bytes ?? padded, [track]).tracks).toEqual(parseFragment(fragment, [track]).tracks);
  });
  it('pads every segment of every variant in the store', async () => {
    const store = createMemoryObjects();
    const sizes = [[100, 104, 90], [50, 50, 50], [10, 300, 299]];
    for (const [number, row] of sizes.entries()) for (const [index, size] of row.entries()) await store.put(`t/v/${'abc'[index]}/${number}.m4s`, new Uint8Array(size));
    const total = await equaliseSizes({ store, folder: 't/v', variants: ['a', 'b', 'c'], segments: 3 });
    const after = await Promise.all(sizes.map((row, number) => Promise.all(row.map((_, index) => store.size(`t/v/${'abc'[index]}/${number}.m4s`)))));
    expect(after).toEqual([[112, 112, 112], [50, 50, 50], [308, 308, 308]]);
    expect(total).toBe(112 + 50 + 308);
    await expect(equaliseSizes({ store, folder: 't/v', variants: ['a', 'x'], segments: 1 })).rejects.toMatchObject({ code: 'store-unavailable' });
  });
});
