// SPDX-License-Identifier: Apache-2.0
/**
 * Rewriting a box tree: only boxes on the path to a change get new headers, everything else is copied byte for byte.
 *
 * Invariant: an edit that changes nothing returns the very same bytes.
 */
import { SealcastError } from '#core/errors.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { printable, readBoxes } from './box.ts';
import type { Box } from './box.ts';

/** What becomes of a child: undefined keeps it, [] removes it, otherwise its replacement(s). */
export type ChildEdit = (child: Box) => Uint8Array | readonly Uint8Array[] | undefined;

/** `box` with its children edited. `prefix` is the number of body bytes before the first child (e.g. 8 in `stsd`); `append` goes to the end. */
export const editChildren = (box: Box, prefix: number, edit: ChildEdit, append: readonly Uint8Array[] = []): Uint8Array => {
  if (prefix > box.body.length) throw new SealcastError('media-truncated', `box ${printable(box.type)} is too short for its fields`);
  const parts: Uint8Array[] = [box.body.subarray(0, prefix)];
  let changed = append.length > 0;
  for (const child of readBoxes(box.body, prefix)) {
    const edited = edit(child);
    if (edited === undefined || edited === child.bytes) parts.push(child.bytes);
    else {
      changed = true;
      parts.push(...(edited instanceof Uint8Array ? [edited] : edited));
    }
  }
  return changed ? withBody(box, [...parts, ...append]) : box.bytes;
};

/** `box` with a new body under its own header (type, uuid and width of the size field are kept). */
export const withBody = (box: Box, body: readonly Uint8Array[]): Uint8Array => {
  const header = box.bytes.slice(0, box.headerSize);
  const out = concatBytes(header, ...body);
  const view = new DataView(out.buffer);
  if (view.getUint32(0) === 1) view.setBigUint64(8, BigInt(out.length));
  else if (out.length > 0xffffffff) throw new SealcastError('media-too-large', `box ${printable(box.type)} would exceed 4 GB`);
  else view.setUint32(0, out.length);
  return out;
};

/** `bytes` (boxes side by side) with its top-level boxes edited. */
export const editBoxes = (bytes: Uint8Array, edit: ChildEdit): Uint8Array => {
  const parts: Uint8Array[] = [];
  let changed = false;
  for (const box of readBoxes(bytes)) {
    const edited = edit(box);
    if (edited === undefined || edited === box.bytes) parts.push(box.bytes);
    else {
      changed = true;
      parts.push(...(edited instanceof Uint8Array ? [edited] : edited));
    }
  }
  return changed ? concatBytes(...parts) : bytes;
};
