// SPDX-License-Identifier: Apache-2.0
/**
 * Compares secrets (MACs, keys, hashes).
 *
 * Invariant: the time depends on the lengths only, not on where the first difference is.
 */

/** Whether both arrays hold the same bytes. */
export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return difference === 0;
};
