// SPDX-License-Identifier: Apache-2.0
/**
 * Sequence parameter sets (ITU-T H.264 clause 7.3.2.1.1, VUI Annex E.1.1).
 *
 * Invariant: values that size later fields or loops are checked against the ranges of clause 7.4.2.1.
 */
import { SealcastError } from '#core/errors.ts';
import { BitReader } from '#core/bytes/bit-reader.ts';
import { NAL_SPS, unescapeNal } from './nal.ts';
import { readScalingLists, type ScalingLists } from './scaling-lists.ts';

/** Fields of an SPS under readable names; counts and depths without the "minus" of their syntax elements. */
export type SequenceParameters = {
  readonly id: number;
  readonly profile: number;
  /** constraint_set flags and reserved bits, as the byte stands in the stream. */
  readonly constraints: number;
  readonly level: number;
  /** 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4. */
  readonly chromaFormat: number;
  readonly separateColourPlanes: boolean;
  /** 0 where colour planes are separate, else `chromaFormat`. */
  readonly chromaArrayType: number;
  readonly bitDepthLuma: number;
  readonly bitDepthChroma: number;
  readonly losslessBypass: boolean;
  readonly scalingMatrix: boolean;
  /** Present where `scalingMatrix` is. */
  readonly scalingLists?: ScalingLists;
  readonly frameNumBits: number;
  readonly pocType: number;
  /** Only for pocType 0, else 0. */
  readonly pocLsbBits: number;
  /** Only for pocType 1. */
  readonly deltaPicOrderAlwaysZero: boolean;
  readonly maxRefFrames: number;
  readonly gapsInFrameNum: boolean;
  readonly widthInMbs: number;
  readonly heightInMapUnits: number;
  readonly frameMbsOnly: boolean;
  readonly mbAdaptiveFrameField: boolean;
  readonly direct8x8Inference: boolean;
  /** Cropped picture size in luma samples. */
  readonly width: number;
  readonly height: number;
  readonly vui?: VideoUsability;
};

/** The parts of the VUI that manifests and players ask for. */
export type VideoUsability = {
  readonly sampleAspect?: { readonly width: number; readonly height: number };
  readonly fullRange?: boolean;
  readonly colour?: { readonly primaries: number; readonly transfer: number; readonly matrix: number };
  /** Frames per second = timeScale / (2 x unitsInTick). */
  readonly timing?: { readonly unitsInTick: number; readonly timeScale: number; readonly fixed: boolean };
  readonly maxNumReorderFrames?: number;
  readonly maxDecFrameBuffering?: number;
};

/** Profiles with chroma format, bit depths and scaling lists in the SPS. */
const HIGH_PROFILES = new Set([100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135]);

/** Table E-1: sample aspect ratios 1-16. */
const ASPECTS: readonly (readonly [number, number])[] = [
  [1, 1],
  [12, 11],
  [10, 11],
  [16, 11],
  [40, 33],
  [24, 11],
  [20, 11],
  [32, 11],
  [80, 33],
  [18, 11],
  [15, 11],
  [64, 33],
  [160, 99],
  [4, 3],
  [3, 2],
  [2, 1],
];

/** Parses an SPS NAL unit (header byte included). Throws `media-malformed`, `media-truncated`. */
export const parseSps = (nal: Uint8Array): SequenceParameters => {
  if (nal.length < 4 || ((nal[0] as number) & 31) !== NAL_SPS) throw new SealcastError('media-malformed', 'not a sequence parameter set');
  const r = new BitReader(unescapeNal(nal).bytes, 'SPS');
  const profile = r.bits(8);
  const constraints = r.bits(8);
  const level = r.bits(8);
  const id = bounded(r.ue(), 31, 'seq_parameter_set_id');
  const high: HighFields = HIGH_PROFILES.has(profile)
    ? highFields(r)
    : { chromaFormat: 1, separateColourPlanes: false, bitDepthLuma: 8, bitDepthChroma: 8, losslessBypass: false, scalingMatrix: false };
  const frameNumBits = 4 + bounded(r.ue(), 12, 'log2_max_frame_num_minus4');
  const pocType = bounded(r.ue(), 2, 'pic_order_cnt_type');
  const pocLsbBits = pocType === 0 ? 4 + bounded(r.ue(), 12, 'log2_max_pic_order_cnt_lsb_minus4') : 0;
  let deltaPicOrderAlwaysZero = false;
  if (pocType === 1) {
    deltaPicOrderAlwaysZero = r.flag();
    r.se();
    r.se();
    const cycle = bounded(r.ue(), 255, 'num_ref_frames_in_pic_order_cnt_cycle');
    for (let i = 0; i < cycle; i++) r.se();
  }
  const maxRefFrames = bounded(r.ue(), 16, 'max_num_ref_frames');
  const gapsInFrameNum = r.flag();
  const widthInMbs = 1 + bounded(r.ue(), 0xffff, 'pic_width_in_mbs_minus1');
  const heightInMapUnits = 1 + bounded(r.ue(), 0xffff, 'pic_height_in_map_units_minus1');
  const frameMbsOnly = r.flag();
  const mbAdaptiveFrameField = frameMbsOnly ? false : r.flag();
  const direct8x8Inference = r.flag();
  const chromaArrayType = high.separateColourPlanes ? 0 : high.chromaFormat;
  const crop = r.flag() ? { left: r.ue(), right: r.ue(), top: r.ue(), bottom: r.ue() } : { left: 0, right: 0, top: 0, bottom: 0 };
  const fields = frameMbsOnly ? 1 : 2;
  const cropX = chromaArrayType === 1 || chromaArrayType === 2 ? 2 : 1;
  const cropY = (chromaArrayType === 1 ? 2 : 1) * fields;
  const width = widthInMbs * 16 - cropX * (crop.left + crop.right);
  const height = heightInMapUnits * 16 * fields - cropY * (crop.top + crop.bottom);
  if (width <= 0 || height <= 0) throw new SealcastError('media-malformed', 'SPS crops the whole picture away');
  const vui = r.flag() ? parseVui(r) : undefined;
  return {
    id,
    profile,
    constraints,
    level,
    ...high,
    chromaArrayType,
    frameNumBits,
    pocType,
    pocLsbBits,
    deltaPicOrderAlwaysZero,
    maxRefFrames,
    gapsInFrameNum,
    widthInMbs,
    heightInMapUnits,
    frameMbsOnly,
    mbAdaptiveFrameField,
    direct8x8Inference,
    width,
    height,
    ...(vui === undefined ? {} : { vui }),
  };
};

/** Frames per second the SPS declares; undefined where it does not. */
export const frameRateOf = (sps: SequenceParameters): number | undefined => {
  const timing = sps.vui?.timing;
  return timing === undefined || timing.unitsInTick === 0 || timing.timeScale === 0 ? undefined : timing.timeScale / (2 * timing.unitsInTick);
};

/** `value`, or `media-malformed` naming the field if it is above `max`. */
export const bounded = (value: number, max: number, name: string): number => {
  if (value > max) throw new SealcastError('media-malformed', `${name} must be at most ${max}, is ${value}`);
  return value;
};

type HighFields = Pick<SequenceParameters, 'chromaFormat' | 'separateColourPlanes' | 'bitDepthLuma' | 'bitDepthChroma' | 'losslessBypass' | 'scalingMatrix' | 'scalingLists'>;

const highFields = (r: BitReader): HighFields => {
  const chromaFormat = bounded(r.ue(), 3, 'chroma_format_idc');
  const separateColourPlanes = chromaFormat === 3 ? r.flag() : false;
  const bitDepthLuma = 8 + bounded(r.ue(), 6, 'bit_depth_luma_minus8');
  const bitDepthChroma = 8 + bounded(r.ue(), 6, 'bit_depth_chroma_minus8');
  const losslessBypass = r.flag();
  const scalingMatrix = r.flag();
  const scalingLists = scalingMatrix ? readScalingLists(r, chromaFormat === 3 ? 12 : 8) : undefined;
  return { chromaFormat, separateColourPlanes, bitDepthLuma, bitDepthChroma, losslessBypass, scalingMatrix, ...(scalingLists === undefined ? {} : { scalingLists }) };
};

const parseVui = (r: BitReader): VideoUsability => {
  let sampleAspect: VideoUsability['sampleAspect'];
  if (r.flag()) {
    const index = r.bits(8);
    if (index === 255) sampleAspect = { width: r.bits(16), height: r.bits(16) };
    const known = ASPECTS[index - 1];
    if (known !== undefined) sampleAspect = { width: known[0], height: known[1] };
  }
  if (r.flag()) r.skip(1);
  let fullRange: boolean | undefined;
  let colour: VideoUsability['colour'];
  if (r.flag()) {
    r.skip(3);
    fullRange = r.flag();
    if (r.flag()) colour = { primaries: r.bits(8), transfer: r.bits(8), matrix: r.bits(8) };
  }
  if (r.flag()) {
    r.ue();
    r.ue();
  }
  const timing = r.flag() ? { unitsInTick: r.bits(32), timeScale: r.bits(32), fixed: r.flag() } : undefined;
  const nalHrd = r.flag();
  if (nalHrd) skipHrd(r);
  const vclHrd = r.flag();
  if (vclHrd) skipHrd(r);
  if (nalHrd || vclHrd) r.skip(1);
  r.skip(1);
  let maxNumReorderFrames: number | undefined;
  let maxDecFrameBuffering: number | undefined;
  if (r.flag()) {
    r.skip(1);
    for (let i = 0; i < 4; i++) r.ue();
    maxNumReorderFrames = r.ue();
    maxDecFrameBuffering = r.ue();
  }
  return {
    ...(sampleAspect === undefined ? {} : { sampleAspect }),
    ...(fullRange === undefined ? {} : { fullRange }),
    ...(colour === undefined ? {} : { colour }),
    ...(timing === undefined ? {} : { timing }),
    ...(maxNumReorderFrames === undefined ? {} : { maxNumReorderFrames }),
    ...(maxDecFrameBuffering === undefined ? {} : { maxDecFrameBuffering }),
  };
};

const skipHrd = (r: BitReader): void => {
  const count = 1 + bounded(r.ue(), 31, 'cpb_cnt_minus1');
  r.skip(8);
  for (let i = 0; i < count; i++) {
    r.ue();
    r.ue();
    r.skip(1);
  }
  r.skip(20);
};
