// SPDX-License-Identifier: Apache-2.0
/**
 * The hashes of the key ladder by Node's OpenSSL: about twice as fast as the portable ones, for renewal nodes and licence
 * servers. RFC 2104, RFC 5869, FIPS 180-4. Invariant: answers are byte-identical to `#crypto/ladder-hash.ts`.
 */
import { createHmac, hash, hkdfSync } from 'node:crypto';
import type { LadderHash } from '#core/keys/ladder.ts';

/** For the `hash` option of key server, licence server and renewal nodes that run in Node. */
export const nodeLadderHash: LadderHash = {
  hmac: (key, data) => createHmac('sha256', key).update(data).digest(),
  sha256: (data) => hash('sha256', data, 'buffer'),
  hkdf: (ikm, salt, info, length) => new Uint8Array(hkdfSync('sha256', ikm, salt, info, length)),
};
