// SPDX-License-Identifier: Apache-2.0
/**
 * HMAC-SHA256 (RFC 2104), SHA-256 and HKDF (RFC 5869), synchronous in every runtime.
 *
 * The key ladder is a chain of short HMACs on the renewal path; WebCrypto's are asynchronous, which costs more than the hash.
 */
import { hkdf as nobleHkdf } from '@noble/hashes/hkdf.js';
import { hmac as nobleHmac } from '@noble/hashes/hmac.js';
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';

/** 32-byte HMAC-SHA256 of `data`. */
export const hmacSha256 = (key: Uint8Array, data: Uint8Array): Uint8Array => nobleHmac(nobleSha256, key, data);
/** 32-byte SHA-256 of `data`. */
export const sha256 = (data: Uint8Array): Uint8Array => nobleSha256(data);
/** HKDF-SHA256; an empty salt is 32 zero bytes as in the RFC. */
export const hkdfSha256 = (ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array =>
  nobleHkdf(nobleSha256, ikm, salt, info, length);
