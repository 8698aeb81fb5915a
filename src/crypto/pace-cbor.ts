// SPDX-License-Identifier: Apache-2.0
/**
 * Pace information as CBOR: the answer of `WMPaceInfo/{file}` at an origin, and its header `WMPaceInfoEgress` as base64url.
 *
 * ETSI TS 104 002 clause 5.5: a sidecar of one discrete segment, or of byte ranges. Vector: `ogEBAoGhBhgh` is position 33.
 * Invariant: what is decoded has positions of -1..32767 and rising ranges; names of files are not looked at on egress.
 */
import { areRanges, isPosition, type PaceInfo } from '#core/pace/pace-info.ts';
import { decodeCbor, encodeCbor } from '#crypto/cbor.ts';

const VERSION = 1;
const SEGMENTS = 2;
const FILE_SIZE = 3;
const START = 4;
const POSITION = 6;

/** One object's sidecar, as an origin serves it to edges. */
export const encodePaceInfo = (pace: PaceInfo): Uint8Array => {
  if (pace.kind === 'discrete') return encodeCbor(new Map<number, unknown>([[VERSION, 1], [SEGMENTS, [new Map([[POSITION, pace.position]])]]]));
  const ranges = pace.ranges.map(({ start, position }) => new Map([[START, start], [POSITION, position]]));
  return encodeCbor(new Map<number, unknown>([[VERSION, 1], [SEGMENTS, ranges], [FILE_SIZE, pace.fileSize]]));
};

/** The pace information in a sidecar of exactly one object, or undefined. Never throws. */
export const decodePaceInfo = (bytes: Uint8Array): PaceInfo | undefined => {
  const sidecar = decodeCbor(bytes);
  if (!(sidecar instanceof Map) || sidecar.get(VERSION) !== 1) return undefined;
  const segments: unknown = sidecar.get(SEGMENTS);
  if (!Array.isArray(segments) || !segments.every((item) => item instanceof Map)) return undefined;
  const maps = segments as ReadonlyMap<unknown, unknown>[];
  const fileSize: unknown = sidecar.get(FILE_SIZE);
  if (fileSize === undefined) {
    const position = maps[0]?.get(POSITION);
    return maps.length === 1 && isPosition(position) ? { kind: 'discrete', position } : undefined;
  }
  const ranges = maps.map((item) => ({ start: item.get(START), position: item.get(POSITION) }));
  const typed = ranges.filter((item): item is { start: number; position: number } => typeof item.start === 'number' && typeof item.position === 'number');
  if (typeof fileSize !== 'number' || typed.length !== ranges.length || !areRanges(typed, fileSize)) return undefined;
  return { kind: 'byterange', fileSize, ranges: typed };
};
