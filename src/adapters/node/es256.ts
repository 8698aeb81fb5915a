// SPDX-License-Identifier: Apache-2.0
/**
 * ES256 by Node's OpenSSL, at once: RFC 7518 section 3.4, signatures as 64 bytes r | s.
 *
 * WebCrypto does each signature, check and import in a job of the thread pool, which costs as much CPU as what it computes; a
 * session start needs five. Invariant: keys are P-256 and made for one use.
 */
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import type { Es256 } from '#crypto/jose.ts';

const HASH = 'sha256';
const ENCODING = 'ieee-p1363';

/** For the `es256` option of licence servers. Importing throws for a point that is not on the curve. */
export const nodeEs256: Es256 = {
  verifier({ kty, crv, x, y }) {
    const key = createPublicKey({ key: { kty, crv, x, y }, format: 'jwk' });
    return { verify: (data, signature) => verify(HASH, data, { key, dsaEncoding: ENCODING }, signature) };
  },
  signer({ kty, crv, x, y, d }) {
    const key = createPrivateKey({ key: { kty: kty ?? '', crv: crv ?? '', x: x ?? '', y: y ?? '', d: d ?? '' }, format: 'jwk' });
    return { sign: (data) => sign(HASH, data, { key, dsaEncoding: ENCODING }) };
  },
};
