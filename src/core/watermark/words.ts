// SPDX-License-Identifier: Apache-2.0
/**
 * Words over 0..m-1: text form, least rotation, primitivity, and the successor in the paper's order.
 *
 * A sequence is a cyclic class of primitive words; its least rotation (a Lyndon word) names it. The paper's order
 * (Algorithms 1 and 2 with their errors corrected) is by length, then lexicographic. Successor: Duval, "Génération
 * d'une section des classes de conjugaison et arbre des mots de Lyndon de longueur bornée" (TCS 60, 1988).
 * Invariant: `advance` started at 0 visits every sequence of every length once, in order.
 */
import { SealcastError } from '#core/errors.ts';
import { MAX_LENGTH } from './counts.ts';

/** One symbol 0..m-1 per byte. */
export type Word = Uint8Array;

/** Text of a word: one base-36 digit per symbol. */
export const formatWord = (word: Word): string => {
  let text = '';
  for (const symbol of word) text += symbol.toString(36);
  return text;
};

/** Reads base-36 digits; refuses symbols outside the alphabet and lengths outside 1..64 (`bad-request`). */
export const parseWord = (text: string, alphabet: number): Word => {
  if (text.length < 1 || text.length > MAX_LENGTH) {
    throw new SealcastError('bad-request', `word must have 1..${MAX_LENGTH} symbols; got ${text.length}`);
  }
  const word = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    const symbol = code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 122 ? code - 87 : -1;
    if (symbol < 0 || symbol >= alphabet) {
      throw new SealcastError('bad-request', `word must consist of digits below ${alphabet}; the symbol at index ${i} is not`);
    }
    word[i] = symbol;
  }
  return word;
};

/** Start of the lexicographically least rotation; O(l), no allocation. */
export const leastRotationStart = (word: Word): number => {
  const length = word.length;
  let i = 0;
  let j = 1;
  let k = 0;
  while (i < length && j < length && k < length) {
    const a = i + k;
    const b = j + k;
    const left = word[a < length ? a : a - length] as number;
    const right = word[b < length ? b : b - length] as number;
    if (left === right) {
      k++;
      continue;
    }
    if (left > right) i += k + 1;
    else j += k + 1;
    if (i === j) j++;
    k = 0;
  }
  return i < j ? i : j;
};

/** The least rotation, as a new word. */
export const leastRotation = (word: Word): Word => {
  const start = leastRotationStart(word);
  const rotated = new Uint8Array(word.length);
  rotated.set(word.subarray(start));
  rotated.set(word.subarray(0, start), word.length - start);
  return rotated;
};

/** Smallest period p <= l of the word as a string (KMP failure function). */
export const smallestPeriod = (word: Word): number => {
  const fail = new Uint8Array(word.length);
  let k = 0;
  for (let i = 1; i < word.length; i++) {
    while (k > 0 && word[i] !== word[k]) k = fail[k - 1] as number;
    if (word[i] === word[k]) k++;
    fail[i] = k;
  }
  return word.length - k;
};

/** False if the word is a shorter word repeated: such a word was given out at the shorter length. */
export const isPrimitive = (word: Word): boolean => {
  const period = smallestPeriod(word);
  return period === word.length || word.length % period !== 0;
};

/**
 * Replaces a least rotation by the next one of the same length, in place and without allocation.
 * Answers false (word destroyed) after the last word of the length, (m-2)(m-1)^(l-1).
 */
export const advance = (word: Word, alphabet: number): boolean => {
  const last = word.length - 1;
  const symbol = word[last] as number;
  // Most words need no more: kept apart so that this much is inlined where sequences are walked through.
  if (symbol < alphabet - 1) {
    word[last] = symbol + 1;
    return true;
  }
  return carry(word, alphabet);
};

const carry = (word: Word, alphabet: number): boolean => {
  const length = word.length;
  const top = alphabet - 1;
  let end = length - 1;
  for (;;) {
    while (end > 0 && word[end - 1] === top) end--;
    if (end === 0) return false;
    word[end - 1] = (word[end - 1] as number) + 1;
    if (end === length) return true;
    // A Lyndon word shorter than l: its periodic extension is the least candidate above it.
    for (let i = end; i < length; i++) word[i] = word[i - end] as number;
    end = length;
  }
};

/** First word of a length: 0 for l = 1, else 0...01. */
export const firstWord = (length: number): Word => {
  const word = new Uint8Array(length);
  if (length > 1) word[length - 1] = 1;
  return word;
};
