// SPDX-License-Identifier: Apache-2.0
/**
 * The binary frames of the release channel: RELEASE (48 bytes, identical for every client) and the clock exchange.
 *
 * Layout, big-endian: `u8 type=1 | u8 flags | u16 alias | u32 0 | u64 p | u64 T_p | u32 lateness µs | u32 eps µs | RS[16]`.
 * Events on the Unix timeline have period numbers beyond 32 bits, so p is u64 here.
 * Invariant: decoding is strict: type, length and reserved bytes must be exact, anything else is `bad-request`.
 */
import { ByteReader } from '../bytes/reader.ts';
import { ByteWriter } from '../bytes/writer.ts';
import { SealcastError } from '../errors.ts';
import { type CryptoPeriod, type Micros, micros } from '../time.ts';

/** Bytes of a RELEASE frame. */
export const RELEASE_LENGTH = 48;
/** Bytes of a clock request. */
export const SYNC_REQUEST_LENGTH = 16;
/** Bytes of a clock answer. */
export const SYNC_ANSWER_LENGTH = 40;
/** Flag of a RELEASE that answers a pull or a late join. */
export const REPLAY = 2;

/** A release secret and what the edge knew when it wrote it. */
export type ReleaseFrame = {
  readonly flags: number;
  /** Event alias of this connection, from the welcome message. */
  readonly alias: number;
  readonly period: CryptoPeriod;
  readonly releaseAt: Micros;
  /** How long after T_p the edge wrote the frame, capped at u32. */
  readonly lateness: Micros;
  /** The edge's clock error bound when it released. */
  readonly error: Micros;
  /** 16 bytes RS[p]; public from T_p on. */
  readonly secret: Uint8Array;
};

const cap32 = (value: number): number => Math.min(0xffff_ffff, Math.max(0, Math.round(value)));

/** The 48 bytes that every client of the event gets. Throws `internal` for a secret that is not 16 bytes. */
export const encodeRelease = (frame: ReleaseFrame): Uint8Array => {
  if (frame.secret.length !== 16) throw new SealcastError('internal', `a release secret has 16 bytes, this one ${frame.secret.length}`);
  return new ByteWriter(RELEASE_LENGTH)
    .u8(1).u8(frame.flags).u16(frame.alias).u32(0).u64(BigInt(frame.period)).u64(BigInt(frame.releaseAt)).u32(cap32(frame.lateness)).u32(cap32(frame.error))
    .bytes(frame.secret).finish();
};

const exact = (bytes: Uint8Array, length: number, type: number, what: string): ByteReader => {
  if (bytes.length !== length || bytes[0] !== type) throw new SealcastError('bad-request', `${what} must be ${length} bytes of type ${type}; got ${bytes.length}`);
  return new ByteReader(bytes, what, 'bad-request');
};
const safe = (value: bigint, what: string): number => {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new SealcastError('bad-request', `${what} is beyond 53 bits`);
  return Number(value);
};

/** Reads a RELEASE frame; throws `bad-request`. The secret is not checked against its commitment here. */
export const decodeRelease = (bytes: Uint8Array): ReleaseFrame => {
  const reader = exact(bytes, RELEASE_LENGTH, 1, 'release frame');
  reader.u8();
  const flags = reader.u8();
  const alias = reader.u16();
  if (reader.u32() !== 0) throw new SealcastError('bad-request', 'release frame: reserved bytes must be zero');
  const period = safe(reader.u64(), 'period') as CryptoPeriod;
  const releaseAt = micros(safe(reader.u64(), 'release instant'));
  const lateness = micros(reader.u32());
  const error = micros(reader.u32());
  return { flags, alias, period, releaseAt, lateness, error, secret: reader.take(16).slice() };
};

/** Client → edge: `0x10 | 3 zero bytes | u32 seq | u64 t1` (t1 in the client's own microseconds, opaque to the edge). */
export type SyncRequest = { readonly seq: number; readonly t1: bigint };
export const encodeSyncRequest = ({ seq, t1 }: SyncRequest): Uint8Array => new ByteWriter(SYNC_REQUEST_LENGTH).u32(0x1000_0000).u32(seq).u64(t1).finish();
export const decodeSyncRequest = (bytes: Uint8Array): SyncRequest => {
  const reader = exact(bytes, SYNC_REQUEST_LENGTH, 0x10, 'sync request');
  if (reader.u32() !== 0x1000_0000) throw new SealcastError('bad-request', 'sync request: reserved bytes must be zero');
  return { seq: reader.u32(), t1: reader.u64() };
};

/** Edge → client: `0x11 | u24 eps µs | u32 seq | u64 t1 | u64 t2 | u64 t3 | u64 0`; t2 on receipt, t3 at write, UTC. */
export type SyncAnswer = { readonly seq: number; readonly t1: bigint; readonly received: Micros; readonly sent: Micros; readonly error: Micros };
export const encodeSyncAnswer = (answer: SyncAnswer): Uint8Array =>
  new ByteWriter(SYNC_ANSWER_LENGTH)
    .u8(0x11).u24(Math.min(0xff_ffff, Math.max(0, Math.ceil(answer.error)))).u32(answer.seq).u64(answer.t1).u64(BigInt(answer.received)).u64(BigInt(answer.sent)).u64(0n).finish();
/** Reads a clock answer; throws `bad-request`. */
export const decodeSyncAnswer = (bytes: Uint8Array): SyncAnswer => {
  const reader = exact(bytes, SYNC_ANSWER_LENGTH, 0x11, 'sync answer');
  reader.u8();
  const error = micros(reader.u24());
  const seq = reader.u32();
  const t1 = reader.u64();
  const received = micros(safe(reader.u64(), 't2'));
  const sent = micros(safe(reader.u64(), 't3'));
  if (reader.u64() !== 0n) throw new SealcastError('bad-request', 'sync answer: reserved bytes must be zero');
  return { seq, t1, received, sent, error };
};
