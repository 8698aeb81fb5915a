// SPDX-License-Identifier: Apache-2.0
/**
 * Seals and opens the profile of a chunk: AES-256-GCM under a key of its segment (docs/wire/mark-box.md, "Box").
 *
 * key = HKDF(MEK[asset, e], salt "", info markBoxInfo); additional data = bytes of the box before the ciphertext | SHA-256 of
 * the chunk. So a box opens nowhere but before the very bytes it was made for.
 * Invariant: a failure says only that it failed; keys and profiles are in no message.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import { boxEpochOf, markBoxHead, markBoxInfo, parseMarkBox, type MarkBoxPlace } from '#core/mark/box.ts';
import { decodeProfile, encodeProfile, type MarkProfile } from '#core/mark/profile.ts';
import { hkdfSha256 } from './hmac.ts';

const EMPTY = new Uint8Array(0);
const webBytes = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes as Uint8Array<ArrayBuffer>;

/** Key of the boxes of one segment; expensive enough to keep for a segment's chunks. */
const boxKey = (master: Uint8Array, place: MarkBoxPlace, packagerStart: number, usage: 'encrypt' | 'decrypt'): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', webBytes(hkdfSha256(master, EMPTY, markBoxInfo(place, packagerStart), 32)), 'AES-GCM', false, [usage]);

const chunkHash = async (chunk: readonly Uint8Array[]): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.digest('SHA-256', webBytes(chunk.length === 1 ? (chunk[0] as Uint8Array) : concatBytes(...chunk))));

/** Boxes of one rendition at a packager: one key per segment. */
export type MarkBoxSealer = {
  /**
   * The box to put before `chunk` (`moof` and `mdat` as served, in parts). `master`: MEK of the segment's epoch, 32 bytes;
   * `nonce`: 12 random bytes, never used twice.
   */
  seal(segment: number, profile: MarkProfile, chunk: readonly Uint8Array[], master: Uint8Array, nonce: Uint8Array): Promise<Uint8Array>;
};

/** `packagerStart`: random u32 of this life of the packager. */
export const createMarkBoxSealer = (options: Omit<MarkBoxPlace, 'segment'> & { readonly packagerStart: number }): MarkBoxSealer => {
  const { packagerStart } = options;
  let current: { readonly segment: number; readonly key: Promise<CryptoKey> } | undefined;
  return {
    async seal(segment, profile, chunk, master, nonce) {
      if (current?.segment !== segment) current = { segment, key: boxKey(master, { ...options, segment }, packagerStart, 'encrypt') };
      const key = await current.key;
      const plain = encodeProfile(profile);
      const head = markBoxHead({ epoch: boxEpochOf(segment), packagerStart, nonce }, plain.length + 16);
      const additionalData = concatBytes(head, await chunkHash(chunk));
      const sealed = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-GCM', iv: webBytes(nonce), additionalData: webBytes(additionalData) }, key, webBytes(plain)));
      return concatBytes(head, sealed);
    },
  };
};

/** Why a box could not be opened. */
export type Unopened = 'malformed' | 'no-key' | 'not-authentic';

/** Opens boxes of one object of a rendition at an edge. */
export type MarkBoxOpener = {
  /** The profile in `box`, which stood before `chunk`; places lie inside the chunk. */
  open(box: Uint8Array, chunk: Uint8Array): Promise<MarkProfile | Unopened>;
};

/** `masterOf` answers MEK of an epoch, where this edge has it. Boxes of another epoch than the segment's are not authentic. */
export const createMarkBoxOpener = (place: MarkBoxPlace, masterOf: (epoch: number) => Uint8Array | undefined): MarkBoxOpener => {
  let current: { readonly packagerStart: number; readonly key: Promise<CryptoKey> } | undefined;
  return {
    async open(box, chunk) {
      let parsed: ReturnType<typeof parseMarkBox>;
      try {
        parsed = parseMarkBox(box);
      } catch (error) {
        if (error instanceof SealcastError) return 'malformed';
        throw error;
      }
      const { epoch, packagerStart, nonce, head, sealed } = parsed;
      if (epoch !== boxEpochOf(place.segment)) return 'not-authentic';
      const master = masterOf(epoch);
      if (master === undefined) return 'no-key';
      if (current?.packagerStart !== packagerStart) current = { packagerStart, key: boxKey(master, place, packagerStart, 'decrypt') };
      const additionalData = concatBytes(head, await chunkHash([chunk]));
      let plain: ArrayBuffer;
      try {
        plain = await crypto.subtle.decrypt({ name: 'AES-GCM', iv: webBytes(nonce), additionalData: webBytes(additionalData) }, await current.key, webBytes(sealed));
      } catch {
        // WebCrypto says no more than that, and nobody outside needs to know more.
        return 'not-authentic';
      }
      try {
        const profile = decodeProfile(new Uint8Array(plain));
        return profile.size === chunk.length ? profile : 'malformed';
      } catch (error) {
        if (error instanceof SealcastError) return 'malformed';
        throw error;
      }
    },
  };
};
