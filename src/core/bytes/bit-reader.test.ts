// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BitReader } from './bit-reader.ts';

const bytesOf = (bits: string): Uint8Array => Uint8Array.from(bits.padEnd(Math.ceil(bits.length / 8) * 8, '0').match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
const ueBits = (value: number): string => {
  const code = (BigInt(value) + 1n).toString(2);
  return '0'.repeat(code.length - 1) + code;
};
const seBits = (value: number): string => ueBits(value > 0 ? 2 * value - 1 : -2 * value);

describe('BitReader', () => {
  it('reads the exp-Golomb codes of H.264 table 9-2 and 9-3', () => {
    const reader = new BitReader(bytesOf('1' + '010' + '011' + '00100' + '00101' + '00110' + '00111' + '0001000'));
    expect(Array.from({ length: 8 }, () => reader.ue())).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    const signed = new BitReader(bytesOf('1' + '010' + '011' + '00100' + '00101'));
    expect(Array.from({ length: 5 }, () => signed.se())).toEqual([0, 1, -1, 2, -2]);
  });

  it('reads back any mix of fields at any alignment', () => {
    const field = fc.oneof(
      fc
        .integer({ min: 0, max: 32 })
        .chain((width) => fc.record({ kind: fc.constant('u' as const), width: fc.constant(width), value: fc.integer({ min: 0, max: 2 ** width - 1 }) })),
      fc.record({ kind: fc.constant('ue' as const), width: fc.constant(0), value: fc.integer({ min: 0, max: 0xfffffffe }) }),
      fc.record({ kind: fc.constant('se' as const), width: fc.constant(0), value: fc.integer({ min: -0x7fffffff, max: 0x7fffffff }) }),
    );
    fc.assert(
      fc.property(fc.array(field, { maxLength: 30 }), (fields) => {
        const bits = fields
          .map(({ kind, width, value }) => (kind === 'ue' ? ueBits(value) : kind === 'se' ? seBits(value) : width === 0 ? '' : value.toString(2).padStart(width, '0')))
          .join('');
        const reader = new BitReader(bytesOf(bits));
        for (const { kind, width, value } of fields) expect(kind === 'u' ? reader.bits(width) : reader[kind]()).toBe(value);
        expect(reader.position).toBe(bits.length);
      }),
    );
  });

  it('finds the stop bit: more_rbsp_data', () => {
    const reader = new BitReader(bytesOf('1011' + '1000' + '00000000'));
    for (const expected of [true, true, true, true]) {
      expect(reader.moreRbspData()).toBe(expected);
      reader.bit();
    }
    expect(reader.moreRbspData()).toBe(false);
    expect(new BitReader(new Uint8Array(4)).moreRbspData()).toBe(false);
    expect(new BitReader(new Uint8Array(0)).moreRbspData()).toBe(false);
  });

  it('says so where the input ends or a code is too long', () => {
    const truncated = expect.objectContaining({ code: 'media-truncated' });
    expect(() => new BitReader(new Uint8Array(3)).bits(25)).toThrow(truncated);
    expect(() => new BitReader(new Uint8Array(3)).skip(25)).toThrow(truncated);
    expect(() => new BitReader(new Uint8Array(3)).ue()).toThrow(truncated);
    expect(() => new BitReader(new Uint8Array(16)).ue()).toThrow(expect.objectContaining({ code: 'media-malformed' }));
    expect(() => new BitReader(new Uint8Array(0)).bit()).toThrow(truncated);
  });
});
