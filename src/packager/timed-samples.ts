// SPDX-License-Identifier: Apache-2.0
/**
 * Makes the samples of a timed event tell nothing before their time: sizes in few buckets, no messages in the clear.
 *
 * Everybody holds the segments seconds early, and the sizes in `trun` and `senc` are readable: a goal shows in the bit rate.
 * H.264: the last slice is lengthened by cabac_zero_words (ISO/IEC 14496-10, 7.3.2.10), which decoders pass over and which
 * are encrypted with it; SEI messages (captions among them), which Common Encryption leaves in the clear, are dropped.
 * AAC: zero bytes after the raw data block.
 * Invariant: pictures and sound stay the same; sizes grow by an eighth at most (and to 64 bytes at least).
 */
import { lengthPrefixedNals } from '#core/avc/nal.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import type { Track } from '#core/isobmff/init.ts';
import type { SampleToWrite } from '#core/isobmff/fragment-writer.ts';

/** Least size that a sample is padded to. */
const SMALLEST = 64;
const SEI = 6;
/** cabac_zero_word with its emulation prevention byte. */
const ZERO_WORD = Uint8Array.of(0, 0, 3);

/** The size that a sample of `size` bytes is padded to: eight steps between powers of two. */
export const sizeBucket = (size: number): number => {
  if (size <= SMALLEST) return SMALLEST;
  const step = 2 ** Math.max(0, Math.floor(Math.log2(size - 1)) - 3);
  return Math.ceil(size / step) * step;
};

const prefixed = (length: number, lengthSize: number): Uint8Array => {
  const out = new Uint8Array(lengthSize);
  for (let at = lengthSize - 1, rest = length; at >= 0; at--, rest = Math.floor(rest / 256)) out[at] = rest % 256;
  return out;
};

const isSlice = (unit: Uint8Array): boolean => (((unit[0] ?? 0) & 0x1f) === 1 || ((unit[0] ?? 0) & 0x1f) === 5) && unit.length > 1;

/** One coded picture without SEI, its last slice lengthened so that the whole has its bucket's size (up to two bytes more). */
export const padPicture = (sample: Uint8Array, lengthSize: number): Uint8Array => {
  const units = lengthPrefixedNals(sample, lengthSize).map(({ start, end }) => sample.subarray(start, end)).filter((unit) => ((unit[0] ?? 0) & 0x1f) !== SEI);
  const last = units.findLastIndex(isSlice);
  const size = units.reduce((sum, unit) => sum + lengthSize + unit.length, 0);
  // Whole words only: the rest of the division by three is all that is left to see.
  const words = last === -1 ? 0 : Math.ceil((sizeBucket(size) - size) / ZERO_WORD.length);
  const most = 256 ** lengthSize - 1;
  return concatBytes(
    ...units.flatMap((unit, index) => {
      const padded = index === last && unit.length + words * ZERO_WORD.length <= most ? concatBytes(unit, ...Array.from({ length: words }, () => ZERO_WORD)) : unit;
      return [prefixed(padded.length, lengthSize), padded];
    }),
  );
};

/** Sound: zero bytes behind the raw data block, up to the bucket. */
export const padSound = (sample: Uint8Array): Uint8Array => {
  const out = new Uint8Array(sizeBucket(sample.length));
  out.set(sample);
  return out;
};

/** Prepares the samples of one track of a timed event. */
export type TimedSamples = (samples: readonly SampleToWrite[]) => readonly SampleToWrite[];

/** `strict` refuses tracks with reordered pictures (`media-unsupported`): a picture shown early would need a later key. */
export const createTimedSamples = (track: Track, options: { readonly strict: boolean; readonly pad: boolean }): TimedSamples => {
  // avcC: version, profile, compatibility, level, then the length size (ISO/IEC 14496-15, 5.3.3.1).
  const lengthSize = track.kind !== 'video' || track.avcC === undefined ? undefined : ((track.avcC[4] ?? 3) & 3) + 1;
  const pad = !options.pad ? undefined : lengthSize !== undefined ? (data: Uint8Array) => padPicture(data, lengthSize) : track.codec.startsWith('mp4a') ? padSound : undefined;
  let offset: number | undefined;
  return (samples) => {
    if (options.strict && track.kind === 'video') {
      for (const { compositionOffset } of samples) {
        offset ??= compositionOffset;
        if (compositionOffset !== offset) throw new SealcastError('media-unsupported', 'a strictly timed event takes no reordered pictures (B-frames); set the encoder to none');
      }
    }
    return pad === undefined ? samples : samples.map((sample) => ({ ...sample, data: pad(sample.data) }));
  };
};
