// SPDX-License-Identifier: Apache-2.0
/**
 * Switches marked places on: XOR of their masks, in clear media and, byte by byte, in ciphertext.
 *
 * docs/wire/mark-box.md. This is the whole of what an edge does per viewer: no key, no media parsing, no allocation.
 * Invariant: applying the same symbols twice gives the bytes that went in.
 */
import type { MarkGroup, MarkSites } from './sites.ts';

/** Which places are on, by slot * 2 + group: 1 on, 0 off; the last entry is of covers, which are on for every viewer. */
export type Switches = Uint8Array;

/** Switches of a viewer: `symbolOf` answers 0 or 1 for each of `slots`. Group 0 is on for symbol 1, group 1 for symbol 0. */
export const switchesOf = (slots: number, symbolOf: (slot: number) => number, into: Switches = new Uint8Array(slots * 2 + 1)): Switches => {
  for (let slot = 0; slot < slots; slot++) {
    const symbol = symbolOf(slot) & 1;
    into[slot * 2] = symbol;
    into[slot * 2 + 1] = symbol ^ 1;
  }
  into[slots * 2] = 1;
  return into;
};

/**
 * Applies `switches` in place to `bytes`, which hold [start, start + bytes.length) of the stretch that `sites` are in: a
 * whole one, or any byte range of it.
 */
export const applySwitches = (bytes: Uint8Array, sites: MarkSites, switches: Switches, start: number = 0): void => {
  const { count, offset, switchOf, maskStart, masks } = sites;
  const end = start + bytes.length;
  let row = start === 0 ? 0 : firstFrom(sites, start - 3);
  for (; row < count; row++) {
    const first = offset[row] as number;
    if (first >= end) return;
    if (switches[switchOf[row] as number] !== 1) continue;
    const from = maskStart[row] as number;
    const length = (maskStart[row + 1] as number) - from;
    const into = first - start;
    if (into >= 0 && into + length <= bytes.length) {
      for (let i = 0; i < length; i++) (bytes[into + i] as number) = (bytes[into + i] as number) ^ (masks[from + i] as number);
      continue;
    }
    // At an end of a byte range: only the part of the mask that lies inside.
    for (let i = 0; i < length; i++) {
      const at = into + i;
      if (at >= 0 && at < bytes.length) (bytes[at] as number) = (bytes[at] as number) ^ (masks[from + i] as number);
    }
  }
};

/** One viewer's copy, in place: `symbolOf` answers the symbol (0 or 1) of a slot. */
export const applySymbols = (bytes: Uint8Array, profile: { readonly slots: number; readonly sites: MarkSites }, symbolOf: (slot: number) => number): void =>
  applySwitches(bytes, profile.sites, switchesOf(profile.slots, symbolOf));

/** Switches on all places of one group of one slot and nothing else, in place: what a detector compares the original with. */
export const applyGroup = (bytes: Uint8Array, profile: { readonly slots: number; readonly sites: MarkSites }, slot: number, group: MarkGroup): void => {
  const switches = new Uint8Array(profile.slots * 2 + 1);
  switches[slot * 2 + group] = 1;
  applySwitches(bytes, profile.sites, switches);
};

/** First row whose offset is `at` or later. */
const firstFrom = ({ count, offset }: MarkSites, at: number): number => {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((offset[middle] as number) < at) low = middle + 1;
    else high = middle;
  }
  return low;
};
