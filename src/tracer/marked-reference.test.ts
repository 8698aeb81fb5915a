// SPDX-License-Identifier: Apache-2.0
/** References of marks: difference files, descriptions, likelihoods of slots. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SealcastError } from '#core/errors.ts';
import { CALIBRATION, NOISE } from './calibration.ts';
import { decodeDifferences, encodeDifferences } from './difference-file.ts';
import { differencesOf, type Differences } from './differences.ts';
import { parseMarks } from './marked-reference.ts';
import { slotLikelihoods, weighedValues } from './soft-values.ts';
import type { SlotStatistic } from './slot-reader.ts';

const digest = Uint8Array.from({ length: 32 }, (_, i) => i);

describe('differences', () => {
  const [width, height, frames, groups] = [16, 8, 3, 4];
  const base = Array.from({ length: frames }, (_, n) => Uint8Array.from({ length: width * height }, (_, i) => 60 + ((i * 7 + n * 13) % 90)));
  /** Group g adds g + 1 levels to the 4 x 4 cell g from picture 1 on. */
  const withGroup = (group: number): Uint8Array[] =>
    base.map((picture, n) => {
      const out = picture.slice();
      if (n >= 1) for (let y = 0; y < 4; y++) for (let x = 0; x < 4; x++) out[y * width + group * 4 + x] = (out[y * width + group * 4 + x] as number) + group + 1;
      return out;
    });
  const tool = (pictures: readonly Uint8Array[]) => ({
    filePictures: () => {
      throw new Error('not a file');
    },
    async *codedPictures() {
      yield* pictures.map((picture) => picture.slice());
    },
  });
  const segment = { frames, groups, original: Uint8Array.of(0), withGroup: (group: number) => Uint8Array.of(group + 1) };
  const all = [...base, ...Array.from({ length: groups }, (_, group) => withGroup(group)).flat()];

  test('are the sums of what a group changes, cell by cell', async () => {
    const made = await differencesOf(tool(all), segment, { width, height });
    expect(made.starts[made.starts.length - 1]).toBe(groups * 2);
    expect([...made.cells]).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect([...made.sums.slice(0, 8)]).toEqual([4, 4, 4, 4, 4, 4, 4, 4]);
    expect([...made.sums.slice(-4)]).toEqual([16, 16, 16, 16]);
    expect(await decodeDifferences(await encodeDifferences(made, digest), digest)).toEqual(made);
  });
  test('of a decoder that shows another number of pictures are refused', async () => {
    for (const wrong of [all.slice(1), [...all, base[0] as Uint8Array]]) await expect(differencesOf(tool(wrong), segment, { width, height })).rejects.toMatchObject({ code: 'media-malformed' });
  });
  test('of another original, damaged or cut are made anew, never used', async () => {
    const made: Differences = { width, height, frames: 1, groups: 2, starts: Uint32Array.of(0, 1, 2), cells: Uint32Array.of(5, 1), sums: Int8Array.of(1, -2, 3, -4, 127, -127, 0, 1) };
    const bytes = await encodeDifferences(made, digest);
    expect(await decodeDifferences(bytes, new Uint8Array(32))).toBeUndefined();
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), fc.boolean(), async (at, flip, cut) => {
        const broken = cut ? bytes.subarray(0, at) : Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ flip : byte));
        const read = await decodeDifferences(broken, digest);
        // A flip may fall on bits that DEFLATE does not use; then nothing is different.
        if (read !== undefined) expect(read.cells.length).toBe(made.cells.length);
      }),
      { seed: 5, numRuns: 200 },
    );
  });
});

describe('descriptions', () => {
  const good = { format: 'sealcast-marks/1', asset: 'derby', slots: 16, segmentMicros: 2_000_000, book: { kind: 'aligned', schedule: [{ from: 0, length: 48 }] }, representations: ['v720', 'v360'], live: true };
  test('read, or are refused with the rule', () => {
    expect(parseMarks(JSON.stringify(good))).toMatchObject({ asset: 'derby', slots: 16, segmentLength: 2_000_000, live: true, representations: ['v720', 'v360'] });
    for (const wrong of [{ format: 'x' }, { slots: 0 }, { slots: 129 }, { segmentMicros: 0.5 }, { representations: [] }, { representations: ['../x'] }, { book: [] }, { book: { kind: 'aligned', schedule: [] } }, { asset: '' }]) {
      expect(() => parseMarks(JSON.stringify({ ...good, ...wrong }))).toThrow(SealcastError);
    }
  });
});

describe('likelihoods of slots', () => {
  const slot = (ratio: number, seen = 1): SlotStatistic => ({ fine: 0, coarse: 0, fineRatio: ratio, coarseRatio: ratio / 1.6, seen });
  test('rise with the statistic, mirror its sign, and are never sure', () => {
    const around = Array.from({ length: 60 }, (_, i) => slot(i % 2 === 0 ? 20 : -20));
    const shares = [0, 2, 5, 10, 20, 60].map((ratio) => slotLikelihoods([...around, slot(ratio)]).at(-1)?.[1] as number);
    expect(shares).toEqual(shares.toSorted((a, b) => a - b));
    expect(shares[0]).toBe(0.5);
    expect(shares.at(-1)).toBeLessThanOrEqual(0.99);
    expect(slotLikelihoods([...around, slot(-10)]).at(-1)?.[0]).toBeCloseTo(shares[3] as number, 9);
  });
  test('of a copy in which little is left count for little', () => {
    const strong = Array.from({ length: 60 }, (_, i) => slot(i % 2 === 0 ? 30 : -30));
    const weak = Array.from({ length: 60 }, (_, i) => slot(i % 2 === 0 ? NOISE : -NOISE));
    const [inStrong, inWeak] = [strong, weak].map((around) => weighedValues([...around, slot(12)]).at(-1) as number);
    expect(inWeak).toBeLessThan((inStrong as number) / 4);
  });
  test('of slots that were not seen are erasures; the table rises', () => {
    expect(slotLikelihoods([slot(30, 0.01)])).toEqual([undefined]);
    for (const column of [0, 1] as const) expect(CALIBRATION.map((row) => row[column])).toEqual(CALIBRATION.map((row) => row[column]).toSorted((a, b) => a - b));
  });
});
