// SPDX-License-Identifier: Apache-2.0
/**
 * Big-endian cursor over bytes from outside.
 *
 * Invariant: never reads past its end; a short input is `media-truncated` (or the code the caller names), never
 * `undefined` or NaN. Returned arrays are views of the input, not copies.
 */
import { SealcastError } from '#core/errors.ts';
import type { ErrorCode } from '#core/errors.ts';

/** Reads big-endian fields one after the other; `offset` is where it stands. A failed read does not move it. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  readonly #code: ErrorCode;
  #at: number;

  /** `what` names the structure in error messages; `code` is what a short input throws (default `media-truncated`). */
  constructor(bytes: Uint8Array, what: string = 'input', code: ErrorCode = 'media-truncated') {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.#code = code;
    this.#at = 0;
  }

  /** Offset of the next byte. */
  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.bytes.length - this.#at;
  }

  /** Moves to an absolute offset in [0, length]. */
  seek(offset: number): void {
    if (!Number.isInteger(offset) || offset < 0 || offset > this.bytes.length) throw this.#short(offset);
    this.#at = offset;
  }

  skip(length: number): void {
    this.#take(length);
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u24(): number {
    const at = this.#take(3);
    return (this.#view.getUint16(at) << 8) | this.#view.getUint8(at + 2);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  i16(): number {
    return this.#view.getInt16(this.#take(2));
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4));
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8));
  }

  /** The next `length` bytes, as a view of the input. */
  take(length: number): Uint8Array {
    const at = this.#take(length);
    return this.bytes.subarray(at, at + length);
  }

  /** Everything that is left, as a view of the input. */
  rest(): Uint8Array {
    return this.take(this.remaining);
  }

  /** Throws `media-malformed` (or the caller's code) unless everything was read. */
  end(): void {
    if (this.remaining === 0) return;
    const code = this.#code === 'media-truncated' ? 'media-malformed' : this.#code;
    throw new SealcastError(code, `${this.#what}: ${this.remaining} unexpected bytes at the end`);
  }

  #take(length: number): number {
    const at = this.#at;
    if (!Number.isInteger(length) || length < 0 || length > this.bytes.length - at) throw this.#short(at + length);
    this.#at = at + length;
    return at;
  }

  #short(needed: number): SealcastError {
    return new SealcastError(this.#code, `${this.#what} ends early: ${needed} bytes needed, ${this.bytes.length} there`);
  }
}
