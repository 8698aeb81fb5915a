// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/licenses: a new licence for a running session, under the same session id.
 *
 * docs/wire/session.md. The session record knows account, device keys and terms, so no entitlement is asked for before
 * `entitledUntil`. Invariant: an ended session gets no licence, whatever it proves.
 */
import { SealcastError } from '#core/errors.ts';
import { type SessionId, sessionId } from '#core/ids.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { isEndReason, reasonText } from '#core/license/reasons.ts';
import { placeOf } from '#core/license/session-id.ts';
import { membersOf } from '#core/license/shape.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import type { Micros } from '#core/time.ts';
import type { Es256 } from '#crypto/jose.ts';
import type { Clock, DeviceStore, HeartbeatStore, Metrics, SessionRecord, SessionStore, SingleUseStore } from '#ports';
import { nonceUse, proveRelicense } from './device-proof.ts';
import type { Admit } from './admission.ts';
import type { AdmittedSession, LicenseAnswer, Licensing } from './grant-license.ts';
import type { Epoch, MasterSecrets } from './master-secrets.ts';
import { checkNonce } from './nonce.ts';

/** Answers the body of POST /v1/licenses. Throws `session-ended`, `nonce-invalid`, `proof-invalid`, `device-revoked`, `epoch-unknown`. */
export const createRelicense = (options: {
  es256?: Es256 | undefined;
  nonceKey: Uint8Array;
  sessions: SessionStore;
  devices: DeviceStore;
  singleUse: SingleUseStore;
  heartbeats: HeartbeatStore;
  licensing: Licensing;
  admit: Admit;
  masterSecrets: MasterSecrets;
  clock: Clock;
  metrics: Metrics;
}): ((body: unknown) => Promise<LicenseAnswer>) => {
  const { es256, nonceKey, sessions, devices, singleUse, heartbeats, licensing, admit, masterSecrets, clock, metrics } = options;

  const running = async (sid: SessionId, now: Micros): Promise<SessionRecord> => {
    const record = await sessions.get(sid);
    if (record === undefined) throw new SealcastError('session-ended', 'no session of this id');
    if (record.endedAt !== undefined) throw new SealcastError('session-ended', 'the session was ended', { extra: isEndReason(record.endReason) ? { reason: record.endReason, viewer: reasonText(record.endReason) } : {} });
    if (now >= record.entitledUntil) throw new SealcastError('session-ended', 'the session\'s entitlement is over', { extra: { reason: 'entitlement', viewer: reasonText('entitlement') } });
    return record;
  };

  const epochOf = (sid: SessionId, now: Micros): Epoch => {
    const epoch = masterSecrets.epochs(now).find((item) => item.epoch % 256 === placeOf(sid).epochByte);
    if (epoch === undefined) throw new SealcastError('epoch-unknown', 'the session\'s master secret is over');
    return epoch;
  };

  const deviceOf = async ({ device, account }: SessionRecord): Promise<{ readonly registered: boolean; readonly policy: PolicyOverride | undefined }> => {
    const record = await devices.get(device);
    if (record?.revokedAt !== undefined) throw new SealcastError('device-revoked', 'the device was revoked');
    return record?.account === account ? { registered: true, policy: record.policy } : { registered: false, policy: undefined };
  };

  return async (body) => {
    const now = clock.now();
    const members = membersOf(body, 'body', 'bad-request', ['sid', 'nonce', 'proof'], ['position']);
    const sid = sessionId(members.value('sid'));
    const nonce = members.text('nonce', { most: 64 });
    const position = members.optionalInteger('position', 0, Number.MAX_SAFE_INTEGER) as Micros | undefined;
    const nonceExpires = checkNonce(nonceKey, nonce, now);
    const record = await running(sid, now);
    await proveRelicense(parsePublicJwk(record.sign, 'session sign key', 'internal'), { proof: members.text('proof', { most: 4096 }), sid, nonce }, es256);
    if (!(await singleUse.claim(nonceUse(nonce), nonceExpires, now))) throw new SealcastError('nonce-invalid', 'the nonce was used before');
    const { registered, policy } = await deviceOf(record);
    const epoch = epochOf(sid, now);
    const asset = await licensing.find(record.asset);
    const { account, device, entitledUntil, terms } = record;
    const session: AdmittedSession = { sid, epoch, account, device, registered, agree: parsePublicJwk(record.agree, 'session agree key', 'internal'), position, entitledUntil, terms };
    const { decision, heartbeat } = await admit({ ...session, deviceName: record.deviceName, devicePolicy: policy, ends: [], running: true, ahead: false }, asset, now);
    const answer = await licensing.grant(session, asset, decision, now);
    await heartbeats.record(heartbeat);
    metrics.count('sealcast_relicenses_total', 'New licences for running sessions.', { kind: asset.keying.kind });
    return answer;
  };
};
