// SPDX-License-Identifier: Apache-2.0
/**
 * What the tracer keeps of a title or event: small gray frames of the unmarked picture, and how its copies were marked.
 *
 * docs/wire/reference.md. Two objects per asset, `{asset}/reference.json` and `{asset}/frames.gray`; no key is among them.
 * Invariant: the description is written last, so a reference that reads is complete.
 */
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import type { TracedDelivery } from '#core/edge-bundle/delivery-plan.ts';
import { assetId, type AssetId } from '#core/ids.ts';
import { CELLS, HEIGHT, WIDTH } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import { formatHeader, parseHeader, type BookDescription } from '#core/trace/index.ts';
import { isJsonObject, parseStrictObject } from '#core/token/strict-json.ts';
import type { FrameTool, ObjectStore } from '#ports';
import type { Clip } from './align.ts';

/** First member of every description. */
export const REFERENCE_FORMAT = 'sealcast-reference/1';
/** Frames kept per second: enough to find a place to the frame, 41 MB per hour. */
export const REFERENCE_RATE = 5;

/** How an asset's copies were marked. */
export type Marking = {
  readonly asset: AssetId;
  /** m. */
  readonly alphabet: number;
  readonly book: BookDescription;
  /** Inner delivery of its copies; absent: everybody has a sequence of his own. */
  readonly delivery?: TracedDelivery;
  /** Length of a segment, which is one position; position 0 begins at media time 0. */
  readonly segment: Micros;
  /** Segments there are. */
  readonly segments: number;
  /** Live events: number of the segment that the frames begin with; titles begin with 0. */
  readonly first?: number;
};
/** A marking with the frames it was put on. */
export type Reference = Marking & { readonly clip: Clip };

/** References by asset. */
export type ReferenceStore = {
  /** Replaces what is there. */
  write(reference: Reference): Promise<void>;
  /** Undefined for an asset that was never marked. Throws `media-malformed` for a damaged reference. */
  read(asset: AssetId): Promise<Reference | undefined>;
};

const damaged = (rule: string): never => {
  throw new SealcastError('media-malformed', `tracing reference: ${rule}`);
};

const parseDescription = (text: string): Marking & { readonly frames: number } => {
  const value = parseStrictObject(text) ?? damaged('must be one JSON object without repeated names');
  if (value['format'] !== REFERENCE_FORMAT) damaged(`"format" must be "${REFERENCE_FORMAT}"`);
  const integer = (name: string, max: number): number => {
    const number = value[name];
    return typeof number === 'number' && Number.isSafeInteger(number) && number >= 1 && number <= max ? number : damaged(`"${name}" must be an integer of 1..${max}`);
  };
  if (value['width'] !== WIDTH || value['height'] !== HEIGHT || value['framesPerSecond'] !== REFERENCE_RATE) damaged(`frames must be ${WIDTH}x${HEIGHT} at ${REFERENCE_RATE} per second`);
  // The book is described and checked as in an observation file.
  if (!isJsonObject(value['book'])) damaged('"book" must be an object');
  const asset = assetId(value['asset']);
  const header = parseHeader(formatHeader({ asset, alphabet: integer('alphabet', 8), slots: 1, book: value['book'] as BookDescription, viewers: 1, eps: 0.5, ...(value['delivery'] !== undefined && { delivery: value['delivery'] as TracedDelivery }) }));
  return { asset, alphabet: header.alphabet, book: header.book, ...(header.delivery !== undefined && { delivery: header.delivery }), segment: integer('segmentMicros', 60_000_000) as Micros, segments: integer('segments', 1_000_000), frames: integer('frames', 10_000_000) };
};

/** References in an object store; `{asset}/...` below its root. */
export const createReferenceStore = (objects: ObjectStore): ReferenceStore => ({
  async write({ clip, ...marking }) {
    const { asset, segment, first: _first, ...rest } = marking;
    await objects.put(`${asset}/frames.gray`, clip.frames.subarray(0, clip.count * CELLS));
    const description = { format: REFERENCE_FORMAT, asset, ...rest, segmentMicros: segment, width: WIDTH, height: HEIGHT, framesPerSecond: REFERENCE_RATE, frames: clip.count };
    await objects.put(`${asset}/reference.json`, encodeUtf8(`${JSON.stringify(description)}\n`));
  },
  async read(asset) {
    const text = await objects.get(`${asset}/reference.json`);
    if (text === undefined) return undefined;
    const { frames: count, ...marking } = parseDescription(decodeUtf8(text).trim());
    const frames = await objects.get(`${asset}/frames.gray`);
    if (marking.asset !== asset || frames?.length !== count * CELLS) return damaged('frames and description do not belong together');
    return { ...marking, clip: { framesPerSecond: REFERENCE_RATE, frames, count } };
  },
});

/** All frames of a file at a rate, up to `limit` of media time. `onFrame` is told how many there are so far. */
export const readClip = async (options: {
  tool: FrameTool;
  file: string;
  framesPerSecond: number;
  limit?: Micros;
  onFrame?: (count: number) => void;
  signal?: AbortSignal;
}): Promise<Clip> => {
  const { tool, onFrame, ...request } = options;
  const parts: Uint8Array[] = [];
  for await (const frame of tool.grayFrames({ ...request, width: WIDTH, height: HEIGHT })) {
    parts.push(frame);
    onFrame?.(parts.length);
  }
  return { framesPerSecond: options.framesPerSecond, frames: concatBytes(...parts), count: parts.length };
};
