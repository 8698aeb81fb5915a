// SPDX-License-Identifier: Apache-2.0
/**
 * A suspect file: what is in it, its small frames, its pictures from any second on.
 *
 * Invariant: a file that cannot be read is an answer, not a fault; memory does not grow with its length.
 */
import { isSealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { FrameTool, MediaProbe, PictureTool, VideoTool } from '#ports';
import type { Clip } from './align.ts';
import { pictureOf, type Picture } from './registration/picture.ts';
import { readClip } from './reference.ts';

/** Why a suspect says nothing about any copy. */
export type Unreadable = 'not-video' | 'audio-only' | 'too-short' | 'no-common-content';

/** An opened suspect. */
export type Suspect = {
  /** Pictures are handed out at this size: its own, at most MOST_ACROSS wide. */
  readonly width: number;
  readonly height: number;
  /** Pictures a second, as the file says; exact, e.g. 24000/1001. */
  readonly rate: number;
  /** Small frames of all of it, up to LIMIT. */
  readonly clip: Clip;
  readonly seconds: number;
  /** Pictures from `from` seconds on, with the second each is shown at. With `passing` a picture is overwritten by the PASSING-th after it. */
  pictures(from: number, seconds: number, passing?: boolean): AsyncGenerator<{ readonly picture: Picture; readonly at: number }>;
};
/** Tools for strangers' files. */
export type SuspectTools = { readonly tool: VideoTool; readonly frames: FrameTool & PictureTool };

/** Media time looked at: far more than any verdict needs, and 62 MB of small frames. */
const LIMIT = 900_000_000 as Micros;
const RATES = { least: 5, most: 120, usual: 25 };
/** Small frames are taken at most so often. */
const SMALL_RATE = 30;
const MOST_ACROSS = 1920;
/** Pictures of a passing stream that stay: those that two segments may show, at 120 a second. */
export const PASSING = 64;
/** Below this a suspect has no whole segment to speak of. */
const SHORTEST_SECONDS = 2;

/** What is in a file; undefined for one that is no media. Throws `not-found`, `tool-missing`. */
export const probeOf = async (tool: VideoTool, file: string): Promise<MediaProbe | undefined> => {
  try {
    return await tool.probe(file);
  } catch (error) {
    if (isSealcastError(error, 'media-malformed') || isSealcastError(error, 'media-truncated')) return undefined;
    throw error;
  }
};

/** Opens a file. Throws `not-found` for none, `tool-missing` without ffmpeg. */
export const openSuspect = async (options: {
  readonly tools: SuspectTools;
  readonly file: string;
  readonly onSeconds?: (seconds: number) => void;
  readonly signal?: AbortSignal;
}): Promise<{ readonly ok: true; readonly suspect: Suspect } | { readonly ok: false; readonly reason: Unreadable; readonly detail: string; readonly seconds: number }> => {
  const { tools, file, onSeconds, signal } = options;
  const probe = await probeOf(tools.tool, file);
  if (probe === undefined || probe.streams.length === 0) return { ok: false, reason: 'not-video', detail: 'the file is not a video', seconds: 0 };
  const video = probe.streams.find(({ kind }) => kind === 'video');
  if (video === undefined) return { ok: false, reason: 'audio-only', detail: 'the file has sound but no picture; marks are in the picture', seconds: 0 };
  const own = video.frameRate === undefined ? RATES.usual : video.frameRate.numerator / video.frameRate.denominator;
  const rate = Math.min(RATES.most, Math.max(RATES.least, own));
  const shrink = Math.min(1, MOST_ACROSS / Math.max(1, video.width ?? 640));
  const width = Math.max(16, Math.round(((video.width ?? 640) * shrink) / 2) * 2);
  const height = Math.max(16, Math.round(((video.height ?? 360) * shrink) / 2) * 2);
  const request = signal === undefined ? {} : { signal };
  let clip: Clip;
  try {
    const framesPerSecond = Math.min(SMALL_RATE, Math.max(10, Math.round(rate)));
    clip = await readClip({
      tool: tools.frames,
      file,
      framesPerSecond,
      limit: LIMIT,
      onFrame: (count) => {
        if (count % framesPerSecond === 0) onSeconds?.(count / framesPerSecond);
      },
      ...request,
    });
  } catch (error) {
    if (!isSealcastError(error, 'media-malformed') || signal?.aborted === true) throw error;
    return { ok: false, reason: 'not-video', detail: 'the picture cannot be decoded', seconds: 0 };
  }
  const seconds = clip.count / clip.framesPerSecond;
  if (seconds < SHORTEST_SECONDS) return { ok: false, reason: 'too-short', detail: `the file shows ${seconds.toFixed(1)} s of picture; at least ${SHORTEST_SECONDS} s are needed`, seconds };
  return {
    ok: true,
    suspect: {
      width,
      height,
      rate,
      clip,
      seconds,
      async *pictures(from, length, passing = false) {
        const ring: Uint8Array[] = [];
        const buffer = (at: number): Uint8Array => (passing ? (ring[at % PASSING] ??= new Uint8Array(width * height)) : new Uint8Array(width * height));
        const start = Math.max(0, Math.round(from * 1_000_000)) as Micros;
        let n = 0;
        for await (const luma of tools.frames.filePictures({ file, width, height, framesPerSecond: rate, from: start, limit: Math.round(length * 1_000_000) as Micros, buffer, ...request })) {
          yield { picture: pictureOf(luma, width, height), at: start / 1_000_000 + n / rate };
          n++;
        }
      },
    },
  };
};
