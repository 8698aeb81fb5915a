// SPDX-License-Identifier: Apache-2.0
/**
 * A clear CMAF segment of the reference as the decoder takes it: an Annex B stream, with any group of its places switched on.
 *
 * ISO/IEC 14496-15 clause 5.3, ITU-T H.264 Annex B. Invariant: places of other groups stay as they are; times are those of the
 * pictures in order of display, which is the order a decoder shows them in.
 */
import type { AvcConfiguration } from '#core/avc/avc-configuration.ts';
import { lengthPrefixedNals } from '#core/avc/nal.ts';
import { SealcastError } from '#core/errors.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { parseFragment } from '#core/isobmff/fragment.ts';
import type { Track } from '#core/isobmff/init.ts';
import { applyGroup, type MarkGroup, type MarkProfile } from '#core/mark/index.ts';
import type { SwitchableSegment } from './differences.ts';

/** A segment to decode; `times` are seconds of media time, rising, and have one more entry: the end. */
export type MarkedSegment = SwitchableSegment & { readonly times: Float64Array };

const START_CODE = Uint8Array.of(0, 0, 0, 1);

/** Throws `media-malformed`, `media-truncated` for a damaged segment or one that does not fit its profile. */
export const markedSegment = (bytes: Uint8Array, track: Track, configuration: AvcConfiguration, profile: MarkProfile): MarkedSegment => {
  if (profile.size !== bytes.length) throw new SealcastError('media-malformed', 'the places are of another segment');
  const units: { readonly start: number; readonly end: number }[] = [];
  const times: number[] = [];
  let end = 0;
  const boxes = readBoxes(bytes);
  boxes.forEach((moof, i) => {
    const mdat = boxes[i + 1];
    if (moof.type !== 'moof' || mdat?.type !== 'mdat') return;
    const from = moof.start;
    const fragment = parseFragment(bytes.subarray(from, mdat.start + mdat.bytes.length), [track]);
    for (const run of fragment.tracks) {
      let decode = Number(run.baseMediaDecodeTime);
      for (const sample of run.samples) {
        times.push((decode + sample.compositionOffset) / track.timescale);
        decode += sample.duration;
        end = Math.max(end, (decode + sample.compositionOffset) / track.timescale);
        const first = from + sample.offset;
        for (const unit of lengthPrefixedNals(bytes.subarray(first, first + sample.size), configuration.lengthSize)) units.push({ start: first + unit.start, end: first + unit.end });
      }
    }
  });
  times.sort((a, b) => a - b);
  const sets = [...configuration.sps, ...configuration.pps];
  const total = sets.reduce((sum, { length }) => sum + 4 + length, 0) + units.reduce((sum, { start, end: last }) => sum + 4 + last - start, 0);
  const annexB = (source: Uint8Array): Uint8Array => {
    const out = new Uint8Array(total);
    let at = 0;
    const put = (unit: Uint8Array): void => {
      out.set(START_CODE, at);
      out.set(unit, at + 4);
      at += 4 + unit.length;
    };
    sets.forEach(put);
    for (const { start, end: last } of units) put(source.subarray(start, last));
    return out;
  };
  return {
    frames: times.length,
    groups: profile.slots * 2,
    times: Float64Array.of(...times, end),
    original: annexB(bytes),
    withGroup(group) {
      const copy = bytes.slice();
      applyGroup(copy, profile, group >> 1, (group & 1) as MarkGroup);
      return annexB(copy);
    },
  };
};
