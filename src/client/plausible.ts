// SPDX-License-Identifier: Apache-2.0
/**
 * Whether decrypted samples look like what their track says: H.264 slices or AAC frames, and not like noise.
 *
 * ITU-T H.264 clauses 7.3.2.11, 7.4.1 (a slice ends with a stop bit and holds no start code), ISO/IEC 14496-3 clause 4.4.2 (a
 * raw_data_block begins with a syntactic element). Slice headers stay clear in Common Encryption, so only slice data can tell.
 * Invariant: a correct sample is never called implausible. A wrong key shows in about every third audio frame and, by chance of
 * 1/256 and more per slice, within seconds of video.
 */
import { parseAvcConfiguration } from '#core/avc/avc-configuration.ts';
import { NAL_IDR, NAL_SLICE, lengthPrefixedNals } from '#core/avc/nal.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Track } from '#core/isobmff/init.ts';

/** SCE, CPE, LFE, DSE, PCE, FIL may begin a block; CCE (2) and END (7) may not in what is played here. */
const AAC_FIRST_ELEMENTS: ReadonlySet<number> = new Set([0, 1, 3, 4, 5, 6]);
const CPE = 1;

/** 00 00 00, 00 00 01 and 00 00 02 never occur inside a NAL unit. */
const holdsStartCode = (nal: Uint8Array): boolean => {
  for (let at = nal.indexOf(0); at >= 0 && at + 2 < nal.length; at = nal.indexOf(0, at + 1)) if (nal[at + 1] === 0 && (nal[at + 2] as number) < 3) return true;
  return false;
};

const plausibleAvc = (sample: Uint8Array, lengthSize: number): boolean => {
  try {
    return lengthPrefixedNals(sample, lengthSize).every((unit) => {
      if (unit.type !== NAL_SLICE && unit.type !== NAL_IDR) return true;
      const nal = sample.subarray(unit.start, unit.end);
      // cabac_zero_words (00 00 03) may follow the stop bit; nothing else that ends in 00 may.
      return (nal.at(-1) as number) !== 0 && !holdsStartCode(nal);
    });
  } catch {
    return false;
  }
};

const plausibleAac = (sample: Uint8Array): boolean => {
  const [first = 0xff, second = 0] = sample;
  const element = first >> 5;
  if (!AAC_FIRST_ELEMENTS.has(element)) return false;
  // Channel pair: with a common window the bit after it is reserved and zero.
  const commonWindow = element === CPE && (first & 1) === 1;
  return !commonWindow || (second & 0x80) === 0;
};

/** Counts the samples of a clear one-track fragment, and those that cannot be what `track` says. */
export const inspectFragment = (clear: Uint8Array, track: Track): { readonly samples: number; readonly implausible: number } => {
  const { samples } = onlyTrackFragment(parseFragment(clear, [track]));
  const lengthSize = track.avcC === undefined ? undefined : parseAvcConfiguration(track.avcC).lengthSize;
  const check = lengthSize !== undefined ? (sample: Uint8Array) => plausibleAvc(sample, lengthSize) : track.format === 'mp4a' ? plausibleAac : () => true;
  let implausible = 0;
  for (const { offset, size } of samples) if (!check(clear.subarray(offset, offset + size))) implausible += 1;
  return { samples: samples.length, implausible };
};
