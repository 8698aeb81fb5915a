// SPDX-License-Identifier: Apache-2.0
/**
 * The block cipher Common Encryption needs, as an argument: `core` holds no cipher code (adapters/node/aes.ts has the
 * one over node:crypto, crypto/sample-cipher.ts the asynchronous one over WebCrypto).
 */

/** AES-128, synchronous. Keys, counters and vectors are 16 bytes; results have the length of the input and are new arrays. */
export type SampleAes = {
  /** CTR with a 128-bit big-endian counter that starts at `counter` (SP 800-38A); encryption and decryption alike. */
  ctr(key: Uint8Array, counter: Uint8Array, data: Uint8Array): Uint8Array;
  /** CBC without padding; `data` is a multiple of 16 bytes. */
  cbcEncrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
  cbcDecrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
};
