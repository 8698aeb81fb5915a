// SPDX-License-Identifier: Apache-2.0
/** Buffers of viewers' copies: one copy at a time, and never two viewers' bytes in one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createCopyBuffers } from './copy-buffers.ts';

const media = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 31) & 255);

describe('buffers for copies', () => {
  it('hold what was copied until they are given back, whatever the order', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ length: fc.integer({ min: 0, max: 300_000 }), mark: fc.nat(255), back: fc.boolean() }), { maxLength: 30 }), (steps) => {
        const buffers = createCopyBuffers(1_000_000);
        const held: { bytes: Uint8Array; mark: number; length: number }[] = [];
        for (const { length, mark, back } of steps) {
          const copy = buffers.copy(media.subarray(0, length));
          expect(copy.bytes.length).toBe(length);
          expect(Buffer.compare(copy.bytes, media.subarray(0, length))).toBe(0);
          if (length > 0) copy.bytes.fill(mark);
          if (back) copy.done();
          else held.push({ bytes: copy.bytes, mark, length });
        }
        for (const { bytes, mark, length } of held) expect(bytes.slice(0, length).every((byte) => byte === mark)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });
  it('are used again once they were given back, once', () => {
    const buffers = createCopyBuffers(1_000_000);
    const first = buffers.copy(media.subarray(0, 200_000));
    first.done();
    first.done();
    const second = buffers.copy(media.subarray(0, 199_000));
    const third = buffers.copy(media.subarray(0, 199_000));
    expect(second.bytes.buffer).toBe(first.bytes.buffer);
    expect(third.bytes.buffer).not.toBe(first.bytes.buffer);
  });
  it('are kept up to the budget only', () => {
    const buffers = createCopyBuffers(100_000);
    const first = buffers.copy(media.subarray(0, 200_000));
    first.done();
    expect(buffers.copy(media.subarray(0, 200_000)).bytes.buffer).not.toBe(first.bytes.buffer);
  });
});
