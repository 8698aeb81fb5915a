// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { lengthPrefixedNals } from '#core/avc/nal.ts';
import { isSealcastError } from '#core/errors.ts';
import type { Track } from '#core/isobmff/init.ts';
import { createTimedSamples, padPicture, padSound, sizeBucket } from './timed-samples.ts';

const unit = (type: number, length: number, fill = 0x55): Uint8Array => Uint8Array.from([type, ...new Array<number>(length - 1).fill(fill)]);
const picture = (...units: readonly Uint8Array[]): Uint8Array => Uint8Array.from(units.flatMap((each) => [0, 0, each.length >> 8, each.length & 255, ...each]));
const track = (more: Partial<Track>): Track => ({ kind: 'video', codec: 'avc1.64001f', avcC: Uint8Array.of(1, 0x64, 0, 0x1f, 0xff, 0xe1, 0), ...more }) as Track;
const sample = (data: Uint8Array, compositionOffset = 0): { data: Uint8Array; duration: number; flags: number; compositionOffset: number } => ({ data, duration: 1, flags: 0, compositionOffset });

describe('sizes of a timed event', () => {
  test('there are eight of them between powers of two, none smaller, at most an eighth larger', () => {
    fc.assert(
      fc.property(fc.integer({ min: 65, max: 4_000_000 }), (size) => {
        const bucket = sizeBucket(size);
        expect(bucket).toBeGreaterThanOrEqual(size);
        expect(bucket).toBeLessThanOrEqual(size * 1.125 + 1);
        expect(sizeBucket(bucket)).toBe(bucket);
      }),
      { seed: 1 },
    );
    const sizes = new Set(Array.from({ length: 1024 }, (_, index) => sizeBucket(1025 + index)));
    expect(sizes.size).toBe(8);
  });

  test('pictures: the last slice grows by zero words, parameters stay, SEI is gone, the whole has its bucket\'s size', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 5000 }), fc.integer({ min: 2, max: 400 }), (slice, sei) => {
        const padded = padPicture(picture(unit(6, sei), unit(8, 5), unit(0x65, slice)), 4);
        const units = lengthPrefixedNals(padded, 4);
        expect(units.map(({ type }) => type)).toEqual([8, 5]);
        const last = units[1] as (typeof units)[number];
        const body = padded.subarray(last.start, last.end);
        expect(body.subarray(0, slice)).toEqual(unit(0x65, slice));
        expect([...body.subarray(slice)].every((byte, index) => byte === (index % 3 === 2 ? 3 : 0))).toBe(true);
        expect(padded.length - sizeBucket(4 + 5 + 4 + slice)).toBeGreaterThanOrEqual(0);
        expect(padded.length - sizeBucket(4 + 5 + 4 + slice)).toBeLessThanOrEqual(2);
      }),
      { seed: 2 },
    );
  });

  test('two pictures of one bucket cannot be told apart by size, but for the rest of a division by three', () => {
    const sizes = Array.from({ length: 100 }, (_, index) => padPicture(picture(unit(0x41, 1040 + index)), 4).length);
    expect(new Set(sizes.map((size) => sizeBucket(size - 2))).size).toBe(1);
    expect(new Set(sizes).size).toBeLessThanOrEqual(3);
  });

  test('sound: zero bytes behind', () => {
    const padded = padSound(unit(0x21, 300));
    expect(padded.length).toBe(sizeBucket(300));
    expect(padded.subarray(0, 300)).toEqual(unit(0x21, 300));
  });

  test('what is no picture is refused, not padded', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        try {
          padPicture(bytes, 4);
        } catch (error) {
          expect(isSealcastError(error)).toBe(true);
        }
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  test('strict events take no reordered pictures; standard ones do', () => {
    const pictures = [sample(picture(unit(0x65, 50)), 2), sample(picture(unit(0x41, 50)), 5)];
    expect(() => createTimedSamples(track({}), { strict: true, pad: false })(pictures)).toThrow(/B-frames/);
    expect(createTimedSamples(track({}), { strict: true, pad: false })([pictures[0] as (typeof pictures)[number]])).toHaveLength(1);
    expect(createTimedSamples(track({}), { strict: false, pad: true })(pictures)).toHaveLength(2);
    expect(createTimedSamples(track({ kind: 'audio', codec: 'opus' }), { strict: true, pad: true })(pictures)).toEqual(pictures);
  });
});
