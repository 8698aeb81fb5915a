// SPDX-License-Identifier: Apache-2.0
/**
 * Stateless nonces: proof that a signature over one was made within the last minute.
 *
 * docs/wire/session.md: u64 expiry | 16 random bytes | HMAC(nonce key)[0:16]. Any licence server of the installation accepts
 * what another gave. Invariant: freshness only; single use is the business of what the nonce is signed together with.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import { msg, u64 } from '#core/keys/encoding.ts';
import type { Micros } from '#core/time.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { Random } from '#ports';

const LIFETIME = 60_000_000;
const BODY_LENGTH = 24;
const MAC_LENGTH = 16;

const mac = (key: Uint8Array, body: Uint8Array): Uint8Array => hmacSha256(key, msg('nonce', body)).subarray(0, MAC_LENGTH);

/** A nonce good for 60 s at every server with this key. */
export const makeNonce = (key: Uint8Array, random: Random, now: Micros): string => {
  const body = concatBytes(u64(now + LIFETIME), random.bytes(16));
  return encodeBase64url(concatBytes(body, mac(key, body)));
};

/** Throws `nonce-invalid` unless this installation gave the nonce within the last 60 s. Answers when it ends. */
export const checkNonce = (key: Uint8Array, nonce: string, now: Micros): Micros => {
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64url(nonce);
  } catch {
    bytes = new Uint8Array(0);
  }
  if (bytes.length !== BODY_LENGTH + MAC_LENGTH) throw new SealcastError('nonce-invalid', `a nonce is ${BODY_LENGTH + MAC_LENGTH} bytes of base64url; got ${bytes.length} bytes`);
  const body = bytes.subarray(0, BODY_LENGTH);
  if (!equalBytes(mac(key, body), bytes.subarray(BODY_LENGTH))) throw new SealcastError('nonce-invalid', 'the nonce was not given by this service');
  const expires = Number(new DataView(body.buffer, body.byteOffset, 8).getBigUint64(0)) as Micros;
  if (now >= expires) throw new SealcastError('nonce-invalid', 'the nonce is older than 60 s');
  return expires;
};
