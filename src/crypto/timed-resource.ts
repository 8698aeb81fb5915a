// SPDX-License-Identifier: Apache-2.0
/**
 * Seals and opens timed resources: AES-128-GCM with the content key of the period that opens them.
 *
 * docs/wire/release.md, "Timed resources"; NIST SP 800-38D. Invariant: event, name, type and period are authenticated with the
 * content; a key that is wrong (too early, no right) opens nothing and tells nothing.
 */
import type { GrantKey } from '#core/ids.ts';
import { type ContentBinding, contentKey } from '#core/keys/ladder.ts';
import { decodeResource, encodeResource, RESOURCE_GROUP, resourceContext } from '#core/release/resource.ts';
import type { CryptoPeriod } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';

/** What the key of a resource follows from: the grant key of its period's group, and its release secret. */
export type ResourceKeys = { readonly grant: GrantKey; readonly secret: Uint8Array; readonly binding: ContentBinding };

const keyOf = ({ grant, secret, binding }: ResourceKeys, period: CryptoPeriod, use: 'encrypt' | 'decrypt'): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', contentKey(ladderHash, grant, binding, period, RESOURCE_GROUP, secret) as Uint8Array<ArrayBuffer>, 'AES-GCM', false, [use]);
const algorithm = (iv: Uint8Array, context: Uint8Array): AesGcmParams => ({ name: 'AES-GCM', iv: iv as Uint8Array<ArrayBuffer>, additionalData: context as Uint8Array<ArrayBuffer> });

/** The bytes that anybody may have before `period` is released. `iv`: 12 random bytes, never used twice. */
export const sealResource = async (keys: ResourceKeys, of: { name: string; type: string; period: CryptoPeriod; iv: Uint8Array; content: Uint8Array }): Promise<Uint8Array> => {
  const { name, type, period, iv, content } = of;
  const key = await keyOf(keys, period, 'encrypt');
  const sealed = await crypto.subtle.encrypt(algorithm(iv, resourceContext(keys.binding.asset, name, type, period)), key, content as Uint8Array<ArrayBuffer>);
  return encodeResource({ period, type, iv, sealed: new Uint8Array(sealed) });
};

/** The content, or undefined if the keys do not open it. Throws `bad-request` for bytes that are no resource. */
export const openResource = async (keys: ResourceKeys, name: string, bytes: Uint8Array): Promise<{ readonly type: string; readonly content: Uint8Array } | undefined> => {
  const { period, type, iv, sealed } = decodeResource(bytes);
  const key = await keyOf(keys, period, 'decrypt');
  try {
    const content = await crypto.subtle.decrypt(algorithm(iv, resourceContext(keys.binding.asset, name, type, period)), key, sealed as Uint8Array<ArrayBuffer>);
    return { type, content: new Uint8Array(content) };
  } catch {
    return undefined;
  }
};
