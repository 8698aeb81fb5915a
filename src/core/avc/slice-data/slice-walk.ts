// SPDX-License-Identifier: Apache-2.0
/**
 * Slice data from its first to its last macroblock (ITU-T H.264 clauses 7.3.4, 9.3.1.2, 7.3.2.11).
 *
 * Ending exactly at the stop bit is the proof that every bit before was understood: a slice that does not is refused whole.
 * Invariant: a macroblock address never reaches the picture's end; every loop reads bits or moves to the next macroblock.
 */
import { SealcastError } from '#core/errors.ts';
import type { Rbsp } from '../nal.ts';
import type { SliceHeader } from '../slice-header.ts';
import { PADDING } from './cabac-engine.ts';
import type { CabacEngine } from './cabac-engine.ts';
import { CabacReader } from './cabac-reader.ts';
import type { CavlcBits } from './cavlc-bits.ts';
import { CavlcReader } from './cavlc-reader.ts';
import { readMacroblock, skipMacroblock } from './macroblock.ts';
import type { SliceContext } from './slice-context.ts';

/** Where a slice ended. */
export type SliceEnd = {
  /** Address of the first macroblock after the slice. */
  readonly nextMb: number;
  /** Index of rbsp_stop_one_bit in the RBSP. */
  readonly stopBit: number;
};

/** Reads slices of one picture size with one set of tables. */
export class SliceWalk {
  readonly #slice: SliceContext;
  readonly #engine: CabacEngine;
  readonly #bits: CavlcBits;
  readonly #cabac: CabacReader;
  readonly #cavlc: CavlcReader;
  /** The payload with zeros behind it. */
  #padded: Uint8Array = new Uint8Array(1 << 16);

  constructor(slice: SliceContext, engine: CabacEngine, bits: CavlcBits) {
    this.#slice = slice;
    this.#engine = engine;
    this.#bits = bits;
    this.#cabac = new CabacReader(slice, engine);
    this.#cavlc = new CavlcReader(slice, bits);
  }

  /** Reads the slice that `beginSlice` was told of. Throws `media-malformed`, `media-truncated`. */
  read(rbsp: Rbsp, header: SliceHeader): SliceEnd {
    const { bytes } = rbsp;
    // cabac_zero_words and the padding of byte streams may follow the trailing bits.
    let end = bytes.length;
    while (end > 0 && bytes[end - 1] === 0) end--;
    if (header.headerBits >= end * 8) throw new SealcastError('media-truncated', 'a slice ends with its header');
    if (header.firstMb >= this.#slice.neighbours.macroblocks) throw new SealcastError('media-malformed', `a slice starts at macroblock ${header.firstMb}, outside the picture`);
    if (this.#padded.length < end + PADDING) this.#padded = new Uint8Array((end + PADDING) * 2);
    this.#padded.set(bytes.subarray(0, end));
    this.#padded.fill(0, end, end + PADDING);
    return header.pps.entropyCodingMode ? this.#readCabac(end, header) : this.#readCavlc(end, header);
  }

  #readCabac(end: number, header: SliceHeader): SliceEnd {
    const slice = this.#slice;
    const engine = this.#engine;
    const reader = this.#cabac;
    const { neighbours, firstMb } = slice;
    const inter = slice.type !== 'I';
    engine.startSlice(this.#padded, Math.ceil(header.headerBits / 8), end, header.cabacInitIdc, header.sliceQp);
    let mb = firstMb;
    do {
      if (mb >= neighbours.macroblocks) throw beyondPicture();
      neighbours.moveTo(mb, firstMb);
      if (inter && reader.skip()) skipMacroblock(slice, reader);
      else readMacroblock(slice, reader);
      mb++;
    } while (!reader.endOfSlice());
    // The last bit the engine has read is the stop bit; x264 writes arbitrary bits behind it in the last byte or two.
    const stopBit = engine.position - 1;
    const left = end * 8 - engine.position;
    if (left < 0) throw new SealcastError('media-truncated', 'slice data ends before its stop bit');
    if (left >= 16 || (((this.#padded[stopBit >> 3] as number) >> (7 - (stopBit & 7))) & 1) === 0) throw notAtEnd(left);
    return { nextMb: mb, stopBit };
  }

  #readCavlc(end: number, header: SliceHeader): SliceEnd {
    const slice = this.#slice;
    const bits = this.#bits;
    const reader = this.#cavlc;
    const { neighbours, firstMb } = slice;
    const inter = slice.type !== 'I';
    const last = this.#padded[end - 1] as number;
    const stopBit = end * 8 - 32 + Math.clz32(last & -last);
    bits.start(this.#padded, header.headerBits, stopBit);
    let mb = firstMb;
    // Without more data there is no macroblock at all, which the syntax does not know.
    if (!bits.more) throw new SealcastError('media-truncated', 'a slice ends with its header');
    while (bits.more) {
      if (inter) {
        const run = bits.ue();
        if (run > neighbours.macroblocks - mb) throw beyondPicture();
        for (let i = 0; i < run; i++, mb++) {
          neighbours.moveTo(mb, firstMb);
          skipMacroblock(slice, reader);
        }
        if (run > 0 && !bits.more) break;
      }
      if (mb >= neighbours.macroblocks) throw beyondPicture();
      neighbours.moveTo(mb, firstMb);
      readMacroblock(slice, reader);
      mb++;
    }
    return { nextMb: mb, stopBit };
  }
}

const beyondPicture = (): SealcastError => new SealcastError('media-malformed', 'a slice has more macroblocks than its picture');

const notAtEnd = (left: number): SealcastError => new SealcastError('media-malformed', `slice data says it ends ${left} bits before the end of its NAL unit`);
