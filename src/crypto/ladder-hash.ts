// SPDX-License-Identifier: Apache-2.0
/** The hashes of the key ladder (docs/wire/keys.md) for every runtime, in the shape `#core/keys/ladder.ts` takes. */
import type { LadderHash } from '#core/keys/ladder.ts';
import { hkdfSha256, hmacSha256, sha256 } from './hmac.ts';

/** Portable and synchronous; Node has a faster one in `#adapters/node/ladder-hash.ts`. */
export const ladderHash: LadderHash = { hmac: hmacSha256, sha256, hkdf: hkdfSha256 };
