// SPDX-License-Identifier: Apache-2.0
/**
 * The macroblock layer (ITU-T H.264 clauses 7.3.5, 7.3.5.1-7.3.5.3), the same for both entropy coders.
 *
 * No motion vector, prediction or sample is derived: contexts ask for the differences that are sent.
 * Invariant: numbers out of their tables' range are refused before they index anything.
 */
import { SealcastError } from '#core/errors.ts';
import {
  B_8X8,
  B_DIRECT,
  B_FIRST_LISTS,
  B_SECOND_LISTS,
  B_SUB_LISTS,
  B_SUB_SHAPE,
  FIRST_INTRA_B,
  FIRST_INTRA_P,
  I_NXN,
  I_PCM,
  P_8X8,
  P_8X8_REF0,
  patternOfIntra16x16,
  QUARTERS,
  shapeOfB,
  TWO_COLUMNS,
  TWO_ROWS,
  WHOLE,
} from './macroblock-types.ts';
import { DIRECT, INTRA, INTRA_16X16, INTRA_NXN, PCM, SKIPPED, TRANSFORM_8X8 } from './neighbours.ts';
import { LUMA_4X4, LUMA_AC } from './sites.ts';
import type { MacroblockReader, SliceContext } from './slice-context.ts';

/** Records a skipped macroblock: no coefficients, no motion sent. */
export const skipMacroblock = (slice: SliceContext, reader: MacroblockReader): void => {
  const { neighbours } = slice;
  const { mb } = neighbours;
  neighbours.flags[mb] = slice.type === 'B' ? SKIPPED | DIRECT : SKIPPED;
  neighbours.pattern[mb] = 0;
  neighbours.chromaMode[mb] = 0;
  neighbours.dcCoded[mb] = 0;
  neighbours.fillCoefficients(0);
  reader.clearMotion();
  slice.lastQpDelta = 0;
};

/** Reads one macroblock that is not skipped, at the position of `slice.neighbours`. */
export const readMacroblock = (slice: SliceContext, reader: MacroblockReader): void => {
  const { neighbours } = slice;
  const { mb } = neighbours;
  const type = reader.mbType();
  neighbours.chromaMode[mb] = 0;
  neighbours.dcCoded[mb] = 0;
  neighbours.fillCoefficients(0);
  if (slice.type !== 'I') reader.clearMotion();
  const intraType = slice.type === 'I' ? type : type - (slice.type === 'P' ? FIRST_INTRA_P : FIRST_INTRA_B);
  if (intraType > I_PCM) throw new SealcastError('media-malformed', `mb_type ${type} is out of range`);
  if (intraType < 0) interMacroblock(slice, reader, type);
  else if (intraType === I_PCM) pcmMacroblock(slice, reader);
  else intraMacroblock(slice, reader, intraType);
};

const pcmMacroblock = (slice: SliceContext, reader: MacroblockReader): void => {
  const { neighbours } = slice;
  const { mb } = neighbours;
  reader.pcm();
  // Every later context sees I_PCM as fully coded (clauses 9.2.1, 9.3.3.1.1).
  neighbours.flags[mb] = INTRA | PCM;
  neighbours.pattern[mb] = 0x2f;
  neighbours.dcCoded[mb] = 7;
  neighbours.fillCoefficients(16);
  slice.lastQpDelta = 0;
};

const intraMacroblock = (slice: SliceContext, reader: MacroblockReader, type: number): void => {
  const { neighbours } = slice;
  const { mb } = neighbours;
  if (type === I_NXN) {
    const by8x8 = slice.transform8x8 && reader.transformSize8x8();
    neighbours.flags[mb] = by8x8 ? INTRA | INTRA_NXN | TRANSFORM_8X8 : INTRA | INTRA_NXN;
    for (let i = by8x8 ? 4 : 16; i > 0; i--) reader.intraPredMode();
    if (slice.chroma) neighbours.chromaMode[mb] = reader.intraChromaPredMode();
    coefficients(slice, reader, reader.codedBlockPattern(true));
    return;
  }
  neighbours.flags[mb] = INTRA | INTRA_16X16;
  if (slice.chroma) neighbours.chromaMode[mb] = reader.intraChromaPredMode();
  coefficients(slice, reader, patternOfIntra16x16(type));
};

const interMacroblock = (slice: SliceContext, reader: MacroblockReader, type: number): void => {
  const { neighbours } = slice;
  const { mb } = neighbours;
  neighbours.flags[mb] = 0;
  // Whether all partitions are large enough for the 8x8 transform.
  let large = true;
  if (slice.type === 'P') {
    if (type >= P_8X8) large = subMacroblocks(slice, reader, type === P_8X8_REF0);
    else partitions(slice, reader, type, 1, 1);
  } else if (type === B_DIRECT) {
    neighbours.flags[mb] = DIRECT;
    large = slice.direct8x8Inference;
  } else if (type === B_8X8) {
    large = subMacroblocks(slice, reader, false);
  } else {
    partitions(slice, reader, shapeOfB(type), B_FIRST_LISTS[type] as number, B_SECOND_LISTS[type] as number);
  }
  const pattern = reader.codedBlockPattern(false);
  if ((pattern & 15) !== 0 && large && slice.transform8x8 && reader.transformSize8x8()) neighbours.flags[mb] = (neighbours.flags[mb] as number) | TRANSFORM_8X8;
  coefficients(slice, reader, pattern);
};

/** mb_pred of one or two partitions; `first` and `second` are the lists they use. */
const partitions = (slice: SliceContext, reader: MacroblockReader, shape: number, first: number, second: number): void => {
  const w = shape === TWO_COLUMNS ? 1 : 2;
  const h = shape === TWO_ROWS ? 1 : 2;
  const x = shape === TWO_COLUMNS ? 1 : 0;
  const y = shape === TWO_ROWS ? 1 : 0;
  for (let list = 0; list < 2; list++) {
    const count = list === 0 ? slice.numRefIdxL0 : slice.numRefIdxL1;
    if (count < 2) continue;
    if (((first >> list) & 1) === 1) reader.reference(list, 0, 0, w, h, count);
    if (shape !== WHOLE && ((second >> list) & 1) === 1) reader.reference(list, x, y, w, h, count);
  }
  for (let list = 0; list < 2; list++) {
    if (((first >> list) & 1) === 1) reader.motion(list, 0, 0, w * 2, h * 2);
    if (shape !== WHOLE && ((second >> list) & 1) === 1) reader.motion(list, x * 2, y * 2, w * 2, h * 2);
  }
};

/** sub_mb_pred; answers whether every part is at least 8x8. */
const subMacroblocks = (slice: SliceContext, reader: MacroblockReader, withoutReferences: boolean): boolean => {
  const { subShapes: shapes, subLists: lists } = slice;
  const b = slice.type === 'B';
  let large = true;
  for (let i = 0; i < 4; i++) {
    const type = reader.subMbType();
    if (type > (b ? 12 : 3)) throw new SealcastError('media-malformed', `sub_mb_type ${type} is out of range`);
    shapes[i] = b ? (B_SUB_SHAPE[type] as number) : type;
    lists[i] = b ? (B_SUB_LISTS[type] as number) : 1;
    if (b && type === 0 ? !slice.direct8x8Inference : shapes[i] !== WHOLE) large = false;
  }
  for (let list = 0; list < 2; list++) {
    const count = list === 0 ? slice.numRefIdxL0 : slice.numRefIdxL1;
    if (count < 2 || withoutReferences) continue;
    for (let i = 0; i < 4; i++) if ((((lists[i] as number) >> list) & 1) === 1) reader.reference(list, i & 1, i >> 1, 1, 1, count);
  }
  for (let list = 0; list < 2; list++) {
    for (let i = 0; i < 4; i++) {
      if ((((lists[i] as number) >> list) & 1) === 0) continue;
      const shape = shapes[i] as number;
      const x = (i & 1) * 2;
      const y = (i >> 1) * 2;
      const w = shape === TWO_COLUMNS || shape === QUARTERS ? 1 : 2;
      const h = shape === TWO_ROWS || shape === QUARTERS ? 1 : 2;
      for (let dy = 0; dy < 2; dy += h) for (let dx = 0; dx < 2; dx += w) reader.motion(list, x + dx, y + dy, w, h);
    }
  }
  return large;
};

/** mb_qp_delta and residual. */
const coefficients = (slice: SliceContext, reader: MacroblockReader, pattern: number): void => {
  const { neighbours, sites } = slice;
  const { mb } = neighbours;
  const flags = neighbours.flags[mb] as number;
  const intra16x16 = (flags & INTRA_16X16) !== 0;
  neighbours.pattern[mb] = pattern;
  if (pattern === 0 && !intra16x16) {
    slice.lastQpDelta = 0;
    return;
  }
  slice.changeQp(reader.qpDelta());
  sites.currentMb = mb;
  sites.currentKind = flags;
  sites.currentQp = slice.qp;
  if (intra16x16) reader.lumaDc();
  for (let i = 0; i < 4; i++) {
    if (((pattern >> i) & 1) === 0) continue;
    const x = i & 1;
    const y = i >> 1;
    if ((flags & TRANSFORM_8X8) !== 0) {
      reader.luma8x8(x, y);
      continue;
    }
    const category = intra16x16 ? LUMA_AC : LUMA_4X4;
    reader.luma4x4(category, x * 2, y * 2);
    reader.luma4x4(category, x * 2 + 1, y * 2);
    reader.luma4x4(category, x * 2, y * 2 + 1);
    reader.luma4x4(category, x * 2 + 1, y * 2 + 1);
  }
  if (pattern < 16 || !slice.chroma) return;
  for (let plane = 0; plane < 2; plane++) {
    sites.currentQp = slice.chromaQp(plane);
    reader.chromaDc(plane);
  }
  if (pattern < 32) return;
  for (let plane = 0; plane < 2; plane++) {
    sites.currentQp = slice.chromaQp(plane);
    for (let i = 0; i < 4; i++) reader.chromaAc(plane, i & 1, i >> 1);
  }
};
