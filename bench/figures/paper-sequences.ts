// SPDX-License-Identifier: Apache-2.0
/**
 * The source paper's own generator, as the baseline of `sealcast bench sequences`.
 *
 * He, Maillé, Simon, NOSSDAV'17, Algorithms 1 and 2 with their errors corrected: every divisor is tested, blocks are
 * counted from the second to the last, a word as long as the sequence is no pattern, j restarts at 0 for a new length.
 * Otherwise transcribed step by step: s, pattern, pat and s' are built as words, s' is read as an integer and compared.
 * Same language, numbers and digit representation as the code it is compared with; buffers are reused, nothing allocated.
 * Invariant: from an assigned word's integer it finds the integer of the next assigned word.
 */
import { divisorsOf } from '#core/watermark/counts.ts';

export type PaperGenerator = {
  /** The integer of the sequence after `last`, at this length; -1 past the end of the length. */
  next(last: number): number;
};

export const createPaperGenerator = (alphabet: number, length: number): PaperGenerator => {
  const word = new Uint8Array(length);
  const pattern = new Uint8Array(length);
  const pat = new Uint8Array(length);
  const rotated = new Uint8Array(length);
  const limit = alphabet ** length;
  const periods = divisorsOf(length).slice(0, -1);

  const digitsOf = (value: number): void => {
    let rest = value;
    for (let i = length - 1; i >= 0; i--) {
      const shorter = Math.floor(rest / alphabet);
      word[i] = rest - shorter * alphabet;
      rest = shorter;
    }
  };

  const integerOf = (symbols: Uint8Array): number => {
    let value = 0;
    for (let i = 0; i < length; i++) value = value * alphabet + (symbols[i] as number);
    return value;
  };

  /** Algorithm 1: some proper divisor's first block repeats through the whole word. */
  const hasPattern = (): boolean => {
    for (const period of periods) {
      for (let i = 0; i < period; i++) pattern[i] = word[i] as number;
      let repeats = true;
      for (let block = 1; block < length / period && repeats; block++) {
        for (let i = 0; i < period; i++) pat[i] = word[block * period + i] as number;
        for (let i = 0; i < period && repeats; i++) repeats = pat[i] === pattern[i];
      }
      if (repeats) return true;
    }
    return false;
  };

  /** Algorithm 2: some rotation, read as an integer, is smaller. */
  const hasSmallerRotation = (value: number): boolean => {
    for (let k = 1; k < length; k++) {
      // w(l-k)...w(l-1) w(0)...w(l-k-1), as the paper turns the word.
      for (let i = 0; i < k; i++) rotated[i] = word[length - k + i] as number;
      for (let i = k; i < length; i++) rotated[i] = word[i - k] as number;
      if (integerOf(rotated) < value) return true;
    }
    return false;
  };

  return {
    next(last) {
      for (let value = last + 1; value < limit; value++) {
        digitsOf(value);
        if (!hasPattern() && !hasSmallerRotation(value)) return value;
      }
      return -1;
    },
  };
};
