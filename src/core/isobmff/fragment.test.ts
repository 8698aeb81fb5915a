// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import type { MediaTicks, Micros } from '#core/time.ts';
import { expectTypedOutcome, hostile, smallClip } from '../../../test/vectors/clips.ts';
import { readBoxes, writeBox, writeFullBox } from './box.ts';
import { retimeFragment, samplesToWrite, writeFragment } from './fragment-writer.ts';
import type { SampleToWrite } from './fragment-writer.ts';
import { durationOf, MAX_SAMPLES, onlyTrackFragment, parseFragment } from './fragment.ts';
import { parseBrands, parsePrft, writeBrands, writePrft, writeSidx } from './segment-boxes.ts';

const failing = (code: string): unknown => expect.objectContaining({ code });
const TRACK = { id: 1, defaults: { duration: 0, size: 0, flags: 0 } };
const u32 = (...values: readonly number[]): Uint8Array => values.reduce((writer, value) => writer.u32(value), new ByteWriter()).finish();
const time = (ticks: bigint): MediaTicks => ticks as MediaTicks;

/** A fragment from raw traf boxes; `data` fills mdat. */
const fragmentOf = (trafs: readonly Uint8Array[], data: Uint8Array = new Uint8Array(64)): Uint8Array =>
  concatBytes(writeBox('moof', writeFullBox('mfhd', 0, 0, u32(9)), ...trafs), writeBox('mdat', data));
const tfhd = (flags: number, ...fields: readonly number[]): Uint8Array => writeFullBox('tfhd', 0, flags, u32(1, ...fields));
const tfdt = writeFullBox('tfdt', 0, 0, u32(77));
const trun = (flags: number, ...fields: readonly number[]): Uint8Array => writeFullBox('trun', 0, flags, u32(...fields));
const headSize = (...boxes: readonly Uint8Array[]): number => 8 + 16 + 8 + boxes.reduce((sum, box) => sum + box.length, 0) + 8;

describe('parseFragment', () => {
  it('reads what ffmpeg wrote', () => {
    const { track, fragments } = smallClip('avc');
    let next = 0n;
    fragments.forEach((bytes, i) => {
      const fragment = parseFragment(bytes, [track]);
      const run = onlyTrackFragment(fragment);
      expect(fragment.sequenceNumber).toBe(i + 1);
      expect(run.baseMediaDecodeTime).toBe(next);
      expect(run.samples[0]?.sync).toBe(i % 2 === 0);
      expect(run.samples.reduce((sum, sample) => sum + sample.size, 0)).toBe(fragment.mdat.body.length);
      next += durationOf(run);
    });
    expect(next).toBe(20n * 1024n);
  });

  it('takes defaults of tfhd and trex, several runs, first-sample flags and negative offsets', () => {
    const trafOf = (offset: number): readonly Uint8Array[] => [
      tfhd(0x20000 | 0x8 | 0x10, 40, 5),
      tfdt,
      trun(0x5, 2, offset, 0),
      writeFullBox('trun', 1, 0x800, u32(1, 0xfffffff6)),
      trun(0x300, 1, 33, 7),
    ];
    const bytes = fragmentOf([writeBox('traf', ...trafOf(headSize(...trafOf(0))))]);
    const run = onlyTrackFragment(parseFragment(bytes, [{ id: 1, defaults: { duration: 1, size: 1, flags: 0x10000 } }]));
    const start = bytes.length - 64;
    expect(run.baseMediaDecodeTime).toBe(77n);
    expect(run.samples).toEqual([
      { offset: start, size: 5, duration: 40, flags: 0, compositionOffset: 0, sync: true },
      { offset: start + 5, size: 5, duration: 40, flags: 0x10000, compositionOffset: 0, sync: false },
      { offset: start + 10, size: 5, duration: 40, flags: 0x10000, compositionOffset: -10, sync: false },
      { offset: start + 15, size: 7, duration: 33, flags: 0x10000, compositionOffset: 0, sync: false },
    ]);
  });

  it('refuses samples outside mdat, bombs, and what CMAF does not have', () => {
    const one =
      (run: Uint8Array, head: Uint8Array = tfhd(0x20000)): (() => unknown) =>
      () =>
        parseFragment(fragmentOf([writeBox('traf', head, tfdt, run)]), [TRACK]);
    const offset = headSize(tfhd(0x20000), tfdt, trun(0x201, 1, 0, 1));
    expect(one(trun(0x201, 1, offset, 64))).not.toThrow();
    expect(one(trun(0x201, 1, offset, 65))).toThrow(failing('media-truncated'));
    expect(one(trun(0x201, 1, offset - 1, 1))).toThrow(failing('media-malformed'));
    expect(one(trun(0x201, 1, 0xffffff00, 1))).toThrow(failing('media-malformed'));
    expect(one(trun(0x201, 1, 0x7fffffff, 1))).toThrow(failing('media-truncated'));
    expect(one(trun(0x1, 0xffffffff, offset))).toThrow(failing('media-too-large'));
    expect(one(trun(0x1, MAX_SAMPLES + 1, offset))).toThrow(failing('media-too-large'));
    expect(one(trun(0x201, 2, offset, 1))).toThrow(failing('media-truncated'));
    expect(one(trun(0x201, 1, offset, 1), tfhd(0x1, 0, 0))).toThrow(/default_base_moof/);
    expect(() => parseFragment(fragmentOf([writeBox('traf', tfhd(0x20000))]), [TRACK])).toThrow(/tfdt/);
    expect(() => parseFragment(fragmentOf([writeBox('traf', tfhd(0x20000), tfdt)]), [])).toThrow(/track 1/);
    expect(() => parseFragment(fragmentOf([writeBox('traf', tfhd(0x20000), tfdt), writeBox('traf', tfhd(0x20000), tfdt)]), [TRACK])).toThrow(/two runs/);
    expect(() => parseFragment(concatBytes(writeBox('mdat'), writeBox('moof', writeFullBox('mfhd', 0, 0, u32(1)))), [TRACK])).toThrow(/before moof/);
    expect(() => onlyTrackFragment(parseFragment(fragmentOf([]), [TRACK]))).toThrow(failing('media-unsupported'));
  });

  it('survives hostile variations', () => {
    for (const name of ['avc', 'aac'] as const) {
      const { track, fragments } = smallClip(name);
      const bytes = fragments[0] as Uint8Array;
      // Most changes should meet the boxes, not the sample data.
      const head = bytes.subarray(0, 400);
      fc.assert(
        fc.property(hostile(head), (start) =>
          expectTypedOutcome(() => {
            const changed = concatBytes(start, bytes.subarray(400));
            for (const run of parseFragment(changed, [track]).tracks) for (const sample of run.samples) expect(sample.offset + sample.size).toBeLessThanOrEqual(changed.length);
            retimeFragment(changed, { shift: () => 5n });
          }),
        ),
        { numRuns: 700 },
      );
    }
  });
});

describe('writeFragment', () => {
  const sample: fc.Arbitrary<SampleToWrite> = fc.record({
    data: fc.uint8Array({ maxLength: 50 }),
    duration: fc.nat({ max: 0xffffffff }),
    flags: fc.constantFrom(0, 0x10000, 0x1010000, 0x2000000),
    compositionOffset: fc.integer({ min: -0x80000000, max: 0x7fffffff }),
  });

  it('is read back sample by sample', () => {
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 12 }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), fc.boolean(), (samples, start, reordered) => {
        const list = reordered ? samples : samples.map((one) => ({ ...one, compositionOffset: 0 }));
        const bytes = writeFragment({ sequenceNumber: 3, trackId: 1, baseMediaDecodeTime: time(start), samples: list });
        const fragment = parseFragment(bytes, [TRACK]);
        const run = onlyTrackFragment(fragment);
        expect(run.baseMediaDecodeTime).toBe(start);
        expect(samplesToWrite(fragment, run.samples)).toEqual(list);
      }),
    );
  });

  it('cuts a fragment in two without losing a sample', () => {
    const { track, fragments } = smallClip('avc');
    const fragment = parseFragment(fragments[0] as Uint8Array, [track]);
    const run = onlyTrackFragment(fragment);
    const cut = (from: number, to: number): ReturnType<typeof samplesToWrite> => {
      const bytes = writeFragment({ sequenceNumber: 1, trackId: 1, baseMediaDecodeTime: time(0n), samples: samplesToWrite(fragment, run.samples, from, to) });
      const part = parseFragment(bytes, [track]);
      return samplesToWrite(part, onlyTrackFragment(part).samples);
    };
    expect([...cut(0, 2), ...cut(2, run.samples.length)]).toEqual(samplesToWrite(fragment, run.samples));
  });
});

describe('retimeFragment', () => {
  it('moves decode times and prft, widens a 32-bit tfdt, keeps the samples', () => {
    const size = headSize(tfhd(0x20000), tfdt, trun(0x201, 1, 0, 3));
    const narrow = fragmentOf([writeBox('traf', tfhd(0x20000), tfdt, trun(0x201, 1, size, 3))], Uint8Array.of(1, 2, 3));
    const prft = writePrft({ trackId: 1, wallClock: 1_700_000_000_123_456 as Micros, mediaTime: time(77n) });
    const moved = parseFragment(retimeFragment(concatBytes(prft, narrow), { sequenceNumber: 12, shift: () => 1n << 40n }), [TRACK]);
    const run = onlyTrackFragment(moved);
    expect(moved.sequenceNumber).toBe(12);
    expect(run.baseMediaDecodeTime).toBe(77n + (1n << 40n));
    expect([...(samplesToWrite(moved, run.samples)[0]?.data ?? [])]).toEqual([1, 2, 3]);
    expect(moved.prft).toMatchObject({ wallClock: 1_700_000_000_123_456, mediaTime: 77n + (1n << 40n) });
  });

  it('changes nothing else of a real fragment, and nothing at all without a change', () => {
    const { fragments } = smallClip('aac');
    const bytes = fragments[0] as Uint8Array;
    expect(retimeFragment(bytes, {})).toBe(bytes);
    expect(retimeFragment(retimeFragment(bytes, { shift: () => 123_456n }), { shift: () => -123_456n })).toEqual(bytes);
    expect(() => retimeFragment(bytes, { shift: () => -1n })).toThrow(failing('media-malformed'));
  });
});

describe('small boxes', () => {
  it('writes and reads brands', () => {
    const box = readBoxes(writeBrands('styp', 'cmfs', ['msdh', 'lmsg'], 5))[0];
    expect(box === undefined ? undefined : parseBrands(box)).toEqual({ major: 'cmfs', minor: 5, compatible: ['msdh', 'lmsg'] });
    expect(() => writeBrands('styp', 'toolong', [])).toThrow(RangeError);
  });

  it('reads back prft times to the microsecond', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2_000_000_000_000_000 }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), (wallClock, mediaTime) => {
        const box = readBoxes(writePrft({ trackId: 4, wallClock: wallClock as Micros, mediaTime: time(mediaTime) }))[0];
        expect(box === undefined ? undefined : parsePrft(box)).toEqual({ trackId: 4, wallClock, mediaTime, flags: 24 });
      }),
    );
  });

  it('lays out sidx as 14496-12 8.16.3 says', () => {
    const bytes = writeSidx({
      trackId: 1,
      timescale: 1000,
      earliest: time(5n),
      entries: [
        { size: 10, duration: 2000, sync: true },
        { size: 11, duration: 1000, sync: false },
      ],
    });
    expect(Buffer.from(bytes).toString('hex')).toBe(
      '0000004073696478' +
        '01000000' +
        '00000001' +
        '000003e8' +
        '0000000000000005' +
        '0000000000000000' +
        '0000' +
        '0002' +
        '0000000a000007d090000000' +
        '0000000b000003e800000000',
    );
  });
});
