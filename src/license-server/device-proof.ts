// SPDX-License-Identifier: Apache-2.0
/**
 * The device in a request, and its proof that it holds the sign key.
 *
 * docs/wire/session.md. A proof binds entitlement, nonce, asset and agree key, so that none of them can be exchanged on the way.
 * Invariant: a device id is only ever the thumbprint of a key that has signed the request, or one that earned its ticket.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, DeviceId, SessionId } from '#core/ids.ts';
import { accountHash as accountHashOf, type LadderHash } from '#core/keys/ladder.ts';
import { decodeTicket, encodeTicket, TICKET_LIFETIME, ticketMessage, ticketSecret } from '#core/license/device-ticket.ts';
import type { SealedTicket } from '#core/license/license-claims.ts';
import { parsePublicJwk, type PublicJwk } from '#core/license/public-jwk.ts';
import { membersOf } from '#core/license/shape.ts';
import type { JsonObject } from '#core/token/strict-json.ts';
import type { Micros } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { type Es256, importVerifyKey, type JwsType, thumbprint, thumbprintBytes, verifyJws } from '#crypto/jose.ts';
import type { Random } from '#ports';

/** A device whose sign key has signed the request. */
export type ProvenDevice = { readonly device: DeviceId; readonly sign: PublicJwk; readonly agree: PublicJwk; readonly name: string };

/** Control characters would let a name forge log lines and tables. */
const NAME = /^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u;

/** The `device` member of a body: `{sign, agree, name}`. Throws `bad-request`. */
export const parseDevice = (value: unknown): Omit<ProvenDevice, 'device'> => {
  const device = membersOf(value, 'device', 'bad-request', ['sign', 'agree'], ['name']);
  return {
    sign: parsePublicJwk(device.value('sign'), 'device sign key'),
    agree: parsePublicJwk(device.value('agree'), 'device agree key'),
    name: device.optionalText('name', { least: 0, most: 64, pattern: NAME }) ?? '',
  };
};

const invalid = (rule: string): SealcastError => new SealcastError('proof-invalid', `proof: ${rule}`);

const verified = async (proof: string, typ: JwsType, sign: PublicJwk, es256: Es256 | undefined): Promise<JsonObject> => {
  let payload: JsonObject | undefined;
  try {
    payload = await verifyJws(proof, { typ, key: await importVerifyKey(sign, es256), maxLength: 4096 });
  } catch {
    payload = undefined;
  }
  if (payload === undefined) throw invalid(`must be a compact JWS (ES256, typ ${typ}) by the device's sign key`);
  return payload;
};

/** Proof of a session start, a device registration or a request for roots. Throws `proof-invalid`. */
export const proveDevice = async (
  claimed: Omit<ProvenDevice, 'device'>,
  request: { readonly typ: 'session-proof+jwt' | 'device-proof+jwt' | 'root-proof+jwt'; readonly proof: string; readonly entitlement: string; readonly nonce: string; readonly asset: string },
  es256?: Es256,
): Promise<ProvenDevice> => {
  const payload = membersOf(await verified(request.proof, request.typ, claimed.sign, es256), 'proof', 'proof-invalid', ['ent', 'nonce', 'asset', 'agree']);
  const entitlement = payload.bytes('ent', 32);
  if (!equalBytes(entitlement, sha256(encodeUtf8(request.entitlement)))) throw invalid('made for another entitlement');
  if (payload.value('nonce') !== request.nonce) throw invalid('made for another nonce');
  if (payload.value('asset') !== request.asset) throw invalid('made for another asset');
  if (payload.value('agree') !== (await thumbprint(claimed.agree))) throw invalid('made for another agree key');
  return { ...claimed, device: await thumbprint(claimed.sign) };
};

const refused = (rule: string): SealcastError => new SealcastError('ticket-invalid', `device ticket: ${rule}`);

/**
 * Proof of a session start by ticket, in place of a signature; answers the account that the ticket was made for, by hash. The
 * caller compares it with the entitlement's. Throws `ticket-invalid`, upon which the client proves itself in full.
 */
export const proveByTicket = async (
  claimed: Omit<ProvenDevice, 'device'>,
  request: { readonly ticket: Uint8Array; readonly mac: Uint8Array; readonly entitlement: string; readonly nonce: string; readonly asset: string },
  { hash, keyOf, now }: { readonly hash: LadderHash; readonly keyOf: (epochByte: number, now: Micros) => Uint8Array | undefined; readonly now: Micros },
): Promise<{ readonly device: ProvenDevice; readonly accountHash: Uint8Array }> => {
  const { epochByte, expiresAt, accountHash } = decodeTicket(request.ticket);
  const key = keyOf(epochByte, now);
  if (key === undefined) throw refused('its epoch is over');
  const [device, agree] = await Promise.all([thumbprint(claimed.sign), thumbprint(claimed.agree)]);
  const secret = ticketSecret(hash, key, request.ticket, thumbprintBytes(device), thumbprintBytes(agree));
  const message = ticketMessage({ entitlement: hash.sha256(encodeUtf8(request.entitlement)), nonce: request.nonce, asset: request.asset });
  if (!equalBytes(hash.hmac(secret, message), request.mac)) throw refused('the proof was not made with it for this start');
  // Only now is known that the ticket is one of ours.
  if (now >= expiresAt) throw refused('it has expired');
  return { device: { ...claimed, device }, accountHash };
};

/** A ticket for a device that has proven itself in full. It ends with its epoch, and 24 h from now at the latest. */
export const makeTicket = (
  { hash, key, random }: { readonly hash: LadderHash; readonly key: Uint8Array; readonly random: Random },
  of: { readonly device: DeviceId; readonly agree: DeviceId; readonly account: AccountId; readonly epoch: { readonly epoch: number; readonly notAfter: Micros }; readonly now: Micros },
): SealedTicket => {
  const expiresAt = Math.min(of.now + TICKET_LIFETIME, of.epoch.notAfter) as Micros;
  const value = encodeTicket({ epochByte: of.epoch.epoch % 256, expiresAt, accountHash: accountHashOf(hash, of.account) }, random.bytes(16));
  return { value, secret: ticketSecret(hash, key, value, thumbprintBytes(of.device), thumbprintBytes(of.agree)), expiresAt };
};

/** Proof for a new licence of a running session. Throws `proof-invalid`. */
export const proveRelicense = async (sign: PublicJwk, request: { readonly proof: string; readonly sid: SessionId; readonly nonce: string }, es256?: Es256): Promise<void> => {
  const payload = membersOf(await verified(request.proof, 'license-proof+jwt', sign, es256), 'proof', 'proof-invalid', ['sid', 'nonce']);
  if (payload.value('sid') !== request.sid) throw invalid('made for another session');
  if (payload.value('nonce') !== request.nonce) throw invalid('made for another nonce');
};

/** Proof of a stop. Throws `proof-invalid`. */
export const proveStop = async (sign: PublicJwk, request: { readonly proof: string; readonly sid: SessionId; readonly at: number }, es256?: Es256): Promise<{ readonly reason: string }> => {
  const payload = membersOf(await verified(request.proof, 'stop+jwt', sign, es256), 'proof', 'proof-invalid', ['sid', 'at', 'reason']);
  if (payload.value('sid') !== request.sid) throw invalid('made for another session');
  if (payload.value('at') !== request.at) throw invalid('made for another time');
  return { reason: payload.text('reason', { most: 64 }) };
};

/** SHA-256 of a nonce as the id of its single use. */
export const nonceUse = (nonce: string): string => `nonce:${encodeBase64url(sha256(encodeUtf8(nonce)))}`;
