// SPDX-License-Identifier: Apache-2.0
/**
 * AES-256 key unwrap with WebCrypto (RFC 3394).
 *
 * Invariant: a wrong key-encryption key answers undefined, never a wrong key.
 */

/** The wrapped key; undefined if the integrity check fails. HMAC is the one key type of any length in WebCrypto. */
export const unwrapKey = async (kek: Uint8Array, wrapped: Uint8Array): Promise<Uint8Array | undefined> => {
  try {
    const wrapping = await crypto.subtle.importKey('raw', kek as BufferSource, 'AES-KW', false, ['unwrapKey']);
    const key = await crypto.subtle.unwrapKey('raw', wrapped as BufferSource, wrapping, 'AES-KW', { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
    return new Uint8Array(await crypto.subtle.exportKey('raw', key));
  } catch {
    return undefined;
  }
};
