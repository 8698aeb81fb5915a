// SPDX-License-Identifier: Apache-2.0
/**
 * Cuts a byte stream of CMAF (an ingest request, a pipe) into its init segment and chunks, wherever the reads fall.
 *
 * Invariants: memory is bounded by `maxInit` and `maxChunk`; bytes are moved by whole reads, never one by one; a stream that is no
 * fragmented MP4 is refused at its first wrong box.
 */
import { SealcastError } from '#core/errors.ts';
import { MAX_BOX_HEADER, printable, readBoxHeader } from './box.ts';

/** A complete piece: `[ftyp] moov`, or `[styp] [prft] [emsg]* [uuid]* moof mdat`. `bytes` is the caller's own copy. */
export type CmafPiece = { readonly kind: 'init' | 'chunk'; readonly bytes: Uint8Array };

/** One per stream; after a throw it must not be used any more. */
export type BoxSplitter = {
  /** Feeds the next bytes (copied); answers the pieces they completed. Throws `media-malformed`, `media-unsupported`, `media-too-large`. */
  push(bytes: Uint8Array): readonly CmafPiece[];
  /** Says that the stream is over; throws `media-truncated` if it ended inside a piece. */
  end(): void;
};

/** Limits that bound the memory one source can take. */
export type BoxSplitterOptions = {
  /** Largest init segment in bytes. Default 1 MiB. */
  readonly maxInit?: number;
  /** Largest chunk in bytes. Default 64 MiB. */
  readonly maxChunk?: number;
};

const HEADER_BOXES = new Set(['styp', 'prft', 'emsg', 'uuid']);
const IGNORED = new Set(['sidx', 'ssix', 'free', 'skip', 'mfra', 'pdin', 'meta', 'udta']);

/** A splitter at the start of a stream. */
export const createBoxSplitter = (options: BoxSplitterOptions = {}): BoxSplitter => {
  const maxInit = options.maxInit ?? 1 << 20;
  const maxChunk = options.maxChunk ?? 1 << 26;
  /** Parts of the piece being collected; `held` is their size. */
  let parts: Uint8Array[] = [];
  let held = 0;
  /** What the collected boxes are so far. */
  let stage: 'between' | 'ftyp' | 'chunk-head' | 'moof' = 'between';
  /** The box being read: bytes still missing, and what to do with them. */
  let left = 0;
  let use: 'keep' | 'drop' = 'keep';
  let completes: 'init' | 'chunk' | undefined;
  let header = new Uint8Array(0);
  let dropped = 0;

  const keep = (bytes: Uint8Array): void => {
    parts.push(bytes.slice());
    held += bytes.length;
  };

  const finishPiece = (kind: 'init' | 'chunk'): CmafPiece => {
    const bytes = new Uint8Array(held);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    parts = [];
    held = 0;
    stage = 'between';
    return { kind, bytes };
  };

  /** Decides about a box from its header alone. */
  const open = (type: string, size: number): void => {
    if (size === 0) throw new SealcastError('media-unsupported', `box ${printable(type)} has no size; a stream needs boxes of known size`);
    completes = undefined;
    use = 'keep';
    if (IGNORED.has(type)) {
      use = 'drop';
      dropped += size;
      if (dropped > maxChunk) throw new SealcastError('media-too-large', `more than ${maxChunk} bytes of ${printable(type)} and other boxes without media`);
      return;
    }
    if (type === 'ftyp' && stage === 'between') stage = 'ftyp';
    else if (type === 'moov' && (stage === 'between' || stage === 'ftyp')) {
      completes = 'init';
      stage = 'ftyp';
    } else if (HEADER_BOXES.has(type) && (stage === 'between' || stage === 'chunk-head')) stage = 'chunk-head';
    else if (type === 'moof' && (stage === 'between' || stage === 'chunk-head')) stage = 'moof';
    else if (type === 'mdat' && stage === 'moof') completes = 'chunk';
    else if (type === 'mdat' || type === 'wide') {
      throw new SealcastError('media-unsupported', 'this is a progressive MP4; send fragments (ffmpeg: -movflags +cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe)');
    } else throw new SealcastError(stage === 'between' && held === 0 ? 'media-unsupported' : 'media-malformed', `box ${printable(type)} is not expected ${WHERE[stage]}`);
    dropped = 0;
    const limit = stage === 'ftyp' ? maxInit : maxChunk;
    if (size > limit - held)
      throw new SealcastError('media-too-large', `${stage === 'ftyp' ? 'an init segment' : 'a chunk'} of ${held + size} bytes or more; the limit is ${limit}`);
  };

  return {
    push(bytes) {
      const done: CmafPiece[] = [];
      let at = 0;
      while (at < bytes.length) {
        if (left === 0) {
          // Between boxes: the header may be spread over several reads.
          const known = header.length;
          const wanted = bytes.subarray(at, at + MAX_BOX_HEADER - known);
          const joined = new Uint8Array(known + wanted.length);
          joined.set(header);
          joined.set(wanted, known);
          const found = readBoxHeader(joined);
          if (found === undefined) {
            header = joined;
            break;
          }
          open(found.type, found.size);
          if (known > 0) {
            if (use === 'keep') keep(header);
            header = new Uint8Array(0);
          }
          left = found.size - known;
        }
        const step = Math.min(left, bytes.length - at);
        if (use === 'keep') keep(bytes.subarray(at, at + step));
        at += step;
        left -= step;
        if (left === 0 && completes !== undefined) {
          done.push(finishPiece(completes));
          completes = undefined;
        }
      }
      return done;
    },
    end() {
      if (left > 0 || header.length > 0 || stage !== 'between') {
        throw new SealcastError('media-truncated', `the stream ended ${WHERE[stage]}, after ${held + header.length} bytes of an unfinished piece`);
      }
    },
  };
};

const WHERE: Readonly<Record<'between' | 'ftyp' | 'chunk-head' | 'moof', string>> = {
  between: 'between pieces',
  ftyp: 'inside an init segment',
  'chunk-head': 'in front of a moof',
  moof: 'between moof and mdat',
};
