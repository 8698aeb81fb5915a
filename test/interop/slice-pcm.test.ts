// SPDX-License-Identifier: Apache-2.0
/**
 * I_PCM between coded macroblocks, which encoders hardly ever write: slices written here, with an arithmetic encoder after
 * the standard's flow charts (ITU-T H.264 clause 9.3.4), read by the parser, and by ffmpeg as the judge of the writer.
 */
import { describe, expect, it } from 'vitest';
import { startContexts } from '#core/avc/slice-data/cabac-contexts.ts';
import { LPS_RANGE, NEXT_LPS, NEXT_MPS } from '#core/avc/slice-data/cabac-states.ts';
import { createSliceDataParser } from '#core/avc/slice-data/slice-data.ts';
import { LUMA_DC } from '#core/avc/slice-data/sites.ts';
import { escapeNal } from '../vectors/escape-nal.ts';
import { decodeStrictly, eachSlice } from './slice-streams.ts';

const u = (value: number, width: number): string => value.toString(2).padStart(width, '0');
const ue = (value: number): string => {
  const code = (value + 1).toString(2);
  return '0'.repeat(code.length - 1) + code;
};
const align = (bits: string, fill: string): string => bits + fill.repeat((8 - (bits.length % 8)) % 8);
const nal = (header: number, bits: string): Uint8Array =>
  escapeNal(
    header,
    Uint8Array.from(align(`${bits}1`, '0').match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2)),
  );

/** Arithmetic encoder; `bits` is what it has written. */
class Encoder {
  bits = '';
  readonly states = new Uint8Array(436);
  #low = 0;
  #range = 510;
  #outstanding = 0;
  #first = true;

  constructor(header: string) {
    this.bits = align(header, '1');
    startContexts(this.states, undefined, 26);
  }

  #put(bit: number): void {
    if (this.#first) this.#first = false;
    else this.bits += bit;
    this.bits += String(1 - bit).repeat(this.#outstanding);
    this.#outstanding = 0;
  }

  #renormalise(): void {
    while (this.#range < 256) {
      if (this.#low < 256) this.#put(0);
      else if (this.#low >= 512) {
        this.#low -= 512;
        this.#put(1);
      } else {
        this.#low -= 256;
        this.#outstanding++;
      }
      this.#range *= 2;
      this.#low *= 2;
    }
  }

  decision(context: number, bin: number): void {
    const state = this.states[context] as number;
    const lps = LPS_RANGE[state * 4 + ((this.#range >> 6) & 3)] as number;
    this.#range -= lps;
    if (bin === (state & 1)) {
      this.states[context] = NEXT_MPS[state] as number;
    } else {
      this.#low += this.#range;
      this.#range = lps;
      this.states[context] = NEXT_LPS[state] as number;
    }
    this.#renormalise();
  }

  bypass(bin: number): void {
    this.#low *= 2;
    if (bin === 1) this.#low += this.#range;
    if (this.#low >= 1024) {
      this.#put(1);
      this.#low -= 1024;
    } else if (this.#low < 512) this.#put(0);
    else {
      this.#low -= 512;
      this.#outstanding++;
    }
  }

  terminate(bin: number): void {
    this.#range -= 2;
    if (bin === 0) {
      this.#renormalise();
      return;
    }
    this.#low += this.#range;
    this.#range = 2;
    this.#renormalise();
    this.#put((this.#low >> 9) & 1);
    this.bits += u(((this.#low >> 7) & 3) | 1, 2);
  }

  raw(bits: string): void {
    this.bits = align(this.bits, '0') + bits;
    this.#low = 0;
    this.#range = 510;
    this.#first = true;
  }
}

const WIDTH = 8;
/** A coefficient's sign for a coded macroblock, or nothing for I_PCM, by column. */
const ROW: readonly (0 | 1 | undefined)[] = [undefined, 0, undefined, undefined, 1, 0, undefined, 1];
const sample = (column: number, i: number): number => 16 + ((column * 37 + i * 11) % 200);
const samples = (column: number): string => Array.from({ length: 384 }, (_, i) => u(sample(column, i), 8)).join('');

const sps = nal(0x67, u(77, 8) + u(0, 8) + u(30, 8) + ue(0) + ue(0) + ue(2) + ue(1) + '0' + ue(WIDTH - 1) + ue(0) + '1' + '1' + '0' + '0');
const pps = (cabac: boolean): Uint8Array => nal(0x68, ue(0) + ue(0) + (cabac ? '1' : '0') + '0' + ue(0) + ue(0) + ue(0) + '0' + '00' + ue(0) + ue(0) + ue(0) + '1' + '0' + '0');
/** First macroblock 0, I slice, PPS 0, frame_num 0, IDR 0, no marking flags, QP 26, no deblocking. */
const header = ue(0) + ue(7) + ue(0) + '0000' + ue(0) + '00' + ue(0) + ue(1);

const cabacSlice = (): string => {
  const encoder = new Encoder(header);
  for (const [column, sign] of ROW.entries()) {
    const left = column > 0 ? 1 : 0;
    // Neither I_PCM nor Intra_16x16 is I_NxN.
    encoder.decision(3 + left, 1);
    if (sign === undefined) {
      encoder.terminate(1);
      encoder.raw(samples(column));
    } else {
      // Intra_16x16 with DC prediction and no coded AC, then chroma mode 0, QP change 0 and one DC coefficient of 1.
      encoder.terminate(0);
      encoder.decision(6, 0);
      encoder.decision(7, 0);
      encoder.decision(9, 1);
      encoder.decision(10, 0);
      encoder.decision(64, 0);
      encoder.decision(60, 0);
      // The left block is coded or I_PCM; above is no macroblock, which counts as coded for intra.
      encoder.decision(85 + left + 2, 1);
      encoder.decision(105, 1);
      encoder.decision(166, 1);
      encoder.decision(228, 0);
      encoder.bypass(sign);
    }
    encoder.terminate(column === WIDTH - 1 ? 1 : 0);
  }
  // The encoder's flush has written the stop bit already.
  return encoder.bits.slice(0, -1);
};

const cavlcSlice = (): string => {
  let bits = header;
  for (const [column, sign] of ROW.entries()) {
    if (sign === undefined) {
      bits = align(bits + ue(25), '0') + samples(column);
      continue;
    }
    // nC is 16 beside I_PCM, else the number of AC coefficients on the left: 0.
    const token = column > 0 && ROW[column - 1] === undefined ? '000001' : '01';
    bits += `${ue(3) + ue(0) + ue(0) + token + sign}1`;
  }
  return bits;
};

const join = (...units: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(units.flatMap((unit) => [Uint8Array.of(0, 0, 0, 1), unit])));

describe('I_PCM', () => {
  for (const [coder, slice] of [
    ['CABAC', cabacSlice()],
    ['CAVLC', cavlcSlice()],
  ] as const) {
    it(`${coder}: the parser finds the coefficients between`, () => {
      const stream = join(sps, pps(coder === 'CABAC'), nal(0x65, slice));
      const found: number[][] = [];
      eachSlice(stream, (unit, sets) => {
        const answer = createSliceDataParser().parse(unit.nal, sets);
        if (answer.sites === 'none') throw new Error(answer.because);
        const { sites, nextMb } = answer;
        expect(nextMb).toBe(WIDTH);
        for (let i = 0; i < sites.count; i++)
          found.push([sites.mb[i] as number, sites.level[i] as number, sites.block[i] as number, sites.index[i] as number, sites.qp[i] as number]);
      });
      expect(found).toEqual(ROW.flatMap((sign, column) => (sign === undefined ? [] : [[column, sign === 1 ? -1 : 1, LUMA_DC, 0, 26]])));
    });

    it(`${coder}: ffmpeg decodes the samples`, () => {
      const frame = decodeStrictly(join(sps, pps(coder === 'CABAC'), nal(0x65, slice)), 'yuv420p');
      expect(frame.length).toBe(WIDTH * 384);
      for (const [column, sign] of ROW.entries()) {
        if (sign !== undefined) continue;
        for (let i = 0; i < 256; i++) expect(frame[(i >> 4) * WIDTH * 16 + column * 16 + (i & 15)]).toBe(sample(column, i));
      }
    });
  }
});
