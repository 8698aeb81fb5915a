// SPDX-License-Identifier: Apache-2.0
/**
 * Slice headers, to their exact last bit (ITU-T H.264 clauses 7.3.3, 7.3.3.1-7.3.3.3).
 *
 * Common Encryption leaves exactly the header clear and edge marking edits the slice data behind it, so the end has to
 * be right for every coding tool, not guessed.
 * Invariant: every loop consumes bits of a bounded input; values that size fields are range-checked.
 */
import { SealcastError } from '#core/errors.ts';
import { BitReader } from '#core/bytes/bit-reader.ts';
import { NAL_IDR, nalBytesFor, unescapeNal } from './nal.ts';
import type { ParameterSets } from './parameter-sets.ts';
import type { PictureParameters } from './pps.ts';
import { bounded } from './sps.ts';
import type { SequenceParameters } from './sps.ts';

/** slice_type modulo 5. */
export type SliceType = 'P' | 'B' | 'I' | 'SP' | 'SI';

/** One step of ref_pic_list_modification: operation 0-2 and its value. */
export type RefListModification = { readonly op: number; readonly value: number };
/** Explicit weights of one reference: [weight, offset] for luma, Cb, Cr; absent planes use the default weight. */
export type PredictionWeight = { readonly luma?: readonly [number, number]; readonly chroma?: readonly [readonly [number, number], readonly [number, number]] };
export type PredictionWeights = {
  readonly lumaLog2Denominator: number;
  readonly chromaLog2Denominator: number;
  readonly l0: readonly PredictionWeight[];
  readonly l1: readonly PredictionWeight[];
};
/** One memory management control operation with its one or two operands. */
export type MemoryOperation = { readonly op: number; readonly a?: number; readonly b?: number };

/** All fields of a slice header with the parameter sets they were read with, and where it ends. */
export type SliceHeader = {
  readonly nalType: number;
  readonly nalRefIdc: number;
  readonly idr: boolean;
  readonly sps: SequenceParameters;
  readonly pps: PictureParameters;
  readonly firstMb: number;
  readonly type: SliceType;
  /** Whether slice_type said that all slices of the picture have this type. */
  readonly typeForWholePicture: boolean;
  readonly colourPlane?: number;
  readonly frameNum: number;
  readonly fieldPicture: boolean;
  readonly bottomField: boolean;
  /** Whether macroblock pairs choose between frame and field coding in this slice. */
  readonly mbaffFrame: boolean;
  readonly idrPicId?: number;
  readonly picOrderCntLsb?: number;
  readonly deltaPicOrderCntBottom?: number;
  readonly deltaPicOrderCnt?: readonly [number, number];
  readonly redundantPicCnt: number;
  readonly directSpatialMvPred: boolean;
  readonly numRefIdxL0: number;
  readonly numRefIdxL1: number;
  readonly refListModificationsL0: readonly RefListModification[];
  readonly refListModificationsL1: readonly RefListModification[];
  readonly weights?: PredictionWeights;
  readonly noOutputOfPriorPics: boolean;
  readonly longTermReference: boolean;
  readonly memoryOperations: readonly MemoryOperation[];
  readonly cabacInitIdc?: number;
  /** QP of the first macroblock: pic_init_qp + slice_qp_delta. */
  readonly sliceQp: number;
  readonly sliceQpDelta: number;
  readonly sliceQs?: number;
  readonly disableDeblockingIdc: number;
  readonly alphaOffsetDiv2: number;
  readonly betaOffsetDiv2: number;
  readonly sliceGroupChangeCycle?: number;
  /** Length of slice_header() in bits of the RBSP; slice data starts here (CABAC: at the next byte boundary). */
  readonly headerBits: number;
  /** NAL unit bytes (NAL header and emulation prevention included) that hold a part of the header: slice data bytes start here. */
  readonly headerBytes: number;
};

const TYPES: readonly SliceType[] = ['P', 'B', 'I', 'SP', 'SI'];

/** Payload bytes looked at first, and at most: the longest legal header (64 weighted references) stays below the second. */
const FIRST_LOOK = 64;
const LONGEST = 8192;

/** Parses the slice header of a NAL unit of type 1 or 5 (header byte included). Throws `media-malformed`, `media-truncated`. */
export const parseSliceHeader = (nal: Uint8Array, sets: ParameterSets): SliceHeader => {
  try {
    return parse(nal, sets, FIRST_LOOK);
  } catch (error) {
    // Nearly every header fits the first look; only then is it worth unescaping more.
    if (!(error instanceof SealcastError && error.code === 'media-truncated') || nal.length <= FIRST_LOOK) throw error;
    return parse(nal, sets, LONGEST);
  }
};

const parse = (nal: Uint8Array, sets: ParameterSets, limit: number): SliceHeader => {
  const rbsp = unescapeNal(nal, limit);
  const r = new BitReader(rbsp.bytes, 'slice header');
  const nalType = (nal[0] as number) & 31;
  const nalRefIdc = ((nal[0] as number) >> 5) & 3;
  const idr = nalType === NAL_IDR;
  const firstMb = r.ue();
  const typeCode = bounded(r.ue(), 9, 'slice_type');
  const type = TYPES[typeCode % 5] as SliceType;
  const { pps, sps } = sets.get(r.ue());
  const colourPlane = sps.separateColourPlanes ? r.bits(2) : undefined;
  const frameNum = r.bits(sps.frameNumBits);
  const fieldPicture = sps.frameMbsOnly ? false : r.flag();
  const bottomField = fieldPicture ? r.flag() : false;
  const idrPicId = idr ? bounded(r.ue(), 65535, 'idr_pic_id') : undefined;
  const bothFields = pps.bottomFieldPicOrderPresent && !fieldPicture;
  const picOrderCntLsb = sps.pocType === 0 ? r.bits(sps.pocLsbBits) : undefined;
  const deltaPicOrderCntBottom = sps.pocType === 0 && bothFields ? r.se() : undefined;
  const deltaPicOrderCnt: [number, number] | undefined = sps.pocType === 1 && !sps.deltaPicOrderAlwaysZero ? [r.se(), bothFields ? r.se() : 0] : undefined;
  const redundantPicCnt = pps.redundantPicCntPresent ? bounded(r.ue(), 127, 'redundant_pic_cnt') : 0;
  const inter = type === 'P' || type === 'SP' || type === 'B';
  const directSpatialMvPred = type === 'B' ? r.flag() : false;
  const { l0: numRefIdxL0, l1: numRefIdxL1 } = inter ? activeReferences(r, type, pps, fieldPicture) : { l0: 0, l1: 0 };
  const refListModificationsL0 = inter ? listModifications(r) : [];
  const refListModificationsL1 = type === 'B' ? listModifications(r) : [];
  const weighted = (pps.weightedPred && (type === 'P' || type === 'SP')) || (pps.weightedBipredIdc === 1 && type === 'B');
  const weights = weighted ? predictionWeights(r, sps, numRefIdxL0, numRefIdxL1) : undefined;
  const marking = nalRefIdc !== 0 ? referenceMarking(r, idr) : { noOutputOfPriorPics: false, longTermReference: false, memoryOperations: [] };
  const cabacInitIdc = pps.entropyCodingMode && inter ? bounded(r.ue(), 2, 'cabac_init_idc') : undefined;
  const sliceQpDelta = r.se();
  const sliceQp = pps.picInitQp + sliceQpDelta;
  if (sliceQp > 51 || sliceQp < -6 * (sps.bitDepthLuma - 8)) throw new SealcastError('media-malformed', `slice QP ${sliceQp} is out of range`);
  if (type === 'SP') r.skip(1);
  const sliceQs = type === 'SP' || type === 'SI' ? pps.picInitQs + r.se() : undefined;
  const disableDeblockingIdc = pps.deblockingControlPresent ? bounded(r.ue(), 2, 'disable_deblocking_filter_idc') : 0;
  const withOffsets = pps.deblockingControlPresent && disableDeblockingIdc !== 1;
  const alphaOffsetDiv2 = withOffsets ? r.se() : 0;
  const betaOffsetDiv2 = withOffsets ? r.se() : 0;
  const sliceGroupChangeCycle = pps.sliceGroupChangeRate === undefined ? undefined : r.bits(changeCycleBits(sps, pps.sliceGroupChangeRate));
  const headerBits = r.position;
  return {
    nalType,
    nalRefIdc,
    idr,
    sps,
    pps,
    firstMb,
    type,
    typeForWholePicture: typeCode >= 5,
    frameNum,
    fieldPicture,
    bottomField,
    mbaffFrame: sps.mbAdaptiveFrameField && !fieldPicture,
    redundantPicCnt,
    directSpatialMvPred,
    numRefIdxL0,
    numRefIdxL1,
    refListModificationsL0,
    refListModificationsL1,
    ...marking,
    sliceQp,
    sliceQpDelta,
    disableDeblockingIdc,
    alphaOffsetDiv2,
    betaOffsetDiv2,
    ...(colourPlane === undefined ? {} : { colourPlane }),
    ...(idrPicId === undefined ? {} : { idrPicId }),
    ...(picOrderCntLsb === undefined ? {} : { picOrderCntLsb }),
    ...(deltaPicOrderCntBottom === undefined ? {} : { deltaPicOrderCntBottom }),
    ...(deltaPicOrderCnt === undefined ? {} : { deltaPicOrderCnt }),
    ...(weights === undefined ? {} : { weights }),
    ...(cabacInitIdc === undefined ? {} : { cabacInitIdc }),
    ...(sliceQs === undefined ? {} : { sliceQs }),
    ...(sliceGroupChangeCycle === undefined ? {} : { sliceGroupChangeCycle }),
    headerBits,
    headerBytes: nalBytesFor(rbsp, Math.ceil(headerBits / 8)),
  };
};

const activeReferences = (r: BitReader, type: SliceType, pps: PictureParameters, fieldPicture: boolean): { l0: number; l1: number } => {
  const max = fieldPicture ? 31 : 15;
  let l0 = pps.numRefIdxL0Default;
  let l1 = type === 'B' ? pps.numRefIdxL1Default : 0;
  if (r.flag()) {
    l0 = 1 + bounded(r.ue(), max, 'num_ref_idx_l0_active_minus1');
    if (type === 'B') l1 = 1 + bounded(r.ue(), max, 'num_ref_idx_l1_active_minus1');
  }
  return { l0, l1 };
};

const listModifications = (r: BitReader): readonly RefListModification[] => {
  const steps: RefListModification[] = [];
  if (!r.flag()) return steps;
  for (let op = r.ue(); op !== 3; op = r.ue()) {
    bounded(op, 2, 'modification_of_pic_nums_idc');
    steps.push({ op, value: r.ue() });
    // One step per list entry and the end mark (clause 7.4.3.1).
    bounded(steps.length, 33, 'number of reference list modifications');
  }
  return steps;
};

const predictionWeights = (r: BitReader, sps: SequenceParameters, numL0: number, numL1: number): PredictionWeights => {
  const chroma = sps.chromaArrayType !== 0;
  const lumaLog2Denominator = bounded(r.ue(), 7, 'luma_log2_weight_denom');
  const chromaLog2Denominator = chroma ? bounded(r.ue(), 7, 'chroma_log2_weight_denom') : 0;
  const list = (count: number): readonly PredictionWeight[] => {
    const entries: PredictionWeight[] = [];
    for (let i = 0; i < count; i++) {
      const luma: [number, number] | undefined = r.flag() ? [r.se(), r.se()] : undefined;
      const both: [[number, number], [number, number]] | undefined =
        chroma && r.flag()
          ? [
              [r.se(), r.se()],
              [r.se(), r.se()],
            ]
          : undefined;
      entries.push({ ...(luma === undefined ? {} : { luma }), ...(both === undefined ? {} : { chroma: both }) });
    }
    return entries;
  };
  return { lumaLog2Denominator, chromaLog2Denominator, l0: list(numL0), l1: list(numL1) };
};

const referenceMarking = (r: BitReader, idr: boolean): Pick<SliceHeader, 'noOutputOfPriorPics' | 'longTermReference' | 'memoryOperations'> => {
  if (idr) return { noOutputOfPriorPics: r.flag(), longTermReference: r.flag(), memoryOperations: [] };
  const memoryOperations: MemoryOperation[] = [];
  if (r.flag()) {
    for (let op = r.ue(); op !== 0; op = r.ue()) {
      bounded(op, 6, 'memory_management_control_operation');
      const a = op === 5 ? undefined : r.ue();
      const b = op === 3 ? r.ue() : undefined;
      memoryOperations.push({ op, ...(a === undefined ? {} : { a }), ...(b === undefined ? {} : { b }) });
      bounded(memoryOperations.length, 66, 'number of memory management operations');
    }
  }
  return { noOutputOfPriorPics: false, longTermReference: false, memoryOperations };
};

/** Ceil(Log2(PicSizeInMapUnits / SliceGroupChangeRate + 1)) with the exact quotient (clause 7.4.3). */
const changeCycleBits = (sps: SequenceParameters, rate: number): number => {
  const steps = Math.ceil((sps.widthInMbs * sps.heightInMapUnits) / rate) + 1;
  return Math.ceil(Math.log2(steps));
};
