// SPDX-License-Identifier: Apache-2.0
/** Masks against big-integer arithmetic and an escaper, on payloads full of what emulation prevention cares about. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { escapeNal } from '../../../../test/vectors/escape-nal.ts';
import { unescapeNal } from '../nal.ts';
import { LONGEST_MASK, replacementOf } from './replacement.ts';
import { LUMA_4X4, SignSites } from './sites.ts';
import type { SliceData } from './slice-data.ts';

const HEADER_BYTES = 2;

/** A slice with one sign at `bit`, of a NAL unit made from `payload`. */
const sliceOf = (
  payload: Uint8Array,
  bit: number,
  range: number,
  negative: boolean,
  stopBit: number = payload.length * 8,
): { readonly nal: Uint8Array; readonly slice: SliceData } => {
  const nal = escapeNal(0x41, payload);
  const sites = new SignSites();
  sites.add(bit, range, negative ? -1 : 1, LUMA_4X4, 0);
  const rbsp = unescapeNal(nal);
  sites.locate(rbsp);
  return { nal, slice: { sites, rbsp, stopBit, nextMb: 1, macroblocks: new Uint8Array(1), header: { headerBits: HEADER_BYTES * 8 } as unknown as SliceData['header'] } };
};

/** The payload with the sign turned, or nothing where the sum leaves it. */
const turned = (payload: Uint8Array, bit: number, range: number, negative: boolean): Uint8Array | undefined => {
  const length = payload.length * 8;
  const amount = range === 0 ? 1n : BigInt(range);
  const whole = payload.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const weight = BigInt(length - 1 - bit);
  // A plain sign bit is 1 for negative.
  const sum = whole + (amount << weight) * (negative ? -1n : 1n);
  if (sum < 0n || sum >= 1n << BigInt(length)) return undefined;
  return Uint8Array.from({ length: payload.length }, (_, i) => Number((sum >> BigInt((payload.length - 1 - i) * 8)) & 255n));
};

const byte = fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 4, 0x80, 0xff) }, { weight: 3, arbitrary: fc.nat({ max: 255 }) });
const input = fc.record({
  bytes: fc.array(byte, { minLength: HEADER_BYTES + 6, maxLength: 40 }),
  // Bits counted from the end, as most of what can go wrong is there.
  fromEnd: fc.oneof(fc.nat(), fc.nat({ max: 15 })),
  range: fc.oneof(fc.constant(0), fc.integer({ min: 256, max: 510 })),
  negative: fc.boolean(),
});

describe('replacements', () => {
  it('are exactly the sum, and refused only where bytes could not stay as they must', () => {
    const seen = { given: 0, carry: 0, escape: 0 };
    fc.assert(
      fc.property(input, ({ bytes, fromEnd, range, negative }) => {
        const payload = Uint8Array.from(bytes);
        // The stop bit's byte is never 0.
        payload[payload.length - 1] = 0x80 | (payload[payload.length - 1] as number);
        const bit = payload.length * 8 - 1 - (fromEnd % ((payload.length - HEADER_BYTES) * 8));
        if (range === 0) payload[bit >> 3] = ((payload[bit >> 3] as number) & ~(128 >> (bit & 7))) | (negative ? 128 >> (bit & 7) : 0);
        fc.pre(payload[payload.length - 1] !== 0);
        const { nal, slice } = sliceOf(payload, bit, range, negative);
        const answer = replacementOf(nal, slice, 0);
        const next = turned(payload, bit, range, negative);
        const changed = next === undefined ? [] : bytes.flatMap((_, i) => (payload[i] === next[i] ? [] : [i]));
        const first = changed[0] ?? 0;
        const last = bit >> 3;
        const tooFar = next === undefined || first < HEADER_BYTES || last - first >= LONGEST_MASK;
        if (answer === 'carry') {
          expect(tooFar).toBe(true);
          seen.carry++;
          return;
        }
        expect(tooFar).toBe(false);
        const wanted = escapeNal(0x41, next as Uint8Array);
        const escapes = (unit: Uint8Array): readonly number[] => unescapeNal(unit).removed;
        const keeps = escapes(wanted).join() === escapes(nal).join() && wanted.length === nal.length && wanted[wanted.length - 1] !== 0;
        const through = slice.rbsp.removed.some((index) => index > first && index <= last);
        if (answer === 'escape') {
          expect(keeps && !through).toBe(false);
          seen.escape++;
          return;
        }
        if (typeof answer === 'string') throw new Error(answer);
        const result = nal.slice();
        for (const [i, mask] of answer.mask.entries()) result[answer.offset + i] = (result[answer.offset + i] as number) ^ mask;
        expect(Buffer.compare(result, wanted)).toBe(0);
        expect(keeps && !through).toBe(true);
        // No byte of a mask is 0, which is why an escape inside one is always noticed.
        expect([...answer.mask]).not.toContain(0);
        seen.given++;
      }),
      { numRuns: 4000 },
    );
    expect(seen.given).toBeGreaterThan(1000);
    expect(seen.carry).toBeGreaterThan(50);
    expect(seen.escape).toBeGreaterThan(50);
  });

  it('leave the stop bit alone', () => {
    const payload = Uint8Array.of(0x41, 0x52, 0x63, 0x74, 0x85, 0x96);
    for (const [bit, allowed] of [
      [45, true],
      [46, false],
      [47, false],
    ] as const) {
      const { nal, slice } = sliceOf(payload, bit, 301, false, 46);
      expect(typeof replacementOf(nal, slice, 0) === 'object').toBe(allowed);
      if (!allowed) expect(replacementOf(nal, slice, 0)).toBe('stop-bit');
    }
  });

  it('never leave a byte above 3 behind an escape', () => {
    // 00 00 03 00 8b: adding the range carries into the byte after the escape, which then need not be escaped.
    const payload = Uint8Array.of(0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0x8b, 0x55, 0x80);
    const { nal, slice } = sliceOf(payload, 7 * 8 + 4, 510, false);
    expect([...nal]).toContain(3);
    expect(replacementOf(nal, slice, 0)).toBe('escape');
  });
});
