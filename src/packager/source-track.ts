// SPDX-License-Identifier: Apache-2.0
/**
 * What the packager accepts as a track, and how it describes it to manifests.
 *
 * ISO/IEC 23000-19 media profiles `cfhd` (AVC) and `caac` (AAC): what every EME browser decodes under Common Encryption.
 * Invariant: whatever is refused here is refused with the setting that mends it.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { SealcastError } from '#core/errors.ts';
import type { RepresentationId } from '#core/ids.ts';
import { parseInit } from '#core/isobmff/init.ts';
import type { Track as MediaTrack } from '#core/isobmff/init.ts';
import type { AudioTrack, FrameRate, VideoTrack } from '#core/manifest/presentation.ts';

/** A header that was accepted, with what it says. */
export type SourceTrack = { readonly init: Uint8Array; readonly media: MediaTrack };

/** H.264 profiles with 8-bit 4:2:0 pictures: Baseline, Main, Extended, High. */
const EIGHT_BIT_PROFILES = new Set(['42', '4d', '58', '64']);

/** Parses a CMAF header. Throws `media-unsupported`, `media-malformed`, `media-truncated`. */
export const sourceTrack = (init: Uint8Array): SourceTrack => {
  const { tracks } = parseInit(init);
  const [media, second] = tracks;
  if (media === undefined) throw new SealcastError('media-unsupported', 'the header has no track');
  if (second !== undefined) throw new SealcastError('media-unsupported', `the header has ${tracks.length} tracks; send each track by itself (ffmpeg: one output per stream)`);
  if (media.protection !== undefined) throw new SealcastError('media-unsupported', 'the track is encrypted already; send it clear, over TLS');
  if (media.kind === 'video') {
    if (media.format !== 'avc1' && media.format !== 'avc3')
      throw new SealcastError('media-unsupported', `the video is ${media.codec}; send H.264 (ffmpeg: -c:v libx264 -pix_fmt yuv420p)`);
    const profile = media.codec.slice(5, 7).toLowerCase();
    if (!EIGHT_BIT_PROFILES.has(profile))
      throw new SealcastError('media-unsupported', `the H.264 profile ${profile} is not 8-bit 4:2:0; send High or below (ffmpeg: -profile:v high -pix_fmt yuv420p)`);
  } else if (media.kind === 'audio') {
    if (!media.codec.startsWith('mp4a.40')) throw new SealcastError('media-unsupported', `the audio is ${media.codec}; send AAC (ffmpeg: -c:a aac)`);
  } else {
    throw new SealcastError('media-unsupported', `the track is ${media.handler}, neither video nor audio`);
  }
  return { init, media };
};

/** Whether chunks of both headers can follow each other under one manifest entry. */
export const sameCoding = (a: MediaTrack, b: MediaTrack): boolean =>
  a.id === b.id &&
  a.timescale === b.timescale &&
  a.codec === b.codec &&
  a.kind === b.kind &&
  a.video?.width === b.video?.width &&
  a.video?.height === b.video?.height &&
  a.audio?.channels === b.audio?.channels &&
  a.audio?.sampleRate === b.audio?.sampleRate &&
  (a.avcC === undefined || b.avcC === undefined ? a.avcC === b.avcC : equalBytes(a.avcC, b.avcC));

/** The manifest's view of a track. `sampleTicks`: usual sample duration, for the frame rate. */
export const describeTrack = (
  id: RepresentationId,
  media: MediaTrack,
  facts: { sampleTicks: number; peak: number; average: number; language?: string; label?: string },
): VideoTrack | AudioTrack => {
  const base = {
    id,
    language: facts.language ?? media.language,
    codec: media.codec,
    bandwidth: facts.peak,
    averageBandwidth: facts.average,
    ...(facts.label === undefined ? {} : { label: facts.label }),
  };
  if (media.kind === 'video') {
    const frameRate = rate(media.timescale, facts.sampleTicks);
    return { ...base, kind: 'video', width: media.video?.width ?? 0, height: media.video?.height ?? 0, ...(frameRate === undefined ? {} : { frameRate }) };
  }
  return { ...base, kind: 'audio', sampleRate: media.audio?.sampleRate ?? 0, channels: media.audio?.channels ?? 0 };
};

const rate = (timescale: number, ticks: number): FrameRate | undefined => {
  if (ticks <= 0) return undefined;
  const divisor = greatestCommonDivisor(timescale, ticks);
  return { numerator: timescale / divisor, denominator: ticks / divisor };
};
const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));
