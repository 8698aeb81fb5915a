// SPDX-License-Identifier: Apache-2.0
/** AES-256 key wrap (RFC 3394) of Node's crypto: synchronous, which WebCrypto's is not. */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { KeyWrapper } from '#ports';

/** The RFC's default initial value; it is what makes a wrong key-encryption key show. */
const INITIAL_VALUE = new Uint8Array(8).fill(0xa6);
const join = (a: Uint8Array, b: Uint8Array): Uint8Array => (b.length === 0 ? new Uint8Array(a) : new Uint8Array(Buffer.concat([a, b])));

/** Throws RangeError for a key-encryption key that is not 32 bytes or a key that is not a multiple of 8 bytes, at least 16. */
export const nodeKeyWrapper: KeyWrapper = {
  wrap(kek, key) {
    if (kek.length !== 32) throw new RangeError(`a key-encryption key is 32 bytes; got ${kek.length}`);
    if (key.length < 16 || key.length % 8 !== 0) throw new RangeError(`a wrapped key is a multiple of 8 bytes, at least 16; got ${key.length}`);
    // The whole result comes at once and `final` has nothing to add; a licence wraps hundreds of keys.
    return createCipheriv('id-aes256-wrap', kek, INITIAL_VALUE).update(key);
  },
  unwrap(kek, wrapped) {
    if (kek.length !== 32) throw new RangeError(`a key-encryption key is 32 bytes; got ${kek.length}`);
    if (wrapped.length < 24 || wrapped.length % 8 !== 0) return undefined;
    try {
      const decipher = createDecipheriv('id-aes256-wrap', kek, INITIAL_VALUE);
      return join(decipher.update(wrapped), decipher.final());
    } catch {
      return undefined;
    }
  },
};
