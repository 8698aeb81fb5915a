// SPDX-License-Identifier: Apache-2.0
/**
 * The device in a request, and its proof that it holds the sign key.
 *
 * docs/wire/session.md. A proof binds entitlement, nonce, asset and agree key, so that none of them can be exchanged on the way.
 * Invariant: a device id is only ever the thumbprint of a key that has signed the request.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { DeviceId, SessionId } from '#core/ids.ts';
import { parsePublicJwk, type PublicJwk } from '#core/license/public-jwk.ts';
import { membersOf } from '#core/license/shape.ts';
import type { JsonObject } from '#core/token/strict-json.ts';
import { sha256 } from '#crypto/hmac.ts';
import { importVerifyKey, type JwsType, thumbprint, verifyJws } from '#crypto/jose.ts';

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

const verified = async (proof: string, typ: JwsType, sign: PublicJwk): Promise<JsonObject> => {
  let payload: JsonObject | undefined;
  try {
    payload = await verifyJws(proof, { typ, key: await importVerifyKey(sign), maxLength: 4096 });
  } catch {
    payload = undefined;
  }
  if (payload === undefined) throw invalid(`must be a compact JWS (ES256, typ ${typ}) by the device's sign key`);
  return payload;
};

/** Proof of a session start or device registration. Throws `proof-invalid`. */
export const proveDevice = async (
  claimed: Omit<ProvenDevice, 'device'>,
  request: { readonly typ: 'session-proof+jwt' | 'device-proof+jwt'; readonly proof: string; readonly entitlement: string; readonly nonce: string; readonly asset: string },
): Promise<ProvenDevice> => {
  const payload = membersOf(await verified(request.proof, request.typ, claimed.sign), 'proof', 'proof-invalid', ['ent', 'nonce', 'asset', 'agree']);
  const entitlement = payload.bytes('ent', 32);
  if (!equalBytes(entitlement, sha256(encodeUtf8(request.entitlement)))) throw invalid('made for another entitlement');
  if (payload.value('nonce') !== request.nonce) throw invalid('made for another nonce');
  if (payload.value('asset') !== request.asset) throw invalid('made for another asset');
  if (payload.value('agree') !== (await thumbprint(claimed.agree))) throw invalid('made for another agree key');
  return { ...claimed, device: await thumbprint(claimed.sign) };
};

/** Proof for a new licence of a running session. Throws `proof-invalid`. */
export const proveRelicense = async (sign: PublicJwk, request: { readonly proof: string; readonly sid: SessionId; readonly nonce: string }): Promise<void> => {
  const payload = membersOf(await verified(request.proof, 'license-proof+jwt', sign), 'proof', 'proof-invalid', ['sid', 'nonce']);
  if (payload.value('sid') !== request.sid) throw invalid('made for another session');
  if (payload.value('nonce') !== request.nonce) throw invalid('made for another nonce');
};

/** Proof of a stop. Throws `proof-invalid`. */
export const proveStop = async (sign: PublicJwk, request: { readonly proof: string; readonly sid: SessionId; readonly at: number }): Promise<{ readonly reason: string }> => {
  const payload = membersOf(await verified(request.proof, 'stop+jwt', sign), 'proof', 'proof-invalid', ['sid', 'at', 'reason']);
  if (payload.value('sid') !== request.sid) throw invalid('made for another session');
  if (payload.value('at') !== request.at) throw invalid('made for another time');
  return { reason: payload.text('reason', { most: 64 }) };
};

/** SHA-256 of a nonce as the id of its single use. */
export const nonceUse = (nonce: string): string => `nonce:${encodeBase64url(sha256(encodeUtf8(nonce)))}`;
