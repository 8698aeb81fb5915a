// SPDX-License-Identifier: Apache-2.0
/**
 * Decrypts fragments with WebCrypto, in every runtime: the headless client and browsers (ISO/IEC 23001-7).
 *
 * WebCrypto's AES-CBC insists on PKCS #7 padding, media has none: before decrypting, the block that a padded text would
 * end with is made by encrypting nothing with the last cipher block as vector, and appended.
 * Invariant: keys stay non-extractable CryptoKeys, kept only while the caller keeps the key bytes.
 */
import type { ContentKey } from '#core/ids.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { collectKeys, planDecryption, withoutEncryptionBoxes } from '#core/cenc/decrypt-fragment.ts';
import type { DecryptedFragment, KeyLookup } from '#core/cenc/decrypt-fragment.ts';
import type { Track } from '#core/isobmff/init.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** AES-128 of WebCrypto for media samples. Keys, counters and vectors are 16 bytes. */
export type SampleCipher = {
  /** CTR with a 128-bit counter; encryption and decryption alike. */
  ctr(key: ContentKey, counter: Uint8Array, data: Uint8Array): Promise<Uint8Array>;
  /** CBC without padding; `data` is a multiple of 16 bytes. */
  cbcDecrypt(key: ContentKey, iv: Uint8Array, data: Uint8Array): Promise<Uint8Array>;
  /** The clear fragment of one or more tracks (from `parseInit`), or the first KID `keyOf` does not know. */
  decryptFragment(bytes: Uint8Array, tracks: readonly Track[], keyOf: KeyLookup): Promise<DecryptedFragment>;
};

/** A cipher with its own cache of imported keys. */
export const createSampleCipher = (): SampleCipher => {
  const imported = { ctr: new WeakMap<Uint8Array, Promise<CryptoKey>>(), cbc: new WeakMap<Uint8Array, Promise<CryptoKey>>() };
  const importKey = (mode: 'ctr' | 'cbc', key: ContentKey): Promise<CryptoKey> => {
    let known = imported[mode].get(key);
    if (known === undefined) {
      known = crypto.subtle.importKey('raw', key as Uint8Array as Bytes, mode === 'ctr' ? 'AES-CTR' : 'AES-CBC', false, ['encrypt', 'decrypt']);
      imported[mode].set(key, known);
    }
    return known;
  };
  const cipher: SampleCipher = {
    async ctr(key, counter, data) {
      const algorithm = { name: 'AES-CTR', counter: counter as Bytes, length: 128 };
      return new Uint8Array(await crypto.subtle.encrypt(algorithm, await importKey('ctr', key), data as Bytes));
    },
    async cbcDecrypt(key, iv, data) {
      if (data.length % 16 !== 0) throw new RangeError(`CBC without padding takes multiples of 16 bytes, not ${data.length}`);
      if (data.length === 0) return new Uint8Array(0);
      const cryptoKey = await importKey('cbc', key);
      const last = data.slice(data.length - 16);
      const padding = await crypto.subtle.encrypt({ name: 'AES-CBC', iv: last as Bytes }, cryptoKey, new Uint8Array(0));
      const padded = concatBytes(data, new Uint8Array(padding));
      return new Uint8Array(await crypto.subtle.decrypt({ name: 'AES-CBC', iv: iv as Bytes }, cryptoKey, padded as Bytes));
    },
    async decryptFragment(bytes, tracks, keyOf) {
      const plan = planDecryption(bytes, tracks);
      const keys = collectKeys(plan, keyOf);
      if ('missing' in keys) return keys;
      const clear = bytes.slice();
      await Promise.all(
        plan.calls.map(async (call) => {
          const input = call.input(bytes);
          const key = keys.keyFor(call.kid);
          const output = call.mode === 'ctr' ? await cipher.ctr(key, call.iv, input) : await cipher.cbcDecrypt(key, call.iv, input);
          call.output(output, clear);
        }),
      );
      return { clear: withoutEncryptionBoxes(clear), samples: plan.samples };
    },
  };
  return cipher;
};
