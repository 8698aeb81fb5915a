// SPDX-License-Identifier: Apache-2.0
/**
 * Slice headers against a second implementation: a writer of clause 7.3.3 in this file, fed with random values for all
 * coding tools, also those no common encoder uses (slice groups, SP slices, field pictures, separate colour planes).
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { expectTypedOutcome, hostile } from '../../../test/vectors/clips.ts';
import { annexBNals, lengthPrefixedNals, nalBytesFor, unescapeNal } from './nal.ts';
import type { NalUnit } from './nal.ts';
import { createParameterSets } from './parameter-sets.ts';
import { parsePps } from './pps.ts';
import { parseSliceHeader } from './slice-header.ts';
import { frameRateOf, parseSps } from './sps.ts';

const u = (value: number, width: number): string => (width === 0 ? '' : value.toString(2).padStart(width, '0'));
const ue = (value: number): string => {
  const code = (value + 1).toString(2);
  return '0'.repeat(code.length - 1) + code;
};
const se = (value: number): string => ue(value > 0 ? 2 * value - 1 : -2 * value);
const bytesOf = (bits: string): Uint8Array => Uint8Array.from(bits.padEnd(Math.ceil(bits.length / 8) * 8, '0').match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));

/** A NAL unit with emulation prevention, from its header byte and payload. */
const nalOf = (header: number, payload: Uint8Array): Uint8Array => {
  const out = [header];
  let zeros = 0;
  for (const byte of payload) {
    if (zeros >= 2 && byte <= 3) {
      out.push(3);
      zeros = 0;
    }
    out.push(byte);
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return Uint8Array.from(out);
};
const rbsp = (header: number, bits: string): Uint8Array => nalOf(header, bytesOf(`${bits}1`));

const spsTools = fc.record({
  profile: fc.constantFrom(66, 77, 88, 100, 244),
  chromaFormat: fc.integer({ min: 0, max: 3 }),
  separatePlanes: fc.boolean(),
  scaling: fc.boolean(),
  frameNumBits: fc.integer({ min: 4, max: 16 }),
  pocType: fc.integer({ min: 0, max: 2 }),
  pocLsbBits: fc.integer({ min: 4, max: 16 }),
  deltaAlwaysZero: fc.boolean(),
  width: fc.integer({ min: 1, max: 60 }),
  height: fc.integer({ min: 1, max: 60 }),
  frameMbsOnly: fc.boolean(),
  mbaff: fc.boolean(),
  vui: fc.boolean(),
});
type SpsTools = typeof spsTools extends fc.Arbitrary<infer T> ? T : never;

const writeSps = (t: SpsTools): Uint8Array => {
  const high = t.profile >= 100;
  let bits = u(t.profile, 8) + u(0, 8) + u(30, 8) + ue(3);
  if (high) {
    bits += ue(t.chromaFormat) + (t.chromaFormat === 3 ? u(Number(t.separatePlanes), 1) : '') + ue(1) + ue(0) + '0' + u(Number(t.scaling), 1);
    // Lists: one by default, one that ends early, the rest absent.
    if (t.scaling) bits += `1${se(-8)}` + `1${se(4)}${se(-12)}` + '0'.repeat((t.chromaFormat === 3 ? 12 : 8) - 2);
  }
  bits += ue(t.frameNumBits - 4) + ue(t.pocType);
  if (t.pocType === 0) bits += ue(t.pocLsbBits - 4);
  if (t.pocType === 1) bits += u(Number(t.deltaAlwaysZero), 1) + se(-3) + se(9) + ue(2) + se(1) + se(-70);
  bits += ue(4) + '0' + ue(t.width - 1) + ue(t.height - 1) + u(Number(t.frameMbsOnly), 1) + (t.frameMbsOnly ? '' : u(Number(t.mbaff), 1)) + '1' + '0';
  bits += t.vui ? '1' + '0' + '0' + '0' + '0' + '1' + u(1001, 32) + u(60000, 32) + '1' + '0' + '0' + '0' + '0' : '0';
  return rbsp(0x67, bits);
};

const ppsTools = fc.record({
  cabac: fc.boolean(),
  bottomOrder: fc.boolean(),
  groups: fc.integer({ min: 1, max: 3 }),
  mapType: fc.integer({ min: 0, max: 6 }),
  changeRate: fc.integer({ min: 1, max: 4000 }),
  l0: fc.integer({ min: 1, max: 16 }),
  l1: fc.integer({ min: 1, max: 16 }),
  weighted: fc.boolean(),
  bipred: fc.integer({ min: 0, max: 2 }),
  deblocking: fc.boolean(),
  redundant: fc.boolean(),
  transform8x8: fc.option(fc.boolean(), { nil: undefined }),
});
type PpsTools = typeof ppsTools extends fc.Arbitrary<infer T> ? T : never;

const writePps = (t: PpsTools, sps: SpsTools): Uint8Array => {
  let bits = ue(7) + ue(3) + u(Number(t.cabac), 1) + u(Number(t.bottomOrder), 1) + ue(t.groups - 1);
  if (t.groups > 1) {
    bits += ue(t.mapType);
    if (t.mapType === 0) for (let i = 0; i < t.groups; i++) bits += ue(5);
    if (t.mapType === 2) for (let i = 1; i < t.groups; i++) bits += ue(0) + ue(1);
    if (t.mapType >= 3 && t.mapType <= 5) bits += '1' + ue(Math.min(t.changeRate, sps.width * sps.height) - 1);
    if (t.mapType === 6) bits += ue(3) + u(0, (t.groups === 2 ? 1 : 2) * 4);
  }
  bits += ue(t.l0 - 1) + ue(t.l1 - 1) + u(Number(t.weighted), 1) + u(t.bipred, 2) + se(4) + se(-4) + se(2) + u(Number(t.deblocking), 1) + '0' + u(Number(t.redundant), 1);
  if (t.transform8x8 !== undefined)
    bits += u(Number(t.transform8x8), 1) + '1' + '0'.repeat(6 + (t.transform8x8 ? (sps.profile >= 100 && sps.chromaFormat === 3 ? 6 : 2) : 0)) + se(-1);
  return rbsp(0x68, bits);
};

const sliceTools = fc
  .record({
    type: fc.integer({ min: 0, max: 9 }),
    idr: fc.boolean(),
    refIdc: fc.integer({ min: 0, max: 3 }),
    firstMb: fc.nat({ max: 5000 }),
    frameNum: fc.nat(),
    field: fc.boolean(),
    bottom: fc.boolean(),
    poc: fc.nat(),
    delta: fc.tuple(fc.integer({ min: -9999, max: 9999 }), fc.integer({ min: -99, max: 99 })),
    override: fc.option(fc.tuple(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 16 })), { nil: undefined }),
    modifications: fc.tuple(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.nat({ max: 70000 })), { maxLength: 8 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 2 }), fc.nat({ max: 9 })), { maxLength: 3 }),
    ),
    weightFlags: fc.infiniteStream(fc.boolean()).map((stream) => () => stream.next().value as boolean),
    weight: fc.integer({ min: -128, max: 127 }),
    marking: fc.option(fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 5 }), { nil: undefined }),
    cabacInit: fc.integer({ min: 0, max: 2 }),
    qpDelta: fc.integer({ min: -30, max: 21 }),
    deblocking: fc.integer({ min: 0, max: 2 }),
    offsets: fc.tuple(fc.integer({ min: -6, max: 6 }), fc.integer({ min: -6, max: 6 })),
    tail: fc.uint8Array({ minLength: 1, maxLength: 30 }),
  })
  .map((tools) => ({ ...tools, refIdc: tools.idr ? Math.max(1, tools.refIdc) : tools.refIdc }));
type SliceTools = typeof sliceTools extends fc.Arbitrary<infer T> ? T : never;

/** Header bits as clause 7.3.3 lists them. */
const writeHeader = (t: SliceTools, sps: SpsTools, pps: PpsTools): { bits: string; l0: number; l1: number } => {
  const type = t.type % 5;
  const [isP, isB, isI, isSP, isSI] = [type === 0, type === 1, type === 2, type === 3, type === 4];
  const high = sps.profile >= 100;
  const separate = high && sps.chromaFormat === 3 && sps.separatePlanes;
  const chroma = high ? (separate ? 0 : sps.chromaFormat) : 1;
  let bits = ue(t.firstMb) + ue(t.type) + ue(7);
  if (separate) bits += u(2, 2);
  bits += u(t.frameNum % 2 ** sps.frameNumBits, sps.frameNumBits);
  const field = !sps.frameMbsOnly && t.field;
  if (!sps.frameMbsOnly) bits += u(Number(field), 1) + (field ? u(Number(t.bottom), 1) : '');
  if (t.idr) bits += ue(6);
  const both = pps.bottomOrder && !field;
  if (sps.pocType === 0) bits += u(t.poc % 2 ** sps.pocLsbBits, sps.pocLsbBits) + (both ? se(t.delta[0]) : '');
  if (sps.pocType === 1 && !sps.deltaAlwaysZero) bits += se(t.delta[0]) + (both ? se(t.delta[1]) : '');
  if (pps.redundant) bits += ue(5);
  if (isB) bits += '1';
  let l0 = 0;
  let l1 = 0;
  if (isP || isSP || isB) {
    [l0, l1] = t.override ?? [pps.l0, pps.l1];
    bits += t.override === undefined ? '0' : `1${ue(l0 - 1)}${isB ? ue(l1 - 1) : ''}`;
    if (!isB) l1 = 0;
  }
  const list = (steps: readonly (readonly [number, number])[]): string => (steps.length === 0 ? '0' : `1${steps.map(([op, value]) => ue(op) + ue(value)).join('')}${ue(3)}`);
  if (!isI && !isSI) bits += list(t.modifications[0]);
  if (isB) bits += list(t.modifications[1]);
  if ((pps.weighted && (isP || isSP)) || (pps.bipred === 1 && isB)) {
    bits += ue(5) + (chroma === 0 ? '' : ue(6));
    for (let i = 0; i < l0 + l1; i++) {
      bits += t.weightFlags() ? `1${se(t.weight)}${se(-t.weight)}` : '0';
      if (chroma !== 0) bits += t.weightFlags() ? `1${se(t.weight).repeat(4)}` : '0';
    }
  }
  if (t.refIdc !== 0) {
    if (t.idr) bits += '01';
    else if (t.marking === undefined) bits += '0';
    else bits += `1${t.marking.map((op) => ue(op) + (op === 5 ? '' : ue(3)) + (op === 3 ? ue(1) : '')).join('')}${ue(0)}`;
  }
  if (pps.cabac && !isI && !isSI) bits += ue(t.cabacInit);
  bits += se(t.qpDelta);
  if (isSP) bits += '1';
  if (isSP || isSI) bits += se(3);
  if (pps.deblocking) bits += ue(t.deblocking) + (t.deblocking === 1 ? '' : se(t.offsets[0]) + se(t.offsets[1]));
  if (pps.groups > 1 && pps.mapType >= 3 && pps.mapType <= 5) {
    const units = sps.width * sps.height;
    const rate = Math.min(pps.changeRate, units);
    let width = 0;
    while (2 ** width * rate < units + rate) width++;
    bits += u(0, width);
  }
  return { bits, l0, l1 };
};

describe('slice headers of every coding tool', () => {
  it('are read to their exact last bit', () => {
    fc.assert(
      fc.property(spsTools, ppsTools, sliceTools, (sps, pps, slice) => {
        const sets = createParameterSets();
        sets.accept(writePps(pps, sps));
        sets.accept(writeSps(sps));
        const { bits, l0, l1 } = writeHeader(slice, sps, pps);
        const head = bytesOf(bits);
        const nalHeader = (slice.refIdc << 5) | (slice.idr ? 5 : 1);
        const header = parseSliceHeader(nalOf(nalHeader, concatBytes(head, slice.tail)), sets);
        expect(header.headerBits).toBe(bits.length);
        // Escapes inside the header count, one in front of the slice data does not.
        expect(header.headerBytes).toBe(nalOf(nalHeader, head).length);
        expect(header.firstMb).toBe(slice.firstMb);
        expect(['P', 'B', 'I', 'SP', 'SI'].indexOf(header.type)).toBe(slice.type % 5);
        expect([header.numRefIdxL0, header.numRefIdxL1]).toEqual([l0, l1]);
        expect(header.sliceQp).toBe(30 + slice.qpDelta);
      }),
      { numRuns: 1500 },
    );
  });
});

describe('parameter sets', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(spsTools, ppsTools, (tools, picture) => {
        const sps = parseSps(writeSps(tools));
        const high = tools.profile >= 100;
        expect(sps).toMatchObject({
          id: 3,
          profile: tools.profile,
          frameNumBits: tools.frameNumBits,
          pocType: tools.pocType,
          widthInMbs: tools.width,
          heightInMapUnits: tools.height,
          frameMbsOnly: tools.frameMbsOnly,
          width: tools.width * 16,
          height: tools.height * (tools.frameMbsOnly ? 16 : 32),
          chromaFormat: high ? tools.chromaFormat : 1,
          scalingMatrix: high && tools.scaling,
        });
        expect(frameRateOf(sps)).toBe(tools.vui ? 60000 / 2002 : undefined);
        expect(parsePps(writePps(picture, tools), sps)).toMatchObject({
          id: 7,
          spsId: 3,
          entropyCodingMode: picture.cabac,
          sliceGroups: picture.groups,
          numRefIdxL0Default: picture.l0,
          numRefIdxL1Default: picture.l1,
          weightedPred: picture.weighted,
          weightedBipredIdc: picture.bipred,
          picInitQp: 30,
          transform8x8: picture.transform8x8 ?? false,
          secondChromaQpOffset: picture.transform8x8 === undefined ? 2 : -1,
        });
      }),
      { numRuns: 500 },
    );
  });

  it('crop, and refuse to crop everything away', () => {
    const base = u(66, 8) + u(0, 8) + u(30, 8) + ue(0) + ue(0) + ue(2) + ue(1) + '0' + ue(119) + ue(67) + '1' + '1';
    expect(parseSps(rbsp(0x67, base + '1' + ue(0) + ue(0) + ue(0) + ue(4) + '0'))).toMatchObject({ width: 1920, height: 1080 });
    expect(() => parseSps(rbsp(0x67, base + '1' + ue(0) + ue(960) + ue(0) + ue(0) + '0'))).toThrow(expect.objectContaining({ code: 'media-malformed' }));
  });

  it('are missed by name', () => {
    expect(() => createParameterSets().get(4)).toThrow(/picture parameter set 4/);
  });

  it('and slice headers survive hostile variations', () => {
    const sps: SpsTools = {
      profile: 100,
      chromaFormat: 1,
      separatePlanes: false,
      scaling: true,
      frameNumBits: 8,
      pocType: 0,
      pocLsbBits: 8,
      deltaAlwaysZero: false,
      width: 20,
      height: 12,
      frameMbsOnly: false,
      mbaff: true,
      vui: true,
    };
    const pps = {
      cabac: true,
      bottomOrder: true,
      groups: 3,
      mapType: 6,
      changeRate: 7,
      l0: 3,
      l1: 2,
      weighted: true,
      bipred: 1,
      deblocking: true,
      redundant: false,
      transform8x8: true,
    };
    const [spsNal, ppsNal] = [writeSps(sps), writePps(pps, sps)];
    fc.assert(
      fc.property(hostile(spsNal), (nal) => expectTypedOutcome(() => parseSps(nal))),
      { numRuns: 1000 },
    );
    fc.assert(
      fc.property(hostile(ppsNal), (nal) => expectTypedOutcome(() => parsePps(nal, parseSps(spsNal)))),
      { numRuns: 1000 },
    );
    const sets = createParameterSets();
    for (const nal of [spsNal, ppsNal]) sets.accept(nal);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(0x65, 0x41, 0x01, 0x21), (payload, header) =>
        expectTypedOutcome(() => parseSliceHeader(concatBytes(Uint8Array.of(header, 0x88, 0x84), payload), sets)),
      ),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(sliceTools, fc.nat({ max: 200 }), (tools, cut) =>
        expectTypedOutcome(() => parseSliceHeader(nalOf(0x41, bytesOf(writeHeader(tools, sps, pps).bits)).subarray(0, cut), sets)),
      ),
      { numRuns: 500 },
    );
  });
});

describe('NAL units', () => {
  const units = fc.array(
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((payload) => nalOf(0x65, concatBytes(payload, Uint8Array.of(0x80)))),
    { maxLength: 6 },
  );
  const contents = (bytes: Uint8Array, found: readonly NalUnit[]): number[][] => found.map((nal) => [...bytes.subarray(nal.start, nal.end)]);

  it('are found in both packagings', () => {
    fc.assert(
      fc.property(units, fc.constantFrom(1, 2, 4), fc.boolean(), (list, lengthSize, longStart) => {
        const prefixed = concatBytes(...list.flatMap((nal) => [Uint8Array.from({ length: lengthSize }, (_, i) => (nal.length >> (8 * (lengthSize - 1 - i))) & 255), nal]));
        const stream = concatBytes(...list.flatMap((nal) => [longStart ? Uint8Array.of(0, 0, 0, 1) : Uint8Array.of(0, 0, 1), nal]), new Uint8Array(3));
        const expected = list.map((nal) => [...nal]);
        expect(contents(prefixed, lengthPrefixedNals(prefixed, lengthSize))).toEqual(expected);
        expect(contents(stream, annexBNals(stream))).toEqual(expected);
      }),
    );
  });

  it('lose exactly their emulation prevention, and positions map back', () => {
    const zeros = fc.array(fc.constantFrom(0, 0, 0, 1, 2, 3, 4, 255), { maxLength: 60 }).map((list) => Uint8Array.from(list));
    fc.assert(
      fc.property(zeros, (payload) => {
        const nal = nalOf(0x41, payload);
        const found = unescapeNal(nal);
        expect([...found.bytes]).toEqual([...payload]);
        for (let bytes = 0; bytes <= payload.length; bytes++) expect(nalBytesFor(found, bytes)).toBe(nalOf(0x41, payload.subarray(0, bytes)).length);
      }),
      { numRuns: 500 },
    );
  });

  it('never reach past their sample', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), fc.constantFrom(1, 2, 4), (bytes, lengthSize) => {
        expectTypedOutcome(() => {
          for (const nal of [...lengthPrefixedNals(bytes, lengthSize), ...annexBNals(bytes)]) expect(nal.start < nal.end && nal.end <= bytes.length).toBe(true);
        });
      }),
      { numRuns: 1000 },
    );
    expect(() => lengthPrefixedNals(Uint8Array.of(0, 0, 0, 2, 0x65), 4)).toThrow(expect.objectContaining({ code: 'media-truncated' }));
    expect(() => lengthPrefixedNals(Uint8Array.of(0, 0, 0, 1, 0x80), 4)).toThrow(expect.objectContaining({ code: 'media-malformed' }));
  });
});
