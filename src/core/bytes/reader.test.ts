// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { ByteReader } from './reader.ts';

const BYTES = Uint8Array.from([0xff, 0x80, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08]);

describe('ByteReader', () => {
  it('reads big-endian fields of every width', () => {
    const reader = new ByteReader(BYTES);
    expect(reader.u8()).toBe(0xff);
    expect(reader.u16()).toBe(0x8001);
    expect(reader.u24()).toBe(0x020304);
    expect(reader.u32()).toBe(0x05060708);
    reader.seek(0);
    expect(reader.i16()).toBe(-0x80);
    reader.seek(0);
    expect(reader.i32()).toBe(-0x7ffefe);
    reader.seek(0);
    expect(reader.u64()).toBe(0xff80010203040506n);
    reader.seek(0);
    expect(reader.i64()).toBe(0xff80010203040506n - (1n << 64n));
  });

  it('returns views of a view with an offset, not of its buffer', () => {
    const reader = new ByteReader(BYTES.subarray(3, 7));
    expect([...reader.take(2)]).toEqual([2, 3]);
    expect([...reader.rest()]).toEqual([4, 5]);
    expect(reader.remaining).toBe(0);
    reader.end();
  });

  it('throws the code the caller names where the input is short or too long', () => {
    expect(() => new ByteReader(new Uint8Array(3), 'token', 'token-invalid').u32()).toThrow(expect.objectContaining({ code: 'token-invalid' }));
    expect(() => new ByteReader(new Uint8Array(3), 'token', 'token-invalid').end()).toThrow(expect.objectContaining({ code: 'token-invalid' }));
    expect(() => new ByteReader(new Uint8Array(3)).end()).toThrow(expect.objectContaining({ code: 'media-malformed' }));
  });

  it('never reads past the end, whatever is asked of it', () => {
    const call = fc.oneof(
      fc.constantFrom('u8', 'u16', 'u24', 'u32', 'u64', 'i16', 'i32', 'i64').map((name) => ({ name, n: 0 })),
      fc.record({
        name: fc.constantFrom('take', 'skip', 'seek'),
        n: fc.oneof(fc.integer({ min: -3, max: 40 }), fc.constantFrom(Number.NaN, 1.5, Number.MAX_SAFE_INTEGER, -0, Infinity)),
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), fc.array(call, { maxLength: 12 }), (bytes, calls) => {
        const reader = new ByteReader(bytes);
        for (const { name, n } of calls) {
          const before = reader.offset;
          try {
            (reader as unknown as Record<string, (n: number) => unknown>)[name]?.(n);
          } catch (error) {
            expect(isSealcastError(error, 'media-truncated')).toBe(true);
            expect(reader.offset).toBe(before);
          }
          expect(reader.offset).toBeGreaterThanOrEqual(0);
          expect(reader.offset + reader.remaining).toBe(bytes.length);
        }
      }),
    );
    expect(() => new ByteReader(new Uint8Array(0)).u8()).toThrow(SealcastError);
  });
});
