// SPDX-License-Identifier: Apache-2.0
/**
 * base64url without padding (RFC 4648 section 5, as used by RFC 7515).
 *
 * Invariant: strict and canonical. Padding, characters of another alphabet, whitespace and non-zero spare bits throw
 * `bad-request`: one byte string has exactly one text.
 */
import { SealcastError } from '#core/errors.ts';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const VALUES: Int8Array = new Int8Array(128).fill(-1);
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

/** ES2026 has it built in, several times as fast; not every runtime of ours does. */
type Native = { readonly toBase64?: (options: { alphabet: 'base64url'; omitPadding: true }) => string };
const OPTIONS = { alphabet: 'base64url', omitPadding: true } as const;

/** Unpadded base64url text of `bytes`. */
export const encodeBase64url = (bytes: Uint8Array): string => (bytes as Native).toBase64?.(OPTIONS) ?? encodePortable(bytes);

/** The same without the engine's help. */
export const encodePortable = (bytes: Uint8Array): string => {
  let text = '';
  const char = (bits: number): string => ALPHABET.charAt(bits & 63);
  let i = 0;
  for (; i + 3 <= bytes.length; i += 3) {
    const group = ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number);
    text += char(group >> 18) + char(group >> 12) + char(group >> 6) + char(group);
  }
  if (bytes.length - i === 1) {
    const group = bytes[i] as number;
    text += char(group >> 2) + char(group << 4);
  } else if (bytes.length - i === 2) {
    const group = ((bytes[i] as number) << 8) | (bytes[i + 1] as number);
    text += char(group >> 10) + char(group >> 4) + char(group << 2);
  }
  return text;
};

type NativeDecoder = { readonly fromBase64?: (text: string, options: { alphabet: 'base64url'; lastChunkHandling: 'loose' }) => Uint8Array };
/** The engine's decoder allows padding and white space; what it read is canonical if it is written the same again. */
const decodeNative = (text: string): Uint8Array | undefined => {
  try {
    const bytes = (Uint8Array as NativeDecoder).fromBase64?.(text, { alphabet: 'base64url', lastChunkHandling: 'loose' });
    return bytes !== undefined && encodeBase64url(bytes) === text ? bytes : undefined;
  } catch {
    return undefined;
  }
};
/** Below it, calling out twice takes longer than the loop. */
const LONG = 256;

/** Bytes of a base64url text; throws `bad-request` for anything but the canonical unpadded form. */
export const decodeBase64url = (text: string): Uint8Array => (text.length < LONG ? undefined : decodeNative(text)) ?? decodeByHand(text);

/** The same without the engine's help. */
export const decodeByHand = (text: string): Uint8Array => {
  if (text.length % 4 === 1) throw new SealcastError('bad-request', `base64url text of impossible length ${text.length}`);
  const out = new Uint8Array(Math.floor((text.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    const value = VALUES[text.charCodeAt(i)] ?? -1;
    if (value < 0) throw new SealcastError('bad-request', `not base64url (A-Z a-z 0-9 - _, no padding) at character ${i}`);
    held = ((held << 6) | value) & 0xffff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out[at++] = (held >> bits) & 0xff;
    }
  }
  if ((held & ((1 << bits) - 1)) !== 0) throw new SealcastError('bad-request', 'base64url text with non-zero spare bits');
  return out;
};
