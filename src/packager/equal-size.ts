// SPDX-License-Identifier: Apache-2.0
/**
 * Makes all variants of a segment equally long, so that an observer of sizes cannot tell who gets which.
 *
 * ISO/IEC 14496-12 section 8.1.2: a `free` box behind the last `mdat` is skipped by every reader. It has at least 8 bytes:
 * where the largest variant is nearer than that, all of them grow.
 * Invariant: media bytes and their offsets stay as they are; every variant of a segment ends with the same length.
 */
import { SealcastError } from '#core/errors.ts';
import type { ObjectStore } from '#ports';

const HEADER = 8;

/** `bytes` grown to `length` by one `free` box; `length` is theirs or at least 8 more. */
export const padTo = (bytes: Uint8Array, length: number): Uint8Array => {
  const padding = length - bytes.length;
  if (padding === 0) return bytes;
  if (padding < HEADER) throw new RangeError('a free box has at least 8 bytes');
  const out = new Uint8Array(length);
  out.set(bytes);
  new DataView(out.buffer).setUint32(bytes.length, padding);
  out.set([0x66, 0x72, 0x65, 0x65], bytes.length + 4);
  return out;
};

/** The length that all of `lengths` can be padded to: the largest, or the least above it that leaves room for boxes. */
export const commonLength = (lengths: readonly number[]): number => {
  const largest = Math.max(...lengths);
  const tight = lengths.some((length) => length !== largest && largest - length < HEADER);
  // Whoever is largest then gets a box too, and nobody less than 8 bytes.
  return tight ? largest + HEADER : largest;
};

/** Pads segments 0..`segments`-1 of every variant below `folder`. Answers the bytes of each variant afterwards. */
export const equaliseSizes = async (options: { store: ObjectStore; folder: string; variants: readonly string[]; segments: number }): Promise<number> => {
  const { store, folder, variants, segments } = options;
  let total = 0;
  for (let number = 0; number < segments; number++) {
    const paths = variants.map((variant) => `${folder}/${variant}/${number}.m4s`);
    const bodies: Uint8Array[] = [];
    for (const path of paths) {
      const body = await store.get(path);
      if (body === undefined) throw new SealcastError('store-unavailable', 'a segment that was just packed is not in the store');
      bodies.push(body);
    }
    const length = commonLength(bodies.map((body) => body.length));
    for (const [index, path] of paths.entries()) {
      const body = bodies[index] as Uint8Array;
      if (body.length !== length) await store.put(path, padTo(body, length));
    }
    total += length;
  }
  return total;
};
