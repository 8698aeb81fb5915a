// SPDX-License-Identifier: Apache-2.0
/**
 * Turns signs of a stream at random and parses it again: nothing else may have changed.
 *
 * Per slice: hash of all bins but signs (CABAC, by a second engine), signs exactly as predicted, stop bit and macroblocks the
 * same, escapes exactly where they must be. Invariant: a slice that differs is counted, never mended.
 */
import { annexBNals, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS, unescapeNal } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { MASK_DISTANCE, replacementOf } from '#core/avc/slice-data/replacement.ts';
import { createSliceDataParser } from '#core/avc/slice-data/slice-data.ts';
import { escapeNal } from '../../test/vectors/escape-nal.ts';
import { SerialCabac } from '../../test/vectors/serial-cabac.ts';

/** What came of it; `stream` is the last round's. */
export type Oracle = { readonly turned: number; readonly broken: number; readonly rounds: number; readonly stream: Uint8Array };

/** Up to `wanted` flips, in rounds over the stream with other coins each, at most `most`. */
export const turnSigns = (stream: Uint8Array, wanted: number, most: number): Oracle => {
  const units = annexBNals(stream);
  let state = 1;
  const toss = (): boolean => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >= 0x80000000;
  };
  let turned = 0;
  let broken = 0;
  let rounds = 0;
  let marked = stream;
  while (turned < wanted && rounds < most) {
    rounds += 1;
    marked = stream.slice();
    const sets = createParameterSets();
    const first = new SerialCabac();
    const second = new SerialCabac();
    const before = createSliceDataParser({ cabac: first });
    const after = createSliceDataParser({ cabac: second });
    for (const unit of units) {
      const nal = stream.subarray(unit.start, unit.end);
      if (unit.type === NAL_SPS || unit.type === NAL_PPS) sets.accept(nal);
      if ((unit.type !== NAL_SLICE && unit.type !== NAL_IDR) || turned >= wanted) continue;
      first.reset();
      const slice = before.parse(nal, sets);
      if (slice.sites === 'none') continue;
      const target = marked.subarray(unit.start, unit.end);
      const expected = slice.sites.level.slice(0, slice.sites.count);
      let free = 0;
      for (let row = 0; row < slice.sites.count; row++) {
        const replacement = replacementOf(nal, slice, row);
        if (typeof replacement === 'string' || replacement.offset - MASK_DISTANCE < free) continue;
        free = replacement.offset + replacement.mask.length + MASK_DISTANCE;
        if (!toss()) continue;
        replacement.mask.forEach((byte, i) => (target[replacement.offset + i] = (target[replacement.offset + i] as number) ^ byte));
        expected[row] = -(expected[row] as number);
        turned += 1;
      }
      second.reset();
      const again = after.parse(target, sets);
      const same =
        again.sites !== 'none' &&
        second.hash === first.hash &&
        again.stopBit === slice.stopBit &&
        again.nextMb === slice.nextMb &&
        Buffer.compare(Buffer.from(again.sites.level.slice(0, again.sites.count).buffer), Buffer.from(expected.buffer)) === 0 &&
        Buffer.compare(escapeNal(target[0] as number, unescapeNal(target).bytes), target) === 0;
      if (!same) broken += 1;
    }
  }
  return { turned, broken, rounds, stream: marked };
};
