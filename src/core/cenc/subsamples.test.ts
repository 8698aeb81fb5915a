// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { avcConfigurationOf, avcCodecString, parseAvcConfiguration, writeAvcConfiguration } from '#core/avc/avc-configuration.ts';
import { lengthPrefixedNals } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import type { ParameterSets } from '#core/avc/parameter-sets.ts';
import { parseSliceHeader } from '#core/avc/slice-header.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { expectTypedOutcome, hostile, smallClip } from '../../../test/vectors/clips.ts';
import { avcSubsamples, maxSubsamples } from './subsamples.ts';

const clip = smallClip('avc');
const configuration = avcConfigurationOf(clip.track);
const fresh = (): ParameterSets => createParameterSets(configuration);
const prefixed = (...nals: readonly Uint8Array[]): Uint8Array => concatBytes(...nals.flatMap((nal) => [new ByteWriter(4).u32(nal.length).finish(), nal]));
/** A real slice of the clip, cut or filled up to `length` bytes. */
const sliceOf = (length: number): Uint8Array => {
  const bytes = clip.fragments[0] as Uint8Array;
  const sample = onlyTrackFragment(parseFragment(bytes, [clip.track])).samples[0];
  if (sample === undefined) throw new Error('no sample');
  const data = bytes.subarray(sample.offset, sample.offset + sample.size);
  const nal = lengthPrefixedNals(data, 4).find((unit) => unit.type === 5);
  if (nal === undefined) throw new Error('no slice');
  const unit = data.subarray(nal.start, nal.end);
  return concatBytes(unit.subarray(0, length), new Uint8Array(Math.max(0, length - unit.length)).fill(0x55));
};
const HEADER = parseSliceHeader(sliceOf(200), fresh()).headerBytes;
const sei = (length: number): Uint8Array => new Uint8Array(length).fill(6);

describe('avcSubsamples', () => {
  it('keeps everything but slice data clear, cenc in whole blocks, cbcs from the first byte', () => {
    const sample = prefixed(sei(30), sliceOf(HEADER + 100), sliceOf(HEADER + 48));
    expect(avcSubsamples(sample, 4, fresh(), 'cenc')).toEqual([
      { clear: 34 + 4 + HEADER + 4, protected: 96 },
      { clear: 4 + HEADER, protected: 48 },
    ]);
    expect(avcSubsamples(sample, 4, fresh(), 'cbcs')).toEqual([
      { clear: 34 + 4 + HEADER, protected: 100 },
      { clear: 4 + HEADER, protected: 48 },
    ]);
  });

  it('joins slices without a whole block to the clear bytes around them', () => {
    const sample = prefixed(sliceOf(HEADER + 15), sliceOf(HEADER + 16), sei(5), sliceOf(HEADER));
    for (const scheme of ['cenc', 'cbcs'] as const) {
      expect(avcSubsamples(sample, 4, fresh(), scheme)).toEqual([
        { clear: 4 + HEADER + 15 + 4 + HEADER, protected: 16 },
        { clear: 9 + 4 + HEADER, protected: 0 },
      ]);
    }
  });

  it('splits clear counts above 16 bits', () => {
    const sample = prefixed(sei(0x20000), sliceOf(HEADER + 32));
    expect(avcSubsamples(sample, 4, fresh(), 'cbcs')).toEqual([
      { clear: 0xffff, protected: 0 },
      { clear: 0xffff, protected: 0 },
      { clear: 0x20000 + 4 + 4 + HEADER - 2 * 0xffff, protected: 32 },
    ]);
    expect(avcSubsamples(prefixed(sei(9)), 4, fresh(), 'cenc')).toEqual([{ clear: 13, protected: 0 }]);
    expect(avcSubsamples(new Uint8Array(0), 4, fresh(), 'cenc')).toEqual([{ clear: 0, protected: 0 }]);
  });

  it('protects the largest slices where there are too many, also beside clear counts that need splitting', () => {
    const slices = Array.from({ length: 60 }, (_, i) => sliceOf(HEADER + 32 + i * 16));
    for (const scheme of ['cenc', 'cbcs'] as const) {
      for (const sample of [prefixed(...slices), prefixed(sei(0x30000), ...slices)]) {
        const table = avcSubsamples(sample, 4, fresh(), scheme);
        expect(table.length).toBeLessThanOrEqual(maxSubsamples(scheme));
        expect(table.reduce((sum, { clear, protected: length }) => sum + clear + length, 0)).toBe(sample.length);
        const kept = table.filter((entry) => entry.protected > 0).map((entry) => entry.protected);
        expect(kept.length).toBeGreaterThanOrEqual(maxSubsamples(scheme) - 4);
        expect(kept).toEqual(Array.from({ length: kept.length }, (_, i) => 32 + (60 - kept.length + i) * 16));
      }
    }
    expect(() => avcSubsamples(prefixed(sei(50 * 0x10000)), 4, fresh(), 'cenc')).toThrow(expect.objectContaining({ code: 'media-too-large' }));
  });

  it('refuses coding tools whose slices it would leave readable', () => {
    for (const type of [2, 3, 4, 19, 20, 21]) {
      expect(() => avcSubsamples(prefixed(Uint8Array.of(0x60 | type, 1, 2)), 4, fresh(), 'cenc')).toThrow(/transcode/);
    }
  });

  it('uses parameter sets met in the sample', () => {
    const sets = createParameterSets();
    const sample = prefixed(...configuration.sps, ...configuration.pps, sliceOf(HEADER + 64));
    expect(avcSubsamples(sample, 4, sets, 'cbcs').at(-1)?.protected).toBe(64);
    expect(() => avcSubsamples(prefixed(sliceOf(99)), 4, createParameterSets(), 'cbcs')).toThrow(expect.objectContaining({ code: 'media-malformed' }));
  });

  it('survives hostile samples, and what it accepts adds up', () => {
    fc.assert(
      fc.property(
        hostile(prefixed(...configuration.sps, sei(10), sliceOf(120), ...configuration.pps, sliceOf(60))),
        fc.constantFrom('cenc' as const, 'cbcs' as const),
        (sample, scheme) =>
          expectTypedOutcome(() => {
            const table = avcSubsamples(sample, 4, fresh(), scheme);
            expect(table.reduce((sum, { clear, protected: length }) => sum + clear + length, 0)).toBe(sample.length);
          }),
      ),
      { numRuns: 1000 },
    );
  });
});

describe('avcC', () => {
  it('is written as it was read', () => {
    expect(writeAvcConfiguration(configuration)).toEqual(clip.track.avcC);
    expect(avcCodecString(configuration)).toBe(clip.track.codec);
    const plain = { profile: 66, compatibility: 0xc0, level: 30, lengthSize: 2, sps: [Uint8Array.of(0x67, 1)], pps: [Uint8Array.of(0x68), Uint8Array.of(0x68, 2)] };
    expect(parseAvcConfiguration(writeAvcConfiguration(plain))).toEqual(plain);
    expect(avcCodecString(plain, 'avc3')).toBe('avc3.42c01e');
  });

  it('is refused where it lies, or where the video is something else', () => {
    const bytes = clip.track.avcC ?? new Uint8Array();
    expect(() => parseAvcConfiguration(Uint8Array.of(2, ...bytes.subarray(1)))).toThrow(expect.objectContaining({ code: 'media-unsupported' }));
    expect(() => avcConfigurationOf({ format: 'hev1' })).toThrow(/"hev1".*libx264/);
    fc.assert(
      fc.property(hostile(bytes), (changed) => expectTypedOutcome(() => createParameterSets(parseAvcConfiguration(changed)))),
      { numRuns: 700 },
    );
  });
});
