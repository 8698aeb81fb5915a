// SPDX-License-Identifier: Apache-2.0
/**
 * Joining byte arrays.
 *
 * Invariant: the result never shares memory with an input.
 */

/** A new array with the bytes of all `parts` in order. */
export const concatBytes = (...parts: readonly Uint8Array[]): Uint8Array => {
  let length = 0;
  for (const part of parts) length += part.length;
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
};
