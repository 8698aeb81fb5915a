// SPDX-License-Identifier: Apache-2.0
/**
 * Pattern encryption: of every `crypt + skip` blocks of a protected range the first `crypt` are ciphered
 * (ISO/IEC 23001-7 clause 9.6).
 *
 * Invariant: gather and scatter visit the same bytes in the same order, all of them inside the range.
 */

const BLOCK = 16;

/** Block counts of a pattern; 0:0 and n:0 mean every whole block. */
export type Pattern = { readonly crypt: number; readonly skip: number };

/** Bytes of a protected range of `length` bytes that the pattern ciphers: always a multiple of 16. */
export const patternLength = (length: number, pattern: Pattern): number => {
  const blocks = Math.floor(length / BLOCK);
  if (pattern.skip === 0) return blocks * BLOCK;
  const period = pattern.crypt + pattern.skip;
  const whole = Math.floor(blocks / period);
  return (whole * pattern.crypt + Math.min(blocks - whole * period, pattern.crypt)) * BLOCK;
};

/** Copies the ciphered bytes of source[from, from + length) side by side to target[to...]; answers how many. */
export const gatherPattern = (source: Uint8Array, from: number, length: number, pattern: Pattern, target: Uint8Array, to: number): number => {
  const total = patternLength(length, pattern);
  if (pattern.skip === 0) {
    target.set(source.subarray(from, from + total), to);
    return total;
  }
  const run = pattern.crypt * BLOCK;
  const period = run + pattern.skip * BLOCK;
  for (let done = 0, at = from; done < total; at += period) {
    const end = Math.min(done + run, total);
    // Runs are one block in practice: a loop beats the call overhead of subarray and set.
    for (let i = at; done < end; i++, done++) target[to + done] = source[i] as number;
  }
  return total;
};

/** The reverse of `gatherPattern`: puts source[from...] back to where the pattern took it from. */
export const scatterPattern = (source: Uint8Array, from: number, target: Uint8Array, to: number, length: number, pattern: Pattern): number => {
  const total = patternLength(length, pattern);
  if (pattern.skip === 0) {
    target.set(source.subarray(from, from + total), to);
    return total;
  }
  const run = pattern.crypt * BLOCK;
  const period = run + pattern.skip * BLOCK;
  for (let done = 0, at = to; done < total; at += period) {
    const end = Math.min(done + run, total);
    for (let i = at; done < end; i++, done++) target[i] = source[from + done] as number;
  }
  return total;
};
