// SPDX-License-Identifier: Apache-2.0
/**
 * The arithmetic decoding engine of CABAC (ITU-T H.264 clause 9.3.3.2).
 *
 * The standard's 9-bit offset is kept shifted left by `#spare` bits that are already loaded, so that bins need no bit-wise
 * reading; `position` still tells exactly how many bits the standard's engine has read, which is what replacing signs needs.
 * Invariant: between calls 7 <= spare <= 22 and value < range * 2^spare < 2^31. Input is padded by PADDING bytes and an
 * engine that runs more than four bytes past its end throws, so no read leaves the array and no input runs for ever.
 */
import { SealcastError } from '#core/errors.ts';
import { CONTEXTS, startContexts } from './cabac-contexts.ts';
import { LPS_RANGE, NEXT_LPS, NEXT_MPS } from './cabac-states.ts';

/** Bytes that must be readable (and zero) behind the end of the slice. */
export const PADDING = 8;

/** Decodes bins. One engine serves many slices. Throws `media-truncated` well past the end of the input. */
export class CabacEngine {
  /** States of the context variables; see `startContexts`. */
  readonly states: Uint8Array = new Uint8Array(CONTEXTS);
  /** codIRange, 256..510 between bins. A bypass bin does not change it. */
  range = 510;
  #value = 0;
  #spare = 0;
  #at = 0;
  #end = 0;
  #bytes: Uint8Array = new Uint8Array(PADDING);

  /** Begins a slice: contexts, then the engine at byte `at`. `bytes` reach PADDING bytes past `end`. */
  startSlice(bytes: Uint8Array, at: number, end: number, initIdc: number | undefined, sliceQp: number): void {
    this.#bytes = bytes;
    this.#end = end;
    startContexts(this.states, initIdc, sliceQp);
    this.start(at);
  }

  /** Starts the arithmetic decoder at byte `at` (clause 9.3.1.2), as at the start of a slice and after I_PCM samples. */
  start(at: number): void {
    if (at + 2 > this.#end) throw this.#short();
    const bytes = this.#bytes;
    this.range = 510;
    this.#value = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
    this.#spare = 15;
    this.#at = at + 3;
    // The two first values are impossible (clause 9.3.1.2): the engine's bound on value needs them refused.
    if (this.#value >= 510 << 15) throw new SealcastError('media-malformed', 'slice data starts with an impossible arithmetic code');
  }

  /** Bits of the payload that the standard's engine has read so far; the last one read has index `position - 1`. */
  get position(): number {
    return this.#at * 8 - this.#spare;
  }

  /** Decodes one bin with context variable `context`. */
  decision(context: number): number {
    const state = this.states[context] as number;
    const low = LPS_RANGE[state * 4 + ((this.range >> 6) & 3)] as number;
    const high = this.range - low;
    const split = high << this.#spare;
    if (this.#value < split) {
      this.states[context] = NEXT_MPS[state] as number;
      this.range = high;
      if (high < 256) {
        this.range = high << 1;
        if (--this.#spare < 7) this.#refill();
      }
      return state & 1;
    }
    this.#value -= split;
    this.states[context] = NEXT_LPS[state] as number;
    const shift = Math.clz32(low) - 23;
    this.range = low << shift;
    this.#spare -= shift;
    if (this.#spare < 7) this.#refill();
    return (state & 1) ^ 1;
  }

  /** Decodes one bin of equal probabilities that is not a coefficient's sign. */
  bypass(): number {
    const split = this.range << --this.#spare;
    const bin = this.#value < split ? 0 : 1;
    if (bin === 1) this.#value -= split;
    if (this.#spare < 7) this.#refill();
    return bin;
  }

  /** Decodes coeff_sign_flag: a bypass bin, kept apart because it is what marking replaces. Its bit has index `position - 1`. */
  sign(): number {
    const split = this.range << --this.#spare;
    const bin = this.#value < split ? 0 : 1;
    if (bin === 1) this.#value -= split;
    if (this.#spare < 7) this.#refill();
    return bin;
  }

  /** Decodes the bin before termination. After 1 nothing more is read: bit `position - 1` is the last one of the code. */
  terminate(): number {
    this.range -= 2;
    if (this.#value >= this.range << this.#spare) return 1;
    if (this.range < 256) {
      this.range <<= 1;
      if (--this.#spare < 7) this.#refill();
    }
    return 0;
  }

  #refill(): void {
    const at = this.#at;
    if (at > this.#end + 4) throw this.#short();
    this.#value = (this.#value << 16) | ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
    this.#spare += 16;
    this.#at = at + 2;
  }

  #short(): SealcastError {
    return new SealcastError('media-truncated', `slice data ends early: ${this.#end} bytes are not all of it`);
  }
}
