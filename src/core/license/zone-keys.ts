// SPDX-License-Identifier: Apache-2.0
/**
 * The keys of one zone in one master-secret epoch, as renewal nodes and edges know them.
 *
 * docs/wire/keys.md (ZK, MTK). In process they come from the licence server's master secrets, elsewhere from the edge bundle.
 */
import type { Micros } from '#core/time.ts';

/** Keys of one zone and epoch. Secret: whoever holds them can renew and admit every session of the zone. */
export type ZoneKeys = {
  /** Full epoch number; session ids carry its low byte. */
  readonly epoch: number;
  readonly zone: { readonly index: number; readonly name: string };
  /** ZK[e,z], 32 bytes. */
  readonly zoneKey: Uint8Array;
  /** MTK[e,z], 32 bytes. */
  readonly mediaTokenKey: Uint8Array;
  /** RTK[e,z], 32 bytes. */
  readonly releaseTokenKey: Uint8Array;
  /** Nothing of this epoch is served at or after this instant. */
  readonly notAfter: Micros;
};

/** Finds the keys that a session id names; undefined for an unknown or over epoch and for a foreign zone. Synchronous: it is on the renewal path. */
export type ZoneKeysFinder = (epochByte: number, zoneIndex: number, now: Micros) => ZoneKeys | undefined;
