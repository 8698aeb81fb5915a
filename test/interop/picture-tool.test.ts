// SPDX-License-Identifier: Apache-2.0
/** Luma as the detector gets it from ffmpeg: the very Y plane, at the place it was decoded to. */
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createFfmpegFrames } from '#adapters/ffmpeg/index.ts';
import { ffmpeg } from './clips.ts';

const [ACROSS, DOWN, PICTURES] = [854, 478, 12];
let folder: string;
const at = (name: string): string => join(folder, name);
const tool = createFfmpegFrames();
const collect = async (pictures: AsyncIterable<Uint8Array>): Promise<Uint8Array[]> => {
  const out: Uint8Array[] = [];
  for await (const picture of pictures) out.push(picture.slice());
  return out;
};
let planes: Buffer[];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-luma-'));
  ffmpeg(['-v', 'error', '-f', 'lavfi', '-i', `testsrc2=s=${ACROSS}x${DOWN}:r=25`, '-frames:v', String(PICTURES), '-c:v', 'libx264', '-bf', '2', '-pix_fmt', 'yuv420p', '-y', at('film.mp4')]);
  ffmpeg(['-v', 'error', '-i', at('film.mp4'), '-c', 'copy', '-bsf:v', 'h264_mp4toannexb', '-f', 'h264', '-y', at('film.264')]);
  const raw = ffmpeg(['-v', 'error', '-i', at('film.mp4'), '-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-']).stdout;
  planes = Array.from({ length: PICTURES }, (_, n) => raw.subarray((n * ACROSS * DOWN * 3) / 2, (n * ACROSS * DOWN * 3) / 2 + ACROSS * DOWN));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('of a file: every picture, unchanged', async () => {
  const pictures = await collect(tool.filePictures({ file: at('film.mp4'), width: ACROSS, height: DOWN, framesPerSecond: 25 }));
  expect(pictures).toHaveLength(PICTURES);
  pictures.forEach((picture, n) => expect(Buffer.compare(picture, planes[n] as Buffer)).toBe(0));
});

test('of a file at another rate: pictures are repeated, never mixed', async () => {
  const pictures = await collect(tool.filePictures({ file: at('film.mp4'), width: ACROSS, height: DOWN, framesPerSecond: 50 }));
  expect(pictures.length).toBeGreaterThanOrEqual(2 * PICTURES - 2);
  for (const picture of pictures) expect(planes.some((plane) => Buffer.compare(picture, plane) === 0)).toBe(true);
});

test('of own streams one after another: in order of display, padded to whole fours at right and bottom only', async () => {
  const stream = new Uint8Array(await readFile(at('film.264')));
  const [width, height] = [856, 480];
  const memory = Array.from({ length: 3 }, () => new Uint8Array(width * height));
  const pictures = await collect(tool.codedPictures({ parts: [stream, stream], width, height, buffer: (n) => memory[n % 3] as Uint8Array }));
  expect(pictures).toHaveLength(2 * PICTURES);
  pictures.forEach((picture, n) => {
    const plane = planes[n % PICTURES] as Buffer;
    for (let y = 0; y < DOWN; y++) expect(Buffer.compare(picture.subarray(y * width, y * width + ACROSS), plane.subarray(y * ACROSS, (y + 1) * ACROSS))).toBe(0);
  });
});

test('a file that is no video is an error, not silence', async () => {
  await expect(collect(tool.filePictures({ file: at('film.264'), width: 16, height: 16, framesPerSecond: 25, signal: AbortSignal.abort() }))).rejects.toThrow();
  await expect(collect(tool.codedPictures({ parts: [Uint8Array.of(1, 2, 3)], width: 16, height: 16 }))).rejects.toMatchObject({ code: 'media-malformed' });
});
