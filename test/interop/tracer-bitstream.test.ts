// SPDX-License-Identifier: Apache-2.0
/** Marks inside the bitstream, from a film to the viewer who leaked it: pack --mark, mark, (pirate), detect, trace --report. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { parseObservation } from '#core/trace/index.ts';
import { ffmpeg } from './clips.ts';
import { GENERATED, makeStranger, naturalFilm, naturalFilms, pirate, sealcast } from './tracer-clips.ts';

/** Each test runs ffmpeg and the command several times; the first trace computes the differences. */
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const VIEWER = 654_321;
const SECONDS = 14;
let folder: string;
const at = (name: string): string => join(folder, name);
type Answer = Record<string, unknown>;
const trace = async (file: string, ...more: string[]): Promise<{ code: number; answer: Answer }> => {
  const { code, stdout, stderr } = await sealcast('trace', at(file), '--title', 'film', '--data', at('data'), '--json', ...more);
  return { code, answer: stdout === '' ? { stderr } : (JSON.parse(stdout) as Answer) };
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-bitstream-'));
  // Hand-held, textured film: enough coefficients to mark in a small picture.
  const natural = naturalFilms().find((name) => name.startsWith('macro')) ?? naturalFilms()[0];
  const input = natural === undefined ? GENERATED : ['-stream_loop', '-1', '-i', naturalFilm(natural)];
  ffmpeg(['-v', 'error', ...input, '-t', String(SECONDS), '-an', '-vf', 'scale=640:360:flags=bicubic,fps=25,format=yuv420p', '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '22', '-g', '50', '-keyint_min', '50', '-sc_threshold', '0', '-y', at('film.mp4')]);
  const packed = await sealcast('pack', at('film.mp4'), '-o', at('packed'), '--mark', '--title', 'film', '--segment', '2', '--data', at('data'), '--json');
  expect(packed, packed.stderr).toMatchObject({ code: 0 });
  const marked = await sealcast('mark', at('packed'), '--viewer', String(VIEWER), '-o', at('copy.mp4'), '--title', 'film', '--data', at('data'), '--json');
  expect(marked, marked.stderr).toMatchObject({ code: 0 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a pirate copy', () => {
  test('B203 cropped, scaled, at half the rate and cut at a random start: the viewer is certain by both opinions, and shown', async () => {
    pirate(at('copy.mp4'), at('pirate.mkv'), ['-ss', '1.37'], ['-vf', 'crop=616:346:12:8,scale=480:270:flags=bicubic', '-r', '30', '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '24']);
    const { code, answer } = await trace('pirate.mkv', '--report', at('report.html'), '-o', at('seen.ndjson'));
    expect(answer).toMatchObject({ verdict: 'accuse', viewer: VIEWER, marks: { slots: 16, hypotheses: 1, geometry: { mirrored: false } } });
    expect(code).toBe(0);
    const { evidence, bound, correlation, marks } = answer as { evidence: number; bound: number; correlation: { score: number; needed: number }; marks: { geometry: { shown: [number, number] }; segments: { standardError: number }[] } };
    expect(evidence).toBeGreaterThanOrEqual(bound);
    expect(correlation.score).toBeGreaterThanOrEqual(correlation.needed);
    // 616 of 640 pixels across, 346 of 360 down.
    expect(marks.geometry.shown[0]).toBeCloseTo(616 / 640, 3);
    expect(marks.geometry.shown[1]).toBeCloseTo(346 / 360, 3);
    expect(Math.max(...marks.segments.map(({ standardError }) => standardError))).toBeLessThan(0.2);
    const page = await readFile(at('report.html'), 'utf8');
    expect(page).toContain(`The copy is that of viewer ${VIEWER}`);
    expect(page.match(/<svg/g)?.length).toBeGreaterThanOrEqual(5);
    expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)|<link/);
    const observation = parseObservation(await readFile(at('seen.ndjson'), 'utf8'));
    expect(observation.header).toMatchObject({ alphabet: 2, slots: 16, hypotheses: 1 });
  });

  test('mirrored, with the sound of another language: the picture decides', async () => {
    ffmpeg(['-v', 'error', '-ss', '0.8', '-i', at('copy.mp4'), '-f', 'lavfi', '-i', 'sine=440', '-map', '0:v', '-map', '1:a', '-shortest', '-vf', 'hflip', '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '24', '-c:a', 'aac', '-metadata:s:a:0', 'language=fra', '-y', at('other.mkv')]);
    const { answer } = await trace('other.mkv');
    expect(answer).toMatchObject({ verdict: 'accuse', viewer: VIEWER, marks: { geometry: { mirrored: true } } });
  });

  test('too short to be certain: more; detect shows what was read, slot by slot', async () => {
    pirate(at('copy.mp4'), at('short.mkv'), ['-ss', '4.1', '-t', '4'], ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '24']);
    const { code, answer } = await trace('short.mkv');
    expect(code).toBe(1);
    expect(answer).toMatchObject({ verdict: 'more' });
    expect(answer['segmentsNeeded']).toBeGreaterThan(0);
    const detected = await sealcast('detect', at('short.mkv'), '--title', 'film', '--data', at('data'), '--json');
    expect(detected.code).toBe(0);
    const { slots } = JSON.parse(detected.stdout) as { slots: { position: number; likelihoods?: number[] }[] };
    expect(slots.length).toBeGreaterThanOrEqual(16);
    expect(slots.every(({ likelihoods }) => likelihoods === undefined || likelihoods.length === 2)).toBe(true);
  });
});

describe('nobody is accused', () => {
  test('by the film that was never marked', async () => {
    pirate(at('film.mp4'), at('original.mkv'), ['-ss', '1'], ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '26']);
    const { code, answer } = await trace('original.mkv', '--viewers', '5000');
    expect(code).toBe(1);
    expect(answer['verdict']).not.toBe('accuse');
  });

  test('by files that say nothing: each has its own answer', async () => {
    makeStranger(at('stranger.mp4'));
    ffmpeg(['-v', 'error', '-f', 'lavfi', '-i', 'sine=440', '-t', '5', '-y', at('sound.m4a')]);
    ffmpeg(['-v', 'error', '-i', at('copy.mp4'), '-t', '1', '-c', 'copy', '-y', at('second.mp4')]);
    const expected = [['stranger.mp4', 'no-common-content'], ['sound.m4a', 'audio-only'], ['second.mp4', 'too-short'], ['seen.ndjson', 'not-video']] as const;
    for (const [file, reason] of expected) {
      const { code, answer } = await trace(file);
      expect([file, code, answer['reason'], answer['verdict']]).toEqual([file, 1, reason, 'none']);
    }
  });
});
