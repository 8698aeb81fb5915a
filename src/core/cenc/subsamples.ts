// SPDX-License-Identifier: Apache-2.0
/**
 * Which bytes of a coded picture are encrypted: slice data and nothing else (ISO/IEC 23001-7 clause 9.5.2; CMAF
 * ISO/IEC 23000-19 clause 8.2).
 *
 * Clear: NAL unit lengths, NAL headers, slice headers, every non-VCL unit. `cenc` protects whole blocks and moves the
 * remainder to the clear side in front; `cbcs` protects from the first byte after the slice header.
 * Invariant: the subsamples of a sample add up to its size, fit their 16- and 32-bit fields, and their table fits the
 * 8-bit size of `saiz`.
 */
import { SealcastError } from '#core/errors.ts';
import type { ProtectionScheme } from '#core/ids.ts';
import { lengthPrefixedNals, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS } from '#core/avc/nal.ts';
import type { ParameterSets } from '#core/avc/parameter-sets.ts';
import { parseSliceHeader } from '#core/avc/slice-header.ts';

/** `clear` bytes left as they are, then `protected` bytes of which the scheme ciphers some or all. */
export type Subsample = { readonly clear: number; readonly protected: number };

const BLOCK = 16;
const MAX_CLEAR = 0xffff;

/** Entries whose table fits one `saiz` byte: 2 bytes count, 6 per entry, and with `cenc` the 8-byte IV. */
export const maxSubsamples = (scheme: ProtectionScheme): number => Math.floor((255 - 2 - (scheme === 'cenc' ? 8 : 0)) / 6);

/** Coding tools whose slices would stay readable, because they are no slices of type 1 or 5. */
const REFUSED: Readonly<Record<number, string>> = {
  2: 'data partitioning',
  3: 'data partitioning',
  4: 'data partitioning',
  19: 'auxiliary pictures',
  20: 'scalable or multiview coding',
  21: 'depth views',
};

/**
 * Subsamples of one H.264 sample (length-prefixed NAL units). Parameter sets met in the sample are taken into `sets`.
 * Pictures of more slices than the table can hold keep their smallest slices clear.
 */
export const avcSubsamples = (sample: Uint8Array, lengthSize: number, sets: ParameterSets, scheme: ProtectionScheme): readonly Subsample[] => {
  /** Protected ranges [from, to), ascending. */
  const ranges: { readonly from: number; readonly to: number }[] = [];
  for (const nal of lengthPrefixedNals(sample, lengthSize)) {
    if (nal.type === NAL_SLICE || nal.type === NAL_IDR) {
      const dataFrom = nal.start + parseSliceHeader(sample.subarray(nal.start, nal.end), sets).headerBytes;
      const length = nal.end - dataFrom;
      // A range without a whole block has nothing ciphered in either scheme.
      if (length < BLOCK) continue;
      ranges.push({ from: scheme === 'cenc' ? dataFrom + (length % BLOCK) : dataFrom, to: nal.end });
    } else if (nal.type === NAL_SPS || nal.type === NAL_PPS) sets.accept(sample.subarray(nal.start, nal.end));
    else {
      const tool = REFUSED[nal.type];
      if (tool !== undefined)
        throw new SealcastError('media-unsupported', `the H.264 stream uses ${tool} (NAL unit type ${nal.type}); transcode it to Main or High profile (ffmpeg -c:v libx264)`);
    }
  }
  const limit = maxSubsamples(scheme);
  let subsamples = layOut(ranges, sample.length);
  if (subsamples.length > limit) {
    const bySize = [...ranges].sort((a, b) => b.to - b.from - (a.to - a.from));
    for (let keep = Math.min(bySize.length, limit); subsamples.length > limit; keep--) {
      if (keep < 0) throw new SealcastError('media-too-large', `a sample of ${sample.length} bytes has more clear bytes than its subsample table can describe`);
      const kept = new Set(bySize.slice(0, keep));
      subsamples = layOut(
        ranges.filter((range) => kept.has(range)),
        sample.length,
      );
    }
  }
  return subsamples;
};

/** Ranges as alternating clear and protected counts, clear counts above 16 bits split. */
const layOut = (ranges: readonly { readonly from: number; readonly to: number }[], size: number): readonly Subsample[] => {
  const subsamples: Subsample[] = [];
  const push = (clear: number, protectedBytes: number): void => {
    let left = clear;
    for (; left > MAX_CLEAR; left -= MAX_CLEAR) subsamples.push({ clear: MAX_CLEAR, protected: 0 });
    subsamples.push({ clear: left, protected: protectedBytes });
  };
  let at = 0;
  for (const range of ranges) {
    push(range.from - at, range.to - range.from);
    at = range.to;
  }
  if (at < size || subsamples.length === 0) push(size - at, 0);
  return subsamples;
};
