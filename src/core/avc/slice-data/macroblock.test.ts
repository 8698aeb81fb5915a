// SPDX-License-Identifier: Apache-2.0
/** Macroblock syntax that common encoders never write, bit by bit in CAVLC: a wrong rule cannot end at the stop bit. */
import { describe, expect, it } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import type { ParameterSets } from '../parameter-sets.ts';
import { createSliceDataParser } from './slice-data.ts';

const ue = (value: number): string => {
  const code = (value + 1).toString(2);
  return '0'.repeat(code.length - 1) + code;
};
const se = (value: number): string => ue(value > 0 ? 2 * value - 1 : -2 * value);

type Tools = { readonly references?: number; readonly direct8x8Inference?: boolean; readonly transform8x8?: boolean; readonly monochrome?: boolean };

/** One picture of two macroblocks, CAVLC, with just what the parser asks for. */
const setsOf = (tools: Tools): ParameterSets => {
  const sps = {
    chromaFormat: tools.monochrome === true ? 0 : 1,
    chromaArrayType: tools.monochrome === true ? 0 : 1,
    separateColourPlanes: false,
    bitDepthLuma: 8,
    bitDepthChroma: 8,
    frameNumBits: 4,
    pocType: 2,
    widthInMbs: 2,
    heightInMapUnits: 1,
    frameMbsOnly: true,
    mbAdaptiveFrameField: false,
    direct8x8Inference: tools.direct8x8Inference ?? true,
  };
  const pps = {
    id: 0,
    entropyCodingMode: false,
    sliceGroups: 1,
    numRefIdxL0Default: tools.references ?? 1,
    numRefIdxL1Default: tools.references ?? 1,
    weightedPred: false,
    weightedBipredIdc: 0,
    picInitQp: 26,
    chromaQpOffset: 0,
    secondChromaQpOffset: 0,
    deblockingControlPresent: false,
    redundantPicCntPresent: false,
    transform8x8: tools.transform8x8 ?? false,
  };
  // The parser reads no other field of the two.
  return { accept: () => undefined, get: () => ({ pps, sps }) } as unknown as ParameterSets;
};

/** Parses a slice of the first macroblock given and a skipped second one; answers its sites as [level, index] pairs. */
const read = (type: 'P' | 'B', macroblock: string, tools: Tools = {}): readonly (readonly number[])[] => {
  // No reference picture, default reference counts, no list modification.
  const header = ue(0) + ue(type === 'P' ? 0 : 1) + ue(0) + '0000' + (type === 'B' ? '1' : '') + '0' + (type === 'B' ? '00' : '0') + se(0);
  const bits = `${header}${ue(0)}${macroblock}${ue(1)}1`;
  const payload = bits.padEnd(Math.ceil(bits.length / 8) * 8, '0').match(/.{8}/g) ?? [];
  const answer = createSliceDataParser().parse(Uint8Array.of(0x01, ...payload.map((byte) => Number.parseInt(byte, 2))), setsOf(tools));
  if (answer.sites === 'none') throw new Error(answer.because);
  expect(answer.nextMb).toBe(2);
  expect(answer.stopBit).toBe(bits.length - 1);
  const { sites } = answer;
  return Array.from({ length: sites.count }, (_, i) => [sites.level[i] as number, sites.index[i] as number]);
};
const refused = (type: 'P' | 'B', macroblock: string, tools: Tools = {}): boolean => {
  try {
    read(type, macroblock, tools);
    return false;
  } catch (error) {
    if (!isSealcastError(error)) throw error;
    return true;
  }
};

const vector = se(3) + se(-7);
/** coded_block_pattern 1 (codeNum 2 for inter), QP change 0, then four blocks of which the first has one coefficient, -1, at DC. */
const patternOne = ue(2);
const blocks = `${se(0)}${'01' + '1' + '1'}${'1'}${'1'}${'1'}`;
/** The second block sees one coefficient on its left or above it: nC is 1 or the mean 1 of (1, 0), all in the first table. */
const found = [[-1, 0]];

describe('P macroblocks', () => {
  it('P_8x8ref0 has no reference indices, P_8x8 has', () => {
    const parts = ue(0).repeat(4);
    const references = '1'.repeat(4);
    expect(read('P', ue(4) + parts + vector.repeat(4) + ue(0), { references: 2 })).toEqual([]);
    expect(read('P', ue(3) + parts + references + vector.repeat(4) + ue(0), { references: 2 })).toEqual([]);
    expect(read('P', ue(3) + parts + ue(2).repeat(4) + vector.repeat(4) + ue(0), { references: 3 })).toEqual([]);
    expect(refused('P', ue(3) + parts + ue(3).repeat(4) + vector.repeat(4) + ue(0), { references: 3 })).toBe(true);
  });

  it('sub-macroblocks have 1, 2, 2 and 4 vectors', () => {
    expect(read('P', ue(3) + ue(0) + ue(1) + ue(2) + ue(3) + vector.repeat(9) + ue(0))).toEqual([]);
    expect(refused('P', ue(3) + ue(4).repeat(4) + vector.repeat(9) + ue(0))).toBe(true);
  });

  it('transform_size_8x8_flag follows the coded block pattern where no part is below 8x8', () => {
    const tools = { transform8x8: true };
    expect(read('P', ue(0) + vector + patternOne + '0' + blocks, tools)).toEqual(found);
    expect(read('P', ue(0) + vector + patternOne + '1' + blocks, tools)).toEqual(found);
    expect(read('P', ue(3) + ue(0).repeat(4) + vector.repeat(4) + patternOne + '1' + blocks, tools)).toEqual(found);
    expect(read('P', ue(3) + ue(0).repeat(3) + ue(1) + vector.repeat(5) + patternOne + blocks, tools)).toEqual(found);
    expect(read('P', ue(0) + vector + patternOne + blocks)).toEqual(found);
  });

  it('coded_block_pattern has a table of its own in monochrome', () => {
    expect(read('P', ue(0) + vector + ue(1) + blocks, { monochrome: true })).toEqual(found);
    expect(refused('P', ue(0) + vector + ue(16) + blocks, { monochrome: true })).toBe(true);
  });
});

describe('B macroblocks', () => {
  it('direct ones have the 8x8 transform only with direct_8x8_inference', () => {
    for (const direct of [ue(0), ue(22) + ue(0).repeat(4)]) {
      expect(read('B', direct + patternOne + '1' + blocks, { transform8x8: true })).toEqual(found);
      expect(read('B', direct + patternOne + blocks, { transform8x8: true, direct8x8Inference: false })).toEqual(found);
    }
    // 8x8 parts that are not direct have it either way.
    expect(read('B', ue(22) + ue(1).repeat(4) + vector.repeat(4) + patternOne + '1' + blocks, { transform8x8: true, direct8x8Inference: false })).toEqual(found);
  });

  it('types 1-21 use the lists that their names say', () => {
    const names = 'L0 L1 Bi L0,L0 L0,L0 L1,L1 L1,L1 L0,L1 L0,L1 L1,L0 L1,L0 L0,Bi L0,Bi L1,Bi L1,Bi Bi,L0 Bi,L0 Bi,L1 Bi,L1 Bi,Bi Bi,Bi';
    for (const [i, name] of names.split(' ').entries()) {
      const parts = name.split(',');
      const uses = (list: 'L0' | 'L1'): number => parts.filter((part) => part === list || part === 'Bi').length;
      // References of one list, then of the other, then vectors: told apart by codes of different lengths.
      const motion = ue(2).repeat(uses('L0')) + ue(1).repeat(uses('L1')) + vector.repeat(uses('L0') + uses('L1'));
      expect(read('B', ue(i + 1) + motion + ue(0), { references: 3 })).toEqual([]);
    }
  });

  it('sub-macroblock types have their lists and numbers of vectors', () => {
    const vectors = [0, 1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 8];
    const lists = [0, 1, 1, 2, 1, 1, 1, 1, 2, 2, 1, 1, 2];
    for (const [type, count] of vectors.entries()) {
      const parts = ue(22) + ue(type) + ue(0).repeat(3);
      expect(read('B', parts + ue(2).repeat(lists[type] as number) + vector.repeat(count) + ue(0), { references: 3 })).toEqual([]);
    }
    expect(refused('B', ue(22) + ue(13) + ue(0).repeat(3) + ue(0))).toBe(true);
  });

  it('intra types follow from 23, up to I_PCM', () => {
    // Intra_16x16, DC prediction, nothing coded; chroma mode 0; QP change 0; an empty DC block.
    expect(read('B', ue(23 + 3) + ue(0) + se(0) + '1')).toEqual([]);
    expect(refused('B', ue(23 + 26) + ue(0) + se(0) + '1')).toBe(true);
  });
});

describe('QP', () => {
  it('changes within its range only', () => {
    expect(read('P', ue(0) + vector + patternOne + se(25) + blocks.slice(1))).toEqual(found);
    expect(refused('P', ue(0) + vector + patternOne + se(26) + blocks.slice(1))).toBe(true);
    expect(read('P', ue(0) + vector + patternOne + se(-26) + blocks.slice(1))).toEqual(found);
    expect(refused('P', ue(0) + vector + patternOne + se(-27) + blocks.slice(1))).toBe(true);
  });
});
