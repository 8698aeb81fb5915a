// SPDX-License-Identifier: Apache-2.0
/**
 * POST /v1/sessions, one named step after the other, in the order that docs/wire/session.md gives.
 *
 * Cheap checks come before costly ones, and the entitlement is used up only by a device that proved itself.
 * Invariant: a refused start leaves no session and no heartbeat behind.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import { type AccountId, type AssetId, assetId } from '#core/ids.ts';
import { accountHash, type LadderHash } from '#core/keys/ladder.ts';
import { TICKET_PROOF_LENGTH } from '#core/license/device-ticket.ts';
import type { Entitlement } from '#core/license/entitlement.ts';
import type { SealedTicket } from '#core/license/license-claims.ts';
import { makeSessionId } from '#core/license/session-id.ts';
import { membersOf } from '#core/license/shape.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import type { Micros } from '#core/time.ts';
import { type Es256, thumbprint } from '#crypto/jose.ts';
import type { Clock, DeviceStore, EventSink, HeartbeatStore, Metrics, Random, SessionStore } from '#ports';
import { makeTicket, parseDevice, proveByTicket, proveDevice, type ProvenDevice } from './device-proof.ts';
import type { Admit } from './admission.ts';
import type { Entitlements } from './entitlements.ts';
import type { AdmittedSession, LicenseAnswer, Licensing } from './grant-license.ts';
import type { Epoch, MasterSecrets } from './master-secrets.ts';
import { checkNonce } from './nonce.ts';
import type { Zone } from './options.ts';

/** What the steps of a start need. */
export type StartOptions = {
  readonly nonceKey: Uint8Array;
  readonly entitlements: Entitlements;
  readonly devices: DeviceStore;
  readonly sessions: SessionStore;
  readonly heartbeats: HeartbeatStore;
  readonly licensing: Licensing;
  readonly masterSecrets: MasterSecrets;
  readonly zone: Zone;
  readonly unregisteredDevices: 'allow' | 'deny';
  readonly admit: Admit;
  readonly es256: Es256 | undefined;
  /** Hashes of device tickets. */
  readonly hash: LadderHash;
  readonly random: Random;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

type StartRequest = {
  readonly entitlement: string;
  readonly asset: AssetId;
  readonly nonce: string;
  readonly position: Micros | undefined;
  readonly device: Omit<ProvenDevice, 'device'>;
  /** A signature, or a ticket and the MAC made with it. */
  readonly proof: { readonly jws: string } | { readonly ticket: Uint8Array; readonly mac: Uint8Array };
  /** Termination codes from a refusal. */
  readonly ends: readonly string[];
};

/** How an entitlement is used up: at once, or shared by the items of one batch. */
export type Claim = (entitlement: Entitlement, now: Micros) => Promise<void>;

/** Answers the body of POST /v1/sessions or one batch item; `ahead`: an item for later, which does not count before it is renewed. Throws the refusals of docs/wire/session.md. */
export type StartSession = (body: unknown, claim?: Claim, ahead?: boolean) => Promise<LicenseAnswer>;

const MAX_ENDS = 32;
const parseEnds = (value: unknown): readonly string[] => {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_ENDS || !value.every((code) => typeof code === 'string' && code.length <= 64)) throw new SealcastError('bad-request', `ends must be a list of at most ${MAX_ENDS} termination codes`);
  return value as readonly string[];
};

const parse = (body: unknown): StartRequest => {
  const members = membersOf(body, 'body', 'bad-request', ['entitlement', 'asset', 'nonce', 'device'], ['position', 'ends', 'proof', 'ticket', 'mac']);
  const byTicket = members.value('ticket') !== undefined;
  if (byTicket ? members.value('proof') !== undefined : members.value('mac') !== undefined) throw new SealcastError('bad-request', 'body: either proof, or ticket and mac');
  return {
    entitlement: members.text('entitlement', { most: 8192 }),
    asset: assetId(members.value('asset')),
    nonce: members.text('nonce', { most: 64 }),
    position: members.optionalInteger('position', 0, Number.MAX_SAFE_INTEGER) as Micros | undefined,
    device: parseDevice(members.value('device')),
    proof: byTicket ? { ticket: members.bytes('ticket', 1, 256), mac: members.bytes('mac', TICKET_PROOF_LENGTH) } : { jws: members.text('proof', { most: 4096 }) },
    ends: parseEnds(members.value('ends')),
  };
};

/** Holds no state of its own. */
export const createStartSession = (options: StartOptions): StartSession => {
  const { nonceKey, entitlements, devices, sessions, heartbeats, licensing, masterSecrets, zone, unregisteredDevices, admit, es256, hash, random, clock, events, metrics } = options;

  /** Whether the account registered the device. A device of another account counts as unregistered. */
  const checkDevice = async ({ device, agree }: ProvenDevice, account: AccountId): Promise<{ readonly registered: boolean; readonly policy: PolicyOverride | undefined }> => {
    const record = await devices.get(device);
    if (record?.revokedAt !== undefined) throw new SealcastError('device-revoked', 'the device was revoked');
    const registered = record !== undefined && record.account === account;
    if (!registered && unregisteredDevices === 'deny') throw new SealcastError('device-unknown', 'only registered devices may play');
    if (registered && (record.agree['x'] !== agree.x || record.agree['y'] !== agree.y)) throw new SealcastError('proof-invalid', 'proof: the agree key is not the registered one');
    return { registered, policy: registered ? record.policy : undefined };
  };

  const proven = async ({ device, proof, ...bound }: StartRequest, now: Micros): Promise<{ readonly device: ProvenDevice; /** Account hash of the ticket that proved it. */ readonly ticketOf?: Uint8Array }> => {
    if ('jws' in proof) return { device: await proveDevice(device, { typ: 'session-proof+jwt', ...bound, proof: proof.jws }, es256) };
    const byTicket = await proveByTicket(device, { ...bound, ...proof }, { hash, keyOf: masterSecrets.ticketKey, now });
    return { device: byTicket.device, ticketOf: byTicket.accountHash };
  };
  const ticketFor = async (device: ProvenDevice, account: AccountId, epoch: Epoch, now: Micros): Promise<SealedTicket | undefined> => {
    const key = masterSecrets.ticketKey(epoch.epoch % 256, now);
    return key === undefined ? undefined : makeTicket({ hash, key, random }, { device: device.device, agree: await thumbprint(device.agree), account, epoch, now });
  };

  return async (body, claim = entitlements.claim, ahead = false) => {
    const now = clock.now();
    const request = parse(body);
    checkNonce(nonceKey, request.nonce, now);
    const { device, ticketOf } = await proven(request, now);
    const entitlement = await entitlements.verify(request.entitlement, request.asset, now);
    if (ticketOf !== undefined && !equalBytes(ticketOf, accountHash(hash, entitlement.account))) throw new SealcastError('ticket-invalid', 'device ticket: made for another account');
    await claim(entitlement, now);
    const { registered, policy } = await checkDevice(device, entitlement.account);
    const asset = await licensing.find(request.asset);
    const epoch = masterSecrets.current(now);
    const sid = makeSessionId(epoch.epoch, zone.index, random.bytes(16));
    const admitted: AdmittedSession = {
      sid,
      epoch,
      account: entitlement.account,
      device: device.device,
      registered,
      agree: device.agree,
      position: request.position,
      entitledUntil: Math.min(entitlement.until, epoch.notAfter) as Micros,
      terms: entitlement.terms,
      // Only a full proof earns a ticket: a chain of tickets would outlive the day that each may last.
      ticket: ticketOf === undefined ? await ticketFor(device, entitlement.account, epoch, now) : undefined,
      edge: entitlement.edge,
    };
    const { decision, heartbeat, release } = await admit({ ...admitted, deviceName: device.name, devicePolicy: policy, ends: request.ends, running: false, ahead }, asset, now);
    let answer: LicenseAnswer;
    try {
      answer = await licensing.grant(admitted, asset, decision, now);
      await sessions.create({
        session: sid,
        account: admitted.account,
        device: device.device,
        deviceName: device.name,
        sign: device.sign,
        agree: device.agree,
        asset: request.asset,
        startedAt: now,
        entitledUntil: admitted.entitledUntil,
        terms: admitted.terms,
      });
      await heartbeats.record(heartbeat);
    } catch (error) {
      // Nobody counts who has no licence.
      await release();
      throw error;
    }
    metrics.count('sealcast_sessions_started_total', 'Sessions started.', { kind: asset.keying.kind });
    events({ at: now, kind: 'session.started', severity: 'info', message: `A session of ${request.asset} started.`, asset: request.asset, account: admitted.account, session: sid });
    return answer;
  };
};
