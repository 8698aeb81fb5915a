// SPDX-License-Identifier: Apache-2.0
/**
 * What the parts of the parser know of the slice being read, and the reader of syntax elements that both entropy coders are.
 *
 * Invariant: fields are set by `beginSlice` and then changed only while macroblocks are read, in decoding order.
 */
import { SealcastError } from '#core/errors.ts';
import type { SliceHeader } from '../slice-header.ts';
import { Neighbours } from './neighbours.ts';
import { SignSites } from './sites.ts';

/** The kinds of slice that are parsed. */
export type ParsedSliceType = 'I' | 'P' | 'B';

/** State of the slice being read; one object serves many slices. */
export class SliceContext {
  readonly sites: SignSites = new SignSites();
  readonly neighbours: Neighbours;
  type: ParsedSliceType = 'I';
  firstMb = 0;
  /** 4:2:0 where true, else monochrome. */
  chroma = true;
  transform8x8 = false;
  direct8x8Inference = false;
  numRefIdxL0 = 0;
  numRefIdxL1 = 0;
  /** QP of luma in force, and the change that the last macroblock made to it (a CABAC context). */
  qp = 0;
  lastQpDelta = 0;
  qpOffsetLuma = 0;
  qpOffsetChroma = 0;
  chromaQpOffset = 0;
  secondChromaQpOffset = 0;
  /** Bits of one macroblock's I_PCM samples, a multiple of 8. */
  pcmBits = 0;
  /** Shapes and lists of the four sub-macroblocks being read. */
  readonly subShapes: Uint8Array = new Uint8Array(4);
  readonly subLists: Uint8Array = new Uint8Array(4);

  constructor(widthInMbs: number, heightInMbs: number) {
    this.neighbours = new Neighbours(widthInMbs, heightInMbs);
  }

  /** Takes over what the header and its parameter sets say. */
  beginSlice(header: SliceHeader, type: ParsedSliceType): void {
    const { sps, pps } = header;
    this.sites.count = 0;
    this.type = type;
    this.firstMb = header.firstMb;
    this.chroma = sps.chromaArrayType !== 0;
    this.transform8x8 = pps.transform8x8;
    this.direct8x8Inference = sps.direct8x8Inference;
    this.numRefIdxL0 = header.numRefIdxL0;
    this.numRefIdxL1 = header.numRefIdxL1;
    this.qp = header.sliceQp;
    this.lastQpDelta = 0;
    this.qpOffsetLuma = 6 * (sps.bitDepthLuma - 8);
    this.qpOffsetChroma = 6 * (sps.bitDepthChroma - 8);
    this.chromaQpOffset = pps.chromaQpOffset;
    this.secondChromaQpOffset = pps.secondChromaQpOffset;
    this.pcmBits = 256 * sps.bitDepthLuma + (this.chroma ? 128 * sps.bitDepthChroma : 0);
  }

  /** Applies mb_qp_delta (clause 7.4.5); throws where it is out of range. */
  changeQp(delta: number): void {
    const half = this.qpOffsetLuma / 2;
    if (delta < -26 - half || delta > 25 + half) throw new SealcastError('media-malformed', `mb_qp_delta ${delta} is out of range`);
    const span = 52 + this.qpOffsetLuma;
    this.qp = ((this.qp + this.qpOffsetLuma + delta + span) % span) - this.qpOffsetLuma;
    this.lastQpDelta = delta;
  }

  /** QP of chroma plane 0 (Cb) or 1 (Cr) at the QP of luma in force (clause 8.5.8). */
  chromaQp(plane: number): number {
    const index = Math.min(51, Math.max(-this.qpOffsetChroma, this.qp + (plane === 0 ? this.chromaQpOffset : this.secondChromaQpOffset)));
    return index < 30 ? index : (CHROMA_QP_FROM_30[index - 30] as number);
  }
}

/** Table 8-15 from qPI 30. */
const CHROMA_QP_FROM_30: readonly number[] = [29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39];

/**
 * Syntax elements of a macroblock, read by CABAC or by CAVLC. Positions x, y, w, h count 4x4 blocks inside the
 * macroblock (8x8 blocks where the name says so). Readers keep what they need of it for later contexts.
 */
export type MacroblockReader = {
  /** mb_type with the numbers of the slice type's table. */
  mbType(): number;
  subMbType(): number;
  /** transform_size_8x8_flag. */
  transformSize8x8(): boolean;
  /** One prev_intra_pred_mode_flag and, after 0, its rem_intra_pred_mode. */
  intraPredMode(): void;
  intraChromaPredMode(): number;
  codedBlockPattern(intra: boolean): number;
  qpDelta(): number;
  /** ref_idx of a partition of 8x8 blocks, among `count` references. */
  reference(list: number, x8: number, y8: number, w8: number, h8: number, count: number): void;
  /** Both components of a partition's mvd. */
  motion(list: number, x: number, y: number, w: number, h: number): void;
  clearMotion(): void;
  /** Skips the samples of I_PCM. */
  pcm(): void;
  lumaDc(): void;
  /** One 4x4 block of luma, AC of Intra_16x16 or whole. */
  luma4x4(category: number, x: number, y: number): void;
  luma8x8(x8: number, y8: number): void;
  chromaDc(plane: number): void;
  chromaAc(plane: number, x8: number, y8: number): void;
};
