// SPDX-License-Identifier: Apache-2.0
/**
 * One viewer's segments of a folder packed with marks inside the bitstream, exactly as an edge would serve them.
 *
 * docs/wire/mark-box.md. Invariant: the edge's own code opens the boxes and switches the places, so that what is written here
 * is what viewers get; a segment that an edge would refuse is refused.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { readBoxHeader } from '#core/isobmff/box.ts';
import { applySymbols, boxEpochOf, isMarkBox } from '#core/mark/index.ts';
import { type CodeBook, position, type ViewerNumber } from '#core/watermark/index.ts';
import { createMarkBoxOpener } from '#crypto/mark-box.ts';
import { createUnboxer } from '#edge/index.ts';
import type { MarkBoxKeySource } from '#ports';

/** Whether a segment carries mark boxes; only its top-level boxes are looked at. */
export const hasMarkBox = (segment: Uint8Array): boolean => {
  for (let at = 0; ; ) {
    const header = readBoxHeader(segment, at);
    if (header === undefined || header.size === 0) return false;
    if (header.type === 'uuid' && isMarkBox(segment.subarray(at))) return true;
    at += header.size;
  }
};

/** The copy of one segment. Throws `unmarkable`, `key-unavailable`. */
export const viewerSegment = async (options: {
  asset: AssetId;
  representation: string;
  number: number;
  segment: Uint8Array;
  slots: number;
  viewer: ViewerNumber;
  book: Pick<CodeBook, 'symbol'>;
  keys: MarkBoxKeySource;
}): Promise<Uint8Array> => {
  const { asset, representation, number, segment, slots, viewer, book } = options;
  const epoch = boxEpochOf(number);
  const [held] = (await options.keys.boxKeys({ asset, from: epoch, to: epoch + 1 })).keys;
  if (held === undefined) throw new SealcastError('key-unavailable', 'there is no box key of this segment');
  const unboxer = createUnboxer({ opener: createMarkBoxOpener({ asset, representation, segment: number }, () => held.key), slots });
  const copy = concatBytes(await unboxer.push(segment), await unboxer.end());
  for (const sites of unboxer.marks) applySymbols(copy, { slots, sites }, (slot) => book.symbol(viewer, position(number * slots + slot)));
  return copy;
};
