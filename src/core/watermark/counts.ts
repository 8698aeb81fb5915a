// SPDX-License-Identifier: Apache-2.0
/**
 * How many sequences there are: S(m,l), the cyclic classes of primitive words of length l over m symbols.
 *
 * He, Maillé, Simon (NOSSDAV'17) Prop. 4.1, in Moreau's closed form S(m,l) = (1/l) sum over d|l of mu(l/d) m^d.
 * Invariant: every count is exact; doubles are used only where m^l < 2^53.
 */
import { SealcastError } from '#core/errors.ts';

/** Variants per position a code book can use. */
export const MIN_ALPHABET = 2;
export const MAX_ALPHABET = 8;
/** Longest word of the adaptive order. */
export const MAX_LENGTH = 64;

/** Throws `bad-request` unless m is an integer of 2..8. */
export const requireAlphabet = (alphabet: number): number => {
  if (!Number.isInteger(alphabet) || alphabet < MIN_ALPHABET || alphabet > MAX_ALPHABET) {
    throw new SealcastError('bad-request', `alphabet must be an integer of ${MIN_ALPHABET}..${MAX_ALPHABET}; got ${String(alphabet).slice(0, 24)}`);
  }
  return alphabet;
};

/** Throws `bad-request` unless l is an integer of 1..64. */
export const requireLength = (length: number): number => {
  if (!Number.isInteger(length) || length < 1 || length > MAX_LENGTH) {
    throw new SealcastError('bad-request', `length must be an integer of 1..${MAX_LENGTH}; got ${String(length).slice(0, 24)}`);
  }
  return length;
};

/** Divisors in increasing order. */
export const divisorsOf = (n: number): number[] => {
  const found: number[] = [];
  for (let d = 1; d <= n; d++) if (n % d === 0) found.push(d);
  return found;
};

/** Möbius function: 0 for a square factor, else (-1)^(prime factors). */
export const moebius = (n: number): number => {
  let sign = 1;
  let rest = n;
  for (let p = 2; p * p <= rest; p++) {
    if (rest % p !== 0) continue;
    rest /= p;
    if (rest % p === 0) return 0;
    sign = -sign;
  }
  return rest > 1 ? -sign : sign;
};

/** The divisors d of l with mu(l/d) != 0: all that counting formulas need. */
export const moebiusTerms = (length: number): { readonly divisor: number; readonly sign: number }[] =>
  divisorsOf(length)
    .map((divisor) => ({ divisor, sign: moebius(length / divisor) }))
    .filter((term) => term.sign !== 0);

/** True while every intermediate value of a length-l computation is an exact double. */
export const fitsDouble = (alphabet: number, length: number): boolean => alphabet ** length < 2 ** 53;

/** S(m,l): sequences of exactly this length. Throws `bad-request` outside m = 2..8, l = 1..64. */
export const countOfLength = (alphabet: number, length: number): bigint => {
  requireAlphabet(alphabet);
  requireLength(length);
  let sum = 0n;
  for (const { divisor, sign } of moebiusTerms(length)) sum += BigInt(sign) * BigInt(alphabet) ** BigInt(divisor);
  return sum / BigInt(length);
};

/** `cumulative[l]` = sequences of length 1..l, for l = 0..64. */
export const cumulativeCounts = (alphabet: number): readonly bigint[] => {
  const cumulative = [0n];
  for (let length = 1; length <= MAX_LENGTH; length++) cumulative.push((cumulative[length - 1] ?? 0n) + countOfLength(alphabet, length));
  return cumulative;
};
