// SPDX-License-Identifier: Apache-2.0
/**
 * The key ladder: every key of the system as a pure function of the one above it.
 *
 * docs/wire/keys.md; `test/vectors/ladder.json` is normative for every function here. Hashes are injected, so that the
 * same code runs in servers, edges and browsers.
 * Invariant: a function takes exactly the fields that its key is bound to; no key depends on anything else.
 */
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { ContentKey, GrantKey, KeyGroup, KeyId, ProtectionScheme, ReleaseMode } from '#core/ids.ts';
import { msg, passingMsg, u16, u32, u64 } from './encoding.ts';

/** HMAC-SHA256, SHA-256 and HKDF-SHA256, synchronous. `#crypto/ladder-hash.ts` has them for every runtime. */
export type LadderHash = {
  /** 32 bytes. */
  readonly hmac: (key: Uint8Array, data: Uint8Array) => Uint8Array;
  /** 32 bytes. */
  readonly sha256: (data: Uint8Array) => Uint8Array;
  /** RFC 5869; an empty salt is 32 zero bytes. */
  readonly hkdf: (ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number) => Uint8Array;
};

const CONTENT_KEY_LENGTH = 16;

/** What a content key and its KID are bound to, besides the period. */
export type ContentBinding = {
  readonly asset: string;
  readonly mode: ReleaseMode;
  readonly scheme: ProtectionScheme;
  /** u16. */
  readonly gen: number;
};

// ---- content side -------------------------------------------------------------------------------------------------

/** GK[g] of title key TK[gen]. `group` is a u32. */
export const grantKey = (hash: LadderHash, titleKey: Uint8Array, asset: string, gen: number, group: number): GrantKey =>
  hash.hmac(titleKey, msg('grant', asset, u16(gen), u32(group))) as GrantKey;

/**
 * RS[p] of a timed event, 16 bytes; `eventKey` is K[event,e]. All zeros is the mark of "not released" in clients, so a
 * key that would give them is refused (`key-unavailable`); its chance is 2^-128.
 */
export const releaseSecret = (hash: LadderHash, eventKey: Uint8Array, eventId: string, period: number): Uint8Array => {
  const secret = hash.hkdf(eventKey, new Uint8Array(0), msg('rs', eventId, u64(period)), 16);
  if (secret.every((byte) => byte === 0)) throw new SealcastError('key-unavailable', 'a release secret must not be zero');
  return secret;
};

/** HKDF salt of content keys: the release secret of timed periods, else a public constant. Throws RangeError if they do not match. */
const contentSalt = (hash: LadderHash, mode: ReleaseMode, secret: Uint8Array | undefined): Uint8Array => {
  if ((mode === 'timed') !== (secret !== undefined)) throw new RangeError('a release secret belongs to timed assets, and only to them');
  return secret ?? hash.sha256(encodeUtf8('sealcast/1/untimed'));
};

/** CEK[p,t], 16 bytes. `secret` is RS[p] for timed assets and absent for others. */
export const contentKey = (
  hash: LadderHash,
  grant: Uint8Array,
  binding: ContentBinding,
  period: number,
  /** Timed resources have a key group of their own. */
  keyGroup: KeyGroup | 'resource',
  secret?: Uint8Array,
): ContentKey => {
  const { mode, scheme, asset, gen } = binding;
  const info = msg('cek', mode, scheme, asset, u16(gen), u64(period), keyGroup);
  return hash.hkdf(grant, contentSalt(hash, mode, secret), info, CONTENT_KEY_LENGTH) as ContentKey;
};

/** KID[p,t], 16 bytes, public. */
export const keyIdOf = (hash: LadderHash, salt: Uint8Array, binding: ContentBinding, period: number, keyGroup: KeyGroup): KeyId =>
  hash.hmac(salt, msg('kid', binding.mode, binding.scheme, u16(binding.gen), u64(period), keyGroup)).subarray(0, 16) as KeyId;

/** Key-encryption key of an imported (fixed) content key whose validity starts at period `from`; 32 bytes, for AES-KW. */
export const importWrapKey = (
  hash: LadderHash,
  grant: Uint8Array,
  binding: ContentBinding,
  from: number,
  keyGroup: KeyGroup,
  secret?: Uint8Array,
): Uint8Array => {
  const { mode, scheme, asset, gen } = binding;
  return hash.hkdf(grant, contentSalt(hash, mode, secret), msg('wrap', mode, scheme, asset, u16(gen), u64(from), keyGroup), 32);
};

// ---- session side -------------------------------------------------------------------------------------------------

/** ZK[e,z] of master secret MK[e]; `zone` is the zone's name. */
export const zoneKey = (hash: LadderHash, masterSecret: Uint8Array, zone: string): Uint8Array => hash.hmac(masterSecret, msg('zone', zone));

/** MTK[e,z], which signs the zone's media tokens. */
export const mediaTokenKey = (hash: LadderHash, zone: Uint8Array): Uint8Array => hash.hmac(zone, msg('media-token'));

/** RTK[e,z], which signs the zone's release tokens. */
export const releaseTokenKey = (hash: LadderHash, zone: Uint8Array): Uint8Array => hash.hmac(zone, msg('release-token'));

/** Ticket key of epoch e, from which secrets of device tickets come. From MK itself: no edge and no renewal node of a zone can make tickets. */
export const ticketKey = (hash: LadderHash, masterSecret: Uint8Array): Uint8Array => hash.hmac(masterSecret, msg('ticket-key'));

/** What a session's keys are bound to. */
export type SessionBinding = {
  /** 18 bytes. */
  readonly sid: Uint8Array;
  /** SHA-256 of the account id, 32 bytes. */
  readonly accountHash: Uint8Array;
  /** RFC 7638 thumbprint of the device's sign key, 32 bytes. */
  readonly device: Uint8Array;
  readonly asset: string;
  readonly gen: number;
};

/** SK[s]. Servers only: no message carries it. */
export const sessionKey = (hash: LadderHash, zone: Uint8Array, session: SessionBinding): Uint8Array =>
  hash.hmac(zone, passingMsg('sk', session.sid, session.accountHash, session.device, session.asset, u16(session.gen)));

const RENEW = msg('renew');
const STATE = msg('state');

/** RK[s]: authenticates renewals; the client has it too. */
export const renewalKey = (hash: LadderHash, session: Uint8Array): Uint8Array => hash.hmac(session, RENEW);
/** STK[s]: authenticates the state that clients carry. Servers only. */
export const stateKey = (hash: LadderHash, session: Uint8Array): Uint8Array => hash.hmac(session, STATE);

/** SHA-256 of the UTF-8 account id. */
export const accountHash = (hash: LadderHash, account: string): Uint8Array => hash.sha256(encodeUtf8(account));

// ---- release, leaves, marks ---------------------------------------------------------------------------------------

/** commit[p] of a timed event, 32 bytes, published before `releaseAt` (T_p, microseconds UTC). */
export const releaseCommitment = (
  hash: LadderHash,
  of: { eventId: string; version: number; period: number; releaseAt: number },
  secret: Uint8Array,
): Uint8Array => hash.sha256(msg('commit', of.eventId, u32(of.version), u64(of.period), u64(of.releaseAt), secret));

/** Key-encryption key of an offline leaf, from a root key of the title's collection and month. */
export const leafWrapKey = (hash: LadderHash, rootKey: Uint8Array, title: string, gen: number): Uint8Array =>
  hash.hmac(rootKey, msg('leaf', title, u16(gen)));

/** Mark key of an epoch; `markSecret` is MW[event]. */
export const markKey = (hash: LadderHash, markSecret: Uint8Array, epoch: number): Uint8Array => hash.hmac(markSecret, msg('mark', u64(epoch)));

/** Key of the sealed mark box of one segment; `embedSecret` is MEK[event,e]. */
export const markBoxKey = (
  hash: LadderHash,
  embedSecret: Uint8Array,
  of: { asset: string; representation: string; segment: number; packagerStart: number },
): Uint8Array => hash.hkdf(embedSecret, new Uint8Array(0), msg('mark-box', of.asset, of.representation, u64(of.segment), u32(of.packagerStart)), 32);
