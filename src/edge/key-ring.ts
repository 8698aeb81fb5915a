// SPDX-License-Identifier: Apache-2.0
/**
 * A bundle in the form requests ask it: key of a key id, revocation of a session, in constant time.
 *
 * docs/wire/edge-bundle.md. Invariant: a key answers only inside its epoch's window, and nothing answers after the
 * bundle's `validUntil`.
 */
import type { EdgeBundle, EdgeEpoch } from '#core/edge-bundle/edge-bundle.ts';
import type { AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { createMarkSwitch, type MarkSwitch } from '#edge/mark-switch.ts';
import { createTokenKeys, type TokenKeys } from '#crypto/token-keys.ts';
import type { MediaTokenKeyId } from '#crypto/media-token.ts';

/** A zone key for a renewal role mounted beside the edge. */
export type RenewalKey = { readonly epoch: number; readonly zone: number; readonly zoneKey: Uint8Array; readonly notBefore: Micros; readonly notAfter: Micros };

/** The keys and revocations of one bundle. */
export type KeyRing = {
  readonly version: number;
  readonly validUntil: Micros;
  readonly zone: EdgeBundle['zone'];
  /** Equal by `===` for rings with the same keys: what was verified under one holds under the other. */
  readonly identity: object;
  /** MTK[e,z] if the key id is of this zone and `now` lies in its epoch's window. */
  mediaTokenKey(kid: MediaTokenKeyId, now: Micros): Uint8Array | undefined;
  /** RTK[e,z] on the same terms. */
  releaseTokenKey(kid: MediaTokenKeyId, now: Micros): Uint8Array | undefined;
  /** Release token keys of all epochs, for threads that verify by themselves. */
  releaseKeys(): readonly { readonly epoch: number; readonly key: Uint8Array; readonly notBefore: Micros; readonly notAfter: Micros }[];
  /** The revocation list of sessions. */
  revoked(): readonly (readonly [SessionId, Micros])[];
  /** Keys of other makers' tokens. */
  readonly tokenKeys: TokenKeys;
  /** Of assets whose segments have variants. */
  markSwitch(asset: AssetId): MarkSwitch | undefined;
  isRevoked(session: SessionId, now: Micros): boolean;
  isDeviceRevoked(device: DeviceId, now: Micros): boolean;
  /** Empty for edges that do not renew. */
  renewalKeys(): readonly RenewalKey[];
};

const sameKeys = (a: EdgeBundle, b: EdgeBundle): boolean =>
  a.zone.index === b.zone.index &&
  a.epochs.length === b.epochs.length &&
  a.epochs.every((epoch, index) => {
    const other = b.epochs[index];
    return other !== undefined && epoch.epoch === other.epoch && equalBytes(epoch.mediaTokenKey, other.mediaTokenKey);
  });

/** `previous`: the bundle and ring this one replaces, so that unchanged keys keep their identity. */
export const createKeyRing = (bundle: EdgeBundle, previous?: { bundle: EdgeBundle; ring: KeyRing }): KeyRing => {
  const epochs = new Map<number, EdgeEpoch>(bundle.epochs.map((item) => [item.epoch, item]));
  const sessions = new Map<SessionId, Micros>(bundle.revokedSessions.map((item) => [item.session, item.until]));
  const devices = new Map<DeviceId, Micros>(bundle.revokedDevices.map((item) => [item.device, item.until]));
  const tokenKeys = createTokenKeys(bundle.tokenKeys ?? []);
  const unchanged = previous !== undefined && sameKeys(previous.bundle, bundle) && previous.ring.tokenKeys.fingerprint === tokenKeys.fingerprint;
  const switches = new Map<AssetId, MarkSwitch>((bundle.marks ?? []).map((plan) => [plan.asset, createMarkSwitch(plan)]));
  return {
    version: bundle.version,
    validUntil: bundle.validUntil,
    zone: bundle.zone,
    identity: unchanged ? previous.ring.identity : {},
    tokenKeys: unchanged ? previous.ring.tokenKeys : tokenKeys,
    mediaTokenKey: (kid, now) => {
      const epoch = kid.zone === bundle.zone.index ? epochs.get(kid.epoch) : undefined;
      return epoch !== undefined && now >= epoch.notBefore && now < epoch.notAfter ? epoch.mediaTokenKey : undefined;
    },
    releaseTokenKey: (kid, now) => {
      const epoch = kid.zone === bundle.zone.index ? epochs.get(kid.epoch) : undefined;
      return epoch !== undefined && now >= epoch.notBefore && now < epoch.notAfter ? epoch.releaseTokenKey : undefined;
    },
    releaseKeys: () => bundle.epochs.flatMap(({ epoch, releaseTokenKey, notBefore, notAfter }) => (releaseTokenKey === undefined ? [] : [{ epoch, key: releaseTokenKey, notBefore, notAfter }])),
    revoked: () => [...sessions],
    markSwitch: (asset) => switches.get(asset),
    isRevoked: (session, now) => now < (sessions.get(session) ?? 0),
    isDeviceRevoked: (device, now) => now < (devices.get(device) ?? 0),
    renewalKeys: () =>
      bundle.epochs.flatMap(({ epoch, zoneKey, notBefore, notAfter }) =>
        zoneKey === undefined ? [] : [{ epoch, zone: bundle.zone.index, zoneKey, notBefore, notAfter }],
      ),
  };
};
