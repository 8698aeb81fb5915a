// SPDX-License-Identifier: Apache-2.0
/**
 * Places in a stretch of media that turn one coefficient's sign each, as columns: what a packager finds and an edge applies.
 *
 * docs/wire/mark-box.md. A place belongs to a slot (one symbol of the mark) and to one of two polarity groups: places of
 * group 0 are switched for symbol 1, those of group 1 for symbol 0, so that every copy has about half of them switched and
 * the original is nobody's. Invariant: places are in order of offset and do not overlap; masks lie inside the stretch.
 */
import { SealcastError } from '#core/errors.ts';

/** Most slots of a segment. */
export const MAX_SLOTS = 127;
/** Longest mask in bytes. */
export const MAX_MASK = 4;

/** Slots for each second of media. */
export const SLOTS_PER_SECOND = 8;
/** Slots of a segment of this nominal length in microseconds: the same in every rendition. */
export const slotsOf = (segmentMicros: number): number => Math.min(MAX_SLOTS, Math.max(1, Math.round((segmentMicros * SLOTS_PER_SECOND) / 1_000_000)));

/** The polarity groups of a slot. */
export type MarkGroup = 0 | 1;

/** Places, by rising offset. Row i: bytes [offset[i], + maskStart[i+1] - maskStart[i]) change by `masks` from maskStart[i] on. */
export type MarkSites = {
  readonly count: number;
  /** First byte that changes, from the start of the stretch. */
  readonly offset: Uint32Array;
  /** slot * 2 + group; slots * 2 of places that are on for everybody (covers). */
  readonly switchOf: Uint8Array;
  /** `count` + 1 entries. */
  readonly maskStart: Uint32Array;
  readonly masks: Uint8Array;
};

/** The places of no marked segment. */
export const NO_SITES: MarkSites = { count: 0, offset: new Uint32Array(0), switchOf: new Uint8Array(0), maskStart: new Uint32Array(1), masks: new Uint8Array(0) };

/** One place, for building `MarkSites`. `slot` = slots and group 0: on for everybody. */
export type MarkSite = { readonly offset: number; readonly slot: number; readonly group: MarkGroup; readonly mask: Uint8Array };

/** Columns of places in any order; throws `media-malformed` where two overlap or one breaks a limit. */
export const marksOf = (list: readonly MarkSite[]): MarkSites => {
  const sorted = [...list].sort((a, b) => a.offset - b.offset);
  const count = sorted.length;
  const offset = new Uint32Array(count);
  const switchOf = new Uint8Array(count);
  const maskStart = new Uint32Array(count + 1);
  const masks = new Uint8Array(sorted.reduce((sum, { mask }) => sum + mask.length, 0));
  let end = 0;
  let filled = 0;
  sorted.forEach((site, row) => {
    const { length } = site.mask;
    if (site.offset < end || length < 1 || length > MAX_MASK || site.slot < 0 || site.slot > MAX_SLOTS) {
      throw new SealcastError('media-malformed', 'marked places must not overlap, and have masks of 1-4 bytes and slots of 0-127');
    }
    offset[row] = site.offset;
    switchOf[row] = site.slot * 2 + site.group;
    masks.set(site.mask, filled);
    filled += length;
    maskStart[row + 1] = filled;
    end = site.offset + length;
  });
  return { count, offset, switchOf, maskStart, masks };
};

/** The same places in a stretch that begins `by` bytes earlier. */
export const shiftSites = (sites: MarkSites, by: number): MarkSites => ({ ...sites, offset: sites.offset.map((at) => at + by) });

/** Places of consecutive stretches as those of one; offsets already count from a common start. */
export const joinSites = (parts: readonly MarkSites[]): MarkSites => {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const offset = new Uint32Array(count);
  const switchOf = new Uint8Array(count);
  const maskStart = new Uint32Array(count + 1);
  const masks = new Uint8Array(parts.reduce((sum, part) => sum + part.masks.length, 0));
  let row = 0;
  let filled = 0;
  for (const part of parts) {
    offset.set(part.offset, row);
    switchOf.set(part.switchOf, row);
    masks.set(part.masks, filled);
    for (let i = 0; i < part.count; i++) maskStart[row + i + 1] = filled + (part.maskStart[i + 1] as number);
    row += part.count;
    filled += part.masks.length;
  }
  return { count, offset, switchOf, maskStart, masks };
};
