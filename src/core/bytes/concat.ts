// SPDX-License-Identifier: Apache-2.0
/** Joins byte arrays into one new array; the inputs are copied, never aliased. */
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
