// SPDX-License-Identifier: Apache-2.0
/**
 * The plain text of an edge bundle: all secrets and revocations an edge works with, in one versioned document.
 *
 * docs/wire/edge-bundle.md. The JWE around it and the signed request for it are the two ends' business.
 * Unknown members are ignored, so that an older edge survives a newer server; wrong ones make the bundle unusable.
 * Invariant: what leaves `parseEdgeBundle` has keys of the right length, ordered times and unique epochs.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type DeviceId, deviceId, type SessionId, sessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { encodeMarkPlan, type MarkPlan, parseMarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { encodeTokenKey, parseTokenKey, sameTokenKeyId, type TokenKey } from '#core/edge-bundle/token-key.ts';
import { isJsonObject, type JsonObject, parseStrictObject } from '#core/token/strict-json.ts';

/** Keys of one master-secret epoch, for use in [notBefore, notAfter). */
export type EdgeEpoch = {
  /** u32. */
  readonly epoch: number;
  /** MTK[e,z], 32 bytes: verifies and signs media tokens. */
  readonly mediaTokenKey: Uint8Array;
  /** RTK[e,z], 32 bytes: verifies release tokens. */
  readonly releaseTokenKey?: Uint8Array;
  /** ZK[e,z], 32 bytes; only edges that renew get it. */
  readonly zoneKey?: Uint8Array;
  readonly notBefore: Micros;
  readonly notAfter: Micros;
};

/** Until `until` no media is served to the session; by then all its tokens have expired. */
export type RevokedSession = { readonly session: SessionId; readonly until: Micros; readonly reason: string };
export type RevokedDevice = { readonly device: DeviceId; readonly until: Micros };

/** Everything one edge works with. Holds keys: never log it. */
export type EdgeBundle = {
  /** Rises with every change; 0 is before the first. */
  readonly version: number;
  readonly issuedAt: Micros;
  /** Name of the edge it was made for. */
  readonly edge: string;
  readonly zone: { readonly index: number; readonly name: string };
  readonly epochs: readonly EdgeEpoch[];
  /** The whole current list, not a difference. */
  readonly revokedSessions: readonly RevokedSession[];
  readonly revokedDevices: readonly RevokedDevice[];
  /** Keys of other makers' tokens; absent: only ours are accepted. */
  readonly tokenKeys?: readonly TokenKey[];
  /** Assets whose segments have variants. */
  readonly marks?: readonly MarkPlan[];
  /** After this instant the edge must not serve with it. */
  readonly validUntil: Micros;
};

/** More than an edge could be asked to hold in memory by mistake or malice. */
export const MAX_REVOCATIONS = 1_000_000;
const MAX_EPOCHS = 64;
const MAX_TOKEN_KEYS = 256;
const MAX_MARKS = 4096;

const broken = (rule: string): never => {
  throw new SealcastError('key-unavailable', `edge bundle: ${rule}`);
};

const uint = (value: unknown, name: string, max: number = Number.MAX_SAFE_INTEGER): number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max ? value : broken(`${name} must be an integer of 0-${max}`);
const instant = (value: unknown, name: string): Micros => uint(value, name) as Micros;
const text = (value: unknown, name: string, length: number): string =>
  typeof value === 'string' && value.length >= 1 && value.length <= length ? value : broken(`${name} must be a string of 1-${length} characters`);
const object = (value: unknown, name: string): JsonObject => (isJsonObject(value) ? value : broken(`${name} must be an object`));
const list = (value: unknown, name: string, max: number): readonly unknown[] =>
  Array.isArray(value) && value.length <= max ? (value as readonly unknown[]) : broken(`${name} must be a list of at most ${max}`);

const key = (value: unknown, name: string): Uint8Array => {
  const encoded = text(value, name, 64);
  let bytes: Uint8Array;
  try {
    bytes = decodeBase64url(encoded);
  } catch {
    return broken(`${name} must be base64url`);
  }
  return bytes.length === 32 ? bytes : broken(`${name} must be 32 bytes; got ${bytes.length}`);
};

const parseEpoch = (value: unknown): EdgeEpoch => {
  const item = object(value, 'epochs[]');
  const notBefore = instant(item['notBefore'], 'epochs[].notBefore');
  const notAfter = instant(item['notAfter'], 'epochs[].notAfter');
  if (notAfter <= notBefore) broken('epochs[].notAfter must come after notBefore');
  return {
    epoch: uint(item['epoch'], 'epochs[].epoch', 2 ** 32 - 1),
    mediaTokenKey: key(item['mediaTokenKey'], 'epochs[].mediaTokenKey'),
    ...(item['releaseTokenKey'] !== undefined && { releaseTokenKey: key(item['releaseTokenKey'], 'epochs[].releaseTokenKey') }),
    ...(item['zoneKey'] !== undefined && { zoneKey: key(item['zoneKey'], 'epochs[].zoneKey') }),
    notBefore,
    notAfter,
  };
};

const parseRevokedSession = (value: unknown): RevokedSession => {
  const item = object(value, 'revokedSessions[]');
  return {
    session: sessionId(item['sid']),
    until: instant(item['until'], 'revokedSessions[].until'),
    reason: text(item['reason'], 'revokedSessions[].reason', 64),
  };
};

const parseRevokedDevice = (value: unknown): RevokedDevice => {
  const item = object(value, 'revokedDevices[]');
  return { device: deviceId(item['device']), until: instant(item['until'], 'revokedDevices[].until') };
};

/** The bundle in JSON `plain`. Throws SealcastError('key-unavailable' | 'bad-request') naming the rule it breaks, never a value. */
export const parseEdgeBundle = (plain: string): EdgeBundle => {
  const bundle = parseStrictObject(plain) ?? broken('must be one JSON object without repeated names');
  const zone = object(bundle['zone'], 'zone');
  const epochs = list(bundle['epochs'], 'epochs', MAX_EPOCHS).map(parseEpoch);
  if (new Set(epochs.map((item) => item.epoch)).size !== epochs.length) broken('epochs must be unique');
  const tokenKeys = bundle['tokenKeys'] === undefined ? undefined : list(bundle['tokenKeys'], 'tokenKeys', MAX_TOKEN_KEYS).map(parseTokenKey);
  if (tokenKeys?.some((item, index) => tokenKeys.slice(0, index).some((other) => sameTokenKeyId(item, other)))) broken('tokenKeys must differ in format, alg or kid');
  const marks = bundle['marks'] === undefined ? undefined : list(bundle['marks'], 'marks', MAX_MARKS).map(parseMarkPlan);
  if (marks !== undefined && new Set(marks.map((item) => item.asset)).size !== marks.length) broken('marks must be of different assets');
  return {
    version: uint(bundle['version'], 'version'),
    issuedAt: instant(bundle['issuedAt'], 'issuedAt'),
    edge: text(bundle['edge'], 'edge', 64),
    zone: { index: uint(zone['index'], 'zone.index', 255), name: text(zone['name'], 'zone.name', 64) },
    epochs,
    revokedSessions: list(bundle['revokedSessions'], 'revokedSessions', MAX_REVOCATIONS).map(parseRevokedSession),
    revokedDevices: list(bundle['revokedDevices'], 'revokedDevices', MAX_REVOCATIONS).map(parseRevokedDevice),
    ...(tokenKeys !== undefined && { tokenKeys }),
    ...(marks !== undefined && { marks }),
    validUntil: instant(bundle['validUntil'], 'validUntil'),
  };
};

/** JSON of a bundle, for sealing to one edge. Holds keys: never log it. */
export const encodeEdgeBundle = (bundle: EdgeBundle): string =>
  JSON.stringify({
    version: bundle.version,
    issuedAt: bundle.issuedAt,
    edge: bundle.edge,
    zone: { index: bundle.zone.index, name: bundle.zone.name },
    epochs: bundle.epochs.map((item) => ({
      epoch: item.epoch,
      mediaTokenKey: encodeBase64url(item.mediaTokenKey),
      releaseTokenKey: item.releaseTokenKey === undefined ? undefined : encodeBase64url(item.releaseTokenKey),
      zoneKey: item.zoneKey === undefined ? undefined : encodeBase64url(item.zoneKey),
      notBefore: item.notBefore,
      notAfter: item.notAfter,
    })),
    revokedSessions: bundle.revokedSessions.map((item) => ({ sid: item.session, until: item.until, reason: item.reason })),
    revokedDevices: bundle.revokedDevices.map((item) => ({ device: item.device, until: item.until })),
    tokenKeys: bundle.tokenKeys?.map(encodeTokenKey),
    marks: bundle.marks?.map(encodeMarkPlan),
    validUntil: bundle.validUntil,
  });
