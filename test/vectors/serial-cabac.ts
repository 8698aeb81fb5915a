// SPDX-License-Identifier: Apache-2.0
/**
 * A second CABAC engine, bit by bit as the standard's flow charts have it (ITU-T H.264 clause 9.3.3.2), that keeps a hash of
 * every bin except coefficient signs, and the signs apart. Two parses with equal hashes have read the same syntax.
 */
import { CabacEngine } from '#core/avc/slice-data/cabac-engine.ts';
import { startContexts } from '#core/avc/slice-data/cabac-contexts.ts';
import { LPS_RANGE } from '#core/avc/slice-data/cabac-states.ts';

/** Engine for tests; takes the place of the parser's own. */
export class SerialCabac extends CabacEngine {
  /** Of all bins but signs since the last `reset`. */
  hash = 0;
  signs: number[] = [];
  #data: Uint8Array = new Uint8Array(0);
  #limit = 0;
  #read = 0;
  #offset = 0;

  reset(): void {
    this.hash = 0x811c9dc5;
    this.signs = [];
  }

  override startSlice(bytes: Uint8Array, at: number, end: number, initIdc: number | undefined, sliceQp: number): void {
    this.#data = bytes;
    this.#limit = (end + 4) * 8;
    startContexts(this.states, initIdc, sliceQp);
    this.start(at);
  }

  override start(at: number): void {
    this.#read = at * 8;
    this.range = 510;
    this.#offset = 0;
    for (let i = 0; i < 9; i++) this.#offset = this.#offset * 2 + this.#bit();
  }

  override get position(): number {
    return this.#read;
  }

  #bit(): number {
    if (this.#read >= this.#limit) throw new RangeError('the second engine was led past the end');
    const bit = ((this.#data[this.#read >> 3] ?? 0) >> (7 - (this.#read & 7))) & 1;
    this.#read++;
    return bit;
  }

  #renormalise(): void {
    while (this.range < 256) {
      this.range *= 2;
      this.#offset = this.#offset * 2 + this.#bit();
    }
  }

  #note(bin: number, kind: number): number {
    this.hash = Math.imul(this.hash ^ (bin + kind * 2), 0x01000193) >>> 0;
    return bin;
  }

  override decision(context: number): number {
    const packed = this.states[context] as number;
    let state = packed >> 1;
    let mps = packed & 1;
    const lps = LPS_RANGE[packed * 4 + ((this.range >> 6) & 3)] as number;
    this.range -= lps;
    let bin = mps;
    if (this.#offset >= this.range) {
      bin = 1 - mps;
      this.#offset -= this.range;
      this.range = lps;
      if (state === 0) mps = 1 - mps;
      state = fallFrom(state);
    } else if (state < 62) {
      state++;
    }
    this.states[context] = state * 2 + mps;
    this.#renormalise();
    return this.#note(bin, 1 + context);
  }

  #equal(): number {
    this.#offset = this.#offset * 2 + this.#bit();
    if (this.#offset < this.range) return 0;
    this.#offset -= this.range;
    return 1;
  }

  override bypass(): number {
    return this.#note(this.#equal(), 600);
  }

  override sign(): number {
    const bin = this.#equal();
    this.signs.push(bin);
    return bin;
  }

  override terminate(): number {
    this.range -= 2;
    if (this.#offset >= this.range) return this.#note(1, 700);
    this.#renormalise();
    return this.#note(0, 700);
  }
}

/** transIdxLPS, written out independently of the parser's table. */
const FALL =
  '0 0 1 2 2 4 4 5 6 7 8 9 9 11 11 12 13 13 15 15 16 16 18 18 19 19 21 21 22 22 23 24 24 25 26 26 27 27 28 29 29 30 30 30 31 32 32 33 33 33 34 34 35 35 35 36 36 36 37 37 37 38 38 63'
    .split(' ')
    .map(Number);
const fallFrom = (state: number): number => FALL[state] as number;
