// SPDX-License-Identifier: Apache-2.0
/**
 * Scaling lists of parameter sets (ITU-T H.264 clauses 7.3.2.1.1.1, 7.4.2.1.1.1): how much coarser each coefficient is quantised.
 *
 * They change the reconstruction only, not the syntax; marking asks for them to know how large a turned sign is in the picture.
 * Invariant: weights are 1-255; 16 is flat.
 */
import type { BitReader } from '#core/bytes/bit-reader.ts';

/** Lists as sent, in zigzag order: `default` names the tables of the standard, undefined a list that was not sent. */
export type ScalingLists = readonly (Uint8Array | 'default' | undefined)[];

/** Lists of luma in inter macroblocks among the twelve. */
const INTER_4X4 = 3;
const INTER_8X8 = 7;

/** First entries of Default_4x4_Inter and Default_8x8_Inter (tables 7-3, 7-4). */
const DEFAULT_INTER_4X4: readonly number[] = [10, 14, 14, 20, 20, 20, 24, 24, 24, 24, 27, 27, 27, 30, 30, 34];
const DEFAULT_INTER_8X8: readonly number[] = [9, 13, 13, 15, 13, 15, 17, 17, 17, 17, 19, 19, 19, 19, 19, 21];
const FLAT = 16;

/** Reads `count` lists. */
export const readScalingLists = (r: BitReader, count: number): ScalingLists =>
  Array.from({ length: count }, (_, i) => {
    if (!r.flag()) return undefined;
    const list = new Uint8Array(i < 6 ? 16 : 64);
    let last = 8;
    let next = 8;
    for (let j = 0; j < list.length; j++) {
      if (next !== 0) {
        next = (((last + r.se()) % 256) + 256) % 256;
        if (j === 0 && next === 0) return 'default';
      }
      if (next !== 0) last = next;
      list[j] = last;
    }
    return list;
  });

/** Weight of luma coefficient `index` (0-15, zigzag) of an inter macroblock, in 16ths. */
export const interLumaWeight = ({ sps, pps }: { readonly sps: { readonly scalingLists?: ScalingLists }; readonly pps: { readonly scalingLists?: ScalingLists } }, by8x8: boolean, index: number): number => {
  const which = by8x8 ? INTER_8X8 : INTER_4X4;
  const standard = (by8x8 ? DEFAULT_INTER_8X8 : DEFAULT_INTER_4X4)[index] ?? FLAT;
  const resolve = (lists: ScalingLists | undefined, fallBack: number): number => {
    if (lists === undefined) return fallBack;
    const list = lists[which];
    return list === undefined ? fallBack : list === 'default' ? standard : (list[index] ?? FLAT);
  };
  // A list that a sequence does not send is the default one (rule A); one that a picture does not send is the sequence's (rule B).
  return resolve(pps.scalingLists, sps.scalingLists === undefined ? (pps.scalingLists === undefined ? FLAT : standard) : resolve(sps.scalingLists, standard));
};
