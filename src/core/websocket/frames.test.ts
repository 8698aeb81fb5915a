// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createFrameReader, encodeClose, encodeFrame, OPCODE, WS_CLOSE } from './frames.ts';

/** As a client sends it: masked. */
const masked = (opcode: number, payload: Uint8Array, options: { fin?: boolean; rsv?: number; mask?: boolean } = {}): Uint8Array => {
  const head = payload.length < 126 ? [payload.length] : payload.length < 65_536 ? [126, payload.length >> 8, payload.length & 255] : [127, 0, 0, 0, 0, 0, payload.length >> 16, (payload.length >> 8) & 255, payload.length & 255];
  const key = [1, 2, 3, 4];
  const mask = options.mask ?? true;
  head[0] = (head[0] as number) | (mask ? 0x80 : 0);
  return Uint8Array.from([((options.fin ?? true) ? 0x80 : 0) | (options.rsv ?? 0) | opcode, ...head, ...(mask ? key : []), ...payload.map((byte, index) => (mask ? byte ^ (key[index & 3] as number) : byte))]);
};
const reading = (limit = 4096): { got: { opcode: number; payload: Uint8Array }[]; codes: number[]; push: (bytes: Uint8Array) => void } => {
  const got: { opcode: number; payload: Uint8Array }[] = [];
  const codes: number[] = [];
  const reader = createFrameReader({ limit, message: (opcode, payload) => got.push({ opcode, payload }), fail: (code) => codes.push(code) });
  return { got, codes, push: (bytes) => reader.push(bytes) };
};

describe('WebSocket frames', () => {
  test('RFC 6455 section 5.7: the masked and unmasked "Hello"', () => {
    const { got, push } = reading();
    push(Uint8Array.from([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]));
    expect(got).toEqual([{ opcode: OPCODE.text, payload: new TextEncoder().encode('Hello') }]);
    expect([...encodeFrame(OPCODE.text, new TextEncoder().encode('Hello'))]).toEqual([0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    expect([...encodeClose(1001, 'x')]).toEqual([0x88, 3, 0x03, 0xe9, 0x78]);
  });
  test('lengths of 126, 65,535 and 65,536 bytes', () => {
    expect([...encodeFrame(OPCODE.binary, new Uint8Array(126)).subarray(0, 4)]).toEqual([0x82, 126, 0, 126]);
    expect([...encodeFrame(OPCODE.binary, new Uint8Array(65_535)).subarray(0, 4)]).toEqual([0x82, 126, 255, 255]);
    expect([...encodeFrame(OPCODE.binary, new Uint8Array(65_536)).subarray(0, 10)]).toEqual([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
  });
  test('however the bytes are cut, the same messages come out', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ opcode: fc.constantFrom(1, 2, 9, 10), payload: fc.uint8Array({ maxLength: 300 }) }).map((each) => (each.opcode > 8 ? { ...each, payload: each.payload.subarray(0, 125) } : each)), { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }), (frames, cuts) => {
        const all = Uint8Array.from(frames.flatMap(({ opcode, payload }) => [...masked(opcode, payload)]));
        const { got, codes, push } = reading();
        for (let at = 0, turn = 0; at < all.length; turn++) {
          const size = cuts[turn % cuts.length] as number;
          push(all.subarray(at, at + size));
          at += size;
        }
        expect(codes).toEqual([]);
        expect(got.map(({ opcode, payload }) => ({ opcode, payload: [...payload] }))).toEqual(frames.map(({ opcode, payload }) => ({ opcode, payload: [...payload] })));
      }),
      { seed: 4 },
    );
  });
  test.each([
    ['not masked', masked(1, new Uint8Array(3), { mask: false }), WS_CLOSE.protocol],
    ['a reserved bit', masked(1, new Uint8Array(3), { rsv: 0x40 }), WS_CLOSE.protocol],
    ['an unknown opcode', masked(3, new Uint8Array(3)), WS_CLOSE.protocol],
    ['a fragment', masked(1, new Uint8Array(3), { fin: false }), WS_CLOSE.unsupported],
    ['a continuation', masked(0, new Uint8Array(3)), WS_CLOSE.unsupported],
    ['a fragmented ping', masked(9, new Uint8Array(3), { fin: false }), WS_CLOSE.protocol],
    ['a long ping', masked(9, new Uint8Array(126)), WS_CLOSE.protocol],
    ['a length not written shortest', Uint8Array.from([0x81, 0xfe, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0]), WS_CLOSE.protocol],
    ['beyond the limit', masked(2, new Uint8Array(4097)), WS_CLOSE.tooBig],
    ['a 64-bit length', masked(2, new Uint8Array(70_000)), WS_CLOSE.tooBig],
  ])('%s ends the connection', (_name, bytes, code) => {
    const { got, codes, push } = reading();
    push(bytes);
    push(masked(1, new Uint8Array(1)));
    expect(codes).toEqual([code]);
    expect(got).toEqual([]);
  });
  test('no bytes whatever are more than messages and one close', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (pieces) => {
        const { got, codes, push } = reading(64);
        for (const piece of pieces) push(piece);
        expect(codes.length).toBeLessThanOrEqual(1);
        expect(got.every(({ payload }) => payload.length <= 64)).toBe(true);
      }),
      { seed: 9, numRuns: 2000 },
    );
  });
});
