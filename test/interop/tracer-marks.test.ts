// SPDX-License-Identifier: Apache-2.0
/** The marking filter by itself, before any coding: how faint the mark is, and that it changes on the segment grid. */
import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { markingGraph, marksInput } from '#adapters/ffmpeg/variants.ts';
import { createPatterns, HEIGHT, pictureSecret, WIDTH } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import type { TrackConversion, VariantMarks } from '#ports';
import { ffmpeg } from './clips.ts';
import { makeFilm } from './tracer-clips.ts';

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
const ALPHABET = 5;
const SECONDS = 4;
const patterns = createPatterns({ hmac, secret: pictureSecret(hmac, new Uint8Array(32).fill(9), 'film'), alphabet: ALPHABET });
const marks: VariantMarks = { alphabet: ALPHABET, width: WIDTH, height: HEIGHT, every: 1_000_000 as Micros, picture: patterns.picture };
const conversion = (variant: number): TrackConversion => ({ stream: 0, kind: 'video', copy: false, width: 640, height: 360, bitRate: 1, keyFrameEvery: marks.every, variant });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-marks-'));
  makeFilm(join(folder, 'film.mp4'), SECONDS, '640:360');
  writeFileSync(join(folder, 'marks.yuv'), Buffer.concat(Array.from({ length: SECONDS + 1 }, (_, n) => patterns.picture(n))));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Input arguments with the marks from a file in place of the pipe. */
const inputs = (): readonly string[] => [...marksInput(marks, 3).slice(0, -1), join(folder, 'marks.yuv')];

test('every variant lies at least 45 dB from the picture, every frame, luma and chroma', () => {
  for (let variant = 0; variant < ALPHABET; variant++) {
    const { graph, labels } = markingGraph([conversion(variant)], marks);
    const { stderr } = ffmpeg(['-i', join(folder, 'film.mp4'), ...inputs(), '-filter_complex', `${graph};${labels.get(0)}[0:0]psnr[out]`, '-map', '[out]', '-f', 'null', '-']);
    const measured = /PSNR y:([\d.]+) u:(\S+) v:(\S+) .* min:([\d.]+)/.exec(stderr);
    expect([variant, Number(measured?.[1]) >= 45, Number(measured?.[4]) >= 45]).toEqual([variant, true, true]);
    // Colours are not touched.
    expect([measured?.[2], measured?.[3]]).toEqual(['inf', 'inf']);
  }
});

test('marks change with the segment and with nothing else', () => {
  const { graph, labels } = markingGraph([conversion(2)], marks);
  const raw = (filter: string, map: string, more: readonly string[]): Buffer => ffmpeg(['-v', 'error', '-i', join(folder, 'film.mp4'), ...more, '-filter_complex', filter, '-map', map, '-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-']).stdout;
  const marked = raw(graph, labels.get(0) as string, inputs());
  const plain = raw('[0:0]null[v]', '[v]', []);
  expect(marked.length).toBe(plain.length);
  const size = (640 * 360 * 3) / 2;
  /** Cells that change differently in two frames; cells near black and white saturate and are left out. */
  const differing = (one: number, other: number): number => {
    let count = 0;
    for (let i = 0; i < 640 * 360; i++) {
      const before = [plain[one * size + i] as number, plain[other * size + i] as number] as const;
      if (before.some((value) => value < 4 || value > 251)) continue;
      if ((marked[one * size + i] as number) - before[0] !== (marked[other * size + i] as number) - before[1]) count++;
    }
    return count;
  };
  for (const start of [0, 25, 50]) expect([start, differing(start, start + 24)]).toEqual([start, 0]);
  for (const end of [24, 49, 74]) expect([end, differing(end, end + 1) > 50_000]).toEqual([end, true]);
});

test('a graph takes only variants that have marks', () => {
  expect(() => markingGraph([conversion(5)], marks)).toThrow(expect.objectContaining({ code: 'bad-request' }));
});
