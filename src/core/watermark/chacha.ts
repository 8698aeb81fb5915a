// SPDX-License-Identifier: Apache-2.0
/**
 * The ChaCha block function: 64 pseudorandom bytes for 64 viewers of one position, in a fraction of a microsecond.
 *
 * RFC 8439 section 2.3 with the number of rounds as an argument. The code books use 12 rounds: they need a PRF that no
 * viewer can predict from its own symbols (the best attack reaches 7 rounds), computed for a million viewers per segment.
 * Invariant: 32-bit integer operations only, so every engine agrees bit for bit.
 */

/** Reads 32 key bytes as the eight little-endian words of the state. */
export const chachaKey = (bytes: Uint8Array): Int32Array => {
  const words = new Int32Array(8);
  for (let i = 0; i < 8; i++) {
    words[i] = (bytes[4 * i] as number) | ((bytes[4 * i + 1] as number) << 8) | ((bytes[4 * i + 2] as number) << 16) | ((bytes[4 * i + 3] as number) << 24);
  }
  return words;
};

/** Writes one block as 16 little-endian words into `out` at `offset`; n0..n3 are words 12..15 of the state. */
export const chachaBlock = (key: Int32Array, n0: number, n1: number, n2: number, n3: number, rounds: number, out: Int32Array, offset: number): void => {
  const k0 = key[0] as number, k1 = key[1] as number, k2 = key[2] as number, k3 = key[3] as number;
  const k4 = key[4] as number, k5 = key[5] as number, k6 = key[6] as number, k7 = key[7] as number;
  let a0 = 0x61707865, a1 = 0x3320646e, a2 = 0x79622d32, a3 = 0x6b206574;
  let b0 = k0, b1 = k1, b2 = k2, b3 = k3;
  let c0 = k4, c1 = k5, c2 = k6, c3 = k7;
  let d0 = n0 | 0, d1 = n1 | 0, d2 = n2 | 0, d3 = n3 | 0;
  for (let i = 0; i < rounds; i += 2) {
    a0 = (a0 + b0) | 0; d0 ^= a0; d0 = (d0 << 16) | (d0 >>> 16); c0 = (c0 + d0) | 0; b0 ^= c0; b0 = (b0 << 12) | (b0 >>> 20);
    a0 = (a0 + b0) | 0; d0 ^= a0; d0 = (d0 << 8) | (d0 >>> 24); c0 = (c0 + d0) | 0; b0 ^= c0; b0 = (b0 << 7) | (b0 >>> 25);
    a1 = (a1 + b1) | 0; d1 ^= a1; d1 = (d1 << 16) | (d1 >>> 16); c1 = (c1 + d1) | 0; b1 ^= c1; b1 = (b1 << 12) | (b1 >>> 20);
    a1 = (a1 + b1) | 0; d1 ^= a1; d1 = (d1 << 8) | (d1 >>> 24); c1 = (c1 + d1) | 0; b1 ^= c1; b1 = (b1 << 7) | (b1 >>> 25);
    a2 = (a2 + b2) | 0; d2 ^= a2; d2 = (d2 << 16) | (d2 >>> 16); c2 = (c2 + d2) | 0; b2 ^= c2; b2 = (b2 << 12) | (b2 >>> 20);
    a2 = (a2 + b2) | 0; d2 ^= a2; d2 = (d2 << 8) | (d2 >>> 24); c2 = (c2 + d2) | 0; b2 ^= c2; b2 = (b2 << 7) | (b2 >>> 25);
    a3 = (a3 + b3) | 0; d3 ^= a3; d3 = (d3 << 16) | (d3 >>> 16); c3 = (c3 + d3) | 0; b3 ^= c3; b3 = (b3 << 12) | (b3 >>> 20);
    a3 = (a3 + b3) | 0; d3 ^= a3; d3 = (d3 << 8) | (d3 >>> 24); c3 = (c3 + d3) | 0; b3 ^= c3; b3 = (b3 << 7) | (b3 >>> 25);
    a0 = (a0 + b1) | 0; d3 ^= a0; d3 = (d3 << 16) | (d3 >>> 16); c2 = (c2 + d3) | 0; b1 ^= c2; b1 = (b1 << 12) | (b1 >>> 20);
    a0 = (a0 + b1) | 0; d3 ^= a0; d3 = (d3 << 8) | (d3 >>> 24); c2 = (c2 + d3) | 0; b1 ^= c2; b1 = (b1 << 7) | (b1 >>> 25);
    a1 = (a1 + b2) | 0; d0 ^= a1; d0 = (d0 << 16) | (d0 >>> 16); c3 = (c3 + d0) | 0; b2 ^= c3; b2 = (b2 << 12) | (b2 >>> 20);
    a1 = (a1 + b2) | 0; d0 ^= a1; d0 = (d0 << 8) | (d0 >>> 24); c3 = (c3 + d0) | 0; b2 ^= c3; b2 = (b2 << 7) | (b2 >>> 25);
    a2 = (a2 + b3) | 0; d1 ^= a2; d1 = (d1 << 16) | (d1 >>> 16); c0 = (c0 + d1) | 0; b3 ^= c0; b3 = (b3 << 12) | (b3 >>> 20);
    a2 = (a2 + b3) | 0; d1 ^= a2; d1 = (d1 << 8) | (d1 >>> 24); c0 = (c0 + d1) | 0; b3 ^= c0; b3 = (b3 << 7) | (b3 >>> 25);
    a3 = (a3 + b0) | 0; d2 ^= a3; d2 = (d2 << 16) | (d2 >>> 16); c1 = (c1 + d2) | 0; b0 ^= c1; b0 = (b0 << 12) | (b0 >>> 20);
    a3 = (a3 + b0) | 0; d2 ^= a3; d2 = (d2 << 8) | (d2 >>> 24); c1 = (c1 + d2) | 0; b0 ^= c1; b0 = (b0 << 7) | (b0 >>> 25);
  }
  out[offset] = a0 + 0x61707865; out[offset + 1] = a1 + 0x3320646e; out[offset + 2] = a2 + 0x79622d32; out[offset + 3] = a3 + 0x6b206574;
  out[offset + 4] = b0 + k0; out[offset + 5] = b1 + k1; out[offset + 6] = b2 + k2; out[offset + 7] = b3 + k3;
  out[offset + 8] = c0 + k4; out[offset + 9] = c1 + k5; out[offset + 10] = c2 + k6; out[offset + 11] = c3 + k7;
  out[offset + 12] = d0 + n0; out[offset + 13] = d1 + n1; out[offset + 14] = d2 + n2; out[offset + 15] = d3 + n3;
};
