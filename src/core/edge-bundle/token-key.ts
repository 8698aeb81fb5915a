// SPDX-License-Identifier: Apache-2.0
/**
 * Keys that an edge verifies other makers' media tokens with, and opens their sealed patterns with.
 *
 * docs/wire/edge-bundle.md, `tokenKeys`. A key is for one format, one algorithm and one key id; which key a token is
 * verified with follows from these three alone, so no secret is ever tried.
 * Invariant: what leaves `parseTokenKey` has the length its algorithm needs.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { type AssetId, isAssetId } from '#core/ids.ts';
import { type PublicJwk, parsePublicJwk } from '#core/license/public-jwk.ts';
import { isJsonObject, type JsonObject } from '#core/token/strict-json.ts';

/** A private P-256 key for key agreement, as JWK. A secret. */
export type PrivateJwk = PublicJwk & { readonly d: string };

/** What a key is for, whatever its algorithm. */
type Scope = {
  /** `cwt`: ETSI TS 104 002 and CTA-5007; `jwt`: the same names as JWT, and RFC 9246. */
  readonly format: 'cwt' | 'jwt';
  /** 0-64 visible ASCII characters; empty: tokens without a key id. */
  readonly kid: string;
  /** Tokens must name this issuer; absent: any. */
  readonly issuer?: string;
  /** Tokens that name an audience must name this one; absent: they must name none. */
  readonly audience?: string;
  /** The only asset that tokens under this key open; absent: any. */
  readonly asset?: AssetId;
};

/** One key. `HS256`, `ES256` verify tokens; `A128GCM`, `ECDH-SS+A128KW` open encrypted patterns. Holds secrets: never log it. */
export type TokenKey = Scope &
  (
    | { readonly alg: 'HS256'; readonly key: Uint8Array }
    | { readonly alg: 'A128GCM'; readonly key: Uint8Array }
    | { readonly alg: 'ES256'; readonly key: PublicJwk }
    | { readonly alg: 'ECDH-SS+A128KW'; readonly key: PrivateJwk }
  );

const VISIBLE = /^[\x21-\x7e]{0,64}$/;
const PRIVATE = /^[A-Za-z0-9_-]{43}$/;

const broken = (rule: string): never => {
  throw new SealcastError('key-unavailable', `edge bundle: tokenKeys[].${rule}`);
};

const bytes = (value: unknown, length: { least: number; most: number }): Uint8Array => {
  let decoded: Uint8Array | undefined;
  try {
    decoded = typeof value === 'string' ? decodeBase64url(value) : undefined;
  } catch {
    decoded = undefined;
  }
  return decoded !== undefined && decoded.length >= length.least && decoded.length <= length.most ? decoded : broken(`key must be base64url of ${length.least}-${length.most} bytes`);
};

const privateJwk = (value: unknown): PrivateJwk => {
  const { d, ...open }: JsonObject = isJsonObject(value) ? value : broken('key must be a private JWK');
  return typeof d === 'string' && PRIVATE.test(d) ? { ...parsePublicJwk(open, 'tokenKeys[].key', 'key-unavailable'), d } : broken('key must be a private JWK');
};

const name = (item: JsonObject, member: string): string | undefined => {
  const value = item[member];
  if (value === undefined) return undefined;
  return typeof value === 'string' && value.length >= 1 && value.length <= 256 ? value : broken(`${member} must be 1-256 characters`);
};

/** One element of `tokenKeys`. Throws SealcastError('key-unavailable') naming the rule it breaks, never a value. */
export const parseTokenKey = (value: unknown): TokenKey => {
  const item = isJsonObject(value) ? value : broken('must be an object');
  const { format, kid, alg, key, asset } = item;
  if (format !== 'cwt' && format !== 'jwt') return broken('format must be cwt or jwt');
  if (typeof kid !== 'string' || !VISIBLE.test(kid)) return broken('kid must be 0-64 visible ASCII characters');
  if (asset !== undefined && !(typeof asset === 'string' && isAssetId(asset))) return broken('asset must be an asset id');
  const issuer = name(item, 'issuer');
  const audience = name(item, 'audience');
  const scope: Scope = {
    format,
    kid,
    ...(issuer !== undefined && { issuer }),
    ...(audience !== undefined && { audience }),
    ...(typeof asset === 'string' && isAssetId(asset) && { asset }),
  };
  switch (alg) {
    case 'HS256': return { ...scope, alg, key: bytes(key, { least: 32, most: 128 }) };
    case 'A128GCM': return { ...scope, alg, key: bytes(key, { least: 16, most: 16 }) };
    case 'ES256': return { ...scope, alg, key: parsePublicJwk(key, 'tokenKeys[].key', 'key-unavailable') };
    case 'ECDH-SS+A128KW': return { ...scope, alg, key: privateJwk(key) };
    default: return broken('alg must be HS256, ES256, A128GCM or ECDH-SS+A128KW');
  }
};

/** The element as JSON; holds secrets. */
export const encodeTokenKey = (item: TokenKey): JsonObject => ({ ...item, key: item.key instanceof Uint8Array ? encodeBase64url(item.key) : item.key });

/** Whether two keys answer to the same tokens; a bundle may not hold both. */
export const sameTokenKeyId = (a: TokenKey, b: TokenKey): boolean => a.format === b.format && a.alg === b.alg && a.kid === b.kid;
