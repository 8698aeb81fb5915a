// SPDX-License-Identifier: Apache-2.0
import { createHmac, hkdfSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { nodeLadderHash } from './ladder-hash.ts';

const repeated = (byte: number, times: number): Uint8Array => new Uint8Array(times).fill(byte);
const text = (of: string): Uint8Array => new TextEncoder().encode(of);
const bytes = (most: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: most });

describe('official vectors', () => {
  // RFC 4231 sections 4.2-4.4, 4.7 and 4.8: short keys, keys of a block and longer ones.
  test.each([
    [repeated(0x0b, 20), text('Hi There'), 'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7'],
    [text('Jefe'), text('what do ya want for nothing?'), '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843'],
    [repeated(0xaa, 20), repeated(0xdd, 50), '773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe'],
    [repeated(0xaa, 131), text('Test Using Larger Than Block-Size Key - Hash Key First'), '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54'],
  ])('HMAC-SHA256 of RFC 4231', (key, data, mac) => {
    expect(encodeHex(nodeLadderHash.hmac(key, data))).toBe(mac);
  });

  test('HKDF-SHA256 of RFC 5869, appendix A.1 and A.3', () => {
    const ikm = repeated(0x0b, 22);
    expect(encodeHex(nodeLadderHash.hkdf(ikm, decodeHex('000102030405060708090a0b0c'), decodeHex('f0f1f2f3f4f5f6f7f8f9'), 42))).toBe('3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865');
    expect(encodeHex(nodeLadderHash.hkdf(ikm, new Uint8Array(0), new Uint8Array(0), 42))).toBe('8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8');
  });
});

describe('beside the other implementations', () => {
  test('HMAC is what the portable one and an Hmac object say, whatever came before', () => {
    fc.assert(
      fc.property(bytes(150), bytes(3000), (key, data) => {
        const mac = nodeLadderHash.hmac(key, data);
        expect(encodeHex(mac)).toBe(createHmac('sha256', key).update(data).digest('hex'));
        expect(encodeHex(mac)).toBe(encodeHex(ladderHash.hmac(key, data)));
      }),
    );
  });

  test('HKDF is what the portable one and hkdfSync say', () => {
    fc.assert(
      fc.property(bytes(80), bytes(80), bytes(200), fc.integer({ min: 1, max: 200 }), (ikm, salt, info, length) => {
        const key = encodeHex(nodeLadderHash.hkdf(ikm, salt, info, length));
        expect(key).toBe(encodeHex(new Uint8Array(hkdfSync('sha256', ikm, salt, info, length))));
        expect(key).toBe(encodeHex(ladderHash.hkdf(ikm, salt, info, length)));
      }),
    );
  });

  test('more than 255 blocks are refused', () => {
    expect(() => nodeLadderHash.hkdf(repeated(1, 32), new Uint8Array(0), new Uint8Array(0), 255 * 32 + 1)).toThrow(RangeError);
  });

  test('answers are independent of each other and leave their inputs alone', () => {
    const key = repeated(7, 32);
    const data = repeated(9, 40);
    const first = nodeLadderHash.hmac(key, data);
    const copy = new Uint8Array(first);
    nodeLadderHash.hmac(data, key);
    expect(new Uint8Array(first)).toEqual(copy);
    expect([key, data]).toEqual([repeated(7, 32), repeated(9, 40)]);
  });
});
