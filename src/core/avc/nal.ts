// SPDX-License-Identifier: Apache-2.0
/**
 * NAL units: finding them in MP4 samples and Annex B streams, and removing emulation prevention (ITU-T H.264 clauses
 * 7.3.1, 7.4.1, Annex B; ISO/IEC 14496-15 clause 5.3).
 *
 * Invariant: units never overlap and never reach past the sample; a length that does is `media-truncated`.
 */
import { SealcastError } from '#core/errors.ts';

/** A NAL unit inside a larger array: bytes [start, end), `start` being its header byte. */
export type NalUnit = {
  readonly start: number;
  readonly end: number;
  /** nal_unit_type, 0-31. */
  readonly type: number;
  /** nal_ref_idc, 0-3. */
  readonly refIdc: number;
};

/** nal_unit_type of a slice of a non-IDR picture. */
export const NAL_SLICE = 1;
/** nal_unit_type of a slice of an IDR picture. */
export const NAL_IDR = 5;
/** nal_unit_type of supplemental enhancement information. */
export const NAL_SEI = 6;
/** nal_unit_type of a sequence parameter set. */
export const NAL_SPS = 7;
/** nal_unit_type of a picture parameter set. */
export const NAL_PPS = 8;

const unit = (bytes: Uint8Array, start: number, end: number): NalUnit => {
  const header = bytes[start] as number;
  if ((header & 0x80) !== 0) throw new SealcastError('media-malformed', 'a NAL unit has its forbidden bit set');
  return { start, end, type: header & 31, refIdc: (header >> 5) & 3 };
};

/** NAL units of an MP4 sample, `lengthSize` (1, 2 or 4) as `avcC` says. Units of length 0 are skipped. */
export const lengthPrefixedNals = (sample: Uint8Array, lengthSize: number): readonly NalUnit[] => {
  const units: NalUnit[] = [];
  for (let at = 0; at < sample.length; ) {
    if (lengthSize > sample.length - at) throw new SealcastError('media-truncated', `${sample.length - at} bytes are too few for a NAL unit length`);
    let length = 0;
    for (let i = 0; i < lengthSize; i++) length = length * 256 + (sample[at + i] as number);
    const start = at + lengthSize;
    if (length > sample.length - start) throw new SealcastError('media-truncated', `a NAL unit claims ${length} bytes, ${sample.length - start} are there`);
    if (length > 0) units.push(unit(sample, start, start + length));
    at = start + length;
  }
  return units;
};

/** NAL units of an Annex B byte stream (start codes 00 00 01); bytes before the first start code are ignored. */
export const annexBNals = (stream: Uint8Array): readonly NalUnit[] => {
  const units: NalUnit[] = [];
  let open = -1;
  const close = (end: number): void => {
    // Zero bytes before a start code (and at the end) are not part of the unit.
    let last = end;
    while (last > open && stream[last - 1] === 0) last--;
    if (open >= 0 && last > open) units.push(unit(stream, open, last));
  };
  // indexOf is native: it skips what is not 01 at memory speed.
  for (let one = stream.indexOf(1, 2); one >= 0; one = stream.indexOf(1, one + 1)) {
    if (stream[one - 1] !== 0 || stream[one - 2] !== 0 || one - 2 < open) continue;
    close(one - 2);
    open = one + 1;
  }
  close(stream.length);
  return units;
};

/** A raw byte sequence payload and where bytes were taken out to get it. */
export type Rbsp = {
  /** Payload without emulation prevention and without the NAL header byte. */
  readonly bytes: Uint8Array;
  /** For each removed 03: the index in `bytes` of the byte that followed it. Ascending. */
  readonly removed: readonly number[];
};

/**
 * RBSP of `nal` (header byte included), of at most `limit` payload bytes. A 00 00 03 is taken out wherever it stands;
 * what follows it is not checked, as decoders do not either.
 */
export const unescapeNal = (nal: Uint8Array, limit: number = Number.POSITIVE_INFINITY): Rbsp => {
  const end = Math.min(nal.length, 1 + limit);
  const head = nal.subarray(0, end);
  const removed: number[] = [];
  let three = head.indexOf(3, 3);
  let from = 1;
  let at = 0;
  let bytes: Uint8Array | undefined;
  for (; three >= 0; three = head.indexOf(3, three + 1)) {
    if (head[three - 1] !== 0 || head[three - 2] !== 0 || three - 2 < from) continue;
    bytes ??= new Uint8Array(end - 1);
    bytes.set(head.subarray(from, three), at);
    at += three - from;
    from = three + 1;
    removed.push(at);
  }
  if (bytes === undefined) return { bytes: head.subarray(1), removed };
  bytes.set(head.subarray(from), at);
  return { bytes: bytes.subarray(0, at + end - from), removed };
};

/** Bytes of the NAL unit (header byte included) that hold the first `rbspBytes` bytes of its payload. */
export const nalBytesFor = (rbsp: Rbsp, rbspBytes: number): number => {
  let escapes = 0;
  for (const at of rbsp.removed) {
    if (at >= rbspBytes) break;
    escapes++;
  }
  return 1 + rbspBytes + escapes;
};
