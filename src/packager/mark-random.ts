// SPDX-License-Identifier: Apache-2.0
/**
 * Random numbers for the choice of places: ChaCha12 under the event's choice key, one stream per segment of a rendition.
 *
 * Invariant: who does not hold the key cannot predict which places were chosen; the same key, rendition and segment give the
 * same numbers, so that redundant packagers choose alike.
 */
import { msg, u64 } from '#core/keys/encoding.ts';
import { chachaBlock, chachaKey } from '#core/watermark/chacha.ts';
import { hmacSha256 } from '#crypto/hmac.ts';

/** Uniform numbers. */
export type MarkRandom = {
  /** In (0, 1]. */
  unit(): number;
  /** Integer in [0, below). */
  below(limit: number): number;
};

const ROUNDS = 12;

/** The stream of one segment. `key`: 32 bytes. */
export const markRandom = (key: Uint8Array, representation: string, segment: number): MarkRandom => {
  const words = chachaKey(hmacSha256(key, msg('mark-places', representation, u64(segment))));
  const block = new Int32Array(16);
  let counter = 0;
  let used = 16;
  const unit = (): number => {
    if (used === 16) {
      chachaBlock(words, counter, 0, 0, 0, ROUNDS, block, 0);
      counter += 1;
      used = 0;
    }
    const word = (block[used] as number) >>> 0;
    used += 1;
    return (word + 1) / 2 ** 32;
  };
  return { unit, below: (limit) => Math.min(limit - 1, Math.floor(unit() * limit)) };
};
