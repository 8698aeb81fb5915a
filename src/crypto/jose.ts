// SPDX-License-Identifier: Apache-2.0
/**
 * JWS and JWE of the protocol (RFC 7515, RFC 7516), each call fixed to one algorithm and one `typ`.
 *
 * Algorithm and type are the caller's constants and never read from a token to decide (RFC 8725 sections 3.1, 3.11), so that
 * neither an HMAC made with a public key nor a token of another purpose is ever accepted.
 * Invariant: a payload leaves `verifyJws` only after algorithm, type and signature were checked; nothing here logs or quotes a token.
 */
import { CompactEncrypt, CompactSign, compactDecrypt, compactVerify, decodeProtectedHeader, importJWK } from 'jose';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { DeviceId } from '#core/ids.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { type JsonObject, parseStrictObject } from '#core/token/strict-json.ts';
import { sha256 } from '#crypto/hmac.ts';

/** The signature algorithms of the protocol; HS256 for backends and media tokens only. */
export type JwsAlgorithm = 'ES256' | 'EdDSA' | 'HS256';
/** A key and the only algorithm it may be used with. HS256 keys are bytes. */
export type JwsKey = { readonly alg: JwsAlgorithm; readonly key: CryptoKey | Uint8Array };

/** Purposes of signed tokens; a verifier accepts one. */
export type JwsType =
  | 'entitlement+jwt'
  | 'session-proof+jwt'
  | 'license-proof+jwt'
  | 'device-proof+jwt'
  | 'stop+jwt'
  | 'license+jwt'
  | 'edge-request+jwt'
  | 'release-schedule+jwt'
  | 'release-grant+jwt'
  | 'release-log+jwt'
  | 'root+jwt'
  | 'root-proof+jwt'
  | 'usage+jwt'
  | 'usage-ack+jwt'
  | 'time+jwt';

/** Compact JWS of a JSON payload. */
export const signJws = (payload: object, options: { typ: JwsType; key: JwsKey; kid?: string }): Promise<string> =>
  new CompactSign(encodeUtf8(JSON.stringify(payload)))
    .setProtectedHeader({ alg: options.key.alg, typ: options.typ, ...(options.kid !== undefined && { kid: options.kid }) })
    .sign(options.key.key);

/** What a verifier accepts. */
export type VerifyOptions = {
  readonly typ: JwsType;
  /** The key, or how to find it by the header's `kid` (absent in most tokens). */
  readonly key: JwsKey | ((kid: string | undefined) => JwsKey | undefined);
  /** Longer tokens are refused unread. */
  readonly maxLength?: number;
};

/** The payload of an authentic token of this type, or undefined: a forged, foreign or malformed one is an expected outcome. */
export const verifyJws = async (token: string, options: VerifyOptions): Promise<JsonObject | undefined> => {
  if (token.length > (options.maxLength ?? 8192)) return undefined;
  try {
    const header = decodeProtectedHeader(token);
    // `crit` and `b64` name extensions that change what is signed; there are none here.
    if (header.typ !== options.typ || 'crit' in header || 'b64' in header) return undefined;
    const key = typeof options.key === 'function' ? options.key(header['kid']) : options.key;
    if (key === undefined || header.alg !== key.alg) return undefined;
    // Spare bits of the last character would give one signature several texts; header and payload are signed as text.
    decodeBase64url(token.slice(token.lastIndexOf('.') + 1));
    const { payload } = await compactVerify(token, key.key, { algorithms: [key.alg] });
    return parseStrictObject(decodeUtf8(payload));
  } catch {
    return undefined;
  }
};

/** A public P-256 key for checking ES256 signatures. Throws if the point is not on the curve. */
export const importVerifyKey = async (jwk: PublicJwk): Promise<JwsKey> => ({ alg: 'ES256', key: (await importJWK({ ...jwk }, 'ES256')) as CryptoKey });

/** A JWK, public or private, as key of exactly this algorithm. Throws for a key of another kind. */
export const importJwsKey = async (jwk: object, alg: 'ES256' | 'EdDSA'): Promise<JwsKey> => {
  const key = await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], alg);
  if (key instanceof Uint8Array) throw new TypeError('a signature key is an EC or OKP JWK');
  return { alg, key };
};

/** A private P-256 JWK as signing key. */
export const importSigningKey = async (jwk: JsonWebKey): Promise<JwsKey> => ({ alg: 'ES256', key: (await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], 'ES256')) as CryptoKey });

/**
 * RFC 7638 thumbprint, SHA-256, base64url: the id of a device. Members in the RFC's order. Hashed here
 * rather than by WebCrypto: a session start takes three, and each would be a job of its own.
 */
export const thumbprint = async ({ crv, kty, x, y }: PublicJwk): Promise<DeviceId> =>
  encodeBase64url(sha256(encodeUtf8(JSON.stringify({ crv, kty, x, y })))) as DeviceId;

/** The thumbprint's 32 bytes, as the key ladder takes them. */
export const thumbprintBytes = (id: DeviceId): Uint8Array => decodeBase64url(id);

/** What seals a licence: `sealTo`, or a faster one of the same format. */
export type SealTo = (recipient: PublicJwk, plain: string) => string | Promise<string>;

/** Compact JWE, ECDH-ES with A256GCM, to a public P-256 key. `plain` holds secrets: only the recipient can read it. */
export const sealTo = async (recipient: PublicJwk, plain: string): Promise<string> =>
  new CompactEncrypt(encodeUtf8(plain)).setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' }).encrypt(await importJWK({ ...recipient }, 'ECDH-ES'));

/** Plain text of a compact JWE made by `sealTo`, or undefined if it is not for this key or was altered. `key` needs `deriveBits`. */
export const openSealed = async (jwe: string, key: CryptoKey): Promise<string | undefined> => {
  try {
    const { plaintext } = await compactDecrypt(jwe, key, { keyManagementAlgorithms: ['ECDH-ES'], contentEncryptionAlgorithms: ['A256GCM'] });
    return decodeUtf8(plaintext);
  } catch {
    return undefined;
  }
};

/** A new P-256 key pair as JWKs, for signing (ES256) or agreeing (ECDH-ES). The private JWK is a secret. */
export const makeKeyPair = async (use: 'sign' | 'agree'): Promise<{ readonly publicJwk: PublicJwk; readonly privateJwk: JsonWebKey }> => {
  const algorithm = { name: use === 'sign' ? 'ECDSA' : 'ECDH', namedCurve: 'P-256' };
  const pair = (await crypto.subtle.generateKey(algorithm, true, use === 'sign' ? ['sign', 'verify'] : ['deriveBits'])) as CryptoKeyPair;
  const { kty, crv, x, y, d } = await crypto.subtle.exportKey('jwk', pair.privateKey);
  return { publicJwk: { kty, crv, x, y } as PublicJwk, privateJwk: { kty, crv, x, y, d } as JsonWebKey };
};
