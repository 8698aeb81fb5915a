// SPDX-License-Identifier: Apache-2.0
/**
 * Big-endian writer into a growing (or exactly sized) buffer.
 *
 * Invariant: a value that does not fit its field throws RangeError instead of being cut: a wrapped length field is
 * how parsers get attacked.
 */
import { encodeUtf8 } from './utf8.ts';

/** Appends big-endian fields; every method returns the writer, `finish` the bytes. Throws RangeError for values that do not fit. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;

  /** `capacity` is a hint; the buffer grows as needed. */
  constructor(capacity: number = 256) {
    this.#bytes = new Uint8Array(Math.max(16, capacity));
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Begins anew in the same memory: what `finish` gave before is written over. */
  restart(): this {
    this.#length = 0;
    return this;
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    this.#check(value, 0xff);
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    this.#check(value, 0xffff);
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
    return this;
  }

  u24(value: number): this {
    this.#check(value, 0xffffff);
    const at = this.#grow(3);
    this.#view.setUint16(at, value >>> 8);
    this.#view.setUint8(at + 2, value & 0xff);
    return this;
  }

  u32(value: number): this {
    this.#check(value, 0xffffffff);
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value > 0xffffffffffffffffn) throw new RangeError('value does not fit 64 bits');
    const at = this.#grow(8);
    this.#view.setBigUint64(at, value);
    return this;
  }

  /** Eight bytes, from a number of at most 2^53 - 1: instants in microseconds. */
  u53(value: number): this {
    this.#check(value, Number.MAX_SAFE_INTEGER);
    const at = this.#grow(8);
    this.#view.setUint32(at, Math.floor(value / 2 ** 32));
    this.#view.setUint32(at + 4, value % 2 ** 32);
    return this;
  }

  i16(value: number): this {
    if (!Number.isInteger(value) || value < -0x8000 || value > 0x7fff) throw new RangeError('value does not fit a signed 16-bit field');
    const at = this.#grow(2);
    this.#view.setInt16(at, value);
    return this;
  }

  i32(value: number): this {
    if (!Number.isInteger(value) || value < -0x80000000 || value > 0x7fffffff) throw new RangeError('value does not fit a signed 32-bit field');
    const at = this.#grow(4);
    this.#view.setInt32(at, value);
    return this;
  }

  bytes(part: Uint8Array): this {
    const at = this.#grow(part.length);
    this.#bytes.set(part, at);
    return this;
  }

  /** UTF-8, no length, no terminator. */
  text(text: string): this {
    return this.bytes(encodeUtf8(text));
  }

  zeros(length: number): this {
    this.#grow(length);
    return this;
  }

  /** Overwrites four bytes written before, e.g. a length known only now. */
  patchU32(offset: number, value: number): this {
    this.#check(value, 0xffffffff);
    if (offset < 0 || offset + 4 > this.#length) throw new RangeError('patch outside the written bytes');
    this.#view.setUint32(offset, value);
    return this;
  }

  /** What was written: a view that shares memory with the writer; do not write afterwards. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  #check(value: number, max: number): void {
    if (!Number.isInteger(value) || value < 0 || value > max) throw new RangeError(`value does not fit a field of at most ${max}`);
  }

  /** Makes room; the buffer may be another one afterwards, so take it after this call. */
  #grow(by: number): number {
    const at = this.#length;
    const length = at + by;
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, at));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = length;
    return at;
  }
}
