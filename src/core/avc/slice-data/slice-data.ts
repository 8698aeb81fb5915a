// SPDX-License-Identifier: Apache-2.0
/**
 * The sign bits of coefficients in H.264 slices: what marking at the edge may replace (ITU-T H.264 clause 7.3.4).
 *
 * Slices are read one by one and independently; callers that need only some of them (reference P pictures, say) need not
 * hand in the others. Coding tools that are not parsed are answered with their name, never guessed and never silent.
 * Invariant: sites are answered only for slices that were read to their exact end.
 */
import { SealcastError } from '#core/errors.ts';
import { NAL_IDR, NAL_SLICE, unescapeNal } from '../nal.ts';
import type { Rbsp } from '../nal.ts';
import type { ParameterSets } from '../parameter-sets.ts';
import { parseSliceHeader } from '../slice-header.ts';
import type { SliceHeader } from '../slice-header.ts';
import { CabacEngine } from './cabac-engine.ts';
import { CavlcBits } from './cavlc-bits.ts';
import type { SignSites } from './sites.ts';
import { SliceContext } from './slice-context.ts';
import { SliceWalk } from './slice-walk.ts';

/** Why a slice has no sites: the coding tool in it that is not parsed, or that no decoder will show it. */
export type NoSites =
  | 'data-partitioning'
  | 'field-picture'
  | 'mbaff'
  | 'chroma-4:2:2'
  | 'chroma-4:4:4'
  | 'slice-groups'
  | 'arbitrary-slice-order'
  | 'switching-slice'
  | 'redundant-picture';

/** A slice read to its end. `sites`, `rbsp` and `macroblocks` are valid until the next call. */
export type SliceData = {
  readonly sites: SignSites;
  readonly header: SliceHeader;
  readonly rbsp: Rbsp;
  /** Index in the RBSP of rbsp_stop_one_bit: the first bit behind slice data. */
  readonly stopBit: number;
  /** Address of the first macroblock after the slice. */
  readonly nextMb: number;
  /** Properties of macroblocks by address, the flags of `neighbours.ts`; only those of this slice mean anything. */
  readonly macroblocks: Uint8Array;
};

/** Answer for a slice that is not parsed. */
export type NoSliceData = { readonly sites: 'none'; readonly because: NoSites };

/** Reads slices of one track, in decoding order. */
export type SliceDataParser = {
  /**
   * The slice in a NAL unit of type 1-5, header byte included, with the parameter sets in force. Throws `media-malformed`
   * and `media-truncated` for damaged ones; time and memory are bounded by the size of the unit and the picture.
   */
  parse(nal: Uint8Array, sets: ParameterSets): SliceData | NoSliceData;
};

/** Largest picture of any level (table A-1, level 6.2), and its longest side, in macroblocks. */
const MOST_MACROBLOCKS = 139_264;
const LONGEST_SIDE = 1055;

/** Creates a parser. Engines can be replaced by ones that watch what is read; tests compare two of them. */
export const createSliceDataParser = (options: { readonly cabac?: CabacEngine; readonly cavlc?: CavlcBits } = {}): SliceDataParser => {
  const engine = options.cabac ?? new CabacEngine();
  const bits = options.cavlc ?? new CavlcBits();
  let context: { readonly width: number; readonly height: number; readonly slice: SliceContext; readonly walk: SliceWalk } | undefined;
  let previous: { readonly header: SliceHeader; readonly nextMb: number } | undefined;

  const contextFor = (header: SliceHeader): NonNullable<typeof context> => {
    const width = header.sps.widthInMbs;
    const height = header.sps.heightInMapUnits * (header.sps.frameMbsOnly ? 1 : 2);
    if (context !== undefined && context.width === width && context.height === height) return context;
    if (width > LONGEST_SIDE || height > LONGEST_SIDE || width * height > MOST_MACROBLOCKS) {
      throw new SealcastError('media-malformed', `a picture of ${width} x ${height} macroblocks is larger than any level allows`);
    }
    const slice = new SliceContext(width, height);
    context = { width, height, slice, walk: new SliceWalk(slice, engine, bits) };
    return context;
  };

  return {
    parse(nal, sets) {
      const type = (nal[0] ?? 0) & 31;
      if (type >= 2 && type <= 4) return { sites: 'none', because: 'data-partitioning' };
      if (type !== NAL_SLICE && type !== NAL_IDR) throw new SealcastError('media-malformed', `a NAL unit of type ${type} is no slice`);
      const header = parseSliceHeader(nal, sets);
      const because = unparsed(header) ?? (outOfOrder(previous, header) ? 'arbitrary-slice-order' : undefined);
      if (because !== undefined) return { sites: 'none', because };
      const { slice, walk } = contextFor(header);
      // `unparsed` has answered for the other types.
      slice.beginSlice(header, header.type as 'I' | 'P' | 'B');
      const rbsp = unescapeNal(nal);
      const { nextMb, stopBit } = walk.read(rbsp, header);
      slice.sites.locate(rbsp);
      previous = { header, nextMb };
      return { sites: slice.sites, header, rbsp, stopBit, nextMb, macroblocks: slice.neighbours.flags };
    },
  };
};

const unparsed = (header: SliceHeader): NoSites | undefined => {
  const { sps, pps } = header;
  if (sps.chromaFormat === 3) return 'chroma-4:4:4';
  if (sps.chromaFormat === 2) return 'chroma-4:2:2';
  if (header.fieldPicture) return 'field-picture';
  if (header.mbaffFrame) return 'mbaff';
  if (pps.sliceGroups > 1) return 'slice-groups';
  if (header.type === 'SP' || header.type === 'SI') return 'switching-slice';
  if (header.redundantPicCnt > 0) return 'redundant-picture';
  return undefined;
};

/** Whether a slice starts before the end of an earlier one of the same picture (first_mb_in_slice need not ascend in Baseline). */
const outOfOrder = (previous: { readonly header: SliceHeader; readonly nextMb: number } | undefined, header: SliceHeader): boolean =>
  previous !== undefined && header.firstMb < previous.nextMb && header.firstMb > 0 && samePicture(previous.header, header);

/** Clause 7.4.1.2.4, without what only field pictures have. */
const samePicture = (a: SliceHeader, b: SliceHeader): boolean =>
  a.frameNum === b.frameNum &&
  a.pps.id === b.pps.id &&
  (a.nalRefIdc === 0) === (b.nalRefIdc === 0) &&
  a.idr === b.idr &&
  a.idrPicId === b.idrPicId &&
  a.picOrderCntLsb === b.picOrderCntLsb &&
  a.deltaPicOrderCntBottom === b.deltaPicOrderCntBottom &&
  a.deltaPicOrderCnt?.[0] === b.deltaPicOrderCnt?.[0] &&
  a.deltaPicOrderCnt?.[1] === b.deltaPicOrderCnt?.[1];
