// SPDX-License-Identifier: Apache-2.0
/**
 * Picture parameter sets (ITU-T H.264 clause 7.3.2.2).
 *
 * Invariant: values that size later fields or loops are checked against the ranges of clause 7.4.2.2.
 */
import { SealcastError } from '#core/errors.ts';
import { BitReader } from '#core/bytes/bit-reader.ts';
import { NAL_PPS, unescapeNal } from './nal.ts';
import { readScalingLists, type ScalingLists } from './scaling-lists.ts';
import { bounded } from './sps.ts';
import type { SequenceParameters } from './sps.ts';

/** Fields of a PPS under readable names; counts and QPs without the "minus" of their syntax elements. */
export type PictureParameters = {
  readonly id: number;
  readonly spsId: number;
  /** CABAC where true, else CAVLC. */
  readonly entropyCodingMode: boolean;
  readonly bottomFieldPicOrderPresent: boolean;
  readonly sliceGroups: number;
  /** Only where there are several slice groups. */
  readonly sliceGroupMapType?: number;
  /** Only for map types 3-5: slice_group_change_rate_minus1 + 1. */
  readonly sliceGroupChangeRate?: number;
  readonly numRefIdxL0Default: number;
  readonly numRefIdxL1Default: number;
  readonly weightedPred: boolean;
  readonly weightedBipredIdc: number;
  /** 26 + pic_init_qp_minus26. */
  readonly picInitQp: number;
  readonly picInitQs: number;
  readonly chromaQpOffset: number;
  readonly secondChromaQpOffset: number;
  readonly deblockingControlPresent: boolean;
  readonly constrainedIntraPred: boolean;
  readonly redundantPicCntPresent: boolean;
  readonly transform8x8: boolean;
  readonly scalingMatrix: boolean;
  /** Present where `scalingMatrix` is. */
  readonly scalingLists?: ScalingLists;
};

/** pps and sps ids of a PPS NAL unit, readable before its SPS is known. */
export const ppsIds = (nal: Uint8Array): { readonly id: number; readonly spsId: number } => {
  if (nal.length < 2 || ((nal[0] as number) & 31) !== NAL_PPS) throw new SealcastError('media-malformed', 'not a picture parameter set');
  const r = new BitReader(unescapeNal(nal, 16).bytes, 'PPS');
  return { id: bounded(r.ue(), 255, 'pic_parameter_set_id'), spsId: bounded(r.ue(), 31, 'seq_parameter_set_id') };
};

/** Parses a PPS NAL unit (header byte included) that refers to `sps`. Throws `media-malformed`, `media-truncated`. */
export const parsePps = (nal: Uint8Array, sps: SequenceParameters): PictureParameters => {
  const { id, spsId } = ppsIds(nal);
  const r = new BitReader(unescapeNal(nal).bytes, 'PPS');
  r.ue();
  r.ue();
  const entropyCodingMode = r.flag();
  const bottomFieldPicOrderPresent = r.flag();
  const sliceGroups = 1 + bounded(r.ue(), 7, 'num_slice_groups_minus1');
  const groups = sliceGroups > 1 ? parseSliceGroups(r, sliceGroups, sps) : {};
  const numRefIdxL0Default = 1 + bounded(r.ue(), 31, 'num_ref_idx_l0_default_active_minus1');
  const numRefIdxL1Default = 1 + bounded(r.ue(), 31, 'num_ref_idx_l1_default_active_minus1');
  const weightedPred = r.flag();
  const weightedBipredIdc = bounded(r.bits(2), 2, 'weighted_bipred_idc');
  const picInitQp = 26 + r.se();
  const picInitQs = 26 + r.se();
  const chromaQpOffset = r.se();
  const deblockingControlPresent = r.flag();
  const constrainedIntraPred = r.flag();
  const redundantPicCntPresent = r.flag();
  let transform8x8 = false;
  let scalingMatrix = false;
  let scalingLists: ScalingLists | undefined;
  let secondChromaQpOffset = chromaQpOffset;
  if (r.moreRbspData()) {
    transform8x8 = r.flag();
    scalingMatrix = r.flag();
    if (scalingMatrix) scalingLists = readScalingLists(r, 6 + (transform8x8 ? (sps.chromaFormat === 3 ? 6 : 2) : 0));
    secondChromaQpOffset = r.se();
  }
  return {
    id,
    spsId,
    entropyCodingMode,
    bottomFieldPicOrderPresent,
    sliceGroups,
    ...groups,
    numRefIdxL0Default,
    numRefIdxL1Default,
    weightedPred,
    weightedBipredIdc,
    picInitQp,
    picInitQs,
    chromaQpOffset,
    secondChromaQpOffset,
    deblockingControlPresent,
    constrainedIntraPred,
    redundantPicCntPresent,
    transform8x8,
    scalingMatrix,
    ...(scalingLists === undefined ? {} : { scalingLists }),
  };
};

const parseSliceGroups = (r: BitReader, sliceGroups: number, sps: SequenceParameters): Pick<PictureParameters, 'sliceGroupMapType' | 'sliceGroupChangeRate'> => {
  const sliceGroupMapType = bounded(r.ue(), 6, 'slice_group_map_type');
  if (sliceGroupMapType === 0) for (let i = 0; i < sliceGroups; i++) r.ue();
  else if (sliceGroupMapType === 2) {
    for (let i = 0; i < sliceGroups - 1; i++) {
      r.ue();
      r.ue();
    }
  } else if (sliceGroupMapType >= 3 && sliceGroupMapType <= 5) {
    r.skip(1);
    return { sliceGroupMapType, sliceGroupChangeRate: 1 + bounded(r.ue(), sps.widthInMbs * sps.heightInMapUnits - 1, 'slice_group_change_rate_minus1') };
  } else if (sliceGroupMapType === 6) {
    const units = 1 + r.ue();
    const width = Math.ceil(Math.log2(sliceGroups));
    r.skip(units * width);
  }
  return { sliceGroupMapType };
};
