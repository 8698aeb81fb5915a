// SPDX-License-Identifier: Apache-2.0
/** The profiler on damaged and hostile media: an answer with a reason, whatever the bytes; keyed random numbers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { clipBytes, readCmaf } from '../../test/vectors/clips.ts';
import { createMarkProfiler, type SegmentCapacity } from './mark-profiler.ts';
import { markRandom } from './mark-random.ts';

const { track, fragments: chunks } = readCmaf(clipBytes('avc'));
const profilerOf = (onSegment?: (capacity: SegmentCapacity) => void) => createMarkProfiler({ track, representation: 'v', choiceKey: new Uint8Array(32).fill(1), slots: 16, ...(onSegment && { onSegment }) });

describe('the profiler', () => {
  it('answers damaged media with a reason, and goes on with the next chunk', () => {
    fc.assert(
      fc.property(fc.nat(chunks.length - 1), fc.array(fc.record({ at: fc.nat(), flip: fc.integer({ min: 1, max: 255 }) }), { minLength: 1, maxLength: 8 }), (which, changes) => {
        const chunk = (chunks[which] as Uint8Array).slice();
        // Media only: the boxes are the packager's own.
        const from = Buffer.from(chunk).indexOf('mdat') + 4;
        for (const { at, flip } of changes) {
          const place = from + (at % Math.max(1, chunk.length - from));
          chunk[place] = (chunk[place] as number) ^ flip;
        }
        const profiler = profilerOf();
        const found = profiler.profile(chunk, { segment: 0, from: 0, to: 1 });
        for (const { offset, mask } of found.sites) expect(offset + mask.length).toBeLessThanOrEqual(chunk.length);
        if (found.sites.length === 0) expect(found.because).toMatch(/^[a-z0-9:-]+$/);
        expect(profiler.profile(chunks[0] as Uint8Array, { segment: 1, from: 0, to: 1 }).because ?? 'no-places').toBe('no-places');
      }),
      { numRuns: 150 },
    );
  });
  it('tells of each segment once, when the next begins or at the end', () => {
    const told: number[] = [];
    const profiler = profilerOf(({ segment }) => told.push(segment));
    for (const segment of [4, 4, 5, 9]) profiler.profile((chunks[0] as Uint8Array).slice(), { segment, from: 0, to: 0.5 });
    expect(told).toEqual([4, 5]);
    expect(profiler.finish()?.segment).toBe(9);
    expect(profiler.finish()).toBeUndefined();
    expect(told).toEqual([4, 5, 9]);
  });
});

describe('random numbers of the choice', () => {
  it('depend on key, rendition and segment, lie in their ranges and repeat', () => {
    const draw = (key: number, representation: string, segment: number): number[] => {
      const random = markRandom(new Uint8Array(32).fill(key), representation, segment);
      return Array.from({ length: 100 }, () => random.unit());
    };
    const first = draw(1, 'v720', 5);
    expect(draw(1, 'v720', 5)).toEqual(first);
    for (const other of [draw(2, 'v720', 5), draw(1, 'v360', 5), draw(1, 'v720', 6)]) expect(other).not.toEqual(first);
    expect(first.every((value) => value > 0 && value <= 1)).toBe(true);
    expect(Math.abs(first.reduce((sum, value) => sum + value, 0) / 100 - 0.5)).toBeLessThan(0.15);
    const random = markRandom(new Uint8Array(32), 'v', 0);
    const counts = new Array<number>(5).fill(0);
    for (let i = 0; i < 5000; i++) {
      const value = random.below(5);
      counts[value] = (counts[value] as number) + 1;
    }
    for (const count of counts) expect(count).toBeGreaterThan(850);
  });
});
