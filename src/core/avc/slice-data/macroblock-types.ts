// SPDX-License-Identifier: Apache-2.0
/**
 * What mb_type and sub_mb_type say (ITU-T H.264 tables 7-11, 7-13, 7-14, 7-17, 7-18).
 *
 * Numbers are those of the tables: in P slices intra types follow from 5, in B slices from 23.
 * Invariant: every table covers every legal number; others are refused where they are read.
 */

/** First intra mb_type in P and in B slices. */
export const FIRST_INTRA_P = 5;
export const FIRST_INTRA_B = 23;

/** Intra types, counted from the first: I_NxN (4x4 or 8x8 prediction), I_PCM; those between are Intra_16x16. */
export const I_NXN = 0;
export const I_PCM = 25;

/** P types that are coded as four sub-macroblocks. P_8x8ref0 (CAVLC only) has no reference indices. */
export const P_8X8 = 3;
export const P_8X8_REF0 = 4;

/** B_Direct_16x16 and B_8x8. */
export const B_DIRECT = 0;
export const B_8X8 = 22;

/** Shapes of macroblock partitions and, at half the size, of sub-macroblock partitions. */
export const WHOLE = 0;
export const TWO_ROWS = 1;
export const TWO_COLUMNS = 2;
export const QUARTERS = 3;

/** Lists used by a partition: bit 0 for list 0, bit 1 for list 1; none for direct prediction. */
const L0 = 1;
const L1 = 2;
const BI = 3;

/** Shape of B types 1-21: whole, then rows and columns in turn. */
export const shapeOfB = (type: number): number => (type <= 3 ? WHOLE : type % 2 === 0 ? TWO_ROWS : TWO_COLUMNS);

/** Lists of the first and the second partition of B types 0-21. */
export const B_FIRST_LISTS: readonly number[] = [0, L0, L1, BI, L0, L0, L1, L1, L0, L0, L1, L1, L0, L0, L1, L1, BI, BI, BI, BI, BI, BI];
export const B_SECOND_LISTS: readonly number[] = [0, 0, 0, 0, L0, L0, L1, L1, L1, L1, L0, L0, BI, BI, BI, BI, L0, L0, L1, L1, BI, BI];

/** Shape and lists of B sub-macroblock types; 0 is direct. Those of P are their own shape, with list 0. */
export const B_SUB_SHAPE: readonly number[] = [QUARTERS, WHOLE, WHOLE, WHOLE, TWO_ROWS, TWO_COLUMNS, TWO_ROWS, TWO_COLUMNS, TWO_ROWS, TWO_COLUMNS, QUARTERS, QUARTERS, QUARTERS];
export const B_SUB_LISTS: readonly number[] = [0, L0, L1, BI, L0, L0, L1, L1, BI, BI, L0, L1, BI];

/** Chroma and luma parts of the coded block pattern that Intra_16x16 types 1-24 imply. */
export const patternOfIntra16x16 = (type: number): number => (Math.floor((type - 1) / 4) % 3) * 16 + (type >= 13 ? 15 : 0);

/** Table 9-4: coded_block_pattern by codeNum, intra macroblocks in 4:2:0. */
export const PATTERN_INTRA: readonly number[] = [
  47, 31, 15, 0, 23, 27, 29, 30, 7, 11, 13, 14, 39, 43, 45, 46, 16, 3, 5, 10, 12, 19, 21, 26, 28, 35, 37, 42, 44, 1, 2, 4, 8, 17, 18, 20, 24, 6, 9, 22, 25, 32, 33, 34, 36, 40, 38,
  41,
];
/** The same for inter macroblocks. */
export const PATTERN_INTER: readonly number[] = [
  0, 16, 1, 2, 4, 8, 32, 3, 5, 10, 12, 15, 47, 7, 11, 13, 14, 6, 9, 31, 35, 37, 42, 44, 33, 34, 36, 40, 39, 43, 45, 46, 17, 18, 20, 24, 19, 21, 26, 28, 23, 27, 29, 30, 22, 25, 38,
  41,
];
/** The same in monochrome: intra, inter. */
export const PATTERN_INTRA_MONOCHROME: readonly number[] = [15, 0, 7, 11, 13, 14, 3, 5, 10, 12, 1, 2, 4, 8, 6, 9];
export const PATTERN_INTER_MONOCHROME: readonly number[] = [0, 1, 2, 4, 8, 3, 5, 10, 12, 15, 7, 11, 13, 14, 6, 9];
