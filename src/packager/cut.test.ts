// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { samplesToWrite, writeFragment } from '#core/isobmff/fragment-writer.ts';
import { microsFromTicks } from '#core/time.ts';
import type { MediaTicks, Micros, Timescale } from '#core/time.ts';
import { clockSegments, cutPoints, titleSegments } from './cut.ts';

const TRACK = [{ id: 1, defaults: { duration: 0, size: 0, flags: 0 } }];
const sample = fc.record({
  data: fc.uint8Array({ minLength: 0, maxLength: 12 }),
  duration: fc.integer({ min: 1, max: 4000 }),
  flags: fc.constantFrom(0x02000000, 0x01010000),
  compositionOffset: fc.integer({ min: -2000, max: 2000 }),
});

describe('cutting', () => {
  test('keeps every sample byte for byte, in order, and no piece spans two periods or two segments', () => {
    fc.assert(
      fc.property(
        fc.array(sample, { minLength: 1, maxLength: 60 }),
        fc.bigInt({ min: 0n, max: 2n ** 47n }),
        fc.constantFrom(1000, 12_800, 30_000, 48_000, 90_000),
        fc.integer({ min: 50_000, max: 3_000_000 }),
        fc.integer({ min: 50_000, max: 3_000_000 }),
        fc.option(fc.integer({ min: 1, max: 20_000 }), { nil: undefined }),
        (samples, base, scale, period, segment, longest) => {
          const timescale = scale as Timescale;
          const source = parseFragment(writeFragment({ sequenceNumber: 1, trackId: 1, baseMediaDecodeTime: base as MediaTicks, samples }), TRACK);
          const run = onlyTrackFragment(source);
          const pieces = cutPoints(run, {
            timescale,
            shift: 0n,
            segmentOf: clockSegments(segment as Micros),
            period: period as Micros,
            ...(longest === undefined ? {} : { longest }),
          });
          let time = base;
          const data: Uint8Array[] = [];
          let next = 0;
          for (const piece of pieces) {
            expect(piece.from).toBe(next);
            expect(piece.decodeTime).toBe(time);
            next = piece.to;
            const written = parseFragment(
              writeFragment({ sequenceNumber: 1, trackId: 1, baseMediaDecodeTime: piece.decodeTime, samples: samplesToWrite(source, run.samples, piece.from, piece.to) }),
              TRACK,
            );
            const back = onlyTrackFragment(written);
            expect(back.samples.map(({ duration, flags, compositionOffset }) => ({ duration, flags, compositionOffset }))).toEqual(
              samples.slice(piece.from, piece.to).map(({ duration, flags, compositionOffset }) => ({ duration, flags, compositionOffset })),
            );
            for (const item of back.samples) {
              const start = microsFromTicks(time as MediaTicks, timescale);
              expect(Math.floor(start / period)).toBe(piece.period);
              expect(Math.floor(start / segment)).toBe(piece.segment);
              data.push(written.bytes.subarray(item.offset, item.offset + item.size));
              time += BigInt(item.duration);
            }
            if (longest !== undefined && piece.to - piece.from > 1) expect(piece.duration).toBeLessThanOrEqual(longest);
          }
          expect(next).toBe(samples.length);
          expect(concatBytes(...data)).toEqual(concatBytes(...samples.map((item) => item.data)));
        },
      ),
    );
  });

  test('a title starts a segment at the first sync sample past the grid only', () => {
    const segmentOf = titleSegments(4_000_000 as Micros);
    const starts = [0, 2, 3.9, 4.1, 5, 8, 8.5, 13].map((seconds) => Math.round(seconds * 1_000_000) as Micros);
    const sync = [true, true, false, false, true, false, true, true];
    expect(starts.map((start, index) => segmentOf(start, sync[index] ?? false))).toEqual([0, 0, 0, 0, 1, 1, 2, 3]);
  });
});
