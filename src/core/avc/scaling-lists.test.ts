// SPDX-License-Identifier: Apache-2.0
/** Weights of luma coefficients in inter macroblocks, by the fall-back rules of ITU-T H.264 table 7-2. */
import { describe, expect, it } from 'vitest';
import { interLumaWeight, readScalingLists, type ScalingLists } from './scaling-lists.ts';
import { BitReader } from '#core/bytes/bit-reader.ts';

const of = (sps: ScalingLists | undefined, pps: ScalingLists | undefined, by8x8: boolean, index: number): number =>
  interLumaWeight({ sps: sps === undefined ? {} : { scalingLists: sps }, pps: pps === undefined ? {} : { scalingLists: pps } }, by8x8, index);
const lists = (at: number, list: ScalingLists[number]): ScalingLists => Array.from({ length: 8 }, (_, i) => (i === at ? list : undefined));
const flat = (value: number, length: number): Uint8Array => new Uint8Array(length).fill(value);

describe('weights of inter luma', () => {
  it('are flat without lists', () => {
    expect([of(undefined, undefined, false, 0), of(undefined, undefined, true, 2)]).toEqual([16, 16]);
  });
  it('are the standard\'s where a sequence has a matrix without these lists', () => {
    expect([of(lists(0, flat(20, 16)), undefined, false, 0), of(lists(0, flat(20, 16)), undefined, true, 1)]).toEqual([10, 13]);
    expect(of(lists(7, 'default'), undefined, true, 0)).toBe(9);
  });
  it('are those sent by the sequence, unless the picture sends its own', () => {
    expect(of(lists(3, flat(24, 16)), undefined, false, 0)).toBe(24);
    expect(of(lists(3, flat(24, 16)), lists(3, flat(32, 16)), false, 0)).toBe(32);
    expect(of(lists(3, flat(24, 16)), lists(0, flat(32, 16)), false, 0)).toBe(24);
    expect(of(lists(7, flat(24, 64)), lists(7, 'default'), true, 1)).toBe(13);
  });
  it('are the standard\'s where only the picture has a matrix, without these lists', () => {
    expect(of(undefined, lists(0, flat(32, 16)), false, 0)).toBe(10);
  });
});

describe('lists as sent', () => {
  /** Flags and signed Exp-Golomb codes as a string of bits. */
  const bits = (text: string): BitReader => new BitReader(Uint8Array.from((text + '0'.repeat((8 - (text.length % 8)) % 8)).match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2)), 'lists');
  it('repeat the last scale after a zero, and say default with a zero first', () => {
    // Present; +8 (000010000) gives 16; then -16 (00000100001) gives 0: the rest repeats 16. Absent. Present; -8 (000010001): 0 first.
    const [first, second, third] = readScalingLists(bits(`1${'000010000'}${'00000100001'}0${'1000010001'}`), 3);
    expect([first, second, third]).toEqual([new Uint8Array(16).fill(16), undefined, 'default']);
  });
});
