// SPDX-License-Identifier: Apache-2.0
/**
 * What later macroblocks ask about earlier ones (ITU-T H.264 clause 6.4.9-6.4.11 without MBAFF), for one whole picture.
 *
 * Arrays lie in picture order, so the neighbours of element i are i - 1 and i - stride; `left` and `top` say whether those of
 * the current macroblock belong to this slice. Slices do not depend on one another, so nothing is cleared between them.
 * Invariant: a macroblock writes all its elements before a later one of the slice reads them.
 */

/** Properties of a macroblock, as flags. */
export const SKIPPED = 1;
export const INTRA = 2;
export const INTRA_NXN = 4;
export const INTRA_16X16 = 8;
export const PCM = 16;
export const TRANSFORM_8X8 = 32;
/** B_Skip and B_Direct_16x16: prediction derived, not sent. */
export const DIRECT = 64;

/** Neighbourhood of one picture, and the position of the current macroblock in it. */
export class Neighbours {
  readonly widthInMbs: number;
  readonly macroblocks: number;
  /** 4x4 blocks in a row of the picture; 8x8 blocks (also 4x4 blocks of one chroma plane) are half of that. */
  readonly stride: number;
  readonly chromaStride: number;
  /** Per macroblock: flags above, coded block pattern, intra_chroma_pred_mode, coded flags of DC blocks (luma, Cb, Cr = bits 0, 1, 2). */
  readonly flags: Uint8Array;
  readonly pattern: Uint8Array;
  readonly chromaMode: Uint8Array;
  readonly dcCoded: Uint8Array;
  /** Per 4x4 block: number of coefficients (CAVLC) or whether there are any (CABAC). */
  readonly luma: Uint8Array;
  readonly chroma: readonly [Uint8Array, Uint8Array];
  /** CABAC only. Per 8x8 block and list: whether ref_idx is above 0. */
  readonly referenceAbove0: readonly [Uint8Array, Uint8Array];
  /** CABAC only. Per 4x4 block: |mvd| up to 255, at list * 2 + component. */
  readonly mvd: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array];
  /** Address of the current macroblock, and its first 4x4 and 8x8 element. */
  mb = 0;
  at4x4 = 0;
  at8x8 = 0;
  /** Whether the left and the upper macroblock are in this slice. */
  left = false;
  top = false;
  readonly #luma32: Uint32Array;
  readonly #chroma16: readonly [Uint16Array, Uint16Array];
  readonly #references16: readonly [Uint16Array, Uint16Array];
  readonly #mvd32: readonly Uint32Array[];

  constructor(widthInMbs: number, heightInMbs: number) {
    const count = widthInMbs * heightInMbs;
    const bytes = (perMacroblock: number): Uint8Array => new Uint8Array(count * perMacroblock);
    this.widthInMbs = widthInMbs;
    this.macroblocks = count;
    this.stride = widthInMbs * 4;
    this.chromaStride = widthInMbs * 2;
    this.flags = bytes(1);
    this.pattern = bytes(1);
    this.chromaMode = bytes(1);
    this.dcCoded = bytes(1);
    this.luma = bytes(16);
    this.chroma = [bytes(4), bytes(4)];
    this.referenceAbove0 = [bytes(4), bytes(4)];
    this.mvd = [bytes(16), bytes(16), bytes(16), bytes(16)];
    this.#luma32 = new Uint32Array(this.luma.buffer);
    this.#chroma16 = [new Uint16Array(this.chroma[0].buffer), new Uint16Array(this.chroma[1].buffer)];
    this.#references16 = [new Uint16Array(this.referenceAbove0[0].buffer), new Uint16Array(this.referenceAbove0[1].buffer)];
    this.#mvd32 = this.mvd.map((plane) => new Uint32Array(plane.buffer));
  }

  /** Moves to macroblock `mb` of a slice that began with macroblock `firstMb`. */
  moveTo(mb: number, firstMb: number): void {
    const row = Math.floor(mb / this.widthInMbs);
    const column = mb - row * this.widthInMbs;
    this.mb = mb;
    this.at4x4 = row * 4 * this.stride + column * 4;
    this.at8x8 = row * 2 * this.chromaStride + column * 2;
    this.left = column > 0 && mb > firstMb;
    this.top = mb - this.widthInMbs >= firstMb;
  }

  /** Sets the number of coefficients of all blocks of the macroblock: 0 before they are read, 16 for I_PCM. */
  fillCoefficients(count: number): void {
    const four = count * 0x01010101;
    const step = this.widthInMbs;
    let at = this.at4x4 >> 2;
    this.#luma32[at] = four;
    this.#luma32[(at += step)] = four;
    this.#luma32[(at += step)] = four;
    this.#luma32[at + step] = four;
    at = this.at8x8 >> 1;
    const two = four & 0xffff;
    this.#chroma16[0][at] = two;
    this.#chroma16[1][at] = two;
    this.#chroma16[0][at + step] = two;
    this.#chroma16[1][at + step] = two;
  }

  /** Forgets the motion of the macroblock in `lists` lists: what is not sent counts as zero (clause 9.3.3.1.1.6-7). */
  clearMotion(lists: number): void {
    const step = this.widthInMbs;
    const at8 = this.at8x8 >> 1;
    const at4 = this.at4x4 >> 2;
    for (let list = 0; list < lists; list++) {
      const references = this.#references16[list] as Uint16Array;
      references[at8] = 0;
      references[at8 + step] = 0;
      const horizontal = this.#mvd32[list * 2] as Uint32Array;
      const vertical = this.#mvd32[list * 2 + 1] as Uint32Array;
      for (let row = 0, at = at4; row < 4; row++, at += step) {
        horizontal[at] = 0;
        vertical[at] = 0;
      }
    }
  }
}
