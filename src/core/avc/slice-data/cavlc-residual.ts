// SPDX-License-Identifier: Apache-2.0
/**
 * Coefficient blocks in CAVLC (ITU-T H.264 clauses 7.3.5.3.2, 9.2), and the signs found in them.
 *
 * A sign is a bit of its own (trailing ones) or the last bit of level_suffix; the two levels that differ only there have the
 * same magnitude, so the next suffix length is the same too. A level without a suffix has no such bit and gives no site.
 * Invariant: signs are listed in the order of their bits, once the runs have told their places.
 */
import { SealcastError } from '#core/errors.ts';
import type { CavlcBits } from './cavlc-bits.ts';
import { COEFF_TOKEN, COEFF_TOKEN_CHROMA_DC, RUN_BEFORE, TOTAL_ZEROS, TOTAL_ZEROS_CHROMA_DC } from './cavlc-tables.ts';
import type { CodeTable } from './cavlc-tables.ts';
import type { SignSites } from './sites.ts';

/** nC of chroma DC. */
export const NC_CHROMA_DC = -1;

/** Reads blocks of coefficients with one cursor into one list of sites. */
export class CavlcResidual {
  readonly #bits: CavlcBits;
  readonly #sites: SignSites;
  readonly #levels: Int32Array = new Int32Array(16);
  /** Index of each level's sign bit, 0 where it has none. */
  readonly #signs: Uint32Array = new Uint32Array(16);

  constructor(bits: CavlcBits, sites: SignSites) {
    this.#bits = bits;
    this.#sites = sites;
  }

  /**
   * One block of at most `most` coefficients, whose k-th has scan index first + k * step (an 8x8 block is four interleaved
   * ones). Answers the number of coefficients.
   */
  block(category: number, nC: number, most: number, first: number, step: number): number {
    const token = this.#token(nC);
    const total = token >> 2;
    if (total === 0) return 0;
    if (total > most) throw new SealcastError('media-malformed', `a block of ${most} coefficients claims ${total}`);
    this.#readLevels(total, token & 3);
    const bits = this.#bits;
    let zeros = 0;
    if (total < most) zeros = bits.code((nC === NC_CHROMA_DC ? TOTAL_ZEROS_CHROMA_DC[total - 1] : TOTAL_ZEROS[total - 1]) as CodeTable);
    // Blocks of 15 share the tables of blocks of 16, which have one zero more.
    if (total + zeros > most) throw new SealcastError('media-malformed', `a block of ${most} coefficients claims ${zeros} zeros among ${total}`);
    let place = total + zeros - 1;
    const sites = this.#sites;
    for (let i = 0; i < total; i++) {
      const bit = this.#signs[i] as number;
      if (bit !== 0) sites.add(bit, 0, this.#levels[i] as number, category, first + place * step);
      place--;
      if (zeros > 0 && i < total - 1) {
        const run = bits.code(RUN_BEFORE[zeros < 7 ? zeros - 1 : 6] as CodeTable);
        if (run > zeros) throw new SealcastError('media-malformed', 'a run of zeros is longer than the zeros left');
        zeros -= run;
        place -= run;
      }
    }
    return total;
  }

  /** coeff_token: TotalCoeff * 4 + TrailingOnes. */
  #token(nC: number): number {
    const bits = this.#bits;
    if (nC === NC_CHROMA_DC) return bits.code(COEFF_TOKEN_CHROMA_DC);
    if (nC < 8) return bits.code(COEFF_TOKEN[nC < 2 ? 0 : nC < 4 ? 1 : 2] as CodeTable);
    const code = bits.bits(6);
    if (code === 3) return 0;
    if ((code & 3) > (code >> 2) + 1) throw new SealcastError('media-malformed', 'coeff_token has more trailing ones than coefficients');
    return code + 4;
  }

  #readLevels(total: number, trailing: number): void {
    const bits = this.#bits;
    const levels = this.#levels;
    const signs = this.#signs;
    for (let i = 0; i < trailing; i++) {
      signs[i] = bits.position;
      levels[i] = bits.sign() === 1 ? -1 : 1;
    }
    let suffixLength = total > 10 && trailing < 3 ? 1 : 0;
    for (let i = trailing; i < total; i++) {
      const prefix = bits.zeros();
      let size = suffixLength;
      if (prefix >= 15) size = prefix - 3;
      else if (prefix === 14 && suffixLength === 0) size = 4;
      // Half the level code: the pair of levels of equal magnitude. The code's last bit is the sign.
      let code = prefix < 15 ? prefix << suffixLength : (15 << suffixLength) + (suffixLength === 0 ? 15 : 0) + (1 << size) - 4096;
      let negative = code & 1;
      signs[i] = 0;
      if (size > 0) {
        if (size > 1) code += bits.bits(size - 1) << 1;
        signs[i] = bits.position;
        negative = bits.sign();
      }
      // Where not all trailing ones are used, the first other level is above 1.
      const magnitude = (code >> 1) + (i === trailing && trailing < 3 ? 2 : 1);
      levels[i] = negative === 1 ? -magnitude : magnitude;
      if (suffixLength === 0) suffixLength = 1;
      if (suffixLength < 6 && magnitude > 3 << (suffixLength - 1)) suffixLength++;
    }
  }
}
