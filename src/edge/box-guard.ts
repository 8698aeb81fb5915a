// SPDX-License-Identifier: Apache-2.0
/**
 * Keeps media with mark boxes from being served as it is: an edge that was not told of an asset's marks has nobody to mark it for.
 *
 * docs/wire/mark-box.md. A bundle may be older than the title it does not name; the box in front of the first `moof` says what
 * the bundle should have said. Invariant: of an object that begins with a mark box no byte is let go; of any other every byte,
 * as soon as its first box is known not to be one.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import { readBoxHeader } from '#core/isobmff/box.ts';
import { isMarkBox } from '#core/mark/index.ts';

/** Takes bytes as they come and answers those that may be let go. Throws `unmarkable`. */
export type BoxGuard = { push(bytes: Uint8Array): Uint8Array; end(): Uint8Array };

/** What may stand in front of a mark box. */
const LEAD = new Set(['styp', 'prft', 'emsg', 'sidx', 'free', 'skip', 'uuid']);
const LONGEST_LEAD = 65_536;
const EMPTY = new Uint8Array(0);

/** Whether `bytes`, the beginning of an object, hold a mark box before their first `moof`; undefined if that is not known yet. */
const beginsMarked = (bytes: Uint8Array): boolean | undefined => {
  for (let at = 0; at <= LONGEST_LEAD; ) {
    // Boxes in front of a moof are shorter than 16 MB: the first byte tells most of what is no box at all.
    if (bytes.length > at && bytes[at] !== 0) return false;
    if (bytes.length - at < 8) return undefined;
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (!LEAD.has(type)) return false;
    if (type === 'uuid' && bytes.length - at < 24) return undefined;
    if (type === 'uuid' && isMarkBox(bytes.subarray(at))) return true;
    const size = readBoxHeader(bytes, at)?.size ?? 0;
    if (size < 8) return false;
    at += size;
  }
  return false;
};

/** One per object. */
export const createBoxGuard = (): BoxGuard => {
  let held: Uint8Array | undefined = EMPTY;
  return {
    push(bytes) {
      if (held === undefined) return bytes;
      const all = held.length === 0 ? bytes : concatBytes(held, bytes);
      const marked = beginsMarked(all);
      if (marked === true) throw new SealcastError('unmarkable', 'this object is to be marked, and this edge was not told how');
      held = marked === undefined ? all.slice() : undefined;
      return marked === undefined ? EMPTY : all;
    },
    end: () => held ?? EMPTY,
  };
};

/** Throws `unmarkable` for a whole object that is to be marked. */
export const requireUnmarked = (bytes: Uint8Array): void => {
  createBoxGuard().push(bytes);
};
