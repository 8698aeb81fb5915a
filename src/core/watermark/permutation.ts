// SPDX-License-Identifier: Apache-2.0
/**
 * The keyed permutation of viewer numbers that turns a number into an epoch's codeword, and back.
 *
 * FF1-shaped (NIST SP 800-38G): a ten-round Feistel network on Z_a x Z_b with a = m^floor(K/2), b = m^ceil(K/2), its
 * round function SipHash-2-4 of (half, page, round). Numbers beyond a b are paged: page q = floor(v / (a b)) has a
 * permutation of its own, so a population that outgrows its epoch length still has well-defined, independent codewords.
 * Invariant: within a page and an epoch no two viewers share a codeword.
 */
import { SealcastError } from '#core/errors.ts';
import { sipHash, type SipKey } from './siphash.ts';

/** A keyed one-to-one map between viewer numbers and codewords; not safe for concurrent use (scratch space), which synchronous code cannot do. */
export type Permutation = {
  /** m^K: numbers per page. */
  readonly domain: number;
  /** Writes the K symbols of a viewer number into `digits`. Throws `bad-request` for numbers beyond 2^24 pages. */
  encode(viewer: number, digits: Uint8Array): void;
  /** The number on `page` that has these K symbols. */
  decode(digits: Uint8Array, page: number): number;
};

const ROUNDS = 10;
/** Page and round share one 32-bit word of the round function's message. */
const MAX_PAGES = 2 ** 24;

/** The permutation of [0, m^K) under `key`; m^K at most 2^52. */
export const createPermutation = (key: SipKey, alphabet: number, length: number): Permutation => {
  const leftDigits = length >> 1;
  const rightDigits = length - leftDigits;
  const a = alphabet ** leftDigits;
  const b = alphabet ** rightDigits;
  const tag = new Int32Array(2);

  /** A value below `modulus`: 53 bits of the tag, so that the bias is below modulus / 2^53. */
  const round = (half: number, page: number, index: number, modulus: number): number => {
    sipHash(key, half, (page << 8) | index, tag);
    return (((tag[1] as number) >>> 11) * 4294967296 + ((tag[0] as number) >>> 0)) % modulus;
  };

  return {
    domain: a * b,
    encode(viewer, digits) {
      const page = Math.floor(viewer / (a * b));
      if (page >= MAX_PAGES) throw new SealcastError('bad-request', 'viewer is too large for epochs this short');
      const rest = viewer - page * (a * b);
      let left = Math.floor(rest / b);
      let right = rest - left * b;
      for (let index = 0; index < ROUNDS; index += 2) {
        left += round(right, page, index, a);
        if (left >= a) left -= a;
        right += round(left, page, index + 1, b);
        if (right >= b) right -= b;
      }
      for (let i = leftDigits - 1; i >= 0; i--) {
        const next = Math.floor(left / alphabet);
        digits[i] = left - next * alphabet;
        left = next;
      }
      for (let i = length - 1; i >= leftDigits; i--) {
        const next = Math.floor(right / alphabet);
        digits[i] = right - next * alphabet;
        right = next;
      }
    },
    decode(digits, page) {
      let left = 0;
      let right = 0;
      for (let i = 0; i < leftDigits; i++) left = left * alphabet + (digits[i] as number);
      for (let i = leftDigits; i < length; i++) right = right * alphabet + (digits[i] as number);
      for (let index = ROUNDS - 2; index >= 0; index -= 2) {
        right -= round(left, page, index + 1, b);
        if (right < 0) right += b;
        left -= round(right, page, index, a);
        if (left < 0) left += a;
      }
      return page * (a * b) + left * b + right;
    },
  };
};
