// SPDX-License-Identifier: Apache-2.0
/**
 * Session ids: 18 bytes in which a renewal node reads, without a look-up, which master secret and zone a session has.
 *
 * docs/wire/keys.md: u8 (epoch mod 256) | u8 zone index | 16 random bytes. Invariant: the epoch and zone read here are
 * claims until a MAC under that zone's key has been checked.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, SessionId } from '#core/ids.ts';
import { sessionId } from '#core/ids.ts';
import { accountHash, type LadderHash } from '#core/keys/ladder.ts';

/** Bytes of a session id. */
export const SESSION_ID_LENGTH = 18;
const RANDOM_LENGTH = 16;

/** A new id. `epoch` may exceed 255; `random` is 16 bytes. */
export const makeSessionId = (epoch: number, zone: number, random: Uint8Array): SessionId => {
  if (random.length !== RANDOM_LENGTH) throw new RangeError(`a session id takes ${RANDOM_LENGTH} random bytes; got ${random.length}`);
  if (!Number.isInteger(epoch) || epoch < 0) throw new RangeError('an epoch is a non-negative integer');
  if (!Number.isInteger(zone) || zone < 0 || zone > 255) throw new RangeError('a zone index is 0-255');
  const bytes = new Uint8Array(SESSION_ID_LENGTH);
  bytes[0] = epoch % 256;
  bytes[1] = zone;
  bytes.set(random, 2);
  return encodeBase64url(bytes) as SessionId;
};

/** The 18 bytes of an id. */
export const sessionIdBytes = (id: SessionId): Uint8Array => decodeBase64url(id);

/** The id of 18 bytes; throws `bad-request` for any other length. */
export const sessionIdOf = (bytes: Uint8Array): SessionId => {
  if (bytes.length !== SESSION_ID_LENGTH) throw new SealcastError('bad-request', `a session id is ${SESSION_ID_LENGTH} bytes; got ${bytes.length}`);
  return sessionId(encodeBase64url(bytes));
};

/** What an id claims about its keys: the low byte of the epoch, and the zone index. */
export const placeOf = (id: SessionId): { readonly epochByte: number; readonly zone: number } => {
  const [epochByte = 0, zone = 0] = sessionIdBytes(id);
  return { epochByte, zone };
};

/** The account as heartbeats name it: base64url of SHA-256(account id), all that a renewal node knows of it. */
export const heartbeatAccount = (hash: LadderHash, account: AccountId): AccountId => encodeBase64url(accountHash(hash, account)) as AccountId;
