// SPDX-License-Identifier: Apache-2.0
/**
 * Keyed marking patterns: for each segment m faint pictures, one per variant, that are added to the luma.
 *
 * Variant d of segment n is a sum of all cosines with signs s_k H[d][j_k]: s_k and j_k are drawn from the secret per
 * segment, H is the Hadamard matrix of order 8. So variants of a segment are exactly orthogonal, and without the secret a
 * segment's patterns tell nothing about any other's.
 * Invariant: signs depend on secret, segment and variant alone; the mean of a pattern is 0, its root mean square AMPLITUDE.
 */
import { SealcastError } from '#core/errors.ts';
import { msg, u32, u64 } from '#core/keys/encoding.ts';
import { requireAlphabet, type Hmac } from '#core/watermark/index.ts';
import { CELLS, COEFFICIENTS, HEIGHT, render, WIDTH } from './basis.ts';

/** Root mean square of a pattern in luma levels of 255: with rounding, marked and unmarked pictures are 46 dB apart. */
export const AMPLITUDE = 1.1;
/** No cell is changed by more levels than this. */
export const LARGEST_CHANGE = 3;

/** Secret of an asset's patterns, from its mark secret MW: the packager needs no more than this. */
export const pictureSecret = (hmac: Hmac, markSecret: Uint8Array, asset: string): Uint8Array => hmac(markSecret, msg('picture', asset));

/** The patterns of one asset. */
export type Patterns = {
  /** Variants per segment. */
  readonly alphabet: number;
  /** Signs (+1, -1) of the COEFFICIENTS cosines, one array per variant. */
  codes(segment: number): readonly Int8Array[];
  /**
   * All variants' patterns of a segment as one 8-bit 4:2:0 picture of WIDTH x (HEIGHT x m), variant 0 on top: 128 is no
   * change, chroma is 128 throughout. What a video filter adds to the picture.
   */
  picture(segment: number): Uint8Array;
};

/** Bytes of `hmac(secret, "picture-bits" | segment | counter)`, one after the other. */
const stream = (hmac: Hmac, secret: Uint8Array, segment: number): (() => number) => {
  let block = new Uint8Array(0);
  let at = 0;
  let counter = 0;
  return () => {
    if (at === block.length) {
      block = new Uint8Array(hmac(secret, msg('picture-bits', u64(segment), u32(counter++))));
      at = 0;
    }
    return block[at++] as number;
  };
};

const parity = (value: number): number => {
  let bits = value & 7;
  bits ^= bits >> 2;
  bits ^= bits >> 1;
  return bits & 1;
};

/** `secret` is 32 bytes from `pictureSecret`; throws `bad-request` for an alphabet outside 2..8. */
export const createPatterns = (options: { hmac: Hmac; secret: Uint8Array; alphabet: number }): Patterns => {
  const { hmac, secret } = options;
  const alphabet = requireAlphabet(options.alphabet);
  if (secret.length !== 32) throw new SealcastError('key-unavailable', `a picture secret has 32 bytes; got ${secret.length}`);

  const codes = (segment: number): readonly Int8Array[] => {
    const next = stream(hmac, secret, segment);
    const signs = Int8Array.from({ length: COEFFICIENTS }, () => ((next() & 1) === 1 ? 1 : -1));
    // Each of the eight columns of H equally often, in keyed order (Fisher-Yates; 16 bits for up to 208 places).
    const columns = Uint8Array.from({ length: COEFFICIENTS }, (_, k) => k & 7);
    for (let k = COEFFICIENTS - 1; k > 0; k--) {
      const other = ((next() << 8) | next()) % (k + 1);
      [columns[k], columns[other]] = [columns[other] as number, columns[k] as number];
    }
    return Array.from({ length: alphabet }, (_, variant) =>
      Int8Array.from(signs, (sign, k) => (parity(variant & (columns[k] as number)) === 1 ? -sign : sign)),
    );
  };

  return {
    alphabet,
    codes,
    picture(segment) {
      const luma = CELLS * alphabet;
      const out = new Uint8Array(luma + luma / 2).fill(128);
      const scale = AMPLITUDE * Math.sqrt(CELLS / COEFFICIENTS);
      codes(segment).forEach((code, variant) => {
        render(code).forEach((value, cell) => {
          const change = Math.max(-LARGEST_CHANGE, Math.min(LARGEST_CHANGE, Math.round(value * scale)));
          out[variant * CELLS + cell] = 128 + change;
        });
      });
      return out;
    },
  };
};

/** Size of the picture of `Patterns.picture`. */
export const patternSize = (alphabet: number): { readonly width: number; readonly height: number } => ({ width: WIDTH, height: HEIGHT * alphabet });
