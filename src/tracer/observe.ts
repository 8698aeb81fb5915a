// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a suspect file: decode, align to the reference, and say per segment how likely each variant is.
 *
 * docs/wire/observation.md. A file that cannot be read is an answer, not a fault: the reasons tell a person what to bring.
 * Invariant: nothing here depends on any viewer's symbols; the same suspect and reference give the same readings.
 */
import { isSealcastError } from '#core/errors.ts';
import type { Patterns } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import type { ObservedReading } from '#core/trace/index.ts';
import { position } from '#core/watermark/index.ts';
import type { FrameTool, MediaProbe, VideoTool } from '#ports';
import { align, frameOf, matchingFrame, type Clip, type Stretch } from './align.ts';
import { createSegmentReader, likelihoodsOf, type SegmentReader } from './read-segment.ts';
import { readClip, type Reference } from './reference.ts';
import { regressors, residualOf } from './residual.ts';

/** Why a suspect says nothing about any copy. */
export type Unreadable = 'not-video' | 'audio-only' | 'too-short' | 'no-common-content';
/** What was read. */
export type Observed =
  | { readonly ok: true; readonly readings: readonly ObservedReading[]; readonly stretches: readonly Stretch[]; readonly seconds: number }
  | { readonly ok: false; readonly reason: Unreadable; readonly detail: string; readonly seconds: number };
/** What the pipeline is doing, for a person who waits. */
export type Progress = {
  readonly step: 'prepare' | 'decode' | 'align' | 'differences' | 'read' | 'score';
  /** Of the suspect. */
  readonly seconds?: number;
  /** Segments done, and of how many. */
  readonly done?: number;
  readonly total?: number;
  /** Segment whose differences are looked up or computed. */
  readonly segment?: number;
};

/** Media time looked at: far more than any verdict needs, and 52 MB of frames. */
const LIMIT = 900_000_000 as Micros;
/** Suspects are sampled at their own rate within these bounds, so that each frame of the reference finds its twin. */
const RATES = { least: 10, most: 30, usual: 25 };
/** Below this a suspect has no whole segment to speak of. */
const SHORTEST_SECONDS = 2;
/** Frames that correlate less than this with the reference show something else. */
const ALIKE = 0.9;
/** A segment is read if so much of it is there. */
const ENOUGH = 0.4;

const probeOf = async (tool: VideoTool, file: string): Promise<MediaProbe | undefined> => {
  try {
    return await tool.probe(file);
  } catch (error) {
    if (isSealcastError(error, 'media-malformed') || isSealcastError(error, 'media-truncated')) return undefined;
    throw error;
  }
};

/** Reads one suspect. Throws `not-found` for no file, `tool-missing` without ffmpeg. */
export const observe = async (options: {
  reference: Reference;
  patterns: Patterns;
  tool: VideoTool;
  frames: FrameTool;
  file: string;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}): Promise<Observed> => {
  const { reference, patterns, tool, frames, file, onProgress, signal } = options;
  const probe = await probeOf(tool, file);
  if (probe === undefined || probe.streams.length === 0) return { ok: false, reason: 'not-video', detail: 'the file is not a video', seconds: 0 };
  const picture = probe.streams.find(({ kind }) => kind === 'video');
  if (picture === undefined) return { ok: false, reason: 'audio-only', detail: 'the file has sound but no picture; marks are in the picture', seconds: 0 };
  const own = picture.frameRate === undefined ? RATES.usual : picture.frameRate.numerator / picture.frameRate.denominator;
  const framesPerSecond = Math.round(Math.min(RATES.most, Math.max(RATES.least, own)));
  let suspect: Clip;
  try {
    suspect = await readClip({
      tool: frames,
      file,
      framesPerSecond,
      limit: LIMIT,
      onFrame: (count) => {
        if (count % framesPerSecond === 0) onProgress?.({ step: 'decode', seconds: count / framesPerSecond });
      },
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (!isSealcastError(error, 'media-malformed') || signal?.aborted === true) throw error;
    return { ok: false, reason: 'not-video', detail: 'the picture cannot be decoded', seconds: 0 };
  }
  const seconds = suspect.count / framesPerSecond;
  if (seconds < SHORTEST_SECONDS) return { ok: false, reason: 'too-short', detail: `the file shows ${seconds.toFixed(1)} s of picture; at least ${SHORTEST_SECONDS} s are needed`, seconds };
  onProgress?.({ step: 'align', seconds });
  const stretches = align(reference.clip, suspect);
  if (stretches.length === 0) return { ok: false, reason: 'no-common-content', detail: 'nothing in the file matches the reference of this title', seconds };
  onProgress?.({ step: 'read', seconds });
  const readings = readSegments(reference, patterns, suspect, stretches);
  if (readings.some(({ likelihoods }) => likelihoods !== undefined)) return { ok: true, readings, stretches, seconds };
  const alike = readings.some(({ erased }) => erased === 'cut');
  return alike
    ? { ok: false, reason: 'too-short', detail: 'no whole segment of the title is in the file', seconds }
    : { ok: false, reason: 'no-common-content', detail: 'no frame in the file matches the reference of this title', seconds };
};

type Segment = { readonly reader: SegmentReader; seen: number };

const readSegments = (reference: Reference, patterns: Patterns, suspect: Clip, stretches: readonly Stretch[]): ObservedReading[] => {
  const { clip, first = 0 } = reference;
  const perSegment = (clip.framesPerSecond * reference.segment) / 1_000_000;
  const segments = new Map<number, Segment>();
  for (const { from, to, shift } of stretches) {
    const first = Math.max(0, Math.ceil((from + shift) * clip.framesPerSecond));
    const last = Math.min(clip.count, (to + shift) * clip.framesPerSecond);
    for (let n = first; n < last; n++) {
      const number = Math.floor((n + 1e-6) / perSegment);
      if (number >= reference.segments) break;
      const segment: Segment = segments.get(number) ?? { reader: createSegmentReader(), seen: 0 };
      segments.set(number, segment);
      segment.seen++;
      const frame = matchingFrame(clip, suspect, n, shift);
      const residual = frame === undefined ? undefined : residualOf(regressors(frameOf(clip, n)), frame);
      if (residual !== undefined && residual.correlation >= ALIKE) segment.reader.add(residual);
    }
  }
  const numbers = [...segments.keys()].sort((a, b) => a - b);
  const readings: ObservedReading[] = [];
  for (let number = numbers[0] ?? 0; number <= (numbers[numbers.length - 1] ?? -1); number++) {
    const segment = segments.get(number);
    const at = position(first + number);
    // A segment at the edge of the suspect is not missing, it is just not all there.
    if (segment === undefined) readings.push({ position: at, erased: 'lost' });
    else if (segment.reader.frames >= Math.max(1, ENOUGH * perSegment)) readings.push({ position: at, likelihoods: likelihoodsOf(segment.reader.statistics(patterns.codes(first + number))) });
    else if (segment.seen >= ENOUGH * perSegment) readings.push({ position: at, erased: 'no-match' });
    else readings.push({ position: at, erased: 'cut' });
  }
  return readings;
};
