// SPDX-License-Identifier: Apache-2.0
/** NIST SP 800-38A appendix F vectors (F.2.1, F.2.2, F.5.1) for both sample ciphers, and their agreement on any input. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import type { ContentKey } from '#core/ids.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import { nodeSampleAes } from './aes.ts';

const KEY = decodeHex('2b7e151628aed2a6abf7158809cf4f3c') as ContentKey;
const IV = decodeHex('000102030405060708090a0b0c0d0e0f');
const COUNTER = decodeHex('f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
const PLAIN = decodeHex('6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710');
const CTR = '874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee';
const CBC = '7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7';

const cipher = createSampleCipher();

describe('AES-128 for samples', () => {
  it('SP 800-38A vectors, node:crypto', () => {
    expect(encodeHex(nodeSampleAes.ctr(KEY, COUNTER, PLAIN))).toBe(CTR);
    expect(encodeHex(nodeSampleAes.ctr(KEY, COUNTER, decodeHex(CTR)))).toBe(encodeHex(PLAIN));
    expect(encodeHex(nodeSampleAes.cbcEncrypt(KEY, IV, PLAIN))).toBe(CBC);
    expect(encodeHex(nodeSampleAes.cbcDecrypt(KEY, IV, decodeHex(CBC)))).toBe(encodeHex(PLAIN));
  });

  it('SP 800-38A vectors, WebCrypto', async () => {
    expect(encodeHex(await cipher.ctr(KEY, COUNTER, PLAIN))).toBe(CTR);
    expect(encodeHex(await cipher.cbcDecrypt(KEY, IV, decodeHex(CBC)))).toBe(encodeHex(PLAIN));
  });

  it('agree on any input, and across a counter that wraps', async () => {
    const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });
    const wrapping = fc.constant(decodeHex('ffffffffffffffffffffffffffffffff'));
    await fc.assert(
      fc.asyncProperty(sixteen, fc.oneof(sixteen, wrapping), fc.uint8Array({ maxLength: 100 }), async (key, iv, data) => {
        const whole = data.subarray(0, data.length - (data.length % 16));
        expect(encodeHex(await cipher.ctr(key as ContentKey, iv, data))).toBe(encodeHex(nodeSampleAes.ctr(key, iv, data)));
        expect(encodeHex(await cipher.cbcDecrypt(key as ContentKey, iv, whole))).toBe(encodeHex(nodeSampleAes.cbcDecrypt(key, iv, whole)));
        expect(encodeHex(nodeSampleAes.cbcDecrypt(key, iv, nodeSampleAes.cbcEncrypt(key, iv, whole)))).toBe(encodeHex(whole));
      }),
    );
  });

  it('refuse partial blocks in CBC instead of dropping them', async () => {
    expect(() => nodeSampleAes.cbcEncrypt(KEY, IV, PLAIN.subarray(1))).toThrow(RangeError);
    expect(() => nodeSampleAes.cbcDecrypt(KEY, IV, PLAIN.subarray(1))).toThrow(RangeError);
    await expect(cipher.cbcDecrypt(KEY, IV, PLAIN.subarray(1))).rejects.toThrow(RangeError);
  });
});
