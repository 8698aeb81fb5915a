// SPDX-License-Identifier: Apache-2.0
/**
 * Difference pictures as bytes: what the cache of a reference keeps.
 *
 * docs/wire/reference.md, "Differences". Invariant: decode(encode(x, d), d) = x; bytes that were made from another original, or
 * damaged, are answered with undefined and computed again.
 */
import type { Differences } from './differences.ts';

const FORMAT = 0x53434431;
const HEADER = 24;
const DIGEST = 32;

/** Little-endian, as typed arrays lie in memory; `digest` is SHA-256 of the original and its places. */
export const encodeDifferences = async ({ width, height, frames, groups, starts, cells, sums }: Differences, digest: Uint8Array): Promise<Uint8Array> => {
  const body = new Uint8Array(HEADER + DIGEST + 4 * (starts.length + cells.length) + sums.length);
  const view = new DataView(body.buffer);
  [FORMAT, width, height, frames, groups, cells.length].forEach((value, i) => view.setUint32(4 * i, value, true));
  body.set(digest, HEADER);
  let at = HEADER + DIGEST;
  for (const value of starts) {
    view.setUint32(at, value, true);
    at += 4;
  }
  // Neighbouring entries lie in neighbouring cells: differences of indices compress, indices do not.
  let before = 0;
  for (const cell of cells) {
    view.setInt32(at, cell - before, true);
    before = cell;
    at += 4;
  }
  body.set(new Uint8Array(sums.buffer, sums.byteOffset, sums.length), at);
  return through(body, new CompressionStream('deflate-raw'));
};

/** The differences, if they are of this original. */
export const decodeDifferences = async (bytes: Uint8Array, digest: Uint8Array): Promise<Differences | undefined> => {
  const body = await through(bytes, new DecompressionStream('deflate-raw')).catch(() => undefined);
  if (body === undefined || body.length < HEADER + DIGEST) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const [format, width = 0, height = 0, frames = 0, groups = 0, count = 0] = Array.from({ length: 6 }, (_, i) => view.getUint32(4 * i, true));
  if (format !== FORMAT || body.length !== HEADER + DIGEST + 4 * (frames * groups + 1 + count) + 4 * count) return undefined;
  if (!digest.every((byte, i) => byte === body[HEADER + i])) return undefined;
  let at = HEADER + DIGEST;
  const starts = new Uint32Array(frames * groups + 1);
  for (let i = 0; i < starts.length; i++, at += 4) starts[i] = view.getUint32(at, true);
  const cells = new Uint32Array(count);
  let cell = 0;
  for (let i = 0; i < count; i++, at += 4) cells[i] = cell += view.getInt32(at, true);
  return { width, height, frames, groups, starts, cells, sums: new Int8Array(body.slice(at).buffer) };
};

const through = async (bytes: Uint8Array, transform: CompressionStream | DecompressionStream): Promise<Uint8Array> => {
  const source = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(transform as unknown as ReadableWritablePair<Uint8Array, Uint8Array>);
  return new Uint8Array(await new Response(source as unknown as BodyInit).arrayBuffer());
};
