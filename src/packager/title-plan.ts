// SPDX-License-Identifier: Apache-2.0
/**
 * Decides which streams of a file become which tracks of a title, and whether they are copied or coded again.
 *
 * H.264 with 8-bit 4:2:0 pictures and AAC are copied: every EME browser decodes them. The rest is coded again, video in
 * renditions whose key frames lie on the same grid, so that players switch anywhere.
 * Invariant: representation ids are unique and say what they are: `v720`, `a-en`, `s-de`.
 */
import { SealcastError } from '#core/errors.ts';
import { representationId } from '#core/ids.ts';
import type { RepresentationId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { MediaProbe, ProbedStream, TrackConversion } from '#ports';

/** One video or audio track to make. */
export type PlannedTrack = { readonly id: RepresentationId; readonly language: string; readonly label?: string; readonly conversion: TrackConversion; /** Name of the variant, one of several of this representation. */ readonly variant?: string };
/** One subtitle track to pass through. */
export type PlannedText = { readonly id: RepresentationId; readonly language: string; readonly label?: string; readonly captions: boolean; readonly stream: number };
/** All tracks of a title. */
export type TitlePlan = { readonly media: readonly PlannedTrack[]; readonly text: readonly PlannedText[] /** Whether any video is copied. */; readonly copiesVideo: boolean };

/** Heights of the renditions when video is coded again; those above the source's are left out. */
export const DEFAULT_HEIGHTS: readonly number[] = [720, 360];
/** Bits per pixel and second for x264 `veryfast`: 720p25 gets about 2 Mb/s. */
const BITS_PER_PIXEL = 0.085;
const AUDIO_BIT_RATE = 128_000;
const COPYABLE_PROFILES = /^(?:constrained )?baseline$|^main$|^extended$|^(?:progressive |constrained )?high$/i;
const TEXT_CODECS = new Set(['webvtt', 'subrip', 'srt', 'ass', 'ssa', 'mov_text', 'text']);

/**
 * `forceTranscode` codes video again even if it could be copied; `heights` does so too, in those renditions. `variants` makes
 * that many of every rendition.
 */
export const planTitle = (probe: MediaProbe, options: { segmentDuration: Micros; heights?: readonly number[]; forceTranscode?: boolean; variants?: number }): TitlePlan => {
  const used = new Set<string>();
  const unique = (wanted: string): RepresentationId => {
    let name = wanted;
    for (let count = 2; used.has(name); count += 1) name = `${wanted}-${count}`;
    used.add(name);
    return representationId(name);
  };
  const picture = probe.streams.find((stream) => stream.kind === 'video');
  const sound = probe.streams.filter((stream) => stream.kind === 'audio');
  if (picture === undefined && sound.length === 0) throw new SealcastError('media-unsupported', 'the input has neither video nor audio');
  if (picture === undefined && options.variants !== undefined) throw new SealcastError('media-unsupported', 'variants need a video: marks are in the picture');
  const copiesVideo = picture !== undefined && options.forceTranscode !== true && options.heights === undefined && options.variants === undefined && copyable(picture);
  const video =
    picture === undefined
      ? []
      : copiesVideo
        ? [{ id: unique(`v${picture.height ?? 0}`), language: 'und', conversion: { stream: picture.index, kind: 'video', copy: true } as const }]
        : renditions(picture, options).flatMap((conversion) => {
            const track = { id: unique(`v${conversion.height}`), language: 'und', conversion };
            if (options.variants === undefined) return [track];
            return Array.from({ length: options.variants }, (_, variant) => ({ ...track, conversion: { ...conversion, variant }, variant: variantName(variant) }));
          });
  return {
    copiesVideo,
    media: [
      ...video,
      ...sound.map((stream) => ({ id: unique(stream.language === 'und' ? 'a' : `a-${stream.language.toLowerCase()}`), ...described(stream), conversion: audioConversion(stream) })),
    ],
    text: probe.streams
      .filter((stream) => stream.kind === 'text' && TEXT_CODECS.has(stream.codec))
      .map((stream) => ({
        id: unique(stream.language === 'und' ? 's' : `s-${stream.language.toLowerCase()}`),
        ...described(stream),
        captions: stream.captions,
        stream: stream.index,
      })),
  };
};

/** Folder of a variant: `a`, `b`, ... as edges ask for it. */
export const variantName = (variant: number): string => String.fromCharCode(97 + variant);

const described = (stream: ProbedStream): { language: string; label?: string } => ({
  language: stream.language,
  ...(stream.title === undefined ? {} : { label: stream.title.slice(0, 64) }),
});

const copyable = (stream: ProbedStream): boolean =>
  stream.codec === 'h264' && (stream.pixelFormat === 'yuv420p' || stream.pixelFormat === 'yuvj420p') && COPYABLE_PROFILES.test(stream.profile ?? '');

const audioConversion = (stream: ProbedStream): TrackConversion =>
  stream.codec === 'aac' && /^(?:LC|HE-AAC(?:v2)?)$/.test(stream.profile ?? '') && (stream.channels ?? 2) <= 6
    ? { stream: stream.index, kind: 'audio', copy: true }
    : { stream: stream.index, kind: 'audio', copy: false, bitRate: AUDIO_BIT_RATE };

type VideoConversion = Extract<TrackConversion, { kind: 'video'; copy: false }>;
const renditions = (stream: ProbedStream, options: { segmentDuration: Micros; heights?: readonly number[] }): readonly VideoConversion[] => {
  const { width, height } = stream;
  if (width === undefined || height === undefined) throw new SealcastError('media-malformed', 'the video stream has no picture size');
  const wanted = (options.heights ?? DEFAULT_HEIGHTS).filter((value) => value <= height);
  const heights = wanted.length > 0 ? wanted : [height];
  const fps = stream.frameRate === undefined ? 25 : stream.frameRate.numerator / stream.frameRate.denominator;
  return heights.map((value) => {
    // 4:2:0 pictures have even sides.
    const even = value - (value % 2);
    const wide = Math.max(2, Math.floor((width * even) / height / 2) * 2);
    return {
      stream: stream.index,
      kind: 'video',
      copy: false,
      width: wide,
      height: even,
      bitRate: Math.max(150_000, Math.round(wide * even * Math.min(60, fps) * BITS_PER_PIXEL)),
      keyFrameEvery: options.segmentDuration,
    };
  });
};
