// SPDX-License-Identifier: Apache-2.0
/**
 * Seals a licence to a device with Node's OpenSSL: compact JWE, ECDH-ES with A256GCM.
 *
 * RFC 7516 section 7.1, RFC 7518 sections 4.6 and 5.3, NIST SP 800-56A 5.8.1. WebCrypto does the same in seven asynchronous
 * jobs, each of which costs more than what it computes. Invariant: key pair, content key and IV are fresh for every call.
 */
import { createCipheriv, createPublicKey, diffieHellman, generateKeyPairSync, hash, randomBytes } from 'node:crypto';
import type { SealTo } from '#crypto/jose.ts';

/** Concat KDF, one round: counter, Z, AlgorithmID `A256GCM`, empty PartyUInfo and PartyVInfo, 256 bits. */
const BEFORE = Buffer.from([0, 0, 0, 1]);
const AFTER = Buffer.concat([Buffer.from([0, 0, 0, 7]), Buffer.from('A256GCM'), Buffer.alloc(8), Buffer.from([0, 0, 1, 0])]);

/** Throws if the recipient's point is not on the curve. For the `sealTo` option of licence servers. */
export const nodeSealTo: SealTo = (recipient, plain) => {
  const ephemeral = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = createPublicKey({ key: { ...recipient }, format: 'jwk' });
  const shared = diffieHellman({ privateKey: ephemeral.privateKey, publicKey });
  const contentKey = hash('sha256', Buffer.concat([BEFORE, shared, AFTER]), 'buffer');
  const { kty, crv, x, y } = ephemeral.publicKey.export({ format: 'jwk' });
  const header = Buffer.from(JSON.stringify({ alg: 'ECDH-ES', enc: 'A256GCM', epk: { kty, crv, x, y } })).toString('base64url');
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', contentKey, iv);
  cipher.setAAD(Buffer.from(header));
  const ciphertext = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
  return `${header}..${iv.toString('base64url')}.${ciphertext.toString('base64url')}.${cipher.getAuthTag().toString('base64url')}`;
};
