// SPDX-License-Identifier: Apache-2.0
/**
 * Marks inside the bitstream: places, switching them, and the bytes that carry them (docs/wire/mark-box.md).
 *
 * Invariant: pure and synchronous; no key is needed to switch.
 */
export { applyGroup, applySwitches, applySymbols, switchesOf, type Switches } from './apply.ts';
export { boxEpochMessage, boxEpochOf, isMarkBox, MARK_BOX_OVERHEAD, MARK_BOX_TYPE, markBoxHead, markBoxInfo, markChoiceMessage, parseMarkBox, SEGMENTS_PER_BOX_EPOCH, type MarkBox, type MarkBoxHead, type MarkBoxPlace } from './box.ts';
export { decodeProfile, encodeProfile, NO_SITES_REASONS, type MarkProfile, type WithoutSites } from './profile.ts';
export { variantCode, variantCodeMessage } from './variant-code.ts';
export { joinSites, marksOf, MAX_MASK, MAX_SLOTS, NO_SITES, shiftSites, slotsOf, SLOTS_PER_SECOND, type MarkGroup, type MarkSite, type MarkSites } from './sites.ts';
