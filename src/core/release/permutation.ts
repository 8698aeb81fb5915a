// SPDX-License-Identifier: Apache-2.0
/**
 * The order in which one period's secret is written to sockets: a fresh uniform permutation from a seed.
 *
 * The send loop is the spread between clients, so a fixed order would be a standing advantage for whoever connected
 * first. The seed goes into the audit log; anyone can recompute the order.
 * Invariant: unbiased (rejection sampling) and a pure function of (seed, count).
 */

/** xoshiro128** seeded by 16 CSPRNG bytes: fast enough for 10,000 draws per period; unpredictability comes from the seed being fresh. */
const generator = (seed: Uint8Array): (() => number) => {
  if (seed.length !== 16) throw new RangeError('a permutation seed has 16 bytes');
  const view = new DataView(seed.buffer, seed.byteOffset, seed.byteLength);
  const s = new Uint32Array([view.getUint32(0), view.getUint32(4), view.getUint32(8), view.getUint32(12)]);
  if (s.every((word) => word === 0)) s[0] = 1;
  const rotate = (value: number, by: number): number => ((value << by) | (value >>> (32 - by))) >>> 0;
  return () => {
    const a = s[0] as number;
    const b = s[1] as number;
    const result = Math.imul(rotate(Math.imul(b, 5) >>> 0, 7), 9) >>> 0;
    const t = (b << 9) >>> 0;
    const c = ((s[2] as number) ^ a) >>> 0;
    const d = ((s[3] as number) ^ b) >>> 0;
    s[1] = b ^ c;
    s[0] = a ^ d;
    s[2] = c ^ t;
    s[3] = rotate(d, 11);
    return result;
  };
};

/** A permutation of 0..count-1 (Fisher-Yates), written into `into` if it is long enough, so that a period allocates nothing. */
export const permutation = (seed: Uint8Array, count: number, into?: Uint32Array): Uint32Array => {
  const order = into !== undefined && into.length >= count ? into.subarray(0, count) : new Uint32Array(count);
  for (let index = 0; index < count; index++) order[index] = index;
  const draw = generator(seed);
  for (let left = count; left > 1; left--) {
    const limit = 4_294_967_296 - (4_294_967_296 % left);
    let value = draw();
    while (value >= limit) value = draw();
    const chosen = value % left;
    const last = order[left - 1] as number;
    order[left - 1] = order[chosen] as number;
    order[chosen] = last;
  }
  return order;
};
