// SPDX-License-Identifier: Apache-2.0
/**
 * WebSocket frames, the server's side of RFC 6455, as far as the release channel needs them: no extensions, no fragments.
 *
 * RFC 6455 sections 5.1-5.5. Written for one subprotocol, whose hot path is one prepared frame for thousands of sockets.
 * Invariant: a reader never holds more than one frame's limit; whatever a client sends is a message or a close code.
 */

/** Frame types. */
export const OPCODE = { text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;
/** Close codes of RFC 6455 that a reader answers with. */
export const WS_CLOSE = { protocol: 1002, unsupported: 1003, invalid: 1007, tooBig: 1009 } as const;

/** One unmasked, final frame. */
export const encodeFrame = (opcode: number, payload: Uint8Array): Uint8Array => {
  const { length } = payload;
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const out = new Uint8Array(head + length);
  out[0] = 0x80 | opcode;
  if (length < 126) out[1] = length;
  else if (length < 65_536) {
    out[1] = 126;
    out[2] = length >>> 8;
    out[3] = length & 0xff;
  } else {
    out[1] = 127;
    new DataView(out.buffer).setUint32(6, length);
  }
  out.set(payload, head);
  return out;
};

/** A close frame; `reason` is ASCII of at most 100 characters. */
export const encodeClose = (code: number, reason: string): Uint8Array => {
  const payload = new Uint8Array(2 + reason.length);
  payload[0] = code >>> 8;
  payload[1] = code & 0xff;
  for (let index = 0; index < reason.length; index++) payload[2 + index] = reason.charCodeAt(index) & 0x7f;
  return encodeFrame(OPCODE.close, payload);
};

/** Reads a client's bytes as they come. */
export type FrameReader = {
  /** Takes bytes in; calls `message` for every whole frame, `fail` once with a close code for anything that is none. */
  push(bytes: Uint8Array): void;
};

const EMPTY = new Uint8Array(0);

/** `limit`: longest payload. After `fail` everything is ignored. */
export const createFrameReader = (options: { limit: number; message: (opcode: number, payload: Uint8Array) => void; fail: (code: number) => void }): FrameReader => {
  const { limit } = options;
  let kept: Uint8Array = EMPTY;
  let failed = false;

  /** Bytes of the first whole frame in `bytes`, 0 if it is not all there, or the close code (negative) of its fault. */
  const take = (bytes: Uint8Array): number => {
    if (bytes.length < 2) return 0;
    const first = bytes[0] as number;
    const second = bytes[1] as number;
    const opcode = first & 0x0f;
    // RSV bits belong to extensions, of which none was agreed; clients must mask (section 5.1).
    if ((first & 0x70) !== 0 || (second & 0x80) === 0) return -WS_CLOSE.protocol;
    const control = opcode >= 8;
    if (opcode !== OPCODE.text && opcode !== OPCODE.binary && opcode !== OPCODE.close && opcode !== OPCODE.ping && opcode !== OPCODE.pong) return -(opcode === 0 ? WS_CLOSE.unsupported : WS_CLOSE.protocol);
    if ((first & 0x80) === 0) return -(control ? WS_CLOSE.protocol : WS_CLOSE.unsupported);
    let length = second & 0x7f;
    let at = 2;
    if (control && length > 125) return -WS_CLOSE.protocol;
    if (length === 127) return -WS_CLOSE.tooBig;
    if (length === 126) {
      if (bytes.length < 4) return 0;
      length = ((bytes[2] as number) << 8) | (bytes[3] as number);
      if (length < 126) return -WS_CLOSE.protocol;
      at = 4;
    }
    if (length > limit) return -WS_CLOSE.tooBig;
    if (bytes.length < at + 4 + length) return 0;
    const payload = new Uint8Array(length);
    for (let index = 0; index < length; index++) payload[index] = (bytes[at + 4 + index] as number) ^ (bytes[at + (index & 3)] as number);
    options.message(opcode, payload);
    return at + 4 + length;
  };

  return {
    push(bytes) {
      if (failed) return;
      let rest = kept.length === 0 ? bytes : concat(kept, bytes);
      for (;;) {
        const used = take(rest);
        if (used < 0) {
          failed = true;
          kept = EMPTY;
          options.fail(-used);
          return;
        }
        if (used === 0) break;
        rest = rest.subarray(used);
      }
      // A copy: what was passed in belongs to the socket.
      kept = rest.length === 0 ? EMPTY : rest.slice();
    },
  };
};

const concat = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
};
