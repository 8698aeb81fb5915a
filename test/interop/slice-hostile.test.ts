// SPDX-License-Identifier: Apache-2.0
/**
 * Slice data from an enemy: changed, cut and random bytes behind good and bad headers. The parser answers or throws a media
 * error, never reads outside its input (which would make bins undefined) and does no more work than the input is long.
 */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { CabacEngine } from '#core/avc/slice-data/cabac-engine.ts';
import { CavlcBits } from '#core/avc/slice-data/cavlc-bits.ts';
import type { CodeTable } from '#core/avc/slice-data/cavlc-tables.ts';
import { createSliceDataParser } from '#core/avc/slice-data/slice-data.ts';
import { expectTypedOutcome, hostile } from '../vectors/clips.ts';
import { eachSlice, PARSED, streamOf } from './slice-streams.ts';

vi.setConfig({ testTimeout: 120_000 });

/** A bin costs at least 0.017 bits, a CAVLC code a whole one; four bytes may be read past the end. */
const MOST_PER_BYTE = 500;

class CountingCabac extends CabacEngine {
  work = 0;
  override decision(context: number): number {
    this.work++;
    const bin = super.decision(context);
    if (bin !== 0 && bin !== 1) throw new RangeError(`a bin is ${bin}`);
    return bin;
  }
}
class CountingCavlc extends CavlcBits {
  work = 0;
  override skip(count: number): void {
    this.work++;
    super.skip(count);
  }
  override code(table: CodeTable): number {
    const value = super.code(table);
    if (!Number.isInteger(value)) throw new RangeError(`a code is ${value}`);
    return value;
  }
}

type Sample = { readonly nal: Uint8Array; readonly headerBytes: number };
const samplesOf = (name: string): { readonly samples: readonly Sample[]; readonly sets: ReturnType<typeof createParameterSets> } => {
  const samples: Sample[] = [];
  let last = createParameterSets();
  const parser = createSliceDataParser();
  eachSlice(streamOf(PARSED[name] as readonly string[]), ({ nal }, sets) => {
    last = sets;
    const answer = parser.parse(nal, sets);
    // One slice of each kind is enough; small ones change more with each flip.
    if (answer.sites !== 'none' && samples.length < 12) samples.push({ nal: nal.slice(), headerBytes: answer.header.headerBytes });
  });
  return { samples, sets: last };
};

describe('hostile slices', () => {
  for (const name of [
    'high, CABAC, 8x8, all partitions, temporal direct',
    'high, CABAC, slices of 200 bytes',
    'main, CABAC, B, weighted',
    'high, CAVLC, 8x8, all partitions',
    'baseline, CAVLC, slices of 200 bytes',
    'monochrome, CAVLC',
  ]) {
    it(name, () => {
      const { samples, sets } = samplesOf(name);
      const cabac = new CountingCabac();
      const cavlc = new CountingCavlc();
      const parser = createSliceDataParser({ cabac, cavlc });
      const outcomes = { whole: 0, refused: 0 };
      const check = (nal: Uint8Array): void => {
        cabac.work = 0;
        cavlc.work = 0;
        expectTypedOutcome(() => {
          try {
            parser.parse(nal, sets);
            outcomes.whole++;
          } catch (error) {
            if (isSealcastError(error)) outcomes.refused++;
            throw error;
          }
        });
        expect(cabac.work + cavlc.work).toBeLessThanOrEqual(MOST_PER_BYTE * (nal.length + 16));
      };
      const sample = fc.constantFrom(...samples);
      fc.assert(
        fc.property(
          sample.chain(({ nal }) => hostile(nal)),
          check,
        ),
        { numRuns: 150 },
      );
      // Behind a good header: changed bits, other bytes, every kind of end.
      const behind = sample.chain(({ nal, headerBytes }) =>
        fc.oneof(
          hostile(nal.subarray(headerBytes)).map((tail) => Buffer.concat([nal.subarray(0, headerBytes), tail])),
          fc.uint8Array({ minLength: 1, maxLength: 400 }).map((tail) => Buffer.concat([nal.subarray(0, headerBytes), tail])),
          fc.nat({ max: nal.length }).map((length) => nal.subarray(0, length)),
          fc
            .record({ fill: fc.constantFrom(0x00, 0x55, 0xaa, 0xff), length: fc.nat({ max: 2000 }) })
            .map(({ fill, length }) => Buffer.concat([nal.subarray(0, headerBytes), Buffer.alloc(length, fill), Buffer.of(0x80)])),
        ),
      );
      fc.assert(
        fc.property(behind, (nal) => check(new Uint8Array(nal))),
        { numRuns: 300 },
      );
      // Many changes make other, legal slices; most random ends do not.
      expect(outcomes.refused).toBeGreaterThan(50);
    });
  }

  it('cut anywhere are refused', () => {
    for (const name of ['high, CABAC, slices of 200 bytes', 'baseline, CAVLC, slices of 200 bytes']) {
      const { samples, sets } = samplesOf(name);
      const parser = createSliceDataParser();
      const { nal } = samples[samples.length - 1] as Sample;
      let whole = 0;
      for (let length = 1; length < nal.length; length++) {
        try {
          parser.parse(nal.subarray(0, length), sets);
          whole++;
        } catch (error) {
          expect(isSealcastError(error, 'media-truncated') || isSealcastError(error, 'media-malformed')).toBe(true);
        }
      }
      // A cut can happen to look like an end: CAVLC stops at the last 1 bit, which may end a macroblock.
      expect(whole).toBeLessThan(nal.length / 10);
    }
  });

  it('of pictures larger than any level, data partitions and other units have answers of their own', () => {
    const { samples, sets } = samplesOf('main, CABAC, B, weighted');
    const { nal } = samples[0] as Sample;
    const parser = createSliceDataParser();
    expect(parser.parse(Uint8Array.of(0x62, ...nal.subarray(1)), sets)).toEqual({ sites: 'none', because: 'data-partitioning' });
    expect(() => parser.parse(Uint8Array.of(0x66, 1, 2), sets)).toThrow(/type 6/);
    expect(() => parser.parse(new Uint8Array(0), sets)).toThrow(/type 0/);
    const wide = { ...sets, get: (id: number) => ({ pps: sets.get(id).pps, sps: { ...sets.get(id).sps, widthInMbs: 40_000, heightInMapUnits: 40_000 } }) };
    expect(() => parser.parse(nal, wide)).toThrow(/larger than any level/);
  });

  it('of slice groups, switching pictures, fields, redundant pictures and in any order say what they are', () => {
    const { samples, sets } = samplesOf('high, CABAC, slices of 200 bytes');
    const nal = (samples[0] as Sample).nal;
    const second = (samples[1] as Sample).nal;
    const { pps, sps } = sets.get(0);
    const because = (change: { readonly pps?: object; readonly sps?: object }, bytes: Uint8Array): unknown => {
      const answer = createSliceDataParser().parse(bytes, { ...sets, get: () => ({ pps: { ...pps, ...change.pps }, sps: { ...sps, ...change.sps } }) });
      return answer.sites === 'none' ? answer.because : 'sites';
    };
    expect(because({}, nal)).toBe('sites');
    expect(because({ pps: { sliceGroups: 2, sliceGroupMapType: 0 } }, nal)).toBe('slice-groups');
    expect(because({ sps: { chromaFormat: 2, chromaArrayType: 2 } }, nal)).toBe('chroma-4:2:2');
    const parser = createSliceDataParser();
    parser.parse(nal, sets);
    parser.parse(second, sets);
    expect(parser.parse(second, sets)).toEqual({ sites: 'none', because: 'arbitrary-slice-order' });
    // first_mb_in_slice 0, slice_type as coded, PPS 0, then what follows up to the picture order, and a tail of ones.
    const slice = (type: string, field: string, tail: string): Uint8Array => {
      const bits = `1${type}1${'0'.repeat(sps.frameNumBits)}${field}${'0'.repeat(sps.pocLsbBits)}${tail}${'1'.repeat(80)}`;
      return Uint8Array.of(0x41, ...(bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
    };
    const intra = '0001000';
    expect(because({ pps: { weightedPred: false } }, slice('00100', '', '000'))).toBe('switching-slice');
    expect(because({}, slice('00101', '', '0'))).toBe('switching-slice');
    const interlaced = { sps: { frameMbsOnly: false, mbAdaptiveFrameField: true } };
    expect(because(interlaced, slice(intra, '10', '0'))).toBe('field-picture');
    expect(because(interlaced, slice(intra, '0', '0'))).toBe('mbaff');
    expect(because({ pps: { redundantPicCntPresent: true } }, slice(intra, '', '0100'))).toBe('redundant-picture');
  });
});
