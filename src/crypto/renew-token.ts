// SPDX-License-Identifier: Apache-2.0
/**
 * A verified third-party token with a later expiry, signed again under the same key.
 *
 * RFC 9246 section 2.1.10, CTA-5007 `catr`. Only secrets can be used again: of ES256 an edge has the public key alone, and
 * such a token lasts until its end. All other claims stay as they are, those we do not know included.
 * Invariant: the caller has verified the token; nothing here makes a right that it did not hold.
 */
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';
import { CLAIM_KEYS } from '#core/token/wm-claims.ts';
import { decodeCbor, encodeCbor } from '#crypto/cbor.ts';
import { parseCose, signCose } from '#crypto/cose.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { TokenKeys } from '#crypto/token-keys.ts';
import { MAX_ACCESS_TOKEN_LENGTH } from '#crypto/wm-token.ts';

const renewJwt = async (token: string, expires: number, keys: TokenKeys): Promise<string | undefined> => {
  const [header = '', payload = ''] = token.split('.');
  const fields = parseStrictObject(decodeUtf8(decodeBase64url(header)));
  const claims = parseStrictObject(decodeUtf8(decodeBase64url(payload)));
  const kid = fields?.['kid'] ?? '';
  const secret = fields?.['alg'] === 'HS256' && typeof kid === 'string' ? await keys.signing('jwt', 'HS256', kid)?.secret() : undefined;
  if (claims === undefined || secret?.alg !== 'HS256') return undefined;
  const text = `${header}.${encodeBase64url(encodeUtf8(JSON.stringify({ ...claims, exp: expires })))}`;
  return `${text}.${encodeBase64url(hmacSha256(secret.key, encodeUtf8(text)))}`;
};

const renewCwt = async (token: string, expires: number, keys: TokenKeys): Promise<string | undefined> => {
  const message = parseCose(decodeBase64url(token));
  const claims = message && decodeCbor(message.payload);
  if (message?.alg !== 'HS256' || !(claims instanceof Map)) return undefined;
  const secret = await keys.signing('cwt', 'HS256', message.kid === undefined ? '' : decodeUtf8(message.kid))?.secret();
  if (secret === undefined) return undefined;
  const payload = encodeCbor(new Map<unknown, unknown>([...(claims as Map<unknown, unknown>), [CLAIM_KEYS.exp, expires]]));
  return encodeBase64url(await signCose({ secret, payload, kid: message.kid }));
};

/** The token until `expires` (seconds); undefined where the key is not a secret at hand or the result would be too long. */
export const renewAccessToken = async (token: string, expires: number, keys: TokenKeys): Promise<string | undefined> => {
  const renewed = await (token.includes('.') ? renewJwt : renewCwt)(token, expires, keys);
  return renewed !== undefined && renewed.length <= MAX_ACCESS_TOKEN_LENGTH ? renewed : undefined;
};
