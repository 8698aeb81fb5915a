// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/devices: registers a device for an account, within the account's limit.
 *
 * docs/wire/session.md. Invariant: the entitlement is used up like that of a session start, so that a stolen one registers at
 * most one device.
 */
import { SealcastError } from '#core/errors.ts';
import type { DeviceId } from '#core/ids.ts';
import { membersOf } from '#core/license/shape.ts';
import type { Es256 } from '#crypto/jose.ts';
import type { Clock, DeviceStore, EventSink } from '#ports';
import { parseDevice, proveDevice } from './device-proof.ts';
import type { Entitlements } from './entitlements.ts';
import { checkNonce } from './nonce.ts';

/** `created` is false if the account had the device already. */
export type Registration = { readonly device: DeviceId; readonly created: boolean };

/** Answers the body of POST /v1/devices. Throws `device-limit`, `device-revoked`, `already-exists` and what proof and entitlement throw. */
export const createRegisterDevice = (options: { es256?: Es256 | undefined; nonceKey: Uint8Array; entitlements: Entitlements; devices: DeviceStore; limit: number; clock: Clock; events: EventSink }): ((body: unknown) => Promise<Registration>) => {
  const { es256, nonceKey, entitlements, devices, limit, clock, events } = options;
  return async (body) => {
    const now = clock.now();
    const members = membersOf(body, 'body', 'bad-request', ['entitlement', 'nonce', 'device', 'proof']);
    const [token, nonce] = [members.text('entitlement', { most: 8192 }), members.text('nonce', { most: 64 })];
    const claimed = parseDevice(members.value('device'));
    checkNonce(nonceKey, nonce, now);
    const { device, sign, agree, name } = await proveDevice(claimed, { typ: 'device-proof+jwt', proof: members.text('proof', { most: 4096 }), entitlement: token, nonce, asset: '' }, es256);
    const entitlement = await entitlements.verify(token, undefined, now);
    await entitlements.claim(entitlement, now);
    const { account } = entitlement;
    if ((await devices.get(device))?.revokedAt !== undefined) throw new SealcastError('device-revoked', 'the device was revoked');
    const outcome = await devices.register({ device, account, name, sign, agree, registeredAt: now }, limit);
    if (outcome === 'limit') throw new SealcastError('device-limit', `an account has at most ${limit} devices`, { extra: { limit } });
    if (outcome === 'taken') throw new SealcastError('already-exists', 'the device belongs to another account');
    if (outcome === 'registered') events({ at: now, kind: 'device.registered', severity: 'info', message: 'A device was registered.', account });
    return { device, created: outcome === 'registered' };
  };
};
