// SPDX-License-Identifier: Apache-2.0
/**
 * COSE messages with one signature: COSE_Mac0 with HMAC 256/256 and COSE_Sign1 with ES256 (RFC 9052, RFC 9053).
 *
 * ETSI TS 104 002 clause 5.4 asks for these two. The structure decides which algorithm is possible and the key says which
 * it is for, so neither can be confused: a public key never verifies a MAC.
 * Invariant: the algorithm comes from the protected header; a header with `crit` or with a label in both maps is refused.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { decodeCbor, encodeCbor, isBytes, Tag } from '#crypto/cbor.ts';
import { signEs256, verifyEs256 } from '#crypto/ecdsa.ts';
import { hmacSha256 } from '#crypto/hmac.ts';

/** The two algorithms, by their JOSE names. */
export type TokenAlgorithm = 'HS256' | 'ES256';

const ALG = 1;
const CRIT = 2;
const KID = 4;
const IDENTIFIERS: Readonly<Record<TokenAlgorithm, number>> = { HS256: 5, ES256: -7 };
const CONTEXTS: Readonly<Record<TokenAlgorithm, string>> = { HS256: 'MAC0', ES256: 'Signature1' };
const TAGS: Readonly<Record<TokenAlgorithm, number>> = { HS256: 17, ES256: 18 };
/** CBOR Web Token, RFC 8392 section 6. */
const CWT_TAG = 61;

/** A message taken apart; nothing of it has been verified. */
export type CoseMessage = {
  readonly alg: TokenAlgorithm;
  /** Key id of either header map. */
  readonly kid: Uint8Array | undefined;
  readonly protectedHeader: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
};

/** What a message is signed with, and verified with. */
export type SigningSecret = { readonly alg: 'HS256'; readonly key: Uint8Array } | { readonly alg: 'ES256'; readonly key: CryptoKey };

const headerMap = (value: unknown): ReadonlyMap<unknown, unknown> | undefined => {
  if (value instanceof Map) return value as Map<unknown, unknown>;
  // An empty map comes out of the decoder as a map too; anything else is no header.
  return undefined;
};

const protectedMap = (bytes: Uint8Array): ReadonlyMap<unknown, unknown> | undefined => (bytes.length === 0 ? new Map<unknown, unknown>() : headerMap(decodeCbor(bytes)));

/** Takes tags 61 and 17 or 18 off; the structure's number, or undefined where it has none. */
const untagged = (value: unknown): { readonly structure: number | undefined; readonly message: unknown } | undefined => {
  const inner = value instanceof Tag && value.tag === CWT_TAG ? value.contents : value;
  if (!(inner instanceof Tag)) return { structure: undefined, message: inner };
  return inner.tag === TAGS.HS256 || inner.tag === TAGS.ES256 ? { structure: Number(inner.tag), message: inner.contents } : undefined;
};

/** The message in `bytes`, with or without its tags; undefined for anything else. Never throws. */
export const parseCose = (bytes: Uint8Array): CoseMessage | undefined => {
  const found = untagged(decodeCbor(bytes));
  if (found === undefined || !Array.isArray(found.message) || found.message.length !== 4) return undefined;
  const [protectedHeader, unprotected, payload, signature] = found.message as unknown[];
  if (!isBytes(protectedHeader) || !isBytes(payload) || !isBytes(signature)) return undefined;
  const kept = protectedMap(protectedHeader);
  const loose = headerMap(unprotected);
  if (kept === undefined || loose === undefined || kept.has(CRIT) || loose.has(CRIT) || loose.has(ALG) || (kept.has(KID) && loose.has(KID))) return undefined;
  const alg = (['HS256', 'ES256'] as const).find((name) => IDENTIFIERS[name] === kept.get(ALG));
  if (alg === undefined || (found.structure !== undefined && found.structure !== TAGS[alg])) return undefined;
  const kid = kept.get(KID) ?? loose.get(KID);
  if (kid !== undefined && !isBytes(kid)) return undefined;
  return { alg, kid, protectedHeader, payload, signature };
};

const toBeSigned = (alg: TokenAlgorithm, protectedHeader: Uint8Array, payload: Uint8Array): Uint8Array => encodeCbor([CONTEXTS[alg], protectedHeader, new Uint8Array(), payload]);

/** Whether `secret` signed the message. Answers at once for MACs. */
export const verifyCose = (message: CoseMessage, secret: SigningSecret): boolean | Promise<boolean> => {
  if (message.alg !== secret.alg) return false;
  const data = toBeSigned(message.alg, message.protectedHeader, message.payload);
  return secret.alg === 'HS256' ? equalBytes(hmacSha256(secret.key, data), message.signature) : verifyEs256(secret.key, data, message.signature);
};

/** Signs `payload`. `kid` goes into the protected header; `cwtTag` puts tag 61 in front. */
export const signCose = async (options: { secret: SigningSecret; payload: Uint8Array; kid?: Uint8Array | undefined; cwtTag?: boolean }): Promise<Uint8Array> => {
  const { secret, payload, kid, cwtTag = false } = options;
  const { alg } = secret;
  const protectedHeader = encodeCbor(new Map<number, unknown>([[ALG, IDENTIFIERS[alg]], ...(kid === undefined ? [] : ([[KID, kid]] as [number, unknown][]))]));
  const data = toBeSigned(alg, protectedHeader, payload);
  const signature = secret.alg === 'HS256' ? hmacSha256(secret.key, data) : await signEs256(secret.key, data);
  const message = new Tag(TAGS[alg], [protectedHeader, new Map(), payload, signature]);
  return encodeCbor(cwtTag ? new Tag(CWT_TAG, message) : message);
};
