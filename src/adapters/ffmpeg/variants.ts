// SPDX-License-Identifier: Apache-2.0
/**
 * The filter graph that makes m marked variants of a video in one pass, and the pipe that feeds it the marks.
 *
 * The marks come as one tiny raw video: a picture per interval, the variants below one another. Each is cut out, scaled up
 * (bicubic: marks have no sharp edges) and added by `blend=grainmerge`, which is A + B - 128. The source is decoded and
 * scaled once per size; all variants get the same encoder settings and key frames, so that they can be switched anywhere.
 * Invariant: variants of one size differ in nothing but the mark.
 */
import type { Writable } from 'node:stream';
import { SealcastError } from '#core/errors.ts';
import type { TrackConversion, VariantMarks } from '#ports';

type Marked = Extract<TrackConversion, { kind: 'video'; copy: false }>;

/** Scaling and pixel format of coded video; shared with unmarked tracks. */
export const scaling = (width: number, height: number): string => `scale=${width}:${height}:flags=bicubic,setsar=1,format=yuv420p`;

/** Input arguments of the marks, which ffmpeg reads from file descriptor `fd`. */
export const marksInput = (marks: VariantMarks, fd: number): readonly string[] => [
  '-probesize',
  '32',
  '-analyzeduration',
  '0',
  '-f',
  'rawvideo',
  '-pix_fmt',
  'yuv420p',
  '-video_size',
  `${marks.width}x${marks.height * marks.alphabet}`,
  '-framerate',
  `1000000/${marks.every}`,
  '-i',
  `pipe:${fd}`,
];

/** The graph over input 0 (source) and 1 (marks), and the label of each marked track's output by its index in `tracks`. */
export const markingGraph = (tracks: readonly TrackConversion[], marks: VariantMarks): { readonly graph: string; readonly labels: ReadonlyMap<number, string> } => {
  const labels = new Map<number, string>();
  const sizes = new Map<string, { conversion: Marked; variants: { label: string; variant: number }[] }>();
  tracks.forEach((conversion, index) => {
    if (conversion.kind !== 'video' || conversion.copy || conversion.variant === undefined) return;
    if (!(conversion.variant >= 0 && conversion.variant < marks.alphabet)) throw new SealcastError('bad-request', `variant must be 0..${marks.alphabet - 1}`);
    const label = `t${index}`;
    labels.set(index, `[${label}]`);
    const name = `${conversion.stream}:${conversion.width}x${conversion.height}`;
    const size = sizes.get(name) ?? { conversion, variants: [] };
    size.variants.push({ label, variant: conversion.variant });
    sizes.set(name, size);
  });
  const chains: string[] = [`[1:v]split=${labels.size}${[...labels.keys()].map((index) => `[m${index}]`).join('')}`];
  for (const { conversion, variants } of sizes.values()) {
    const { stream, width, height } = conversion;
    chains.push(`[0:${stream}]${scaling(width, height)},split=${variants.length}${variants.map(({ label }) => `[s${label}]`).join('')}`);
    for (const { label, variant } of variants) {
      chains.push(
        `[m${label.slice(1)}]crop=${marks.width}:${marks.height}:0:${variant * marks.height},scale=${width}:${height}:flags=bicubic,setsar=1[p${label}]`,
        `[s${label}][p${label}]blend=all_mode=grainmerge:shortest=1[${label}]`,
      );
    }
  }
  return { graph: chains.join(';'), labels };
};

/** Writes picture after picture until ffmpeg has read enough: the marks have no end, the source has. */
export const feedMarks = async (pipe: Writable, marks: VariantMarks): Promise<void> => {
  let closed = false;
  const over = new Promise<void>((resolve) => {
    // The reader goes away in the middle of a write; that is how it says "enough".
    for (const event of ['error', 'close'] as const)
      pipe.once(event, () => {
        closed = true;
        resolve();
      });
  });
  pipe.on('error', () => undefined);
  for (let interval = 0; !closed; interval++) {
    if (!pipe.write(marks.picture(interval))) await Promise.race([over, new Promise<void>((resolve) => pipe.once('drain', resolve))]);
  }
};
