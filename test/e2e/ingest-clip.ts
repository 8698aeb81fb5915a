// SPDX-License-Identifier: Apache-2.0
/** A small CMAF clip made by ffmpeg, moved to any place of the UTC timeline: what ingest tests send. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { retimeFragment } from '#core/isobmff/fragment-writer.ts';
import { parseInit } from '#core/isobmff/init.ts';
import type { Track } from '#core/isobmff/init.ts';

export type ClipTrack = { readonly init: Uint8Array; readonly media: Track; readonly chunks: readonly Uint8Array[] };
export type Clip = { readonly video: ClipTrack; readonly audio: ClipTrack };

const load = async (file: string): Promise<ClipTrack> => {
  const pieces = createBoxSplitter().push(await readFile(file));
  const init = pieces[0]?.bytes as Uint8Array;
  return { init, media: parseInit(init).tracks[0] as Track, chunks: pieces.slice(1).map((piece) => piece.bytes) };
};

/** Ten seconds, 160x90, 25 fps, key frame every 2 s, chunks of 200 ms, time stamps from 0. */
export const makeClip = async (): Promise<Clip> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-clip-'));
  const muxing = ['-f', 'mp4', '-movflags', '+cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+skip_trailer', '-frag_duration', '200000'];
  await promisify(execFile)(findTool('ffmpeg'), [
    '-nostdin',
    '-hide_banner',
    '-loglevel',
    'error',
    '-f',
    'lavfi',
    '-i',
    'testsrc2=s=160x90:r=25',
    '-f',
    'lavfi',
    '-i',
    'sine=f=440:r=48000',
    '-t',
    '10',
    '-map',
    '0:v',
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-bf',
    '0',
    '-g',
    '50',
    '-sc_threshold',
    '0',
    '-pix_fmt',
    'yuv420p',
    ...muxing,
    join(folder, 'v.mp4'),
    '-map',
    '1:a',
    '-t',
    '10',
    '-c:a',
    'aac',
    '-b:a',
    '64k',
    ...muxing,
    join(folder, 'a.mp4'),
  ]);
  const clip = { video: await load(join(folder, 'v.mp4')), audio: await load(join(folder, 'a.mp4')) };
  await rm(folder, { recursive: true });
  return clip;
};

/** The chunk `seconds` (a whole number) later. */
export const moved = (track: ClipTrack, chunk: Uint8Array, seconds: number): Uint8Array => retimeFragment(chunk, { shift: () => BigInt(seconds) * BigInt(track.media.timescale) });

/** The even UTC second `ago` seconds before now, where a segment starts. */
export const recentStart = (ago: number): number => Math.floor(Date.now() / 2000) * 2 - ago;
