// SPDX-License-Identifier: Apache-2.0
/** Emulation prevention written the way the standard says it, to judge bytes that must already have it (ITU-T H.264 clause 7.4.1). */

/** A NAL unit with emulation prevention from its header byte and payload (clause 7.4.1). */
export const escapeNal = (header: number, payload: Uint8Array): Uint8Array => {
  const out = new Uint8Array(1 + Math.ceil(payload.length * 1.5) + 1);
  out[0] = header;
  let at = 1;
  let zeros = 0;
  for (const byte of payload) {
    if (zeros >= 2 && byte <= 3) {
      out[at++] = 3;
      zeros = 0;
    }
    out[at++] = byte;
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return out.subarray(0, at);
};
