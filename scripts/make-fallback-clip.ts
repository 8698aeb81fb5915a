// SPDX-License-Identifier: Apache-2.0
/**
 * Makes `assets/fallback`: the clip that is looped where there is no ffmpeg. Run: `node scripts/make-fallback-clip.ts`.
 *
 * Audio is cut to whole AAC frames by this script, because ffmpeg's `-t` counts the encoder's priming too.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { FALLBACK_FOLDER, FALLBACK_SECONDS } from '#adapters/ffmpeg/fallback-clip.ts';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { clipGraph, fontCandidates, FRAME_RATE } from '#adapters/ffmpeg/scene.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { samplesToWrite, writeFragment } from '#core/isobmff/fragment-writer.ts';
import type { SampleToWrite } from '#core/isobmff/fragment-writer.ts';
import { parseInit } from '#core/isobmff/init.ts';
import type { MediaTicks } from '#core/time.ts';

const LIMIT = 3_000_000;
const font = fontCandidates.find((path) => existsSync(path));
if (font === undefined) throw new Error('DejaVu Sans Mono is missing; install it with: apt-get install -y fonts-dejavu-core');

/** All samples of a CMAF file in chunks of `perChunk`, exactly `wanted` samples from time 0 on. */
const recut = (file: Uint8Array, perChunk: number, wanted: number): Uint8Array => {
  const [header, ...pieces] = createBoxSplitter().push(file);
  if (header === undefined) throw new Error('ffmpeg wrote no header');
  const track = parseInit(header.bytes).tracks[0];
  if (track === undefined) throw new Error('ffmpeg wrote no track');
  const samples: SampleToWrite[] = pieces.flatMap(({ bytes }) => {
    const fragment = parseFragment(bytes, [track]);
    return samplesToWrite(fragment, onlyTrackFragment(fragment).samples);
  });
  if (samples.length < wanted) throw new Error(`ffmpeg wrote ${samples.length} samples, ${wanted} are needed`);
  const out: Uint8Array[] = [header.bytes];
  let time = 0;
  for (let at = 0; at < wanted; at += perChunk) {
    const part = samples.slice(at, Math.min(at + perChunk, wanted));
    out.push(writeFragment({ sequenceNumber: out.length, trackId: track.id, baseMediaDecodeTime: BigInt(time) as MediaTicks, samples: part }));
    time += part.reduce((sum, sample) => sum + sample.duration, 0);
  }
  return concatBytes(...out);
};

const folder = mkdtempSync(join(tmpdir(), 'sealcast-fallback-'));
const video = (crf: number, rate: number): string[] => [
  '-t',
  String(FALLBACK_SECONDS),
  '-c:v',
  'libx264',
  '-preset',
  'slow',
  '-bf',
  '0',
  '-sc_threshold',
  '0',
  '-g',
  String(2 * FRAME_RATE),
  '-pix_fmt',
  'yuv420p',
  '-crf',
  String(crf),
  '-maxrate',
  String(rate),
  '-bufsize',
  String(rate),
];
const muxing = ['-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+skip_trailer', '-map_metadata', '-1'];
execFileSync(findTool('ffmpeg'), [
  '-nostdin',
  '-hide_banner',
  '-loglevel',
  'error',
  '-filter_complex',
  clipGraph(font),
  '-map',
  '[v1]',
  ...video(24, 1_700_000),
  ...muxing,
  join(folder, 'v720.cmfv'),
  '-map',
  '[v2]',
  ...video(25, 500_000),
  ...muxing,
  join(folder, 'v360.cmfv'),
  '-map',
  '[a]',
  '-t',
  String(FALLBACK_SECONDS + 1),
  '-c:a',
  'aac',
  '-b:a',
  '64k',
  ...muxing,
  '-frag_duration',
  '200000',
  join(folder, 'a.cmfa'),
]);
mkdirSync(FALLBACK_FOLDER, { recursive: true });
let total = 0;
for (const [name, perChunk, wanted] of [
  ['v720.cmfv', FRAME_RATE / 5, FALLBACK_SECONDS * FRAME_RATE],
  ['v360.cmfv', FRAME_RATE / 5, FALLBACK_SECONDS * FRAME_RATE],
  ['a.cmfa', 10, (FALLBACK_SECONDS * 48_000) / 1024],
] as const) {
  const bytes = recut(readFileSync(join(folder, name)), perChunk, wanted);
  writeFileSync(new URL(name, FALLBACK_FOLDER), bytes);
  total += bytes.length;
}
rmSync(folder, { recursive: true });
if (total > LIMIT) throw new Error(`the clip has ${total} bytes; the limit is ${LIMIT}`);
console.log(`${fileURLToPath(FALLBACK_FOLDER)}: ${total} bytes`);
