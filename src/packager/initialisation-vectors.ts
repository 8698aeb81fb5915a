// SPDX-License-Identifier: Apache-2.0
/**
 * Chooses initialisation vectors so that no (key, counter) pair ever protects two plaintexts (design section 3).
 *
 * ISO/IEC 23001-7 sections 9.2 and 9.6. All video renditions share a key, so each (KID, representation) gets a random 64-bit
 * base of its own and counts up from there, one per sample; a restarted packager draws new bases, which collide with the
 * forgotten ones with a chance below 2^-45 even for a million samples under one key. Within a process bases of a KID that lie
 * less than 2^32 apart are drawn again. `cbcs` has one random constant IV per (KID, representation).
 * Invariant: bases come from the secure generator and say nothing about the content, the variant or the time.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { KeyId } from '#core/ids.ts';
import type { Random } from '#ports';

const APART = 1n << 32n;
const MAX_BASE = (1n << 64n) - APART;
/** KIDs remembered; older ones belong to periods that are over. */
const REMEMBERED = 4096;

type PerKey = { readonly counters: Map<string, { readonly base: bigint; used: bigint }>; readonly constants: Map<string, Uint8Array> };

/** Hands out vectors; one object per packager process. `representation` names a variant too where there are several: `v360/b`. */
export type InitialisationVectors = {
  /** Reserves `samples` consecutive 64-bit IVs and answers the first. */
  counter(kid: KeyId, representation: string, samples: number): bigint;
  /** The 16-byte constant IV of a representation under a key. */
  constant(kid: KeyId, representation: string): Uint8Array;
};

/** Draws from `random`, which must be cryptographically secure. */
export const createInitialisationVectors = (random: Random): InitialisationVectors => {
  const keys = new Map<string, PerKey>();
  const of = (kid: KeyId): PerKey => {
    const name = encodeHex(kid);
    let entry = keys.get(name);
    if (entry === undefined) {
      entry = { counters: new Map(), constants: new Map() };
      keys.set(name, entry);
      if (keys.size > REMEMBERED) {
        const oldest = keys.keys().next().value;
        if (oldest !== undefined) keys.delete(oldest);
      }
    }
    return entry;
  };
  const draw = (entry: PerKey): bigint => {
    for (;;) {
      const bytes = random.bytes(8);
      const base = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
      const near = [...entry.counters.values()].some((other) => base - other.base < APART && other.base - base < APART);
      // Counting must not wrap around either: it would meet the vectors of another base sooner or later.
      if (!near && base < MAX_BASE) return base;
    }
  };
  return {
    counter(kid, representation, samples) {
      const entry = of(kid);
      let counter = entry.counters.get(representation);
      if (counter === undefined || counter.used + BigInt(samples) >= APART) {
        counter = { base: draw(entry), used: 0n };
        entry.counters.set(representation, counter);
      }
      const first = counter.base + counter.used;
      counter.used += BigInt(samples);
      return first;
    },
    constant(kid, representation) {
      const { constants } = of(kid);
      const known = constants.get(representation) ?? random.bytes(16);
      constants.set(representation, known);
      return known;
    },
  };
};
