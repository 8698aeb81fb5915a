// SPDX-License-Identifier: Apache-2.0
/**
 * H.264 streams for tests of slice data, made by ffmpeg and x264 with the coding tools a test asks for, and natural ones
 * from the optional folder `../shared/media`; and what tests do with their NAL units.
 *
 * Invariant: a missing ffmpeg fails the test with the command that installs it; nothing is left out.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { annexBNals, NAL_IDR, NAL_PPS, NAL_SLICE, NAL_SPS } from '#core/avc/nal.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import type { ParameterSets } from '#core/avc/parameter-sets.ts';
import { ffmpeg } from './clips.ts';

const SCENE = ['-f', 'lavfi', '-i', 'testsrc2=s=320x192:r=25,noise=alls=12:allf=t:all_seed=7', '-t', '0.6'];
/** Fades make x264 write explicit weights. */
const FADE = ['-f', 'lavfi', '-i', 'testsrc2=s=320x192:r=25,noise=alls=8:allf=t:all_seed=3,fade=in:0:20', '-t', '0.8'];
const x264 = (...options: readonly string[]): readonly string[] => ['-c:v', 'libx264', '-preset', 'fast', '-threads', '1', '-g', '25', '-pix_fmt', 'yuv420p', ...options];

/** name → input and coding options: what the parser reads. */
export const PARSED: Readonly<Record<string, readonly string[]>> = {
  'baseline, CAVLC': [...SCENE, ...x264('-profile:v', 'baseline')],
  'main, CABAC, B, weighted': [...FADE, ...x264('-profile:v', 'main', '-bf', '3', '-x264-params', 'weightp=2:weightb=1')],
  'main, CAVLC, B, weighted': [...FADE, ...x264('-profile:v', 'main', '-coder', '0', '-bf', '3', '-x264-params', 'weightp=2:weightb=1')],
  'high, CABAC, 8x8, all partitions, temporal direct': [...SCENE, ...x264('-preset', 'slower', '-bf', '4', '-x264-params', 'direct=temporal:partitions=all:ref=6')],
  'high, CAVLC, 8x8, all partitions': [...SCENE, ...x264('-preset', 'slower', '-coder', '0', '-bf', '2', '-x264-params', 'partitions=all:ref=4')],
  'main, CABAC, four slices': [...SCENE, ...x264('-profile:v', 'main', '-bf', '2', '-slices', '4')],
  'high, CABAC, slices of 200 bytes': [...SCENE, ...x264('-b:v', '2M', '-x264-params', 'slice-max-size=200')],
  'baseline, CAVLC, slices of 200 bytes': [...SCENE, ...x264('-profile:v', 'baseline', '-b:v', '2M', '-x264-params', 'slice-max-size=200')],
  'all intra, CABAC': [...SCENE, ...x264('-g', '1', '-crf', '10')],
  'constrained intra prediction, CABAC': [...SCENE, ...x264('-x264-params', 'constrained-intra=1:bframes=2')],
  'monochrome, CABAC': [...SCENE, ...x264('-pix_fmt', 'gray', '-bf', '2')],
  'monochrome, CAVLC': [...SCENE, ...x264('-pix_fmt', 'gray', '-coder', '0', '-bf', '2')],
  'very high rate, CABAC': [...SCENE, '-t', '0.4', ...x264('-qp', '1')],
  'very high rate, CAVLC': [...SCENE, '-t', '0.4', ...x264('-qp', '1', '-coder', '0')],
  'ten bits, CABAC': [...SCENE, ...x264('-pix_fmt', 'yuv420p10le', '-bf', '2')],
  'frames of a sequence that allows fields, CABAC': [...SCENE, ...x264('-x264-params', 'fake-interlaced=1:bframes=2')],
  'scaling lists, CABAC': [...SCENE, ...x264('-x264-params', 'cqm=jvt:8x8dct=1')],
};

/** name → options and the answer: what the parser does not read. */
export const UNPARSED: Readonly<Record<string, readonly [because: string, options: readonly string[]]>> = {
  'macroblock pairs of frames and fields': ['mbaff', [...SCENE, ...x264('-flags', '+ilme+ildct', '-x264-params', 'tff=1')]],
  '4:2:2': ['chroma-4:2:2', [...SCENE, ...x264('-pix_fmt', 'yuv422p')]],
  '4:4:4': ['chroma-4:4:4', [...SCENE, ...x264('-pix_fmt', 'yuv444p')]],
};

const made = new Map<string, Uint8Array>();

/** The stream of a list of ffmpeg options, made once, as Annex B bytes. */
export const streamOf = (options: readonly string[]): Uint8Array => {
  const key = options.join(' ');
  const known = made.get(key);
  if (known !== undefined) return known;
  const bytes = new Uint8Array(ffmpeg(['-v', 'error', ...options, '-f', 'h264', 'pipe:1']).stdout);
  made.set(key, bytes);
  return bytes;
};

const MEDIA = fileURLToPath(new URL('../../../shared/media/', import.meta.url));

/** Some clips have SEI before the first parameter sets, which ffmpeg's strict decoding refuses. */
const PARAMETERS_FIRST = 'h264_mp4toannexb,dump_extra=freq=keyframe';

/** Natural streams as they are, one second each; where the folder is absent, a generated stand-in that says so in its name. */
export const naturalStreams = (): readonly (readonly [name: string, options: readonly string[]])[] => {
  const files = existsSync(MEDIA) ? readdirSync(MEDIA).filter((file) => file.endsWith('.mp4')) : [];
  if (files.length === 0) return [['generated stand-in, ../shared/media is absent', PARSED['high, CABAC, 8x8, all partitions, temporal direct'] as readonly string[]]];
  return files.map((file) => [file, ['-t', '1', '-i', join(MEDIA, file), '-an', '-c:v', 'copy', '-bsf:v', PARAMETERS_FIRST]]);
};

/** A slice's NAL unit and the parameter sets in force at it. */
export type StreamSlice = { readonly nal: Uint8Array; readonly start: number };

/** Calls `each` with every slice of a stream, in order; `nal` is a view of the stream. */
export const eachSlice = (stream: Uint8Array, each: (slice: StreamSlice, sets: ParameterSets) => void): void => {
  const sets = createParameterSets();
  for (const unit of annexBNals(stream)) {
    const nal = stream.subarray(unit.start, unit.end);
    if (unit.type === NAL_SPS || unit.type === NAL_PPS) sets.accept(nal);
    if (unit.type === NAL_SLICE || unit.type === NAL_IDR) each({ nal, start: unit.start }, sets);
  }
};

/** Decodes strictly; throws where ffmpeg fails or says anything. Answers raw frames. */
export const decodeStrictly = (stream: Uint8Array, pixelFormat: string): Buffer => {
  const folder = mkdtempSync(join(tmpdir(), 'sealcast-slices-'));
  try {
    const file = join(folder, 'stream.264');
    writeFileSync(file, stream);
    const args = [
      '-nostdin',
      '-hide_banner',
      '-v',
      'error',
      '-err_detect',
      'explode',
      '-xerror',
      '-threads',
      '1',
      '-i',
      file,
      '-fps_mode',
      'passthrough',
      '-f',
      'rawvideo',
      '-pix_fmt',
      pixelFormat,
      'pipe:1',
    ];
    const run = spawnSync(process.env['SEALCAST_FFMPEG'] ?? 'ffmpeg', args, { maxBuffer: 1 << 29 });
    if (run.error !== undefined) throw new Error('ffmpeg is missing; install it with: apt-get install ffmpeg', { cause: run.error });
    if (run.status !== 0 || run.stderr.length > 0) throw new Error(`ffmpeg does not accept the stream (${run.status}): ${run.stderr.toString().slice(-500)}`);
    return run.stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
