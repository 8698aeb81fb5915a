// SPDX-License-Identifier: Apache-2.0
/**
 * The bytes that turn one coefficient's sign, as a mask to XOR into the NAL unit (clear or encrypted byte by byte).
 *
 * CABAC: with the bit at index q as weight 1, adding the range (sign 0 to 1) or taking it away (1 to 0) leaves the engine's
 * offset and range after the bin as they were, so no other bin changes (clause 9.3.3.2.3). CAVLC: the sign is one bit.
 * Invariant: a mask keeps the escapes of the NAL unit, its header, its stop bit and its length; what would not is refused.
 */
import type { SliceData } from './slice-data.ts';

/** Longest mask: carries that reach further are rare and refused. */
export const LONGEST_MASK = 4;

/** Bytes on either side of a mask that another mask must not touch, as escapes couple neighbours. */
export const MASK_DISTANCE = 3;

/** Bytes to XOR: `mask[i]` into byte `offset + i` of the NAL unit (header byte included). Neither end of the mask is 0. */
export type Replacement = { readonly offset: number; readonly mask: Uint8Array };

/** Why a sign cannot be replaced. */
export type Irreplaceable = 'stop-bit' | 'carry' | 'escape';

/** The replacement of row `row` of `slice.sites` in the NAL unit that `slice` was read from. */
export const replacementOf = (nal: Uint8Array, slice: SliceData, row: number): Replacement | Irreplaceable => {
  const { sites, rbsp } = slice;
  const bit = sites.bit[row] as number;
  const last = bit >> 3;
  // A sign decoded without renormalisation after it may share its bit with the stop bit; no decoder would notice the damage.
  if (bit >= slice.stopBit) return 'stop-bit';
  const range = sites.range[row] as number;
  const changed = range === 0 ? 128 >> (bit & 7) : changedBits(rbsp.bytes, last, (sites.level[row] as number) < 0 ? -range : range, 7 - (bit & 7));
  if (changed === undefined) return 'carry';
  const window = Uint8Array.of(changed >>> 24, (changed >>> 16) & 255, (changed >>> 8) & 255, changed & 255);
  let lead = 0;
  while (window[lead] === 0) lead++;
  let tail = LONGEST_MASK;
  while (window[tail - 1] === 0) tail--;
  const first = last + 1 - LONGEST_MASK + lead;
  // Bits of the header are never part of an arithmetic code; a site that says so does not belong to this unit.
  if (range !== 0 && first < Math.ceil(slice.header.headerBits / 8)) return 'carry';
  // Counted back from the last byte's place. A mask has no zero byte inside, so one that spans an escape would change its 03,
  // which `keepsEscapes` refuses.
  const replacement = { offset: (sites.nalByte[row] as number) + 1 - LONGEST_MASK + lead, mask: window.subarray(lead, tail) };
  return keepsEscapes(nal, replacement) ? replacement : 'escape';
};

/** Old XOR new of the four bytes up to `last` after adding `amount` << shift; undefined where the sum leaves them. */
const changedBits = (bytes: Uint8Array, last: number, amount: number, shift: number): number | undefined => {
  let old = 0;
  for (let i = 1 - LONGEST_MASK; i <= 0; i++) old = old * 256 + (bytes[last + i] ?? 0);
  const sum = old + amount * 2 ** shift;
  return sum < 0 || sum >= 2 ** 32 ? undefined : (old ^ sum) >>> 0;
};

/**
 * Whether start codes and escapes stand where they stood and are as they must be (clause 7.4.1): the same places of 00 00 and a
 * byte up to 3, that byte unchanged, and after each 00 00 03 a byte up to 3. The last byte must not become 0.
 */
const keepsEscapes = (nal: Uint8Array, { offset, mask }: Replacement): boolean => {
  const end = offset + mask.length;
  if (offset < 1 || end > nal.length) return false;
  const after = (at: number): number => (nal[at] as number) ^ (at >= offset && at < end ? (mask[at - offset] as number) : 0);
  if (after(nal.length - 1) === 0) return false;
  for (let at = Math.max(0, offset - 4); at < end + 4 && at + 2 < nal.length; at++) {
    const third = after(at + 2);
    const before = nal[at] === 0 && nal[at + 1] === 0 && (nal[at + 2] as number) <= 3;
    const now = after(at) === 0 && after(at + 1) === 0 && third <= 3;
    if (before !== now || (now && third !== nal[at + 2])) return false;
    if (now && third === 3 && at + 3 < nal.length && after(at + 3) > 3) return false;
  }
  return true;
};
