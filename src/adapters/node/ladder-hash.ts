// SPDX-License-Identifier: Apache-2.0
/**
 * The hashes of the key ladder by Node's OpenSSL, for renewal nodes, licence and key servers. RFC 2104, RFC 5869, FIPS 180-4.
 *
 * Built on the one-shot hash with its digest as text: making an Hmac object, or a Buffer of a digest, takes longer than
 * hashing (measured on Node 26, 20-byte messages: 3.9 µs with `createHmac`, 1.7 µs so), and hkdfSync starts a job. A
 * renewal makes about 20 of them.
 * Invariant: answers are byte-identical to `#crypto/ladder-hash.ts`, and share no memory with each other or an argument.
 */
import { hash } from 'node:crypto';
import type { LadderHash } from '#core/keys/ladder.ts';

const BLOCK = 64;
const LENGTH = 32;
/** Longer messages get a buffer of their own. */
const SCRATCH = 1024;

const scratch = new Uint8Array(BLOCK + SCRATCH);
const outer = Buffer.alloc(BLOCK + LENGTH);
/** Nearly every key of the ladder has 32 bytes: the rest of both pads is then there already. */
let padded = false;

const sha256 = (data: Uint8Array): Uint8Array => {
  const digest = hash('sha256', data, 'latin1');
  const bytes = new Uint8Array(LENGTH);
  for (let i = 0; i < LENGTH; i++) bytes[i] = digest.charCodeAt(i);
  return bytes;
};

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => {
  const short = key.length > BLOCK ? sha256(key) : key;
  const long = data.length > SCRATCH;
  const inner = long ? new Uint8Array(BLOCK + data.length) : scratch.subarray(0, BLOCK + data.length);
  const usual = short.length === LENGTH;
  const bytes = usual && padded && !long ? LENGTH : BLOCK;
  for (let i = 0; i < bytes; i++) {
    const byte = i < short.length ? (short[i] as number) : 0;
    inner[i] = byte ^ 0x36;
    outer[i] = byte ^ 0x5c;
  }
  padded = usual && (padded || !long);
  inner.set(data, BLOCK);
  outer.write(hash('sha256', inner, 'latin1'), BLOCK, LENGTH, 'latin1');
  return sha256(outer);
};

/** Extract, then expand; as many blocks as `length` needs. */
const hkdf = (ikm: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array => {
  if (length > 255 * LENGTH) throw new RangeError(`HKDF-SHA256 gives at most ${255 * LENGTH} bytes`);
  const pseudorandomKey = hmac(salt, ikm);
  const out = new Uint8Array(length);
  let block: Uint8Array = new Uint8Array(0);
  for (let at = 0, counter = 1; at < length; at += LENGTH, counter++) {
    const message = new Uint8Array(block.length + info.length + 1);
    message.set(block);
    message.set(info, block.length);
    message[message.length - 1] = counter;
    block = hmac(pseudorandomKey, message);
    out.set(block.subarray(0, length - at), at);
  }
  return out;
};

/** For the `hash` option of key server, licence server and renewal nodes that run in Node. */
export const nodeLadderHash: LadderHash = { hmac, sha256, hkdf };
