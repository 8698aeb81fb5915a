// SPDX-License-Identifier: Apache-2.0
/**
 * Gets the edge bundle over HTTP: a signed long-poll request, an answer encrypted to this edge.
 *
 * docs/wire/edge-bundle.md; RFC 7515 (ES256), RFC 7516 (ECDH-ES, A256GCM). The request proves who asks, the encryption
 * decides who can read: a server that answers the wrong edge gives nothing away.
 * Invariant: only algorithms named here are accepted, and a bundle made for another edge is refused.
 */
import { compactDecrypt, importJWK, type JWK, SignJWT } from 'jose';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { parseEdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { SealcastError } from '#core/errors.ts';
import type { BundleSource } from '#edge/bundle-loop.ts';
import type { Clock, Fetch, Random } from '#ports';

/** The JOSE `typ` of a bundle request. */
export const EDGE_REQUEST_TYPE = 'edge-request+jwt';
/** A bundle with a full revocation list stays below this. */
const MAX_BUNDLE_BYTES = 256 * 1024 * 1024;

/** `server`: origin of the licence server, without a slash at its end. Keys: private JWKs, P-256, enrolled for `edge`. */
export const createBundleClient = (options: {
  server: string;
  edge: string;
  signKey: JWK;
  agreeKey: JWK;
  fetch: Fetch;
  clock: Clock;
  random: Random;
}): BundleSource => {
  const { server, edge, clock, random } = options;
  let imported: Promise<{ sign: CryptoKey; agree: CryptoKey }> | undefined;

  const importKeys = async (): Promise<{ sign: CryptoKey; agree: CryptoKey }> => {
    const [sign, agree] = await Promise.all([importJWK(options.signKey, 'ES256'), importJWK(options.agreeKey, 'ECDH-ES')]);
    if (sign instanceof Uint8Array || agree instanceof Uint8Array) throw new SealcastError('config-invalid', 'edge keys must be private P-256 JWKs, not octets');
    return { sign, agree };
  };

  return async ({ version, wait, signal, traffic, carriers }) => {
    const { sign, agree } = await (imported ??= importKeys());
    const iat = Math.floor(clock.now() / 1_000_000);
    const request = await new SignJWT({ edge, iat, jti: encodeBase64url(random.bytes(16)), ...(traffic !== undefined && { traffic }), ...(carriers !== undefined && { carriers }) })
      .setProtectedHeader({ alg: 'ES256', typ: EDGE_REQUEST_TYPE })
      .sign(sign);
    const url = `${server}/v1/edges/${encodeURIComponent(edge)}/bundle?version=${version}&wait=${Math.floor(wait / 1000)}`;
    const response = await options.fetch(new Request(url, { headers: { authorization: `Bearer ${request}`, accept: 'application/jose' }, signal, redirect: 'manual' }));
    if (response.status === 204) return undefined;
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new SealcastError('key-unavailable', `the bundle server answered ${response.status}`);
    }
    if (Number(response.headers.get('content-length') ?? 0) > MAX_BUNDLE_BYTES) throw new SealcastError('key-unavailable', 'the bundle is too large');
    const { plaintext } = await compactDecrypt(await response.text(), agree, { keyManagementAlgorithms: ['ECDH-ES'], contentEncryptionAlgorithms: ['A256GCM'] });
    const bundle = parseEdgeBundle(decodeUtf8(plaintext));
    if (bundle.edge !== edge) throw new SealcastError('key-unavailable', 'the bundle was made for another edge');
    return bundle;
  };
};
