// SPDX-License-Identifier: Apache-2.0
/**
 * Watermark pacing: which position of a viewer's sequence an object, or a byte range of it, carries.
 *
 * ETSI TS 104 002 clause 5.5. Ingest: JSON in the request header `WMPaceInfoIngest`. Egress: CBOR (`crypto/pace-cbor.ts`).
 * Positions are -1..32767; -1 is not watermarked, so any variant may be served. Everything else is watermarked.
 * Invariant: byte ranges rise without overlap; a request that spans two positions has none.
 */
import { SealcastError } from '#core/errors.ts';
import { parseStrictObject } from '#core/token/strict-json.ts';

/** Highest position; they start over behind it. */
export const MAX_POSITION = 32_767;
/** Variants of one segment at most: the largest alphabet of code books. */
export const MAX_VARIANTS = 8;

/** What an encoder says of one ingested piece. */
export type PaceIngest = {
  readonly variant: number;
  /** -1: not watermarked. */
  readonly position: number;
  /** First and last piece of this position: only pieces of one position may be joined. */
  readonly firstPart: boolean;
  readonly lastPart: boolean;
};

/** Position of a whole object, or of its byte ranges (`start` rising, the first at 0, the last up to `fileSize`). */
export type PaceInfo =
  | { readonly kind: 'discrete'; readonly position: number }
  | { readonly kind: 'byterange'; readonly fileSize: number; readonly ranges: readonly { readonly start: number; readonly position: number }[] };

const broken = (rule: string): SealcastError => new SealcastError('bad-request', `WMPaceInfoIngest: ${rule}`);

/** Whether a value is a position. */
export const isPosition = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value >= -1 && value <= MAX_POSITION;

/** Reads the header `WMPaceInfoIngest`; absent members `firstpart` and `lastpart` are true (a whole piece). Throws `bad-request`. */
export const parsePaceIngest = (header: string): PaceIngest => {
  const fields = header.length > 512 ? undefined : parseStrictObject(header);
  if (fields === undefined) throw broken('must be one JSON object of at most 512 characters');
  const { version, variant, position, firstpart = true, lastpart = true } = fields;
  if (version !== 1) throw broken('version must be 1');
  if (typeof variant !== 'number' || !Number.isInteger(variant) || variant < 0 || variant >= MAX_VARIANTS) throw broken(`variant must be an integer of 0..${MAX_VARIANTS - 1}`);
  if (!isPosition(position)) throw broken(`position must be an integer of -1..${MAX_POSITION}`);
  if (typeof firstpart !== 'boolean' || typeof lastpart !== 'boolean') throw broken('firstpart and lastpart must be true or false');
  return { variant, position: Object.is(position, -0) ? 0 : position, firstPart: firstpart, lastPart: lastpart };
};

/** Whether ranges are those of one file: from 0 on, rising, inside it. */
export const areRanges = (ranges: readonly { readonly start: number; readonly position: number }[], fileSize: number): boolean =>
  ranges.length > 0 && ranges[0]?.start === 0 && ranges.every(({ start, position }, index) => isPosition(position) && start < fileSize && (index === 0 || start > (ranges[index - 1]?.start ?? start)));

/** The position of bytes [start, end) of the object, or undefined if they span two. Without a range: of the whole object. */
export const positionOf = (pace: PaceInfo, range?: { readonly start: number; readonly end: number }): number | undefined => {
  if (pace.kind === 'discrete') return pace.position;
  const { start, end } = range ?? { start: 0, end: pace.fileSize };
  const touched = pace.ranges.filter((item, index) => item.start < end && (pace.ranges[index + 1]?.start ?? pace.fileSize) > start);
  const first = touched[0]?.position;
  return touched.every(({ position }) => position === first) ? first : undefined;
};

/** Names of variants in paths: `a`, `b`, ... or `0`, `1`, ... */
export const variantName = (names: 'letters' | 'digits', symbol: number): string => (names === 'digits' ? String(symbol) : String.fromCharCode(97 + symbol));
