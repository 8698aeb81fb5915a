// SPDX-License-Identifier: Apache-2.0
/**
 * UTF-8 (RFC 3629) without TextEncoder, which is not part of ES2022.
 *
 * Invariant: strict both ways. Lone surrogates, overlong forms, surrogate code points and values above U+10FFFF throw
 * `bad-request`, so that two different byte strings never become the same text.
 */
import { SealcastError } from '#core/errors.ts';

/** UTF-8 bytes of `text`; throws `bad-request` on a lone surrogate. */
export const encodeUtf8 = (text: string): Uint8Array => {
  // Nearly all text here is ASCII: tokens, ids, labels.
  const ascii = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) return encodeAny(text);
    ascii[i] = code;
  }
  return ascii;
};

const encodeAny = (text: string): Uint8Array => {
  const out = new Uint8Array(text.length * 3);
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      out[at++] = code;
      continue;
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      const low = text.charCodeAt(i + 1);
      if (code > 0xdbff || !(low >= 0xdc00 && low <= 0xdfff)) throw new SealcastError('bad-request', 'text holds a lone surrogate');
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      i++;
    }
    if (code < 0x800) out[at++] = 0xc0 | (code >> 6);
    else {
      if (code < 0x10000) out[at++] = 0xe0 | (code >> 12);
      else {
        out[at++] = 0xf0 | (code >> 18);
        out[at++] = 0x80 | ((code >> 12) & 0x3f);
      }
      out[at++] = 0x80 | ((code >> 6) & 0x3f);
    }
    out[at++] = 0x80 | (code & 0x3f);
  }
  return out.slice(0, at);
};

/** Code points handed to String.fromCodePoint at once; its argument list lives on the stack. */
const CHUNK = 4096;
const SHORT = 64;

const isAscii = (bytes: Uint8Array): boolean => {
  let all = 0;
  for (let i = 0; i < bytes.length; i++) all |= bytes[i] as number;
  return all < 0x80;
};

/** Text of UTF-8 bytes; throws `bad-request` where they are not well-formed. A byte order mark is kept. */
export const decodeUtf8 = (bytes: Uint8Array): string => {
  if (bytes.length <= SHORT) {
    // Ids and names: the engine joins short texts without a copy, and no argument list is made.
    let ascii = '';
    let at = 0;
    for (; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (byte >= 0x80) break;
      ascii += String.fromCharCode(byte);
    }
    if (at === bytes.length) return ascii;
  }
  let text = '';
  let start = 0;
  if (bytes.length > SHORT) {
    // Nearly all long text is ASCII to its end: documents of JSON and base64url.
    for (let chunk = bytes.subarray(0, CHUNK); chunk.length > 0 && isAscii(chunk); chunk = bytes.subarray(start, start + CHUNK)) {
      // The engine reads bytes in place; spreading them would make a list of numbers first.
      text += String.fromCharCode.apply(undefined, chunk as unknown as number[]);
      start += chunk.length;
    }
    if (start === bytes.length) return text;
  }
  let codes: number[] = [];
  for (let i = start; i < bytes.length; ) {
    const first = bytes[i] as number;
    let length = 1;
    let code = first;
    if (first >= 0x80) {
      if (first >= 0xc2 && first <= 0xdf) [length, code] = [2, first & 0x1f];
      else if (first >= 0xe0 && first <= 0xef) [length, code] = [3, first & 0x0f];
      else if (first >= 0xf0 && first <= 0xf4) [length, code] = [4, first & 0x07];
      else throw invalid(i);
      for (let n = 1; n < length; n++) {
        const next = bytes[i + n];
        if (next === undefined || (next & 0xc0) !== 0x80) throw invalid(i);
        code = (code << 6) | (next & 0x3f);
      }
      const overlong = (length === 3 && code < 0x800) || (length === 4 && code < 0x10000);
      if (overlong || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) throw invalid(i);
    }
    codes.push(code);
    if (codes.length === CHUNK) {
      text += String.fromCodePoint(...codes);
      codes = [];
    }
    i += length;
  }
  return text + String.fromCodePoint(...codes);
};

const invalid = (at: number): SealcastError => new SealcastError('bad-request', `text is not UTF-8 at byte ${at}`);
