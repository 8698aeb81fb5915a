// SPDX-License-Identifier: Apache-2.0
/**
 * Opens encrypted watermark patterns: COSE_Encrypt0 with A128GCM, COSE_Encrypt with ECDH-SS + A128KW, compact JWE `dir`.
 *
 * ETSI TS 104 002 clause 5.4; RFC 9052 section 5, RFC 9053 sections 5.2 and 6.4. The content algorithm is AES-128-GCM
 * in all three. Invariant: authenticated encryption only; whatever does not open is undefined, never a guess.
 */
import { compactDecrypt } from 'jose';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { PrivateJwk } from '#core/edge-bundle/token-key.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { decodeCbor, encodeCbor, isBytes, Tag } from '#crypto/cbor.ts';
import { hkdfSha256 } from '#crypto/hmac.ts';
import type { TokenKeys } from '#crypto/token-keys.ts';

const ALG = 1;
const KID = 4;
const IV = 5;
const A128GCM = 1;
const A128KW = -3;
const ECDH_SS_A128KW = -32;
const STATIC_KEY = -2;
const SALT = -20;
const PARTY_U_NONCE = -22;
const EC2 = { kty: 1, crv: -1, x: -2, y: -3 } as const;

type Bytes = Uint8Array<ArrayBuffer>;
type Headers = ReadonlyMap<unknown, unknown>;
const P256 = { name: 'ECDH', namedCurve: 'P-256' } as const;

const mapOf = (value: unknown): Headers | undefined => (value instanceof Map ? (value as Headers) : undefined);
const protectedOf = (bytes: Uint8Array): Headers | undefined => (bytes.length === 0 ? new Map<unknown, unknown>() : mapOf(decodeCbor(bytes)));
const bytesOf = (value: unknown, length?: number): Bytes | undefined => (isBytes(value) && (length === undefined || value.length === length) ? (value as Bytes) : undefined);
const kidOf = (headers: Headers): string => {
  const kid = headers.get(KID);
  return isBytes(kid) ? decodeUtf8(kid) : '';
};

/** Key-encryption key of ECDH-SS + A128KW. `nonce` or `salt` make it differ between messages of one pair of keys. */
const agree = async (own: CryptoKey, other: PublicJwk, context: { protectedHeader: Uint8Array; nonce: Bytes | undefined; salt: Bytes | undefined }): Promise<Bytes> => {
  const { kty, crv, x, y } = other;
  const peer = await crypto.subtle.importKey('jwk', { kty, crv, x, y }, P256, false, []);
  const shared = new Uint8Array(await crypto.subtle.deriveBits({ name: 'ECDH', public: peer }, own, 256));
  const info = encodeCbor([A128KW, [null, context.nonce ?? null, null], [null, null, null], [128, context.protectedHeader]]);
  return hkdfSha256(shared, context.salt ?? new Uint8Array(), info, 16) as Bytes;
};

const importAgree = ({ kty, crv, x, y, d }: PrivateJwk): Promise<CryptoKey> => crypto.subtle.importKey('jwk', { kty, crv, x, y, d }, P256, false, ['deriveBits']);
const aad = (structure: 'Encrypt0' | 'Encrypt', protectedHeader: Uint8Array): Bytes => encodeCbor([structure, protectedHeader, new Uint8Array()]) as Bytes;

const openContent = async (key: CryptoKey, structure: 'Encrypt0' | 'Encrypt', parts: { protectedHeader: Uint8Array; iv: Bytes; ciphertext: Bytes }): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: parts.iv, additionalData: aad(structure, parts.protectedHeader) }, key, parts.ciphertext));

/** The content key out of a recipient of ours. */
const contentKey = async (recipient: unknown, keys: TokenKeys): Promise<CryptoKey | undefined> => {
  const [protectedHeader, unprotected, wrapped] = Array.isArray(recipient) && recipient.length === 3 ? (recipient as unknown[]) : [];
  if (!isBytes(protectedHeader) || !isBytes(wrapped)) return undefined;
  const kept = protectedOf(protectedHeader);
  const loose = mapOf(unprotected);
  const sender = mapOf(loose?.get(STATIC_KEY));
  const x = bytesOf(sender?.get(EC2.x), 32);
  const y = bytesOf(sender?.get(EC2.y), 32);
  if (kept?.get(ALG) !== ECDH_SS_A128KW || loose === undefined || sender?.get(EC2.kty) !== 2 || sender.get(EC2.crv) !== 1 || x === undefined || y === undefined) return undefined;
  const own = keys.pattern('ECDH-SS+A128KW', kidOf(loose));
  const nonce = bytesOf(loose.get(PARTY_U_NONCE));
  const salt = bytesOf(loose.get(SALT));
  // RFC 9053 section 6.3: two static keys need one of them, or every message has the same key-encryption key.
  if (own === undefined || (nonce === undefined && salt === undefined)) return undefined;
  const kek = await agree(await importAgree(own.key), { kty: 'EC', crv: 'P-256', x: encodeBase64url(x), y: encodeBase64url(y) }, { protectedHeader, nonce, salt });
  const wrapper = await crypto.subtle.importKey('raw', kek, 'AES-KW', false, ['unwrapKey']);
  return crypto.subtle.unwrapKey('raw', wrapped as Bytes, wrapper, 'AES-KW', 'AES-GCM', false, ['decrypt']);
};

const openCose = async (value: unknown, keys: TokenKeys): Promise<Uint8Array | undefined> => {
  const message = value instanceof Tag ? (value.tag === 16 || value.tag === 96 ? value.contents : undefined) : value;
  if (!Array.isArray(message)) return undefined;
  const [protectedHeader, unprotected, content, recipients] = message as unknown[];
  const kept = isBytes(protectedHeader) ? protectedOf(protectedHeader) : undefined;
  const loose = mapOf(unprotected);
  const iv = bytesOf(kept?.get(IV) ?? loose?.get(IV), 12);
  const ciphertext = bytesOf(content);
  if (!isBytes(protectedHeader) || kept?.get(ALG) !== A128GCM || loose === undefined || iv === undefined || ciphertext === undefined) return undefined;
  const parts = { protectedHeader, iv, ciphertext };
  if (message.length === 3) {
    const known = keys.pattern('A128GCM', kidOf(kept.has(KID) ? kept : loose));
    return known && openContent(await crypto.subtle.importKey('raw', known.key as Bytes, 'AES-GCM', false, ['decrypt']), 'Encrypt0', parts);
  }
  const [recipient, ...more] = Array.isArray(recipients) ? (recipients as unknown[]) : [];
  const key = message.length === 4 && more.length === 0 ? await contentKey(recipient, keys) : undefined;
  return key && openContent(key, 'Encrypt', parts);
};

const openJwe = async (jwe: string, keys: TokenKeys): Promise<Uint8Array | undefined> => {
  const header = JSON.parse(decodeUtf8(decodeBase64url(jwe.slice(0, jwe.indexOf('.'))))) as { kid?: unknown };
  const known = keys.pattern('A128GCM', typeof header.kid === 'string' ? header.kid : '');
  if (known === undefined) return undefined;
  return (await compactDecrypt(jwe, known.key, { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A128GCM'] })).plaintext;
};

/** Bits of a sealed pattern of `length` bits, or undefined if no key of ours opens it. Never rejects. */
export const openPattern = async (sealed: unknown, length: number, keys: TokenKeys): Promise<Uint8Array | undefined> => {
  try {
    const bits = await (typeof sealed === 'string' ? openJwe(sealed, keys) : openCose(sealed, keys));
    return bits?.length === Math.ceil(length / 8) ? bits : undefined;
  } catch {
    return undefined;
  }
};

/** A pattern as COSE_Encrypt0 under a shared 16-byte key, ready to stand in `wmpattern`. `iv`: 12 bytes, never used twice. */
export const sealPattern = async (bits: Uint8Array, options: { key: Uint8Array; kid: string; iv: Uint8Array }): Promise<unknown> => {
  const protectedHeader = encodeCbor(new Map([[ALG, A128GCM]]));
  const key = await crypto.subtle.importKey('raw', options.key as Bytes, 'AES-GCM', false, ['encrypt']);
  const ciphertext = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: options.iv as Bytes, additionalData: aad('Encrypt0', protectedHeader) }, key, bits as Bytes);
  return new Tag(16, [protectedHeader, new Map<number, unknown>([[KID, encodeUtf8(options.kid)], [IV, options.iv]]), new Uint8Array(ciphertext)]);
};

/** A pattern as COSE_Encrypt to one recipient by ECDH-SS + A128KW. `contentKey` 16, `iv` 12, `nonce` 16 bytes: random, used once. */
export const sealPatternTo = async (
  bits: Uint8Array,
  options: { sender: PrivateJwk; recipient: PublicJwk; kid: string; contentKey: Uint8Array; iv: Uint8Array; nonce: Uint8Array },
): Promise<unknown> => {
  const { sender, recipient, kid, iv, nonce } = options;
  const recipientHeader = encodeCbor(new Map([[ALG, ECDH_SS_A128KW]]));
  const kek = await agree(await importAgree(sender), recipient, { protectedHeader: recipientHeader, nonce: nonce as Bytes, salt: undefined });
  const content = await crypto.subtle.importKey('raw', options.contentKey as Bytes, 'AES-GCM', true, ['encrypt']);
  const wrapped = await crypto.subtle.wrapKey('raw', content, await crypto.subtle.importKey('raw', kek, 'AES-KW', false, ['wrapKey']), 'AES-KW');
  const protectedHeader = encodeCbor(new Map([[ALG, A128GCM]]));
  const ciphertext = await crypto.subtle.encrypt({ name: 'AES-GCM', iv: iv as Bytes, additionalData: aad('Encrypt', protectedHeader) }, content, bits as Bytes);
  const staticKey = new Map<number, unknown>([[EC2.kty, 2], [EC2.crv, 1], [EC2.x, decodeBase64url(sender.x)], [EC2.y, decodeBase64url(sender.y)]]);
  const loose = new Map<number, unknown>([[KID, encodeUtf8(kid)], [STATIC_KEY, staticKey], [PARTY_U_NONCE, nonce]]);
  return new Tag(96, [protectedHeader, new Map([[IV, iv]]), new Uint8Array(ciphertext), [[recipientHeader, loose, new Uint8Array(wrapped)]]]);
};
