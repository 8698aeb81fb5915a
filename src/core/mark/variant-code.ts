// SPDX-License-Identifier: Apache-2.0
/**
 * Which symbols the slots of a segment carry in each of its m pre-marked variants: what a packager embeds where edges can
 * only switch files.
 *
 * docs/wire/mark-box.md, "Variants". Bit of slot k in variant d = s[k] XOR parity(d AND j[k]), s and j drawn per segment: any
 * two variants differ in about half of the slots, exactly half where slots are a multiple of eight.
 * Invariant: bits depend on secret, segment, variant and slot alone; without the secret those of a segment say nothing of another's.
 */
import { msg, u32, u64 } from '#core/keys/encoding.ts';

type Hmac = (key: Uint8Array, data: Uint8Array) => Uint8Array;

/** Columns of the code: variants up to 8. */
const COLUMNS = 8;

const parity = (value: number): number => {
  let bits = value & 7;
  bits ^= bits >> 2;
  bits ^= bits >> 1;
  return bits & 1;
};

/** HMAC message of the secret of an asset's variants, under the mark secret. */
export const variantCodeMessage = (): Uint8Array => msg('mark-variants');

/** Symbols by variant and slot. `secret`: 32 bytes, `HMAC(MW, variantCodeMessage())`. */
export const variantCode = (options: { hmac: Hmac; secret: Uint8Array; segment: number; slots: number; alphabet: number }): readonly Uint8Array[] => {
  const { hmac, secret, segment, slots, alphabet } = options;
  let block = new Uint8Array(0);
  let used = 0;
  let counter = 0;
  const next = (): number => {
    if (used === block.length) {
      block = new Uint8Array(hmac(secret, msg('mark-variant-bits', u64(segment), u32(counter++))));
      used = 0;
    }
    return block[used++] as number;
  };
  const signs = Uint8Array.from({ length: slots }, () => next() & 1);
  const columns = Uint8Array.from({ length: slots }, (_, k) => k % COLUMNS);
  for (let k = slots - 1; k > 0; k--) {
    const other = next() % (k + 1);
    [columns[k], columns[other]] = [columns[other] as number, columns[k] as number];
  }
  return Array.from({ length: alphabet }, (_, variant) => Uint8Array.from(signs, (sign, k) => sign ^ parity(variant & (columns[k] as number))));
};
