// SPDX-License-Identifier: Apache-2.0
/**
 * The state of a session's renewals: issued by servers, carried by clients, checked by MAC at any renewal node.
 *
 * docs/wire/renewal.md, "State". Plain fields, so that a client can read its own terms; the MAC under STK, which no
 * client has, makes every altered byte show. Invariant: decode(encode(s)) = s, and no two byte strings decode to one state.
 */
import { ByteReader } from '#core/bytes/reader.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, assetId, type SessionId } from '#core/ids.ts';
import { passingMsg } from '#core/keys/encoding.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { VIEWER_ID_LENGTH, type ViewerId } from '#core/token/viewer-id.ts';
import { sessionIdBytes, sessionIdOf, SESSION_ID_LENGTH } from './session-id.ts';
import type { GrantGroup, Micros } from '#core/time.ts';

/** How strictly a session is held: 1 detects, 2 is light, 3 is strict. */
export type EnforcementLevel = 1 | 2 | 3;

/** Fields of a renewal state, in wire order. */
export type RenewalState = {
  readonly sid: SessionId;
  /** SHA-256 of the account id. */
  readonly accountHash: Uint8Array;
  /** RFC 7638 thumbprint bytes. */
  readonly device: Uint8Array;
  readonly asset: AssetId;
  /** u16. */
  readonly gen: number;
  readonly level: EnforcementLevel;
  /** u16 policy version. */
  readonly policy: number;
  /** Group length G, ms. */
  readonly groupMillis: number;
  /** ms. */
  readonly interval: number;
  /** The term D, ms. */
  readonly duration: number;
  /** Terms of the session's own in place of its level's, ms; 0 = none. They stay the same for the whole licence. */
  readonly ownInterval: number;
  readonly ownDuration: number;
  readonly live: boolean;
  readonly timed: boolean;
  /** First group that this licence may never open. */
  readonly end: GrantGroup;
  /** Anchor: group g0 was playing at server time t0. */
  readonly g0: GrantGroup;
  readonly t0: Micros;
  /** First group not opened. */
  readonly opened: GrantGroup;
  readonly issued: Micros;
  /** u16. Anchor moves since the concurrency record was last reached. */
  readonly spent: number;
  /** Marked assets: the viewer's id, for media tokens. */
  readonly mark?: ViewerId;
};

/** Bytes of the MAC at the end of a state. */
export const STATE_MAC_LENGTH = 16;
/** Bytes of a state whose asset id has one byte, and of the longest one. */
const FIXED_LENGTH = 1 + SESSION_ID_LENGTH + 32 + 32 + 1 + 2 + 1 + 2 + 4 + 4 + 4 + 4 + 4 + 1 + 4 + 4 + 8 + 4 + 8 + 2 + STATE_MAC_LENGTH;
/** Bytes of a marked state with the longest asset id. */
export const MAX_STATE_LENGTH: number = FIXED_LENGTH + 40 + 1 + VIEWER_ID_LENGTH;

const VERSION = 1;
const FLAG_LIVE = 1;
const FLAG_TIMED = 2;
const FLAG_MARKED = 4;

const NO_MARK = new Uint8Array(0);

const bodyWriter = new ByteWriter(MAX_STATE_LENGTH);

/** The bytes that the state's MAC covers, in memory that the next call writes over: they are hashed or copied at once. */
export const encodeStateBody = (state: RenewalState): Uint8Array =>
  bodyWriter
    .restart()
    .u8(VERSION)
    .bytes(sessionIdBytes(state.sid))
    .bytes(state.accountHash)
    .bytes(state.device)
    .u8(state.asset.length)
    .bytes(encodeUtf8(state.asset))
    .u16(state.gen)
    .u8(state.level)
    .u16(state.policy)
    .u32(state.groupMillis)
    .u32(state.interval)
    .u32(state.duration)
    .u32(state.ownInterval)
    .u32(state.ownDuration)
    .u8((state.live ? FLAG_LIVE : 0) | (state.timed ? FLAG_TIMED : 0) | (state.mark === undefined ? 0 : FLAG_MARKED))
    .u32(state.end)
    .u32(state.g0)
    .u53(state.t0)
    .u32(state.opened)
    .u53(state.issued)
    .u16(state.spent)
    .bytes(state.mark === undefined ? NO_MARK : Uint8Array.of(state.mark.keyVersion, ...state.mark.id))
    .finish();

/** MAC of a state's body under STK. */
export const stateMac = (hash: LadderHash, stateKey: Uint8Array, body: Uint8Array): Uint8Array =>
  hash.hmac(stateKey, passingMsg('state-mac', body)).subarray(0, STATE_MAC_LENGTH);

const broken = (rule: string): SealcastError => new SealcastError('renewal-invalid', `renewal state: ${rule}`);

/** An instant of the wire; throws `renewal-invalid` above 2^53. */
export const instantOf = (value: bigint): Micros => {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw broken('an instant must be below 2^53 microseconds');
  return Number(value) as Micros;
};

/**
 * Splits state bytes into fields, body and MAC. Throws `renewal-invalid` for anything but exactly one version-1 state;
 * the MAC has not been checked yet.
 */
export const decodeState = (bytes: Uint8Array): { readonly state: RenewalState; readonly body: Uint8Array; readonly mac: Uint8Array } => {
  if (bytes.length > MAX_STATE_LENGTH) throw broken(`at most ${MAX_STATE_LENGTH} bytes; got ${bytes.length}`);
  const reader = new ByteReader(bytes, 'renewal state', 'renewal-invalid');
  if (reader.u8() !== VERSION) throw broken('version must be 1');
  const sid = sessionIdOf(reader.take(SESSION_ID_LENGTH));
  const accountHash = reader.take(32);
  const device = reader.take(32);
  const asset = decodeAsset(reader.take(reader.u8()));
  const gen = reader.u16();
  const level = reader.u8();
  if (level !== 1 && level !== 2 && level !== 3) throw broken('level must be 1-3');
  const policy = reader.u16();
  const groupMillis = reader.u32();
  if (groupMillis === 0) throw broken('the group length must not be 0');
  const interval = reader.u32();
  const duration = reader.u32();
  const ownInterval = reader.u32();
  const ownDuration = reader.u32();
  const flags = reader.u8();
  if ((flags & ~(FLAG_LIVE | FLAG_TIMED | FLAG_MARKED)) !== 0) throw broken('unknown flags');
  const end = reader.u32() as GrantGroup;
  const g0 = reader.u32() as GrantGroup;
  const t0 = instantOf(reader.u64());
  const opened = reader.u32() as GrantGroup;
  const issued = instantOf(reader.u64());
  const spent = reader.u16();
  const mark = (flags & FLAG_MARKED) === 0 ? {} : { mark: { keyVersion: reader.u8(), id: reader.take(VIEWER_ID_LENGTH) } };
  const body = bytes.subarray(0, reader.offset);
  const mac = reader.take(STATE_MAC_LENGTH);
  reader.end();
  const live = (flags & FLAG_LIVE) !== 0;
  const timed = (flags & FLAG_TIMED) !== 0;
  return { state: { sid, accountHash, device, asset, gen, level, policy, groupMillis, interval, duration, ownInterval, ownDuration, live, timed, end, g0, t0, opened, issued, spent, ...mark }, body, mac };
};

const decodeAsset = (bytes: Uint8Array): AssetId => {
  try {
    return assetId(decodeUtf8(bytes));
  } catch {
    throw broken('the asset id is malformed');
  }
};

/** State bytes as clients carry them. */
export const encodeState = (hash: LadderHash, stateKey: Uint8Array, state: RenewalState): Uint8Array => {
  const body = encodeStateBody(state);
  return joinState(body, stateMac(hash, stateKey, body));
};

/** Body and MAC as one state. */
export const joinState = (body: Uint8Array, mac: Uint8Array): Uint8Array => {
  const out = new Uint8Array(body.length + mac.length);
  out.set(body);
  out.set(mac, body.length);
  return out;
};
