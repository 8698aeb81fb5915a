// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteReader } from './reader.ts';
import { ByteWriter } from './writer.ts';

type Field = { kind: 'u8' | 'u16' | 'u24' | 'u32' | 'i16' | 'i32'; value: number } | { kind: 'u64'; value: bigint } | { kind: 'bytes'; value: Uint8Array };

const field: fc.Arbitrary<Field> = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), value: fc.integer({ min: 0, max: 0xff }) }),
  fc.record({ kind: fc.constant('u16' as const), value: fc.integer({ min: 0, max: 0xffff }) }),
  fc.record({ kind: fc.constant('u24' as const), value: fc.integer({ min: 0, max: 0xffffff }) }),
  fc.record({ kind: fc.constant('u32' as const), value: fc.integer({ min: 0, max: 0xffffffff }) }),
  fc.record({ kind: fc.constant('i16' as const), value: fc.integer({ min: -0x8000, max: 0x7fff }) }),
  fc.record({ kind: fc.constant('i32' as const), value: fc.integer({ min: -0x80000000, max: 0x7fffffff }) }),
  fc.record({ kind: fc.constant('u64' as const), value: fc.bigInt({ min: 0n, max: 0xffffffffffffffffn }) }),
  fc.record({ kind: fc.constant('bytes' as const), value: fc.uint8Array({ maxLength: 40 }) }),
);

const write = (writer: ByteWriter, item: Field): void => {
  if (item.kind === 'u64') writer.u64(item.value);
  else if (item.kind === 'bytes') writer.bytes(item.value);
  else writer[item.kind](item.value);
};
const read = (reader: ByteReader, item: Field): unknown => (item.kind === 'bytes' ? reader.take(item.value.length) : reader[item.kind]());

describe('ByteWriter', () => {
  it('is read back field by field, whatever the capacity it grew from', () => {
    fc.assert(
      fc.property(fc.array(field, { maxLength: 60 }), fc.integer({ min: 0, max: 64 }), (fields, capacity) => {
        const writer = new ByteWriter(capacity);
        for (const item of fields) write(writer, item);
        const reader = new ByteReader(writer.finish());
        for (const item of fields) expect(read(reader, item)).toEqual(item.value);
        reader.end();
      }),
    );
  });

  it('keeps what was written before it grew, and what made it grow', () => {
    const writer = new ByteWriter(16).bytes(new Uint8Array(14).fill(7)).u32(0x01020304).u64(5n).u16(6);
    expect([...writer.finish()]).toEqual([...new Array<number>(14).fill(7), 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 6]);
  });

  it('refuses values that do not fit instead of cutting them', () => {
    const writer = new ByteWriter();
    for (const bad of [-1, 256, 0.5, Number.NaN]) expect(() => writer.u8(bad)).toThrow(RangeError);
    expect(() => writer.u16(0x10000)).toThrow(RangeError);
    expect(() => writer.u24(0x1000000)).toThrow(RangeError);
    expect(() => writer.u32(0x100000000)).toThrow(RangeError);
    expect(() => writer.u64(-1n)).toThrow(RangeError);
    expect(() => writer.u64(1n << 64n)).toThrow(RangeError);
    expect(() => writer.i16(0x8000)).toThrow(RangeError);
    expect(() => writer.i32(0x80000000)).toThrow(RangeError);
    expect(writer.length).toBe(0);
  });

  it('patches a length known later, inside what was written only', () => {
    const writer = new ByteWriter().u32(0).text('häß');
    writer.patchU32(0, writer.length - 4);
    expect([...writer.finish()]).toEqual([0, 0, 0, 5, 0x68, 0xc3, 0xa4, 0xc3, 0x9f]);
    expect(() => writer.patchU32(6, 1)).toThrow(RangeError);
  });
});
