// SPDX-License-Identifier: Apache-2.0
/**
 * The variable-length codes of CAVLC as the standard prints them (ITU-T H.264 tables 9-5, 9-7 to 9-10), and the tables to decode them.
 *
 * Every code is some zeros, a one and at most three more bits, so zeros * 8 + the three bits after the first one find it.
 * Invariant: each list is a prefix code; what is no code decodes to 0, which readers refuse.
 */

/** An entry of a decoding table is value * 32 + length in bits; 0 where there is no such code. */
export type CodeTable = Uint16Array;

/** coeff_token: rows by TotalCoeff 0-16, codes by TrailingOnes 0-3; for nC 0-1, 2-3 and 4-7. */
const TOKENS_0: readonly string[] = [
  '1',
  '000101 01',
  '00000111 000100 001',
  '000000111 00000110 0000101 00011',
  '0000000111 000000110 00000101 000011',
  '00000000111 0000000110 000000101 0000100',
  '0000000001111 00000000110 0000000101 00000100',
  '0000000001011 0000000001110 00000000101 000000100',
  '0000000001000 0000000001010 0000000001101 0000000100',
  '00000000001111 00000000001110 0000000001001 00000000100',
  '00000000001011 00000000001010 00000000001101 0000000001100',
  '000000000001111 000000000001110 00000000001001 00000000001100',
  '000000000001011 000000000001010 000000000001101 00000000001000',
  '0000000000001111 000000000000001 000000000001001 000000000001100',
  '0000000000001011 0000000000001110 0000000000001101 000000000001000',
  '0000000000000111 0000000000001010 0000000000001001 0000000000001100',
  '0000000000000100 0000000000000110 0000000000000101 0000000000001000',
];
const TOKENS_2: readonly string[] = [
  '11',
  '001011 10',
  '000111 00111 011',
  '0000111 001010 001001 0101',
  '00000111 000110 000101 0100',
  '00000100 0000110 0000101 00110',
  '000000111 00000110 00000101 001000',
  '00000001111 000000110 000000101 000100',
  '00000001011 00000001110 00000001101 0000100',
  '000000001111 00000001010 00000001001 000000100',
  '000000001011 000000001110 000000001101 00000001100',
  '000000001000 000000001010 000000001001 00000001000',
  '0000000001111 0000000001110 0000000001101 000000001100',
  '0000000001011 0000000001010 0000000001001 0000000001100',
  '0000000000111 00000000001011 0000000000110 0000000001000',
  '00000000001001 00000000001000 00000000001010 0000000000001',
  '00000000000111 00000000000110 00000000000101 00000000000100',
];
const TOKENS_4: readonly string[] = [
  '1111',
  '001111 1110',
  '001011 01111 1101',
  '001000 01100 01110 1100',
  '0001111 01010 01011 1011',
  '0001011 01000 01001 1010',
  '0001001 001110 001101 1001',
  '0001000 001010 001001 1000',
  '00001111 0001110 0001101 01101',
  '00001011 00001110 0001010 001100',
  '000001111 00001010 00001101 0001100',
  '000001011 000001110 00001001 00001100',
  '000001000 000001010 000001101 00001000',
  '0000001101 000000111 000001001 000001100',
  '0000001001 0000001100 0000001011 0000001010',
  '0000000101 0000001000 0000000111 0000000110',
  '0000000001 0000000100 0000000011 0000000010',
];
/** coeff_token of chroma DC in 4:2:0 (nC = -1). */
const TOKENS_CHROMA_DC: readonly string[] = ['01', '000111 1', '000100 000110 001', '000011 0000011 0000010 000101', '000010 00000011 00000010 0000000'];

/** total_zeros 0, 1, 2, ... of 4x4 blocks, rows by TotalCoeff 1-15. */
const ZEROS: readonly string[] = [
  '1 011 010 0011 0010 00011 00010 000011 000010 0000011 0000010 00000011 00000010 000000011 000000010 000000001',
  '111 110 101 100 011 0101 0100 0011 0010 00011 00010 000011 000010 000001 000000',
  '0101 111 110 101 0100 0011 100 011 0010 00011 00010 000001 00001 000000',
  '00011 111 0101 0100 110 101 100 0011 011 0010 00010 00001 00000',
  '0101 0100 0011 111 110 101 100 011 0010 00001 0001 00000',
  '000001 00001 111 110 101 100 011 010 0001 001 000000',
  '000001 00001 101 100 011 11 010 0001 001 000000',
  '000001 0001 00001 011 11 10 010 001 000000',
  '000001 000000 0001 11 10 001 01 00001',
  '00001 00000 001 11 10 01 0001',
  '0000 0001 001 010 1 011',
  '0000 0001 01 1 001',
  '000 001 1 01',
  '00 01 1',
  '0 1',
];
/** total_zeros of chroma DC, rows by TotalCoeff 1-3. */
const ZEROS_CHROMA_DC: readonly string[] = ['1 01 001 000', '1 01 00', '1 0'];

/** run_before 0, 1, 2, ..., rows by zerosLeft 1-6 and above. */
const RUNS: readonly string[] = [
  '1 0',
  '1 01 00',
  '11 10 01 00',
  '11 10 01 001 000',
  '11 10 011 010 001 000',
  '11 000 001 011 010 101 100',
  '111 110 101 100 011 010 001 0001 00001 000001 0000001 00000001 000000001 0000000001 00000000001',
];

/** Index of the codes that begin like `code` in a table by leading zeros and the three bits after the first one. */
const put = (table: CodeTable, code: string, value: number): void => {
  const entry = value * 32 + code.length;
  const one = code.indexOf('1');
  // A code of zeros only ends the list: any number of further zeros may follow.
  if (one < 0) {
    table.fill(entry, code.length * 8);
    return;
  }
  const suffix = code.slice(one + 1);
  const first = one * 8 + Number.parseInt(suffix.padEnd(3, '0'), 2);
  table.fill(entry, first, first + (1 << (3 - suffix.length)));
};

/** Decoding table of codes whose values are their positions in `row`. */
const tableOf = (row: string): CodeTable => {
  const table = new Uint16Array(17 * 8);
  for (const [value, code] of row.split(' ').entries()) put(table, code, value);
  return table;
};

/** Decoding table of coeff_token: the value is TotalCoeff * 4 + TrailingOnes. */
const tokensOf = (rows: readonly string[]): CodeTable => {
  const table = new Uint16Array(17 * 8);
  for (const [total, row] of rows.entries()) for (const [ones, code] of row.split(' ').entries()) put(table, code, total * 4 + ones);
  return table;
};

/** coeff_token by the class of nC: 0-1, 2-3, 4-7. From nC 8 on it is six plain bits. */
export const COEFF_TOKEN: readonly CodeTable[] = [tokensOf(TOKENS_0), tokensOf(TOKENS_2), tokensOf(TOKENS_4)];
export const COEFF_TOKEN_CHROMA_DC: CodeTable = tokensOf(TOKENS_CHROMA_DC);
/** total_zeros at TotalCoeff - 1. */
export const TOTAL_ZEROS: readonly CodeTable[] = ZEROS.map(tableOf);
export const TOTAL_ZEROS_CHROMA_DC: readonly CodeTable[] = ZEROS_CHROMA_DC.map(tableOf);
/** run_before at Min(zerosLeft, 7) - 1. */
export const RUN_BEFORE: readonly CodeTable[] = RUNS.map(tableOf);
