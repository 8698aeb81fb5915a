// SPDX-License-Identifier: Apache-2.0
/**
 * Checks entitlements: signed by a configured backend, fresh, for this asset, and used once.
 *
 * docs/wire/session.md, "Entitlement"; facts B125: business logic stays with the operator's backend.
 * Invariant: a key verifies its configured algorithm only, so a public key can never serve as an HMAC secret.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { ENTITLEMENT_TYPE, type Entitlement, parseEntitlement } from '#core/license/entitlement.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import type { Micros } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import { type Es256, importVerifyKey, type JwsKey, verifyJws } from '#crypto/jose.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';
import type { SingleUseStore } from '#ports';
import type { EntitlementCallback } from './entitlement-callback.ts';
import type { EntitlementKey } from './options.ts';

/** Entitlements of the configured backends. */
export type Entitlements = {
  /** Verified claims. `asset` undefined: any coverage will do. Throws `entitlement-invalid`, `entitlement-expired`, `token-wrong-asset`. */
  verify(token: string, asset: AssetId | undefined, now: Micros): Promise<Entitlement>;
  /** Uses the entitlement up. Throws `entitlement-used`. */
  claim(entitlement: Entitlement, now: Micros): Promise<void>;
};

const MIN_SECRET = 32;
const ALGORITHMS = { ES256: { name: 'ECDSA', namedCurve: 'P-256' }, EdDSA: { name: 'Ed25519' } } as const;

const importKey = async ({ kid, alg, key }: EntitlementKey, es256: Es256 | undefined): Promise<JwsKey> => {
  const refuse = (rule: string): never => {
    throw new SealcastError('config-invalid', `entitlement key ${kid}: ${rule}`);
  };
  if (alg === 'HS256') return key instanceof Uint8Array && key.length >= MIN_SECRET ? { alg, key } : refuse(`an HS256 secret has at least ${MIN_SECRET} bytes`);
  if (key instanceof Uint8Array) return refuse(`${alg} takes a public JWK`);
  if ('d' in key) return refuse('only the public part belongs here');
  try {
    if (alg === 'ES256' && es256 !== undefined) return await importVerifyKey(parsePublicJwk(key, 'entitlement key', 'config-invalid'), es256);
    return { alg, key: await crypto.subtle.importKey('jwk', key, ALGORITHMS[alg], false, ['verify']) };
  } catch {
    return refuse(`not a usable public JWK for ${alg}`);
  }
};

/** Whether it says of itself that it is an entitlement; anything else is for the backend to make sense of. */
const looksSigned = (token: string): boolean => {
  const dot = token.indexOf('.');
  if (dot < 1) return false;
  try {
    return parseStrictObject(decodeUtf8(decodeBase64url(token.slice(0, dot))))?.['typ'] === ENTITLEMENT_TYPE;
  } catch {
    return false;
  }
};

/** Imports the keys. Throws `config-invalid` for one that is unusable, private, too short or configured twice. */
export const createEntitlements = async (options: { keys: readonly EntitlementKey[]; singleUse: SingleUseStore; es256?: Es256 | undefined; callback?: EntitlementCallback | undefined }): Promise<Entitlements> => {
  const { callback } = options;
  const keys = new Map<string, { readonly key: JwsKey; readonly issuer: string | undefined }>();
  for (const entry of options.keys) {
    if (keys.has(entry.kid)) throw new SealcastError('config-invalid', `entitlement key ${entry.kid} is configured twice`);
    keys.set(entry.kid, { key: await importKey(entry, options.es256), issuer: entry.issuer });
  }

  /** Only after the signature was checked; the header is then known to be one object. */
  const kidOf = (token: string): string => String(parseStrictObject(decodeUtf8(decodeBase64url(token.slice(0, token.indexOf('.')))))?.['kid']);

  return {
    async verify(token, asset, now) {
      if (callback !== undefined && !looksSigned(token)) return callback(token, asset, now);
      const payload = await verifyJws(token, { typ: ENTITLEMENT_TYPE, key: (kid) => (kid === undefined ? undefined : keys.get(kid)?.key) });
      if (payload === undefined) throw new SealcastError('entitlement-invalid', `an entitlement is a JWT of typ ${ENTITLEMENT_TYPE}, signed by a configured key with its algorithm`);
      const entitlement = parseEntitlement(payload, now);
      const issuer = keys.get(kidOf(token))?.issuer;
      if (issuer !== undefined && issuer !== entitlement.issuer) throw new SealcastError('entitlement-invalid', 'entitlement: iss does not belong to the key');
      if (asset !== undefined && !entitlement.covers(asset)) throw new SealcastError('token-wrong-asset', 'the entitlement does not cover this asset');
      return entitlement;
    },
    async claim({ issuer, jti, expiresAt }, now) {
      const id = `entitlement:${encodeBase64url(sha256(encodeUtf8(JSON.stringify([issuer, jti]))))}`;
      if (!(await options.singleUse.claim(id, expiresAt, now))) throw new SealcastError('entitlement-used', 'the entitlement was used before');
    },
  };
};
