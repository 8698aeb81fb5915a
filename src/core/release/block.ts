// SPDX-License-Identifier: Apache-2.0
/**
 * Past release secrets by the block: what seeking back costs one request for.
 *
 * docs/wire/release.md, "Pull". Invariant: a secret of 16 zero bytes means "not here" (a real one is never zero), and a
 * block that says it holds `count` secrets holds exactly so many.
 */
import { ByteReader } from '../bytes/reader.ts';
import { ByteWriter } from '../bytes/writer.ts';
import { SealcastError } from '../errors.ts';
import { type CryptoPeriod, type Micros, micros } from '../time.ts';

const HEADER = 32;
const SECRET = 16;
/** Secrets of one answer: 60 blocks of 20 ms periods. */
export const MAX_SECRETS = 30_000;
/** Blocks of one answer. */
export const MAX_BLOCKS = 60;

/** A run of past secrets. */
export type SecretRun = {
  readonly from: CryptoPeriod;
  /** T of the first. */
  readonly releaseAt: Micros;
  readonly period: Micros;
  readonly version: number;
  /** 16 bytes each; zeros: not held by this server. */
  readonly secrets: Uint8Array;
};

/** The bytes of a run. Throws RangeError for secrets that are not a multiple of 16 bytes. */
export const encodeRun = (run: SecretRun): Uint8Array => {
  if (run.secrets.length % SECRET !== 0 || run.secrets.length > MAX_SECRETS * SECRET) throw new RangeError('a run holds whole secrets');
  return new ByteWriter(HEADER + run.secrets.length)
    .u8(2).u8(0).u16(0).u32(run.secrets.length / SECRET).u64(BigInt(run.from)).u64(BigInt(run.releaseAt)).u32(run.period).u32(run.version)
    .bytes(run.secrets).finish();
};

/** Reads a run; throws `bad-request`. Secrets are not checked against commitments here. */
export const decodeRun = (bytes: Uint8Array): SecretRun => {
  const refuse = (rule: string): never => {
    throw new SealcastError('bad-request', `release block: ${rule}`);
  };
  const reader = new ByteReader(bytes, 'release block', 'bad-request');
  if (reader.u8() !== 2 || reader.u8() !== 0 || reader.u16() !== 0) refuse('must be of type 2 with zero reserved bytes');
  const count = reader.u32();
  if (count > MAX_SECRETS || bytes.length !== HEADER + count * SECRET) refuse('its length must be that of the secrets it counts');
  const from = reader.u64();
  const releaseAt = reader.u64();
  if (from > BigInt(Number.MAX_SAFE_INTEGER) || releaseAt > BigInt(Number.MAX_SAFE_INTEGER)) refuse('numbers are below 2^53');
  const period = reader.u32();
  const version = reader.u32();
  if (period === 0) refuse('a period has a length');
  return { from: Number(from) as CryptoPeriod, releaseAt: micros(Number(releaseAt)), period: micros(period), version, secrets: reader.rest().slice() };
};

/** RS[p] of a run; undefined if it is outside or not held. A view, not a copy. */
export const secretOf = (run: SecretRun, period: CryptoPeriod): Uint8Array | undefined => {
  const at = (period - run.from) * SECRET;
  if (at < 0 || at + SECRET > run.secrets.length) return undefined;
  const secret = run.secrets.subarray(at, at + SECRET);
  return secret.some((byte) => byte !== 0) ? secret : undefined;
};
