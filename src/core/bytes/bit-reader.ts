// SPDX-License-Identifier: Apache-2.0
/**
 * Bit cursor over an RBSP (ITU-T H.264 clause 7.2: u(n), ue(v), se(v), more_rbsp_data).
 *
 * Takes bytes whose emulation prevention is already removed.
 * Invariant: bounded; a short input is `media-truncated`, an exp-Golomb code above 32 bits is `media-malformed`.
 */
import { SealcastError } from '#core/errors.ts';

/** Reads bits most significant first; `position` counts them. Throws `media-truncated` and `media-malformed`. */
export class BitReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #what: string;
  #at = 0;

  constructor(bytes: Uint8Array, what: string = 'bit stream') {
    this.#bytes = bytes;
    this.#end = bytes.length * 8;
    this.#what = what;
  }

  /** Bits read so far. */
  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  bit(): 0 | 1 {
    if (this.#at >= this.#end) throw this.#short(1);
    const value = ((this.#bytes[this.#at >> 3] as number) >> (7 - (this.#at & 7))) & 1;
    this.#at++;
    return value as 0 | 1;
  }

  flag(): boolean {
    return this.bit() === 1;
  }

  /** u(n), n in 0..32. */
  bits(count: number): number {
    if (count < 0 || count > 32) throw new RangeError('a field has 0 to 32 bits');
    if (count > this.#end - this.#at) throw this.#short(count);
    let value = 0;
    let left = count;
    while (left > 0) {
      const inByte = this.#at & 7;
      const step = Math.min(8 - inByte, left);
      const part = ((this.#bytes[this.#at >> 3] as number) >> (8 - inByte - step)) & ((1 << step) - 1);
      value = value * 2 ** step + part;
      this.#at += step;
      left -= step;
    }
    return value;
  }

  skip(count: number): void {
    if (count < 0 || count > this.#end - this.#at) throw this.#short(count);
    this.#at += count;
  }

  /** ue(v): 0 .. 2^32-2. */
  ue(): number {
    let zeros = 0;
    while (this.bit() === 0) {
      if (++zeros > 31) throw new SealcastError('media-malformed', `${this.#what}: an exp-Golomb code is longer than 32 bits`);
    }
    return 2 ** zeros - 1 + this.bits(zeros);
  }

  /** se(v). */
  se(): number {
    const code = this.ue();
    return code % 2 === 1 ? (code + 1) / 2 : code === 0 ? 0 : -code / 2;
  }

  /** more_rbsp_data(): whether anything but the stop bit and trailing zeros is left. */
  moreRbspData(): boolean {
    let last = this.#bytes.length - 1;
    while (last >= 0 && this.#bytes[last] === 0) last--;
    if (last < 0) return false;
    const byte = this.#bytes[last] as number;
    const stop = last * 8 + 7 - Math.log2(byte & -byte);
    return this.#at < stop;
  }

  #short(count: number): SealcastError {
    return new SealcastError('media-truncated', `${this.#what} ends early: ${count} bits needed, ${this.#end - this.#at} left`);
  }
}
