// SPDX-License-Identifier: Apache-2.0
/** Padded pictures and sound of timed events decode to exactly what they were: ffmpeg, H.264 with CABAC and CAVLC, and AAC. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { readBoxes } from '#core/isobmff/box.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { samplesToWrite, writeFragment } from '#core/isobmff/fragment-writer.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { createTimedSamples, sizeBucket } from '#packager/timed-samples.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-padding-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const ffmpeg = (...args: string[]): Buffer => execFileSync(findTool('ffmpeg'), ['-nostdin', '-loglevel', 'error', '-y', ...args], { maxBuffer: 2 ** 28 });

/** The file with every fragment rewritten from prepared samples; also the sizes before and after. */
const prepare = (file: Uint8Array): { bytes: Uint8Array; before: number[]; after: number[] } => {
  const boxes = readBoxes(file);
  const moov = boxes.findIndex(({ type }) => type === 'moov');
  const init = concatBytes(...boxes.slice(0, moov + 1).map(({ bytes }) => bytes));
  const track = parseInit(init).tracks[0];
  if (track === undefined) throw new Error('a track');
  const timed = createTimedSamples(track, { strict: false, pad: true });
  const parts: Uint8Array[] = [init];
  const [before, after]: number[][] = [[], []];
  for (let index = moov + 1; index < boxes.length; index++) {
    const [moof, mdat] = [boxes[index], boxes[index + 1]];
    if (moof?.type !== 'moof' || mdat?.type !== 'mdat') continue;
    const fragment = parseFragment(concatBytes(moof.bytes, mdat.bytes), [track]);
    const run = onlyTrackFragment(fragment);
    const samples = samplesToWrite(fragment, run.samples);
    const padded = timed(samples);
    before?.push(...samples.map(({ data }) => data.length));
    after?.push(...padded.map(({ data }) => data.length));
    parts.push(writeFragment({ sequenceNumber: index, trackId: track.id, baseMediaDecodeTime: run.baseMediaDecodeTime, samples: padded }));
  }
  return { bytes: concatBytes(...parts), before: before ?? [], after: after ?? [] };
};

const CODINGS: readonly (readonly [string, readonly string[]])[] = [
  ['H.264 with CABAC', ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '2', '-c:v', 'libx264', '-preset', 'veryfast', '-g', '25']],
  ['H.264 with CAVLC', ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '2', '-c:v', 'libx264', '-profile:v', 'baseline', '-g', '25']],
  ['H.264 in slices', ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25', '-t', '2', '-c:v', 'libx264', '-preset', 'ultrafast', '-x264-params', 'slices=4:cabac=1', '-g', '25']],
  ['AAC', ['-f', 'lavfi', '-i', 'sine=f=440:r=48000', '-t', '2', '-c:a', 'aac', '-b:a', '96k']],
];
test.each(CODINGS)('%s', (name, args) => {
  const [source, padded] = [join(folder, `${name}.mp4`), join(folder, `${name} padded.mp4`)];
  ffmpeg(...args, '-movflags', 'empty_moov+default_base_moof+frag_keyframe', source);
  const { bytes, before, after } = prepare(readFileSync(source));
  writeFileSync(padded, bytes);
  const decoded = (file: string): string => ffmpeg('-xerror', '-err_detect', 'explode', '-i', file, '-f', 'hash', '-hash', 'sha256', '-').toString();
  expect(decoded(padded)).toBe(decoded(source));
  expect(after.length).toBe(before.length);
  expect(new Set(after.map((size) => sizeBucket(size - 2))).size).toBeLessThan(new Set(before).size);
});
