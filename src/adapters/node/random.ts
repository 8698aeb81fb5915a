// SPDX-License-Identifier: Apache-2.0
/**
 * The operating system's cryptographically secure randomness (Node's `randomBytes`).
 *
 * Invariant: never seeded, never shared: each call returns fresh bytes in memory of their own.
 */
import { randomFillSync } from 'node:crypto';
import type { Random } from '#ports';

/** Secure randomness; `bytes(n)` returns a new array of n bytes. */
export const systemRandom: Random = {
  bytes: (length) => randomFillSync(new Uint8Array(length)),
};
