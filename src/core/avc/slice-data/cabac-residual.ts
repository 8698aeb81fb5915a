// SPDX-License-Identifier: Apache-2.0
/**
 * Coefficient blocks in CABAC (ITU-T H.264 clauses 7.3.5.3.3, 9.3.3.1.1.9, 9.3.3.1.3), and the signs found in them.
 *
 * Invariant: every coefficient gives exactly one row of sign sites, with the range in force at its sign.
 */
import { SealcastError } from '#core/errors.ts';
import type { CabacEngine } from './cabac-engine.ts';
import { CHROMA_DC, LUMA_8X8 } from './sites.ts';
import type { SignSites } from './sites.ts';

/** First contexts of each block category 0-5 (table 9-34 with the offsets of table 9-40). */
const CODED = 85;
const SIGNIFICANT: readonly number[] = [105, 120, 134, 149, 152, 402];
const LAST: readonly number[] = [166, 181, 195, 210, 213, 417];
const LEVEL: readonly number[] = [227, 237, 247, 257, 266, 426];

/** Coefficients of a block of each category, and scan index of the first. */
const COEFFICIENTS: readonly number[] = [16, 15, 16, 4, 15, 64];
const FIRST_INDEX: readonly number[] = [0, 1, 0, 0, 1, 0];

/** Table 9-43, frame macroblocks: contexts of significant_coeff_flag and last_significant_coeff_flag in 8x8 blocks. */
const SIGNIFICANT_8X8: Uint8Array = Uint8Array.of(
  0,
  1,
  2,
  3,
  4,
  5,
  5,
  4,
  4,
  3,
  3,
  4,
  4,
  4,
  5,
  5,
  4,
  4,
  4,
  4,
  3,
  3,
  6,
  7,
  7,
  7,
  8,
  9,
  10,
  9,
  8,
  7,
  7,
  6,
  11,
  12,
  13,
  11,
  6,
  7,
  8,
  9,
  14,
  10,
  9,
  8,
  6,
  11,
  12,
  13,
  11,
  6,
  9,
  14,
  10,
  9,
  11,
  12,
  13,
  11,
  14,
  10,
  12,
);
const LAST_8X8: Uint8Array = Uint8Array.from({ length: 63 }, (_, i) =>
  i === 0 ? 0 : i < 16 ? 1 : i < 32 ? 2 : i < 40 ? 3 : i < 48 ? 4 : i < 52 ? 5 : i < 56 ? 6 : i < 60 ? 7 : 8,
);

/** Longest prefix of a level's Exp-Golomb part: levels beyond 2^24 exist in no profile. */
const LONGEST_PREFIX = 24;

/** Reads blocks of coefficients with one engine into one list of sites. */
export class CabacResidual {
  readonly #engine: CabacEngine;
  readonly #sites: SignSites;
  readonly #places: Uint8Array = new Uint8Array(64);

  constructor(engine: CabacEngine, sites: SignSites) {
    this.#engine = engine;
    this.#sites = sites;
  }

  /** A block with coded_block_flag, whose context is `neighbour` (0-3) within the category. Answers whether it has coefficients. */
  block(category: number, neighbour: number): boolean {
    const engine = this.#engine;
    if (engine.decision(CODED + category * 4 + neighbour) === 0) return false;
    const places = this.#places;
    const significant = SIGNIFICANT[category] as number;
    const last = LAST[category] as number;
    const end = (COEFFICIENTS[category] as number) - 1;
    let count = 0;
    let i = 0;
    // The contexts of chroma DC, Min(index, 2), are those of the other categories here: index 2 is the last one asked.
    for (; i < end; i++) {
      if (engine.decision(significant + i) === 0) continue;
      places[count++] = i;
      if (engine.decision(last + i) === 1) break;
    }
    if (i === end) places[count++] = end;
    this.#levels(count, category);
    return true;
  }

  /** An 8x8 block: coded_block_flag is not sent outside 4:4:4, so it has at least one coefficient. */
  block8x8(): void {
    const engine = this.#engine;
    const places = this.#places;
    let count = 0;
    let i = 0;
    for (; i < 63; i++) {
      if (engine.decision(402 + (SIGNIFICANT_8X8[i] as number)) === 0) continue;
      places[count++] = i;
      if (engine.decision(417 + (LAST_8X8[i] as number)) === 1) break;
    }
    if (i === 63) places[count++] = 63;
    this.#levels(count, LUMA_8X8);
  }

  /** Levels and signs, from the last coefficient to the first. */
  #levels(count: number, category: number): void {
    const engine = this.#engine;
    const sites = this.#sites;
    const places = this.#places;
    const first = LEVEL[category] as number;
    const above = first + 5;
    const most = category === CHROMA_DC ? 3 : 4;
    const offset = FIRST_INDEX[category] as number;
    let ones = 0;
    let larger = 0;
    for (let i = count - 1; i >= 0; i--) {
      let level = 1;
      if (engine.decision(first + (larger > 0 ? 0 : ones < 3 ? 1 + ones : 4)) === 0) {
        ones++;
      } else {
        const context = above + (larger < most ? larger : most);
        level = 2;
        while (level < 15 && engine.decision(context) === 1) level++;
        if (level === 15) level += this.#suffix();
        larger++;
      }
      const negative = engine.sign();
      sites.add(engine.position - 1, engine.range, negative === 1 ? -level : level, category, offset + (places[i] as number));
    }
  }

  /** Exp-Golomb code of order 0 in bypass bins. */
  #suffix(): number {
    const engine = this.#engine;
    let order = 0;
    let value = 0;
    while (engine.bypass() === 1) {
      value += 1 << order;
      if (++order > LONGEST_PREFIX) throw new SealcastError('media-malformed', 'a coefficient is out of range');
    }
    while (order-- > 0) value += engine.bypass() << order;
    return value;
  }
}
