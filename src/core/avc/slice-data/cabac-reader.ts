// SPDX-License-Identifier: Apache-2.0
/**
 * Macroblock syntax elements in CABAC: binarisations and choice of contexts (ITU-T H.264 clauses 9.3.2, 9.3.3.1).
 *
 * Invariant: contexts ask only for neighbours of the same slice; everything a later context needs is stored here.
 */
import { SealcastError } from '#core/errors.ts';
import type { CabacEngine } from './cabac-engine.ts';
import { CabacResidual } from './cabac-residual.ts';
import { FIRST_INTRA_B, FIRST_INTRA_P, I_NXN, I_PCM } from './macroblock-types.ts';
import { DIRECT, INTRA, INTRA_NXN, SKIPPED, TRANSFORM_8X8 } from './neighbours.ts';
import type { Neighbours } from './neighbours.ts';
import { CHROMA_AC, CHROMA_DC, LUMA_DC } from './sites.ts';
import type { MacroblockReader, SliceContext } from './slice-context.ts';

/** Longest Exp-Golomb prefix of an mvd: vectors stay below 2^14. */
const LONGEST_PREFIX = 20;

/** The CABAC side of the parser; one serves many slices. */
export class CabacReader implements MacroblockReader {
  readonly #slice: SliceContext;
  readonly #neighbours: Neighbours;
  readonly #engine: CabacEngine;
  readonly #residual: CabacResidual;

  constructor(slice: SliceContext, engine: CabacEngine) {
    this.#slice = slice;
    this.#neighbours = slice.neighbours;
    this.#engine = engine;
    this.#residual = new CabacResidual(engine, slice.sites);
  }

  /** mb_skip_flag. */
  skip(): boolean {
    return this.#engine.decision((this.#slice.type === 'B' ? 24 : 11) + this.#lacking(SKIPPED)) === 1;
  }

  /** end_of_slice_flag. */
  endOfSlice(): boolean {
    return this.#engine.terminate() === 1;
  }

  mbType(): number {
    const engine = this.#engine;
    const { type } = this.#slice;
    if (type === 'I') return engine.decision(3 + this.#lacking(INTRA_NXN)) === 0 ? I_NXN : this.#intraType(5, 1);
    if (type === 'P') {
      if (engine.decision(14) === 1) return FIRST_INTRA_P + this.#intraTypeBetweenInter(17);
      if (engine.decision(15) === 0) return 3 * engine.decision(16);
      return 2 - engine.decision(17);
    }
    if (engine.decision(27 + this.#lacking(DIRECT)) === 0) return 0;
    if (engine.decision(30) === 0) return 1 + engine.decision(32);
    let bins = engine.decision(31) << 3;
    bins |= engine.decision(32) << 2;
    bins |= engine.decision(32) << 1;
    bins |= engine.decision(32);
    if (bins < 8) return bins + 3;
    if (bins === 13) return FIRST_INTRA_B + this.#intraTypeBetweenInter(32);
    if (bins === 14) return 11;
    if (bins === 15) return 22;
    return bins * 2 + engine.decision(32) - 4;
  }

  #intraTypeBetweenInter(context: number): number {
    return this.#engine.decision(context) === 0 ? I_NXN : this.#intraType(context, 0);
  }

  /** The bins after the first of an intra type; `apart` is 1 where (in I slices) later bins have contexts of their own. */
  #intraType(context: number, apart: number): number {
    const engine = this.#engine;
    if (engine.terminate() === 1) return I_PCM;
    let type = 1 + 12 * engine.decision(context + 1);
    if (engine.decision(context + 2) === 1) type += 4 + 4 * engine.decision(context + 2 + apart);
    type += 2 * engine.decision(context + 3 + apart);
    return type + engine.decision(context + 3 + 2 * apart);
  }

  subMbType(): number {
    const engine = this.#engine;
    if (this.#slice.type === 'P') {
      if (engine.decision(21) === 1) return 0;
      if (engine.decision(22) === 0) return 1;
      return engine.decision(23) === 1 ? 2 : 3;
    }
    if (engine.decision(36) === 0) return 0;
    if (engine.decision(37) === 0) return 1 + engine.decision(39);
    let type = 3;
    if (engine.decision(38) === 1) {
      if (engine.decision(39) === 1) return 11 + engine.decision(39);
      type += 4;
    }
    type += 2 * engine.decision(39);
    return type + engine.decision(39);
  }

  transformSize8x8(): boolean {
    const { flags, mb, left, top, widthInMbs } = this.#neighbours;
    const a = left && ((flags[mb - 1] as number) & TRANSFORM_8X8) !== 0 ? 1 : 0;
    const b = top && ((flags[mb - widthInMbs] as number) & TRANSFORM_8X8) !== 0 ? 1 : 0;
    return this.#engine.decision(399 + a + b) === 1;
  }

  intraPredMode(): void {
    const engine = this.#engine;
    if (engine.decision(68) === 1) return;
    engine.decision(69);
    engine.decision(69);
    engine.decision(69);
  }

  intraChromaPredMode(): number {
    const engine = this.#engine;
    const { chromaMode, mb, left, top, widthInMbs } = this.#neighbours;
    // Inter macroblocks and I_PCM have 0 there.
    const a = left && chromaMode[mb - 1] !== 0 ? 1 : 0;
    const b = top && chromaMode[mb - widthInMbs] !== 0 ? 1 : 0;
    if (engine.decision(64 + a + b) === 0) return 0;
    if (engine.decision(67) === 0) return 1;
    return 2 + engine.decision(67);
  }

  codedBlockPattern(): number {
    const engine = this.#engine;
    const { pattern, mb, left, top, widthInMbs } = this.#neighbours;
    // Outside the slice counts as coded for luma and as not coded for chroma.
    const a = left ? (pattern[mb - 1] as number) : 0x0f;
    const b = top ? (pattern[mb - widthInMbs] as number) : 0x0f;
    const bit0 = engine.decision(73 + (1 - ((a >> 1) & 1)) + 2 * (1 - ((b >> 2) & 1)));
    const bit1 = engine.decision(73 + (1 - bit0) + 2 * (1 - ((b >> 3) & 1)));
    const bit2 = engine.decision(73 + (1 - ((a >> 3) & 1)) + 2 * (1 - bit0));
    const bit3 = engine.decision(73 + (1 - bit2) + 2 * (1 - bit1));
    const luma = bit0 | (bit1 << 1) | (bit2 << 2) | (bit3 << 3);
    if (!this.#slice.chroma) return luma;
    if (engine.decision(77 + (a > 15 ? 1 : 0) + (b > 15 ? 2 : 0)) === 0) return luma;
    return luma + 16 * (1 + engine.decision(81 + (a > 31 ? 1 : 0) + (b > 31 ? 2 : 0)));
  }

  qpDelta(): number {
    const engine = this.#engine;
    let context = this.#slice.lastQpDelta === 0 ? 60 : 61;
    let code = 0;
    while (engine.decision(context) === 1) {
      context = code === 0 ? 62 : 63;
      if (++code > 178) throw new SealcastError('media-malformed', 'mb_qp_delta is out of range');
    }
    return (code & 1) === 1 ? (code + 1) >> 1 : -(code >> 1);
  }

  reference(list: number, x8: number, y8: number, w8: number, h8: number, count: number): void {
    const engine = this.#engine;
    const { referenceAbove0, at8x8, chromaStride, left, top } = this.#neighbours;
    const above = referenceAbove0[list] as Uint8Array;
    const at = at8x8 + y8 * chromaStride + x8;
    let increment = x8 > 0 || left ? (above[at - 1] as number) : 0;
    if (y8 > 0 || top) increment += 2 * (above[at - chromaStride] as number);
    let reference = 0;
    while (engine.decision(54 + increment) === 1) {
      increment = reference === 0 ? 4 : 5;
      if (++reference >= count) throw new SealcastError('media-malformed', 'ref_idx is out of range');
    }
    if (reference === 0) return;
    above[at] = 1;
    if (w8 === 2) above[at + 1] = 1;
    if (h8 === 2) above[at + chromaStride] = 1;
    if (w8 === 2 && h8 === 2) above[at + chromaStride + 1] = 1;
  }

  motion(list: number, x: number, y: number, w: number, h: number): void {
    const { at4x4, stride } = this.#neighbours;
    const at = at4x4 + y * stride + x;
    for (let component = 0; component < 2; component++) {
      const plane = this.#neighbours.mvd[list * 2 + component] as Uint8Array;
      const size = this.#difference(plane, at, component === 0 ? 40 : 47, x > 0, y > 0);
      if (size === 0) continue;
      for (let row = 0, from = at; row < h; row++, from += stride) for (let column = 0; column < w; column++) plane[from + column] = size;
    }
  }

  /** One component of mvd; answers its magnitude, at most 255. */
  #difference(plane: Uint8Array, at: number, contexts: number, inX: boolean, inY: boolean): number {
    const engine = this.#engine;
    const { stride, left, top } = this.#neighbours;
    const sum = (inX || left ? (plane[at - 1] as number) : 0) + (inY || top ? (plane[at - stride] as number) : 0);
    if (engine.decision(contexts + (sum < 3 ? 0 : sum > 32 ? 2 : 1)) === 0) return 0;
    let size = 1;
    let context = contexts + 3;
    while (size < 9 && engine.decision(context) === 1) {
      if (size < 4) context++;
      size++;
    }
    if (size === 9) {
      let order = 3;
      while (engine.bypass() === 1) {
        size += 1 << order;
        if (++order > LONGEST_PREFIX) throw new SealcastError('media-malformed', 'a motion vector difference is out of range');
      }
      while (order-- > 0) size += engine.bypass() << order;
    }
    engine.bypass();
    return size < 255 ? size : 255;
  }

  clearMotion(): void {
    if (this.#slice.type !== 'I') this.#neighbours.clearMotion(this.#slice.type === 'B' ? 2 : 1);
  }

  pcm(): void {
    const at = Math.ceil(this.#engine.position / 8);
    this.#engine.start(at + this.#slice.pcmBits / 8);
  }

  lumaDc(): void {
    const { dcCoded, mb } = this.#neighbours;
    if (this.#residual.block(LUMA_DC, this.#dcNeighbours(0))) dcCoded[mb] = (dcCoded[mb] as number) | 1;
  }

  luma4x4(category: number, x: number, y: number): void {
    const { luma, at4x4, stride } = this.#neighbours;
    const at = at4x4 + y * stride + x;
    if (this.#residual.block(category, this.#blockNeighbours(luma, at, stride, x > 0, y > 0))) luma[at] = 1;
  }

  luma8x8(x8: number, y8: number): void {
    const { luma, at4x4, stride } = this.#neighbours;
    this.#residual.block8x8();
    const at = at4x4 + y8 * 2 * stride + x8 * 2;
    luma[at] = 1;
    luma[at + 1] = 1;
    luma[at + stride] = 1;
    luma[at + stride + 1] = 1;
  }

  chromaDc(plane: number): void {
    const { dcCoded, mb } = this.#neighbours;
    if (this.#residual.block(CHROMA_DC, this.#dcNeighbours(plane + 1))) dcCoded[mb] = (dcCoded[mb] as number) | (2 << plane);
  }

  chromaAc(plane: number, x8: number, y8: number): void {
    const { chroma, at8x8, chromaStride } = this.#neighbours;
    const blocks = chroma[plane] as Uint8Array;
    const at = at8x8 + y8 * chromaStride + x8;
    if (this.#residual.block(CHROMA_AC, this.#blockNeighbours(blocks, at, chromaStride, x8 > 0, y8 > 0))) blocks[at] = 1;
  }

  /** coded_block_flag increment of a DC block: bit `bit` of the neighbours' flags; outside the slice, whether we are intra. */
  #dcNeighbours(bit: number): number {
    const { dcCoded, flags, mb, left, top, widthInMbs } = this.#neighbours;
    const outside = ((flags[mb] as number) & INTRA) !== 0 ? 1 : 0;
    const a = left ? ((dcCoded[mb - 1] as number) >> bit) & 1 : outside;
    const b = top ? ((dcCoded[mb - widthInMbs] as number) >> bit) & 1 : outside;
    return a + 2 * b;
  }

  #blockNeighbours(blocks: Uint8Array, at: number, stride: number, inX: boolean, inY: boolean): number {
    const { flags, mb, left, top } = this.#neighbours;
    const outside = ((flags[mb] as number) & INTRA) !== 0 ? 1 : 0;
    const a = inX || left ? (blocks[at - 1] !== 0 ? 1 : 0) : outside;
    const b = inY || top ? (blocks[at - stride] !== 0 ? 1 : 0) : outside;
    return a + 2 * b;
  }

  /** How many of the left and upper macroblock are in the slice and lack `flag`. */
  #lacking(flag: number): number {
    const { flags, mb, left, top, widthInMbs } = this.#neighbours;
    const a = left && ((flags[mb - 1] as number) & flag) === 0 ? 1 : 0;
    const b = top && ((flags[mb - widthInMbs] as number) & flag) === 0 ? 1 : 0;
    return a + b;
  }
}
