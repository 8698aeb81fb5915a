// SPDX-License-Identifier: Apache-2.0
/**
 * The bit cursor of CAVLC slice data: like `BitReader`, but for millions of short codes a second (ITU-T H.264 clause 7.2).
 *
 * Invariant: the cursor never passes the stop bit; input is padded, so that the four bytes looked at are always there.
 */
import { SealcastError } from '#core/errors.ts';
import { PADDING } from './cabac-engine.ts';
import type { CodeTable } from './cavlc-tables.ts';

/** Reads codes of one slice after the other. Throws `media-truncated` at the stop bit, `media-malformed` for what is no code. */
export class CavlcBits {
  /** Index of the next bit. */
  position = 0;
  #bytes: Uint8Array = new Uint8Array(PADDING);
  #end = 0;

  /** Begins at bit `at`; `end` is the index of the stop bit. `bytes` reach PADDING bytes past it. */
  start(bytes: Uint8Array, at: number, end: number): void {
    this.#bytes = bytes;
    this.#end = end;
    this.position = at;
  }

  /** more_rbsp_data(). */
  get more(): boolean {
    return this.position < this.#end;
  }

  /** The next 25 bits or more, first bit highest, without reading them. */
  #look(): number {
    const bytes = this.#bytes;
    const at = this.position >> 3;
    const word = ((bytes[at] as number) << 24) | ((bytes[at + 1] as number) << 16) | ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
    return word << (this.position & 7);
  }

  skip(count: number): void {
    this.position += count;
    if (this.position > this.#end) throw new SealcastError('media-truncated', 'slice data ends inside a macroblock');
  }

  /** u(n), n from 1 to 25. */
  bits(count: number): number {
    const value = this.#look() >>> (32 - count);
    this.skip(count);
    return value;
  }

  /** A sign: u(1), kept apart because it is what marking replaces. */
  sign(): number {
    const value = this.#look() >>> 31;
    this.skip(1);
    return value;
  }

  /** ue(v) below 2^25, which is above every range in slice data. */
  ue(): number {
    const zeros = Math.clz32(this.#look());
    if (zeros > 24) throw new SealcastError('media-malformed', 'slice data holds an exp-Golomb code beyond every range');
    this.skip(zeros);
    return this.bits(zeros + 1) - 1;
  }

  /** se(v). */
  se(): number {
    const code = this.ue();
    return (code & 1) === 1 ? (code + 1) >> 1 : -(code >> 1);
  }

  /** Zeros before the next one; reads both. */
  zeros(): number {
    const zeros = Math.clz32(this.#look());
    if (zeros > 24) throw new SealcastError('media-malformed', 'slice data holds a level beyond every range');
    this.skip(zeros + 1);
    return zeros;
  }

  /** Value of the next code of `table`. */
  code(table: CodeTable): number {
    const word = this.#look();
    const zeros = Math.clz32(word);
    // A table ends after 16 zeros; shifting by 32 would shift by 0, hence the two steps.
    const entry = table[zeros > 16 ? 128 : zeros * 8 + (((word << zeros) << 1) >>> 29)] as number;
    if (entry === 0) throw new SealcastError('media-malformed', 'slice data holds a bit pattern that is no code');
    this.skip(entry & 31);
    return entry >> 5;
  }
}
