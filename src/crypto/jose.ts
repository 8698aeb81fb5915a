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
/** Keys of an ES256 that answers at once; WebCrypto's does not. Signatures are 64 bytes r | s. */
export type Es256Verifier = { readonly verify: (data: Uint8Array, signature: Uint8Array) => boolean };
export type Es256Signer = { readonly sign: (data: Uint8Array) => Uint8Array };
/** Makes such keys; both throw for a key that is none. `#adapters/node/es256.ts` is Node's. */
export type Es256 = { verifier(jwk: PublicJwk): Es256Verifier; signer(jwk: JsonWebKey): Es256Signer };

/** A key and the only algorithm it may be used with. HS256 keys are bytes. */
export type JwsKey =
  | { readonly alg: JwsAlgorithm; readonly key: CryptoKey | Uint8Array }
  | { readonly alg: 'ES256'; readonly at: 'once'; readonly key: Es256Verifier | Es256Signer };

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
  | 'release-receipts+jwt'
  | 'root+jwt'
  | 'root-proof+jwt'
  | 'usage+jwt'
  | 'usage-ack+jwt'
  | 'time+jwt';

/** Compact JWS of a JSON payload. */
export const signJws = async (payload: object, options: { typ: JwsType; key: JwsKey; kid?: string }): Promise<string> => {
  const { typ, key, kid } = options;
  const header = { alg: key.alg, typ, ...(kid !== undefined && { kid }) };
  if (!('at' in key)) return new CompactSign(encodeUtf8(JSON.stringify(payload))).setProtectedHeader(header).sign(key.key);
  if (!('sign' in key.key)) throw new TypeError('a key for checking signatures cannot sign');
  const signed = `${encodeText(JSON.stringify(header))}.${encodeText(JSON.stringify(payload))}`;
  return `${signed}.${encodeBase64url(key.key.sign(utf8.encode(signed)))}`;
};

const utf8 = new TextEncoder();
/** Like `decodeUtf8`, for payloads of hundreds of kilobytes. */
const strictText = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encodeText = (text: string): string => encodeBase64url(utf8.encode(text));
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** Payload of a token with a good signature, or undefined. Throws for parts that are not base64url. */
const verifyAtOnce = (token: string, key: Es256Verifier): JsonObject | undefined => {
  const [header, payload, signature, ...more] = token.split('.', 4);
  if (header === undefined || payload === undefined || signature === undefined || more.length > 0 || !BASE64URL.test(header)) return undefined;
  const body = decodeBase64url(payload);
  const bytes = decodeBase64url(signature);
  if (bytes.length !== 64 || !key.verify(utf8.encode(`${header}.${payload}`), bytes)) return undefined;
  return parseStrictObject(strictText.decode(body));
};

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
    if ('at' in key) return 'verify' in key.key ? verifyAtOnce(token, key.key) : undefined;
    const { payload } = await compactVerify(token, key.key, { algorithms: [key.alg] });
    return parseStrictObject(strictText.decode(payload));
  } catch {
    return undefined;
  }
};

/** A public P-256 key for checking ES256 signatures, WebCrypto's unless told. Throws if the point is not on the curve. */
export const importVerifyKey = async (jwk: PublicJwk, es256?: Es256): Promise<JwsKey> => es256 !== undefined ? { alg: 'ES256', at: 'once', key: es256.verifier(jwk) } : ({ alg: 'ES256', key: (await importJWK({ ...jwk }, 'ES256')) as CryptoKey });

/** A JWK, public or private, as key of exactly this algorithm. Throws for a key of another kind. */
export const importJwsKey = async (jwk: object, alg: 'ES256' | 'EdDSA'): Promise<JwsKey> => {
  const key = await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], alg);
  if (key instanceof Uint8Array) throw new TypeError('a signature key is an EC or OKP JWK');
  return { alg, key };
};

/** A private P-256 JWK as signing key. */
export const importSigningKey = async (jwk: JsonWebKey, es256?: Es256): Promise<JwsKey> => es256 !== undefined ? { alg: 'ES256', at: 'once', key: es256.signer(jwk) } : ({ alg: 'ES256', key: (await importJWK({ ...jwk } as Parameters<typeof importJWK>[0], 'ES256')) as CryptoKey });

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
    // One text for one JWE: the library decodes what our strict reading refuses.
    if (!jwe.split('.').every((part) => encodeBase64url(decodeBase64url(part)) === part)) return undefined;
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
