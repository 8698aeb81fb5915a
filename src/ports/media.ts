// SPDX-License-Identifier: Apache-2.0
/**
 * Media as roles see it from outside: objects in storage, and tools that probe, convert and decode video.
 *
 * Invariant: types only, no code. Tools throw `tool-missing`, `media-malformed` or `media-unsupported`, and nothing else on purpose.
 */
import type { Micros } from '#core/time.ts';

/**
 * Finished objects (init segments, segments, playlists of titles) by path; used by origins and caches.
 * A path is 1-16 names joined by `/`, each 1-128 characters of [A-Za-z0-9._-] not starting with a dot; any other path
 * is refused with `bad-request`. No object's path may continue another object's path.
 */
export interface ObjectStore {
  /** Atomic: a reader sees the old object or the new one, never a part. Durable when it resolves. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  get(path: string): Promise<Uint8Array | undefined>;
  /** Bytes [start, end), cut at the object's size, without reading the rest; undefined if absent. */
  range(path: string, start: number, end: number): Promise<Uint8Array | undefined>;
  size(path: string): Promise<number | undefined>;
  /** Paths that start with this text, sorted by code unit. */
  list(prefix: string): Promise<readonly string[]>;
  /** Harmless if absent. */
  remove(path: string): Promise<void>;
}

/** One elementary stream found in an input. */
export type ProbedStream = {
  readonly index: number;
  readonly kind: 'video' | 'audio' | 'text';
  /** Name of the coding as ffmpeg spells it: `h264`, `aac`, `mp3`, `flac`, `subrip`... */
  readonly codec: string;
  readonly profile?: string;
  readonly pixelFormat?: string;
  readonly width?: number;
  readonly height?: number;
  readonly frameRate?: { readonly numerator: number; readonly denominator: number };
  readonly sampleRate?: number;
  readonly channels?: number;
  /** Bits per second, where the container says so. */
  readonly bitRate?: number;
  /** BCP 47; `und` when the input does not say. */
  readonly language: string;
  readonly title?: string;
  readonly captions: boolean;
};
/** What is in an input. `duration` is absent for streams without an end. */
export type MediaProbe = { readonly duration?: Micros; readonly streams: readonly ProbedStream[] };

/** How one stream becomes a CMAF track. `copy` keeps the coded samples. */
export type TrackConversion =
  | { readonly stream: number; readonly kind: 'video' | 'audio'; readonly copy: true }
  | { readonly stream: number; readonly kind: 'video'; readonly copy: false; readonly width: number; readonly height: number; readonly bitRate: number; readonly keyFrameEvery: Micros; /** Which of `marks` is added to the luma. */ readonly variant?: number }
  | { readonly stream: number; readonly kind: 'audio'; readonly copy: false; readonly bitRate: number };

/** What tells the variants of a video apart: per interval of the timeline one small picture per variant, added to the luma. */
export type VariantMarks = {
  readonly alphabet: number;
  /** Size of one variant's picture. */
  readonly width: number;
  readonly height: number;
  /** Interval 0 begins at media time 0. */
  readonly every: Micros;
  /** 8-bit 4:2:0, the variants' pictures below one another; 128 changes nothing. */
  picture(interval: number): Uint8Array;
};

/** Reads and converts media with a tool outside this process. Throws `tool-missing`, `media-malformed`, `media-unsupported`. */
export interface VideoTool {
  probe(file: string): Promise<MediaProbe>;
  /**
   * One CMAF byte stream per conversion, all timestamps later by exactly `offset`, so that audio priming before zero
   * survives. All streams have to be read at the same time; each throws when the conversion fails.
   */
  toCmaf(request: { file: string; tracks: readonly TrackConversion[]; fragment: Micros; marks?: VariantMarks; signal?: AbortSignal }): { readonly offset: Micros; readonly tracks: readonly AsyncIterable<Uint8Array>[] };
  /** A text stream as one WebVTT document. */
  toWebVtt(request: { file: string; stream: number; signal?: AbortSignal }): Promise<string>;
}

/** Decodes video of any origin into small gray pictures. Throws `tool-missing`, `media-malformed`. */
export interface FrameTool {
  /**
   * Luma of the first video stream, `width` x `height` bytes per frame, frame n at n / framesPerSecond seconds after the start
   * of the file. At most `limit` of media time is decoded; a decoder that uses more than its CPU time is ended.
   */
  grayFrames(request: { file: string; width: number; height: number; framesPerSecond: number; limit?: Micros; signal?: AbortSignal }): AsyncIterable<Uint8Array>;
}

/** Memory for picture n of a decoding, of the right length; without it every picture gets its own. */
export type PictureBuffer = (n: number) => Uint8Array;

/** Decodes video to luma at full size: what a detector compares, pixel by pixel. Throws `tool-missing`, `media-malformed`. */
export interface PictureTool {
  /**
   * Luma of the first video stream of a stranger's file, `width` x `height` bytes per picture at a constant rate, picture n at
   * `from` + n / framesPerSecond seconds. At most `limit` of media time; no network, CPU time bounded.
   */
  filePictures(request: { file: string; width: number; height: number; framesPerSecond: number; from?: Micros; limit?: Micros; buffer?: PictureBuffer; signal?: AbortSignal }): AsyncIterable<Uint8Array>;
  /**
   * Luma of every picture of own H.264 (Annex B) in order of display, `width` x `height` bytes: the coded size, rounded up to
   * whole fours; what lies beyond the picture says nothing. Each part starts with a key frame.
   */
  codedPictures(request: { parts: Iterable<Uint8Array>; width: number; height: number; buffer?: PictureBuffer; signal?: AbortSignal }): AsyncIterable<Uint8Array>;
}
