// SPDX-License-Identifier: Apache-2.0
/** SipHash and ChaCha against published vectors and node:crypto; the permutation against a slow one written in BigInt. */
import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chachaBlock, chachaKey } from './chacha.ts';
import { createPermutation } from './permutation.ts';
import { sipHash, sipKey } from './siphash.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const littleEndian = (words: Int32Array): string => {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => bytes.writeInt32LE(word, 4 * i));
  return bytes.toString('hex');
};

/** SipHash-2-4 as its paper writes it, on 64-bit words. */
const slowSipHash = (key: Uint8Array, message: Uint8Array): bigint => {
  const mask = (1n << 64n) - 1n;
  const rotl = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (64n - n))) & mask;
  const k0 = Buffer.from(key).readBigUInt64LE(0);
  const k1 = Buffer.from(key).readBigUInt64LE(8);
  const v: [bigint, bigint, bigint, bigint] = [k0 ^ 0x736f6d6570736575n, k1 ^ 0x646f72616e646f6dn, k0 ^ 0x6c7967656e657261n, k1 ^ 0x7465646279746573n];
  const round = (): void => {
    v[0] = (v[0] + v[1]) & mask; v[1] = rotl(v[1], 13n) ^ v[0]; v[0] = rotl(v[0], 32n);
    v[2] = (v[2] + v[3]) & mask; v[3] = rotl(v[3], 16n) ^ v[2];
    v[0] = (v[0] + v[3]) & mask; v[3] = rotl(v[3], 21n) ^ v[0];
    v[2] = (v[2] + v[1]) & mask; v[1] = rotl(v[1], 17n) ^ v[2]; v[2] = rotl(v[2], 32n);
  };
  for (const m of [Buffer.from(message).readBigUInt64LE(0), 8n << 56n]) {
    v[3] ^= m;
    round();
    round();
    v[0] ^= m;
  }
  v[2] ^= 0xffn;
  for (let i = 0; i < 4; i++) round();
  return v[0] ^ v[1] ^ v[2] ^ v[3];
};

/** docs of permutation.ts, read literally. */
const slowEncode = (key: Uint8Array, m: number, K: number, viewer: bigint): number[] => {
  const base = BigInt(m);
  const a = base ** BigInt(Math.floor(K / 2));
  const b = base ** BigInt(Math.ceil(K / 2));
  const page = viewer / (a * b);
  let left = (viewer % (a * b)) / b;
  let right = viewer % b;
  const f = (half: bigint, round: bigint): bigint => {
    const message = Buffer.alloc(8);
    message.writeBigUInt64LE(half | (((page << 8n) | round) << 32n));
    return slowSipHash(key, message) >> 43n << 32n | (slowSipHash(key, message) & 0xffffffffn);
  };
  for (let round = 0n; round < 10n; round += 2n) {
    left = (left + f(right, round)) % a;
    right = (right + f(left, round + 1n)) % b;
  }
  const digits: number[] = [];
  for (let i = 0, rest = left * b + right; i < K; i++, rest /= base) digits.unshift(Number(rest % base));
  return digits;
};

describe('SipHash-2-4', () => {
  it.each([
    // Reference implementation, vectors_sip64[8]; then `openssl mac -macopt size:8 siphash`.
    ['000102030405060708090a0b0c0d0e0f', '0001020304050607', '6224939a79f5f593'],
    ['ffeeddccbbaa99887766554433221100', 'deadbeef80000001', 'e7fdff585e995ede'],
  ])('key %s', (key, message, tag) => {
    const out = new Int32Array(2);
    const bytes = Buffer.from(message, 'hex');
    sipHash(sipKey(hex(key)), bytes.readInt32LE(0), bytes.readInt32LE(4), out);
    expect(littleEndian(out)).toBe(tag);
  });
});

describe('ChaCha', () => {
  const block = (key: string, words: readonly [number, number, number, number], rounds: number): string => {
    const out = new Int32Array(18);
    chachaBlock(chachaKey(hex(key)), ...words, rounds, out, 2);
    return littleEndian(out.subarray(2));
  };
  it('RFC 8439 section 2.3.2', () => {
    const key = Array.from({ length: 32 }, (_, i) => i.toString(16).padStart(2, '0')).join('');
    expect(block(key, [1, 0x09000000, 0x4a000000, 0], 20)).toBe(
      '10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e',
    );
  });
  it('equals the ChaCha20 of node:crypto', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.uint8Array({ minLength: 16, maxLength: 16 }), (key, nonce) => {
        const words = Buffer.from(nonce);
        const expected = createCipheriv('chacha20', key, nonce).update(Buffer.alloc(64)).toString('hex');
        expect(block(Buffer.from(key).toString('hex'), [words.readInt32LE(0), words.readInt32LE(4), words.readInt32LE(8), words.readInt32LE(12)], 20)).toBe(expected);
      }),
      { seed: 1, numRuns: 50 },
    );
  });
});

describe('permutation', () => {
  const key = hex('0f0e0d0c0b0a09080706050403020100');
  it.each([[2, 7], [3, 5], [5, 4], [8, 3]])('is one to one on all %i^%i numbers', (m, K) => {
    const { domain, encode, decode } = createPermutation(sipKey(key), m, K);
    expect(domain).toBe(m ** K);
    const seen = new Set<string>();
    const digits = new Uint8Array(K);
    for (let viewer = 0; viewer < domain; viewer++) {
      encode(viewer, digits);
      seen.add(digits.join());
      expect(Math.max(...digits)).toBeLessThan(m);
      expect(decode(digits, 0)).toBe(viewer);
    }
    expect(seen.size).toBe(domain);
  });
  it('equals the slow one, over pages and up to 2^52 codewords', () => {
    fc.assert(
      fc.property(fc.constantFrom([2, 52], [5, 13], [5, 22], [3, 19], [4, 15], [2, 20]), fc.nat(2 ** 31 - 1), fc.nat(3), ([m, K], low, page) => {
        const { domain, encode, decode } = createPermutation(sipKey(key), m as number, K as number);
        const viewer = Math.min(page, Math.floor(2 ** 53 / domain) - 1) * domain + Math.floor((low / 2 ** 31) * domain);
        const digits = new Uint8Array(K as number);
        encode(viewer, digits);
        expect([...digits]).toEqual(slowEncode(key, m as number, K as number, BigInt(viewer)));
        expect(decode(digits, Math.floor(viewer / domain))).toBe(viewer);
      }),
      { seed: 2, numRuns: 60 },
    );
  });
});
