// SPDX-License-Identifier: Apache-2.0
/**
 * Takes the mark boxes out of an object on its way into the cache: opens each, checks it against its chunk, keeps the places.
 *
 * docs/wire/mark-box.md, "Box". Bytes are let go chunk by chunk, each once its box was opened, so that low latency survives
 * and nothing unchecked is ever seen by a reader.
 * Invariant: places refer to the bytes without boxes; by default an object with a chunk that cannot be marked ends in
 * `unmarkable`.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import { readBoxHeader } from '#core/isobmff/box.ts';
import { isMarkBox, type MarkProfile, type MarkSites, shiftSites } from '#core/mark/index.ts';
import type { MarkBoxOpener, Unopened } from '#crypto/mark-box.ts';

/** What became of a chunk's box; `marked` and `none` are those that opened. */
export type BoxOutcome = 'marked' | 'none' | 'missing' | Unopened;

/** What is done with chunks that carry no mark. */
export type MarkPolicy = {
  /** Chunks whose profile says that their coding has no places. Default `serve`: they count as erasures. */
  readonly noSites: 'serve' | 'refuse';
  /** Chunks without a box, or with one that does not open. Default `refuse`. */
  readonly unmarkable: 'serve' | 'refuse';
};
/** What an edge does unless told otherwise. */
export const DEFAULT_MARK_POLICY: MarkPolicy = { noSites: 'serve', unmarkable: 'refuse' };

/** Reads one object, in order. After a throw it must not be used any more. */
export type Unboxer = {
  /** The next bytes as they come; answers what may be let go. Throws `unmarkable`. */
  push(bytes: Uint8Array): Promise<Uint8Array>;
  /** No more bytes; answers the rest. Throws `unmarkable` for an object that ends inside a chunk or has none. */
  end(): Promise<Uint8Array>;
  /** Places in the bytes let go so far, in order; grows before the bytes are let go. */
  readonly marks: readonly MarkSites[];
};

/** More than any box of a segment: as large as the largest cached object. */
const LARGEST_BOX = 64 * 1024 * 1024;
const unmarkable = (detail: string): SealcastError => new SealcastError('unmarkable', detail);

/** `onBox` is told of every chunk. */
export const createUnboxer = (options: { opener: MarkBoxOpener; slots: number; policy?: MarkPolicy; onBox?: (outcome: BoxOutcome) => void }): Unboxer => {
  const { opener, slots, onBox } = options;
  const policy = options.policy ?? DEFAULT_MARK_POLICY;
  const marks: MarkSites[] = [];
  let waiting: Uint8Array[] = [];
  let held = 0;
  let needed = 8;
  /** Boxes before the chunk's moof, let go with it. */
  let lead: Uint8Array[] = [];
  let box: Uint8Array | undefined;
  let moof: Uint8Array | undefined;
  let chunks = 0;
  let letGo = 0;

  const take = (profile: MarkProfile | Unopened | undefined, at: number): void => {
    const outcome: BoxOutcome = profile === undefined ? 'missing' : typeof profile === 'string' ? profile : profile.sites.count > 0 ? 'marked' : 'none';
    onBox?.(outcome);
    if (typeof profile !== 'object') {
      if (policy.unmarkable === 'refuse') throw unmarkable(REFUSALS[profile ?? 'missing']);
      return;
    }
    if (profile.slots !== slots) {
      if (policy.unmarkable === 'refuse') throw unmarkable('a mark box is for another number of slots');
      return;
    }
    // A chunk that just has no reference picture is marked by its neighbours.
    if (profile.because !== undefined && profile.because !== 'no-places' && policy.noSites === 'refuse') throw unmarkable(`the coding of this object has no places to mark: ${profile.because}`);
    if (profile.sites.count > 0) marks.push(shiftSites(profile.sites, at));
  };

  /** One whole top-level box; answers what may be let go. */
  const accept = async (type: string, bytes: Uint8Array): Promise<readonly Uint8Array[]> => {
    if (type === 'mdat') {
      if (moof === undefined) throw unmarkable('media without its moof box');
      const chunk = concatBytes(moof, bytes);
      const opened = box === undefined ? undefined : await opener.open(box, chunk);
      const out = [...lead, chunk];
      const at = letGo + lead.reduce((sum, part) => sum + part.length, 0);
      take(opened, at);
      letGo = at + chunk.length;
      lead = [];
      box = undefined;
      moof = undefined;
      chunks += 1;
      return out;
    }
    if (moof !== undefined) throw unmarkable('something stands between moof and mdat');
    if (type === 'moof') moof = bytes;
    else if (box !== undefined) throw unmarkable('a mark box is not directly before its moof');
    else if (type === 'uuid' && isMarkBox(bytes)) box = bytes;
    else lead.push(bytes);
    return NOTHING;
  };

  const advance = async (): Promise<Uint8Array> => {
    const out: Uint8Array[] = [];
    let all = waiting.length === 1 ? (waiting[0] as Uint8Array) : concatBytes(...waiting);
    for (;;) {
      const header = readBoxHeader(all);
      if (header === undefined) {
        needed = all.length + 1;
        break;
      }
      if (header.size === 0 || header.size > LARGEST_BOX) throw unmarkable('a box of unknown or absurd size');
      if (all.length < header.size) {
        needed = header.size;
        break;
      }
      out.push(...(await accept(header.type, all.subarray(0, header.size))));
      all = all.subarray(header.size);
    }
    waiting = all.length === 0 ? [] : [all];
    held = all.length;
    return out.length === 1 ? (out[0] as Uint8Array) : concatBytes(...out);
  };

  return {
    marks,
    async push(bytes) {
      waiting.push(bytes);
      held += bytes.length;
      // Joining what has come so far at every read of a large box would cost its square.
      if (held < needed) return EMPTY;
      try {
        return await advance();
      } catch (error) {
        throw isSealcastError(error, 'media-malformed') ? unmarkable('the object is no fragmented MP4') : error;
      }
    },
    async end() {
      if (held > 0 || moof !== undefined || box !== undefined) throw unmarkable('the object ends inside a chunk');
      if (chunks === 0) take(undefined, 0);
      if (policy.noSites === 'refuse' && marks.length === 0) throw unmarkable('this object has no places to mark');
      const rest = concatBytes(...lead);
      lead = [];
      return rest;
    },
  };
};

const EMPTY = new Uint8Array(0);
const NOTHING: readonly Uint8Array[] = [];
const REFUSALS: Readonly<Record<'missing' | Unopened, string>> = {
  missing: 'a chunk of this object has no mark box',
  malformed: 'a mark box of this object is damaged',
  'no-key': 'the box key of this segment is not at this edge',
  'not-authentic': 'a mark box of this object does not belong to its chunk, or to the key of this event',
};
