// SPDX-License-Identifier: Apache-2.0
/**
 * Macroblock syntax elements in CAVLC (ITU-T H.264 clauses 9.1, 9.2.1).
 *
 * Invariant: the only context is nC, the numbers of coefficients of the neighbouring blocks of the same slice.
 */
import { SealcastError } from '#core/errors.ts';
import type { CavlcBits } from './cavlc-bits.ts';
import { CavlcResidual, NC_CHROMA_DC } from './cavlc-residual.ts';
import { PATTERN_INTER, PATTERN_INTER_MONOCHROME, PATTERN_INTRA, PATTERN_INTRA_MONOCHROME } from './macroblock-types.ts';
import type { Neighbours } from './neighbours.ts';
import { CHROMA_AC, CHROMA_DC, LUMA_8X8, LUMA_AC, LUMA_DC } from './sites.ts';
import type { MacroblockReader, SliceContext } from './slice-context.ts';

/** The CAVLC side of the parser; one serves many slices. */
export class CavlcReader implements MacroblockReader {
  readonly #slice: SliceContext;
  readonly #neighbours: Neighbours;
  readonly #bits: CavlcBits;
  readonly #residual: CavlcResidual;

  constructor(slice: SliceContext, bits: CavlcBits) {
    this.#slice = slice;
    this.#neighbours = slice.neighbours;
    this.#bits = bits;
    this.#residual = new CavlcResidual(bits, slice.sites);
  }

  mbType(): number {
    return this.#bits.ue();
  }

  subMbType(): number {
    return this.#bits.ue();
  }

  transformSize8x8(): boolean {
    return this.#bits.bits(1) === 1;
  }

  intraPredMode(): void {
    if (this.#bits.bits(1) === 0) this.#bits.skip(3);
  }

  intraChromaPredMode(): number {
    return this.#inRange(this.#bits.ue(), 3, 'intra_chroma_pred_mode');
  }

  codedBlockPattern(intra: boolean): number {
    const code = this.#bits.ue();
    const patterns = this.#slice.chroma ? (intra ? PATTERN_INTRA : PATTERN_INTER) : intra ? PATTERN_INTRA_MONOCHROME : PATTERN_INTER_MONOCHROME;
    return patterns[this.#inRange(code, patterns.length - 1, 'coded_block_pattern')] as number;
  }

  qpDelta(): number {
    return this.#bits.se();
  }

  reference(_list: number, _x8: number, _y8: number, _w8: number, _h8: number, count: number): void {
    if (count === 2) this.#bits.skip(1);
    else this.#inRange(this.#bits.ue(), count - 1, 'ref_idx');
  }

  motion(): void {
    this.#bits.ue();
    this.#bits.ue();
  }

  clearMotion(): void {
    // CAVLC keeps no motion: no code depends on it.
  }

  pcm(): void {
    const bits = this.#bits;
    bits.skip((8 - (bits.position & 7)) & 7);
    bits.skip(this.#slice.pcmBits);
  }

  lumaDc(): void {
    const { luma, at4x4, stride } = this.#neighbours;
    this.#residual.block(LUMA_DC, this.#numberOfNeighbours(luma, at4x4, stride, false, false), 16, 0, 1);
  }

  luma4x4(category: number, x: number, y: number): void {
    const { luma, at4x4, stride } = this.#neighbours;
    const at = at4x4 + y * stride + x;
    const nC = this.#numberOfNeighbours(luma, at, stride, x > 0, y > 0);
    luma[at] = category === LUMA_AC ? this.#residual.block(category, nC, 15, 1, 1) : this.#residual.block(category, nC, 16, 0, 1);
  }

  luma8x8(x8: number, y8: number): void {
    const { luma, at4x4, stride } = this.#neighbours;
    for (let i = 0; i < 4; i++) {
      const x = x8 * 2 + (i & 1);
      const y = y8 * 2 + (i >> 1);
      const at = at4x4 + y * stride + x;
      luma[at] = this.#residual.block(LUMA_8X8, this.#numberOfNeighbours(luma, at, stride, x > 0, y > 0), 16, i, 4);
    }
  }

  chromaDc(): void {
    this.#residual.block(CHROMA_DC, NC_CHROMA_DC, 4, 0, 1);
  }

  chromaAc(plane: number, x8: number, y8: number): void {
    const { chroma, at8x8, chromaStride } = this.#neighbours;
    const blocks = chroma[plane] as Uint8Array;
    const at = at8x8 + y8 * chromaStride + x8;
    blocks[at] = this.#residual.block(CHROMA_AC, this.#numberOfNeighbours(blocks, at, chromaStride, x8 > 0, y8 > 0), 15, 1, 1);
  }

  /** nC: the mean of the left and the upper number where both blocks are in the slice (clause 9.2.1). */
  #numberOfNeighbours(blocks: Uint8Array, at: number, stride: number, inX: boolean, inY: boolean): number {
    const { left, top } = this.#neighbours;
    const a = inX || left ? (blocks[at - 1] as number) : -1;
    const b = inY || top ? (blocks[at - stride] as number) : -1;
    if (a < 0) return b < 0 ? 0 : b;
    return b < 0 ? a : (a + b + 1) >> 1;
  }

  #inRange(value: number, most: number, name: string): number {
    if (value > most) throw new SealcastError('media-malformed', `${name} must be at most ${most}, is ${value}`);
    return value;
  }
}
