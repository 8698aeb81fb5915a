// SPDX-License-Identifier: Apache-2.0
/**
 * Sample ciphers over node:crypto (AES-128 of OpenSSL).
 *
 * Making a cipher object costs about as much as ciphering 5 kB, so callers gather a sample (cbcs: a subsample) and call
 * once; see core/cenc. Invariant: no padding anywhere, results as long as the input.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { SampleAes } from '#core/cenc/sample-aes.ts';

/** AES-128 in CTR and CBC mode for packagers and clients in Node. */
export const nodeSampleAes: SampleAes = {
  ctr: (key, counter, data) => createCipheriv('aes-128-ctr', key, counter).update(data),
  cbcEncrypt: (key, iv, data) => createCipheriv('aes-128-cbc', key, iv).setAutoPadding(false).update(whole(data)),
  cbcDecrypt: (key, iv, data) => createDecipheriv('aes-128-cbc', key, iv).setAutoPadding(false).update(whole(data)),
};

const whole = (data: Uint8Array): Uint8Array => {
  if (data.length % 16 !== 0) throw new RangeError(`CBC without padding takes multiples of 16 bytes, not ${data.length}`);
  return data;
};
