// SPDX-License-Identifier: Apache-2.0
/**
 * A timed resource: anything that everybody may fetch early and nobody opens before its instant (odds, a result, a trailer).
 *
 * docs/wire/release.md, "Timed resources". Encrypted with the content key of key group `resource` of the period at whose
 * release it opens: it needs the right (GK) and the time (RS) like a picture does.
 * Invariant: what a reader decodes has a period, an initialisation vector and at least a tag; the content is not looked at.
 */
import { ByteReader } from '../bytes/reader.ts';
import { decodeUtf8, encodeUtf8 } from '../bytes/utf8.ts';
import { ByteWriter } from '../bytes/writer.ts';
import { SealcastError } from '../errors.ts';
import { msg, u64 } from '../keys/encoding.ts';
import type { CryptoPeriod, Micros } from '../time.ts';
import type { ReleaseSchedule } from './gate.ts';

/** `t` of the key ladder for resources. */
export const RESOURCE_GROUP = 'resource';
/** Longest plain text: a trailer of some seconds. */
export const MAX_RESOURCE = 8_388_608;
const IV = 12;
const TAG = 16;
const TYPE = /^[a-z]+\/[a-z0-9.+-]{1,60}$/;
const NAME = /^[a-z0-9][a-z0-9.-]{0,63}$/;

/** A resource as it is stored and sent. */
export type SealedResource = { readonly period: CryptoPeriod; readonly type: string; readonly iv: Uint8Array; /** Ciphertext and tag, AES-128-GCM. */ readonly sealed: Uint8Array };

/** The name of a resource; throws `bad-request`. */
export const resourceName = (text: string): string => {
  if (!NAME.test(text)) throw new SealcastError('bad-request', `a resource name is 1-64 of a-z, 0-9, . and -; got ${text.length} characters`);
  return text;
};
/** A media type; throws `bad-request`. */
export const resourceType = (text: string): string => {
  if (!TYPE.test(text)) throw new SealcastError('bad-request', `a media type is like application/json; got ${text.length} characters`);
  return text;
};

/** First period that is released at or after `at`. */
export const periodFrom = (schedule: ReleaseSchedule, at: Micros): CryptoPeriod => Math.max(0, Math.ceil((at - schedule.firstRelease) / schedule.period)) as CryptoPeriod;

/** What the encryption is bound to besides its key: a resource cannot be passed off as another. */
export const resourceContext = (event: string, name: string, type: string, period: CryptoPeriod): Uint8Array => msg('resource', event, name, type, u64(period));

/** The bytes of a sealed resource. */
export const encodeResource = ({ period, type, iv, sealed }: SealedResource): Uint8Array => {
  const text = encodeUtf8(type);
  return new ByteWriter(24 + text.length + sealed.length).u8(3).u8(1).u16(text.length).u64(BigInt(period)).bytes(iv).bytes(text).bytes(sealed).finish();
};

/** Reads a sealed resource; throws `bad-request`. */
export const decodeResource = (bytes: Uint8Array): SealedResource => {
  const refuse = (rule: string): never => {
    throw new SealcastError('bad-request', `timed resource: ${rule}`);
  };
  const reader = new ByteReader(bytes, 'timed resource', 'bad-request');
  if (reader.u8() !== 3 || reader.u8() !== 1) refuse('must be of type 3, version 1');
  const length = reader.u16();
  const period = reader.u64();
  if (period > BigInt(Number.MAX_SAFE_INTEGER)) refuse('its period is below 2^53');
  const iv = reader.take(IV).slice();
  let type: string;
  try {
    type = resourceType(decodeUtf8(reader.take(length)));
  } catch {
    return refuse('its media type must be one');
  }
  const sealed = reader.rest().slice();
  if (sealed.length < TAG || sealed.length > MAX_RESOURCE + TAG) refuse(`its content has ${TAG} to ${MAX_RESOURCE + TAG} bytes`);
  return { period: Number(period) as CryptoPeriod, type, iv, sealed };
};
