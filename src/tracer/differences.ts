// SPDX-License-Identifier: Apache-2.0
/**
 * What each group of marked places changes in the decoded picture of a segment: D = decode(group on) - decode(original).
 *
 * facts of practice (docs/wire/reference.md, "Differences"): a changed coefficient of a P picture drifts to the end of the group
 * of pictures, and what survives a pirate's coding are sums over 2 x 2 and 4 x 4 pixels. So D is kept as the four 2 x 2 sums of
 * every 4 x 4 cell that changed. One decoding of the original and one per group, in one run of the decoder.
 * Invariant: depends on the original and its places only, never on a suspect; computed once and cached.
 */
import { SealcastError } from '#core/errors.ts';
import type { PictureTool } from '#ports';

/** Differences of one segment of one rendition. Entries of group g in frame f are [starts[g * frames + f], starts[g * frames + f + 1]). */
export type Differences = {
  /** Size of the decoded pictures, rounded up to whole fours. */
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  /** slot * 2 + polarity. */
  readonly groups: number;
  readonly starts: Uint32Array;
  /** Cell row * (width / 4) + cell column. */
  readonly cells: Uint32Array;
  /** Four per entry: upper left, upper right, lower left, lower right. Levels summed over 2 x 2 pixels. */
  readonly sums: Int8Array;
};

/** Differences and the original they refer to. */
export type Original = { readonly pictures: readonly Uint8Array[]; readonly differences: Differences };

/** A segment whose groups can be switched one at a time. Streams are Annex B and start with a key frame. */
export type SwitchableSegment = {
  readonly frames: number;
  readonly groups: number;
  readonly original: Uint8Array;
  /** The stream with all places of one group on. */
  withGroup(group: number): Uint8Array;
};

/** The largest sum kept: more is not a mark. */
const MOST = 127;
/** Cells whose sums change by less in all are rounding of the decoder, not worth their bytes. */
const LEAST = 3;

const grown = <T extends Uint32Array | Int8Array>(array: T, least: number): T => {
  if (array.length >= least) return array;
  const out = new (array.constructor as new (length: number) => T)(Math.max(least, array.length * 2));
  out.set(array as never);
  return out;
};

/** Decodes the original and every group. Throws `media-malformed` where the decoder shows another number of pictures. */
export const differencesOf = async (tool: PictureTool, segment: SwitchableSegment, size: { readonly width: number; readonly height: number }, signal?: AbortSignal): Promise<Differences> => {
  const width = Math.ceil(size.width / 4) * 4;
  const height = Math.ceil(size.height / 4) * 4;
  const { frames, groups } = segment;
  const parts = function* (): Iterable<Uint8Array> {
    yield segment.original;
    for (let group = 0; group < groups; group++) yield segment.withGroup(group);
  };
  const originals: Uint32Array[] = [];
  const starts = new Uint32Array(frames * groups + 1);
  let cells = new Uint32Array(1 << 16);
  let sums = new Int8Array(1 << 18);
  let count = 0;
  let seen = 0;
  const across = width / 4;
  const down = height / 4;
  // Only the originals are kept.
  const scratch = [new Uint8Array(width * height), new Uint8Array(width * height)] as const;
  const buffer = (n: number): Uint8Array => (n < frames ? new Uint8Array(width * height) : (scratch[n % 2] as Uint8Array));
  for await (const picture of tool.codedPictures({ parts: parts(), width, height, buffer, ...(signal === undefined ? {} : { signal }) })) {
    if (seen < frames) originals.push(new Uint32Array(picture.buffer, picture.byteOffset, picture.length / 4));
    else if (seen < frames * (groups + 1)) {
      const before = originals[seen % frames] as Uint32Array;
      const after = new Uint32Array(picture.buffer, picture.byteOffset, picture.length / 4);
      cells = grown(cells, count + across * down);
      sums = grown(sums, 4 * (count + across * down));
      count = compare(before, after, across, down, cells, sums, count);
      starts[seen - frames + 1] = count;
    }
    seen++;
  }
  if (seen !== frames * (groups + 1)) throw new SealcastError('media-malformed', `the decoder showed ${seen} pictures of ${frames * (groups + 1)}`);
  return { width, height, frames, groups, starts, cells: cells.slice(0, count), sums: sums.slice(0, 4 * count) };
};

/** Appends the cells of one frame that changed; a word is one row of a cell. Answers the new count. */
const compare = (before: Uint32Array, after: Uint32Array, across: number, down: number, cells: Uint32Array, sums: Int8Array, start: number): number => {
  let count = start;
  for (let row = 0; row < down; row++) {
    const top = row * 4 * across;
    for (let column = 0; column < across; column++) {
      const at = top + column;
      const a = before[at] as number;
      const b = before[at + across] as number;
      const c = before[at + 2 * across] as number;
      const d = before[at + 3 * across] as number;
      const w = after[at] as number;
      const x = after[at + across] as number;
      const y = after[at + 2 * across] as number;
      const z = after[at + 3 * across] as number;
      if (a === w && b === x && c === y && d === z) continue;
      const nw = left(w) + left(x) - left(a) - left(b);
      const ne = right(w) + right(x) - right(a) - right(b);
      const sw = left(y) + left(z) - left(c) - left(d);
      const se = right(y) + right(z) - right(c) - right(d);
      if (Math.abs(nw) + Math.abs(ne) + Math.abs(sw) + Math.abs(se) < LEAST) continue;
      cells[count] = row * across + column;
      sums[4 * count] = Math.max(-MOST, Math.min(MOST, nw));
      sums[4 * count + 1] = Math.max(-MOST, Math.min(MOST, ne));
      sums[4 * count + 2] = Math.max(-MOST, Math.min(MOST, sw));
      sums[4 * count + 3] = Math.max(-MOST, Math.min(MOST, se));
      count++;
    }
  }
  return count;
};

/** Sum of the two left pixels of a word (little-endian), and of the two right ones. */
const left = (word: number): number => (word & 255) + ((word >>> 8) & 255);
const right = (word: number): number => ((word >>> 16) & 255) + (word >>> 24);
