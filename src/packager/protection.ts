// SPDX-License-Identifier: Apache-2.0
/**
 * Protects the header and the chunks of one representation with the keys of its crypto periods.
 *
 * ISO/IEC 23001-7 section 6: the header names the decoy entry key, every chunk names its own by `seig`. With one fixed key for
 * everything (`signalling: 'track'`) the header names it, and any reader of Common Encryption can open the file.
 * Invariants: chunks are protected in stream order; no (key, vector) serves two samples (initialisation-vectors.ts).
 */
import { createFragmentEncrypter } from '#core/cenc/encrypt-fragment.ts';
import { protectInit } from '#core/cenc/protect-init.ts';
import type { SampleAes } from '#core/cenc/sample-aes.ts';
import type { KeyId, ProtectionScheme, RepresentationId } from '#core/ids.ts';
import type { Track } from '#core/isobmff/init.ts';
import type { CryptoPeriod } from '#core/time.ts';
import type { PeriodKey, Random } from '#ports';
import type { InitialisationVectors } from './initialisation-vectors.ts';

/** Protects one representation; chunks have to come in stream order. */
export type ChunkProtection = {
  /** The header as served. */
  init(clear: Uint8Array): Uint8Array;
  /**
   * `moof` + `mdat` of one crypto period, protected under its key, as parts to be laid side by side. The bytes passed in are
   * used up: media is ciphered where it lies. `opens`: players may start here, so what opens its keys has to be in it. Throws
   * `key-unavailable`.
   */
  chunk(clear: Uint8Array, samples: number, period: CryptoPeriod, opens?: boolean): Promise<readonly Uint8Array[]>;
};

/** No protection, for comparison only. */
export const noProtection: ChunkProtection = { init: (clear) => clear, chunk: async (clear) => [clear] };

/** Protection by `scheme` with keys per period. Throws `media-unsupported` for a track that cannot be protected. */
export const createChunkProtection = (options: {
  scheme: ProtectionScheme;
  track: Track;
  representation: RepresentationId;
  /** One of several variants of the representation: it has vectors of its own. */
  variant?: string;
  defaultKid: KeyId;
  signalling: 'fragment' | 'track';
  aes: SampleAes;
  random: Random;
  vectors: InitialisationVectors;
  keyOf(period: CryptoPeriod): Promise<Pick<PeriodKey, 'kid' | 'key'> & Partial<PeriodKey>>;
  /** Live events of a bundle: the `pssh` with a group's in-band leaf. */
  leafBox?: ((key: Partial<PeriodKey>) => Uint8Array | undefined) | undefined;
}): ChunkProtection => {
  const { scheme, track, vectors } = options;
  const representation = options.variant === undefined ? options.representation : `${options.representation}/${options.variant}`;
  let lastGroup: number | undefined;
  const encrypter = createFragmentEncrypter({ scheme, track, aes: options.aes, signalling: options.signalling });
  return {
    init: (clear) =>
      protectInit(clear, {
        scheme,
        defaultKid: options.defaultKid,
        ...(scheme === 'cbcs' ? { constantIv: options.signalling === 'track' ? vectors.constant(options.defaultKid, representation) : options.random.bytes(16) } : {}),
      }),
    async chunk(clear, samples, period, opens = false) {
      const found = await options.keyOf(period);
      const { kid, key, group } = found;
      const box = opens || group !== lastGroup ? options.leafBox?.(found) : undefined;
      lastGroup = group;
      const pssh = box && { pssh: [box] };
      if (scheme === 'cbcs') return encrypter.encryptInPlace(clear, { kid, key, constantIv: vectors.constant(kid, representation), ...pssh }).parts;
      return encrypter.encryptInPlace(clear, { kid, key, firstIv: vectors.counter(kid, representation, samples), ...pssh }).parts;
    },
  };
};
