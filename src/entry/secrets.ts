// SPDX-License-Identifier: Apache-2.0
/**
 * Secrets that one installation makes for itself at first start: key pairs, service credentials.
 *
 * Invariant: no secret is a constant of the repository; each is random, sealed under the key-encryption key before it
 * is stored, and the same after every restart.
 */
import { type JWK, exportJWK, generateKeyPair } from 'jose';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { Random, SecretBox, SecretStore } from '#ports';

/** Named secrets; asking twice answers the same. */
export type OwnSecrets = {
  /** 256 random bits as text, e.g. a service credential. */
  text(name: string): Promise<string>;
  /** 32 random bytes, e.g. a key of the ladder. */
  bytes(name: string): Promise<Uint8Array>;
  /** A pair as JWKs: P-256 for signing (`ES256`) or key agreement (`ECDH-ES`), Ed25519 for `EdDSA`. */
  keyPair(name: string, alg: 'ES256' | 'ECDH-ES' | 'EdDSA'): Promise<{ readonly privateJwk: JWK; readonly publicJwk: JWK }>;
};

/** Secrets in a store, sealed by the box. */
export const createOwnSecrets = (options: { store: SecretStore; box: SecretBox; random: Random }): OwnSecrets => {
  const { store, box, random } = options;
  const keep = async (name: string, make: () => Promise<Uint8Array>): Promise<Uint8Array> => {
    const context = `secret/${name}`;
    const stored = (await store.get(name)) ?? (await store.putIfAbsent(name, await box.seal(await make(), context)));
    return box.open(stored, context);
  };
  return {
    text: async (name) => decodeUtf8(await keep(name, async () => encodeUtf8(encodeBase64url(random.bytes(32))))),
    bytes: (name) => keep(name, async () => random.bytes(32)),
    async keyPair(name, alg) {
      const bytes = await keep(name, async () => {
        const { privateKey } = await generateKeyPair(alg, { crv: alg === 'EdDSA' ? 'Ed25519' : 'P-256', extractable: true });
        return encodeUtf8(JSON.stringify({ ...(await exportJWK(privateKey)), alg }));
      });
      const privateJwk = JSON.parse(decodeUtf8(bytes)) as JWK;
      const { d: _private, ...publicJwk } = privateJwk;
      return { privateJwk, publicJwk };
    },
  };
};
