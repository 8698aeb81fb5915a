// SPDX-License-Identifier: Apache-2.0
/**
 * Renewal keys and flags out of an edge bundle, for a renewal node mounted at an edge.
 *
 * docs/wire/edge-bundle.md. Invariant: no bundle, an expired one or one without the zone key means no key: renewals of this
 * node stop, and clients go to their next address.
 */
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { DeviceId, SessionId } from '#core/ids.ts';
import { type EndReason, isEndReason } from '#core/license/reasons.ts';
import type { ZoneKeysFinder } from '#core/license/zone-keys.ts';
import { releaseTokenKey } from '#core/keys/ladder.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';

/** `bundle` answers the newest bundle; it is asked at every renewal. */
export const zonesOfBundle = (bundle: () => EdgeBundle | undefined): ZoneKeysFinder => (epochByte, zoneIndex, now) => {
  const held = bundle();
  if (held === undefined || now >= held.validUntil || held.zone.index !== zoneIndex) return undefined;
  const epoch = held.epochs.find((item) => item.epoch % 256 === epochByte && now < item.notAfter);
  return epoch?.zoneKey === undefined ? undefined : { epoch: epoch.epoch, zone: held.zone, zoneKey: epoch.zoneKey, mediaTokenKey: epoch.mediaTokenKey, releaseTokenKey: epoch.releaseTokenKey ?? releaseTokenKey(ladderHash, epoch.zoneKey), notAfter: epoch.notAfter };
};

/** Flags of the newest bundle. Look-up tables are made once per bundle. */
export const flagsOfBundle = (bundle: () => EdgeBundle | undefined): ((session: SessionId, device: DeviceId) => EndReason | undefined) => {
  let of: EdgeBundle | undefined;
  let sessions: ReadonlyMap<SessionId, EndReason> = new Map();
  let devices: ReadonlySet<DeviceId> = new Set();
  return (session, device) => {
    const held = bundle();
    if (held !== of && held !== undefined) {
      // A reason this version does not know still ends the session.
      sessions = new Map(held.revokedSessions.map((item) => [item.session, isEndReason(item.reason) ? item.reason : 'operator']));
      devices = new Set(held.revokedDevices.map((item) => item.device));
      of = held;
    }
    return sessions.get(session) ?? (devices.has(device) ? 'device-revoked' : undefined);
  };
};
