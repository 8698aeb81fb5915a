// SPDX-License-Identifier: Apache-2.0
/**
 * The licence server's own keys: the one that signs licences and the one that authenticates nonces.
 *
 * Made at the first start, sealed, and shared by all licence servers on one store. Invariant: the private key exists in memory
 * and sealed in the store, nowhere else.
 */
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { type Es256, importSigningKey, type JwsKey, makeKeyPair, thumbprint } from '#crypto/jose.ts';
import type { Random, SecretBox, SecretStore } from '#ports';

/** Keys of the installation's licence servers. */
export type ServerSecrets = {
  readonly signing: JwsKey;
  /** Published at /v1/licenses/keys. */
  readonly signingJwk: PublicJwk;
  /** RFC 7638 thumbprint. */
  readonly kid: string;
  readonly nonceKey: Uint8Array;
};

const SIGNING = 'license-signing-key';
const NONCE = 'license-nonce-key';

/** Makes what is missing; servers that start at once end up with the same keys. */
export const loadServerSecrets = async ({ secrets, box, random, es256 }: { secrets: SecretStore; box: SecretBox; random: Random; es256?: Es256 | undefined }): Promise<ServerSecrets> => {
  const keep = async (name: string, make: () => Promise<Uint8Array>): Promise<Uint8Array> => {
    const stored = (await secrets.get(name)) ?? (await secrets.putIfAbsent(name, await box.seal(await make(), name)));
    return box.open(stored, name);
  };
  const signing = JSON.parse(decodeUtf8(await keep(SIGNING, async () => encodeUtf8(JSON.stringify((await makeKeyPair('sign')).privateJwk))))) as JsonWebKey & PublicJwk;
  const signingJwk: PublicJwk = { kty: 'EC', crv: 'P-256', x: signing.x, y: signing.y };
  return { signing: await importSigningKey(signing, es256), signingJwk, kid: await thumbprint(signingJwk), nonceKey: await keep(NONCE, async () => random.bytes(32)) };
};
