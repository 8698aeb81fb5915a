// SPDX-License-Identifier: Apache-2.0
/**
 * Hexadecimal text (RFC 4648 section 8). Writes lower case; reads either case.
 *
 * Invariant: an odd length or any other character throws `bad-request`.
 */
import { SealcastError } from '#core/errors.ts';

const PAIRS: readonly string[] = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, '0'));

/** Lower-case hex text, two characters a byte. */
export const encodeHex = (bytes: Uint8Array): string => {
  let text = '';
  for (const byte of bytes) text += PAIRS[byte] as string;
  return text;
};

const nibble = (code: number): number => (code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 102 ? code - 87 : code >= 65 && code <= 70 ? code - 55 : -1);

/** Bytes of a hex text in either case; throws `bad-request` for anything else. */
export const decodeHex = (text: string): Uint8Array => {
  if (text.length % 2 !== 0) throw new SealcastError('bad-request', `hex text of odd length ${text.length}`);
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) {
    const high = nibble(text.charCodeAt(2 * i));
    const low = nibble(text.charCodeAt(2 * i + 1));
    if (high < 0 || low < 0) throw new SealcastError('bad-request', `not hex at character ${high < 0 ? 2 * i : 2 * i + 1}`);
    out[i] = (high << 4) | low;
  }
  return out;
};
