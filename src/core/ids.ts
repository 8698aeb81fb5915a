// SPDX-License-Identifier: Apache-2.0
/**
 * Names of things as types, with the one place where text from outside becomes such a name.
 *
 * Invariant: an id that passed here is safe in a path, a URL, a log line and a file name.
 */
import { SealcastError } from './errors.ts';
import type { Branded } from './time.ts';

/** An event or a title: what keys, licences and segments belong to. 1-40 bytes of [a-z0-9-], starting with a letter or digit. */
export type AssetId = Branded<string, 'AssetId'>;
/** Operator's name for a paying account; opaque to us, 1-128 visible ASCII characters. */
export type AccountId = Branded<string, 'AccountId'>;
/** RFC 7638 thumbprint (SHA-256, base64url) of the device's ECDSA P-256 public key. */
export type DeviceId = Branded<string, 'DeviceId'>;
/** base64url of the 18 session-id bytes: u8 master-secret epoch | u8 zone index | 16 random bytes. */
export type SessionId = Branded<string, 'SessionId'>;
/** A rendition or track of an asset, e.g. `v720`, `v360`, `a-en`, `s-de`. 1-32 bytes of [a-z0-9-]. */
export type RepresentationId = Branded<string, 'RepresentationId'>;
/** 16 bytes. */
export type KeyId = Branded<Uint8Array, 'KeyId'>;
/** 16 bytes; never in logs, errors, URLs or metrics. */
export type ContentKey = Branded<Uint8Array, 'ContentKey'>;
/** 32 bytes GK[g]; never in logs, errors, URLs or metrics. */
export type GrantKey = Branded<Uint8Array, 'GrantKey'>;
/** Protection scheme of ISO/IEC 23001-7 that Sealcast writes. `none` exists for comparison only. */
export type ProtectionScheme = 'cenc' | 'cbcs';
/** The `t` of the key ladder: one label for all video renditions, one for all audio. */
export type KeyGroup = 'video' | 'audio';
/** The `mode` of the key ladder. */
export type ReleaseMode = 'timed' | 'untimed';

const ASSET = /^[a-z0-9][a-z0-9-]{0,39}$/;
const REPRESENTATION = /^[a-z0-9][a-z0-9-]{0,31}$/;
const ACCOUNT = /^[\x21-\x7e]{1,128}$/;
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;
const SESSION = /^[A-Za-z0-9_-]{24}$/;

const parser =
  <T extends string>(name: string, pattern: RegExp, rule: string) =>
  (text: unknown): T => {
    if (typeof text !== 'string' || !pattern.test(text)) {
      throw new SealcastError('bad-request', `${name} must be ${rule}; got ${typeof text === 'string' ? `${text.length} characters` : typeof text}`);
    }
    return text as T;
  };

/** The text as the named id; throws `bad-request` with the rule and the length received, never the text. */
export const assetId: (text: unknown) => AssetId = parser('asset id', ASSET, '1-40 characters of a-z, 0-9 and -, starting with a letter or digit');
export const representationId: (text: unknown) => RepresentationId = parser('representation id', REPRESENTATION, '1-32 characters of a-z, 0-9 and -');
export const accountId: (text: unknown) => AccountId = parser('account id', ACCOUNT, '1-128 visible ASCII characters');
export const deviceId: (text: unknown) => DeviceId = parser('device id', THUMBPRINT, 'a 43-character base64url SHA-256 thumbprint');
export const sessionId: (text: unknown) => SessionId = parser('session id', SESSION, '24 base64url characters');

/** Whether a text is such an id, for callers to whom another answer than an error belongs. */
export const isAssetId = (text: string): text is AssetId => ASSET.test(text);
export const isRepresentationId = (text: string): text is RepresentationId => REPRESENTATION.test(text);
export const isDeviceId = (text: string): text is DeviceId => THUMBPRINT.test(text);
export const isSessionId = (text: string): text is SessionId => SESSION.test(text);
