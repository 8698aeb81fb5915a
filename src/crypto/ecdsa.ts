// SPDX-License-Identifier: Apache-2.0
/**
 * ES256 (RFC 7518 section 3.4, RFC 9053 section 2.1): ECDSA on P-256 with SHA-256, signatures as 64 bytes r | s.
 *
 * Invariant: a key is imported for one use only, so a public key can never be mistaken for an HMAC secret.
 */
import type { PublicJwk } from '#core/license/public-jwk.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNATURE = { name: 'ECDSA', hash: 'SHA-256' } as const;

/** Bytes of a signature. */
export const ES256_LENGTH = 64;

/** For `verifyEs256`. Rejects with a DOMException if the point is not on the curve. */
export const importEs256Public = ({ kty, crv, x, y }: PublicJwk): Promise<CryptoKey> => crypto.subtle.importKey('jwk', { kty, crv, x, y }, ALGORITHM, false, ['verify']);

/** For `signEs256`; `jwk` holds the private `d`. */
export const importEs256Private = (jwk: JsonWebKey): Promise<CryptoKey> => {
  const { kty, crv, x, y, d } = jwk;
  return crypto.subtle.importKey('jwk', { kty, crv, x, y, d } as JsonWebKey, ALGORITHM, false, ['sign']);
};

/** 64 bytes. */
export const signEs256 = async (key: CryptoKey, data: Uint8Array): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.sign(SIGNATURE, key, data as Uint8Array<ArrayBuffer>));

/** False for signatures of any other length, too. */
export const verifyEs256 = async (key: CryptoKey, data: Uint8Array, signature: Uint8Array): Promise<boolean> =>
  signature.length === ES256_LENGTH && crypto.subtle.verify(SIGNATURE, key, signature as Uint8Array<ArrayBuffer>, data as Uint8Array<ArrayBuffer>);
