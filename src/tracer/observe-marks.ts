// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a suspect of an asset that is marked inside its bitstream: slot by slot, with everything a person may want to see of it.
 *
 * Same answers as observe.ts, which reads variants. Invariant: a file that cannot be read is an answer, not a fault; a slot that
 * was not seen is an erasure with its reason, never a guess.
 */
import type { ObservedReading } from '#core/trace/index.ts';
import { MAX_READINGS } from '#core/trace/index.ts';
import { position } from '#core/watermark/index.ts';
import type { FrameTool, PictureTool, VideoTool } from '#ports';
import type { Stretch } from './align.ts';
import { detect, type SegmentReading } from './detector.ts';
import type { MarkedReference } from './marked-reference.ts';
import type { Progress, Unreadable } from './observe.ts';
import { slotLikelihoods } from './soft-values.ts';
import { openSuspect } from './suspect.ts';

/** What was read of marks in the bitstream. */
export type ObservedMarks =
  | {
      readonly ok: true;
      readonly readings: readonly ObservedReading[];
      readonly stretches: readonly Stretch[];
      readonly seconds: number;
      readonly segments: readonly SegmentReading[];
      readonly hypotheses: number;
      /** Size of the suspect's pictures and its pictures a second. */
      readonly picture: { readonly width: number; readonly height: number; readonly rate: number };
    }
  | { readonly ok: false; readonly reason: Unreadable; readonly detail: string; readonly seconds: number };

/** Reads one suspect. Throws `not-found` for no file, `tool-missing` without ffmpeg, `media-malformed` for a damaged reference. */
export const observeMarks = async (options: {
  reference: MarkedReference;
  tool: VideoTool;
  frames: FrameTool & PictureTool;
  file: string;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}): Promise<ObservedMarks> => {
  const { reference, tool, frames, file, onProgress, signal } = options;
  const request = signal === undefined ? {} : { signal };
  const opened = await openSuspect({ tools: { tool, frames }, file, onSeconds: (seconds) => onProgress?.({ step: 'decode', seconds }), ...request });
  if (!opened.ok) return opened;
  const { suspect } = opened;
  const { seconds, width, height, rate } = suspect;
  onProgress?.({ step: 'align', seconds });
  const { slots } = reference;
  let read = 0;
  const { segments, hypotheses, stretches } = await detect({
    reference,
    suspect,
    tool: frames,
    limit: Math.floor(MAX_READINGS / slots),
    onSegment: ({ at }) => onProgress?.({ step: 'read', seconds: at, done: ++read }),
    onDifferences: (_, number) => onProgress?.({ step: 'differences', segment: number }),
    ...request,
  });
  if (stretches.length === 0) return { ok: false, reason: 'no-common-content', detail: 'nothing in the file matches the reference of this title', seconds };
  const readings: ObservedReading[] = [];
  const likely = slotLikelihoods(segments.flatMap(({ statistics }) => statistics));
  let before: number | undefined;
  let first = 0;
  for (const { number, statistics } of segments) {
    // Missing segments between others are told; long gaps are cuts of the pirate and only their ends are.
    if (before !== undefined && number > before + 1) readings.push({ position: position((before + 1) * slots), erased: 'lost' });
    statistics.forEach((_, slot) => {
      const likelihoods = likely[first + slot];
      readings.push({ position: position(number * slots + slot), ...(likelihoods === undefined ? { erased: 'cut' } : { likelihoods }) });
    });
    before = number;
    first += statistics.length;
  }
  if (!readings.some(({ likelihoods }) => likelihoods !== undefined)) {
    return segments.length > 0
      ? { ok: false, reason: 'too-short', detail: 'too little of any marked segment is in the file', seconds }
      : { ok: false, reason: 'no-common-content', detail: 'no picture in the file matches the reference of this title', seconds };
  }
  return { ok: true, readings: readings.slice(0, MAX_READINGS), stretches, seconds, segments, hypotheses, picture: { width, height, rate } };
};
