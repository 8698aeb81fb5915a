// SPDX-License-Identifier: Apache-2.0
/**
 * The sign bits found in one slice, as columns of typed arrays: up to a million a second pass through here.
 *
 * Invariant: rows are in order of `bit`; a row's bit lies in slice data, never in a header.
 */
import type { Rbsp } from '../nal.ts';

/** Block categories (ctxBlockCat, table 9-42). */
export const LUMA_DC = 0;
export const LUMA_AC = 1;
export const LUMA_4X4 = 2;
export const CHROMA_DC = 3;
export const CHROMA_AC = 4;
export const LUMA_8X8 = 5;

/** Sign bits of coefficients. Arrays are longer than `count` and reused for the next slice. */
export class SignSites {
  count = 0;
  /** Index of the sign's bit in the RBSP (payload without NAL header and emulation prevention). */
  bit: Uint32Array = new Uint32Array(1024);
  /** Index in the NAL unit (header byte included, escapes counted) of the byte that holds the bit; set by `locate`. */
  nalByte: Uint32Array = new Uint32Array(1024);
  /** codIRange at the sign's bin; 0 where the sign is a plain bit (CAVLC). */
  range: Uint16Array = new Uint16Array(1024);
  /** The quantised coefficient with its sign, never 0. */
  level: Int32Array = new Int32Array(1024);
  /** Block category, see the constants above. */
  block: Uint8Array = new Uint8Array(1024);
  /** Place in the zigzag scan of the 4x4 (0-15), 8x8 (0-63) or chroma DC (0-3) block. */
  index: Uint8Array = new Uint8Array(1024);
  /** QP in force for the block: QP of luma, or of the chroma plane. */
  qp: Int8Array = new Int8Array(1024);
  /** Macroblock address: row * width in macroblocks + column. */
  mb: Uint32Array = new Uint32Array(1024);
  /** Properties of the macroblock, the flags of `neighbours.ts`. */
  kind: Uint8Array = new Uint8Array(1024);
  /** Macroblock, properties and QP that the next rows get. */
  currentMb = 0;
  currentKind = 0;
  currentQp = 0;

  /** Appends a row for the current macroblock. */
  add(bit: number, range: number, level: number, block: number, index: number): void {
    const row = this.count;
    if (row === this.bit.length) this.#grow();
    this.bit[row] = bit;
    this.range[row] = range;
    this.level[row] = level;
    this.block[row] = block;
    this.index[row] = index;
    this.qp[row] = this.currentQp;
    this.mb[row] = this.currentMb;
    this.kind[row] = this.currentKind;
    this.count = row + 1;
  }

  /** Sets `nalByte` of all rows, in one pass over rows and removed bytes. */
  locate(rbsp: Rbsp): void {
    const { removed } = rbsp;
    let escapes = 0;
    for (let row = 0; row < this.count; row++) {
      const byte = (this.bit[row] as number) >> 3;
      while (escapes < removed.length && (removed[escapes] as number) <= byte) escapes++;
      this.nalByte[row] = 1 + byte + escapes;
    }
  }

  #grow(): void {
    const length = this.bit.length * 2;
    this.bit = copyInto(new Uint32Array(length), this.bit);
    this.nalByte = new Uint32Array(length);
    this.range = copyInto(new Uint16Array(length), this.range);
    this.level = copyInto(new Int32Array(length), this.level);
    this.block = copyInto(new Uint8Array(length), this.block);
    this.index = copyInto(new Uint8Array(length), this.index);
    this.qp = copyInto(new Int8Array(length), this.qp);
    this.mb = copyInto(new Uint32Array(length), this.mb);
    this.kind = copyInto(new Uint8Array(length), this.kind);
  }
}

const copyInto = <T extends { set(from: T): void }>(to: T, from: T): T => {
  to.set(from);
  return to;
};
