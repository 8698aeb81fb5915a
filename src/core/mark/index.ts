// SPDX-License-Identifier: Apache-2.0
/**
 * Marks inside the bitstream: places, switching them, and the bytes that carry them (docs/wire/mark-box.md).
 *
 * Invariant: pure and synchronous; no key is needed to switch.
 */
export { applyGroup, applySwitches, applySymbols, switchesOf, type Switches } from './apply.ts';
export { decodeProfile, encodeProfile, NO_SITES_REASONS, type MarkProfile, type WithoutSites } from './profile.ts';
export { joinSites, marksOf, MAX_MASK, MAX_SLOTS, NO_SITES, shiftSites, type MarkGroup, type MarkSite, type MarkSites } from './sites.ts';
