// SPDX-License-Identifier: Apache-2.0
/** From a film to the viewer who leaked it, with the commands a person would use: pack, mark, (pirate), detect, trace. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { createSqliteStores } from '#adapters/sqlite/index.ts';
import type { ContentKey } from '#core/ids.ts';
import { parseObservation } from '#core/trace/index.ts';
import { openSegment } from '../e2e/ingest-decrypt.ts';
import { ffmpeg } from './clips.ts';
import { makeFilm, makeStranger, pirate, sealcast } from './tracer-clips.ts';

/** Each test runs ffmpeg and the command several times. */
vi.setConfig({ testTimeout: 60_000 });

const VIEWER = 654_321;
const SECONDS = 56;
let folder: string;
let film: string;
const at = (name: string): string => join(folder, name);
const trace = async (file: string, ...more: string[]): Promise<{ code: number; answer: Record<string, unknown> }> => {
  const { code, stdout, stderr } = await sealcast('trace', at(file), '--title', 'film', '--data', at('data'), '--json', ...more);
  return { code, answer: stdout === '' ? { stderr } : (JSON.parse(stdout) as Record<string, unknown>) };
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-trace-'));
  film = makeFilm(at('film.mp4'), SECONDS);
  const packed = await sealcast('pack', at('film.mp4'), '-o', at('packed'), '--variants', '5', '--segment', '1', '--period', '5', '--data', at('data'), '--json');
  expect(packed, packed.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(packed.stdout)).toMatchObject({ tracks: [{ id: 'v180', segments: SECONDS, variants: 5 }] });
  const marked = await sealcast('mark', at('packed'), '--viewer', String(VIEWER), '-o', at('copy.mp4'), '--data', at('data'), '--json');
  expect(marked, marked.stderr).toMatchObject({ code: 0 });
  expect(JSON.parse(marked.stdout)).toMatchObject({ viewer: VIEWER, segments: SECONDS, protected: false });
}, 60_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a pirate copy', () => {
  test('half the rate, scaled up, cut at a random start: the leaking viewer is named with its bound', async () => {
    const { size } = await stat(at('copy.mp4'));
    pirate(at('copy.mp4'), at('pirate.mp4'), ['-ss', '13.37'], ['-vf', 'scale=-2:240', '-c:v', 'libx264', '-preset', 'veryfast', '-b:v', String(Math.round((size * 8) / SECONDS / 2))]);
    const { code, answer } = await trace('pirate.mp4', '-o', at('pirate.observation.ndjson'));
    expect([film, code, answer]).toEqual([film, 0, expect.objectContaining({ title: 'film', verdict: 'accuse', viewer: VIEWER, segmentsNeeded: 0, viewers: 1_000_000 })]);
    expect(answer['evidence']).toBeGreaterThanOrEqual(answer['bound'] as number);
    expect(answer['falseAccusation']).toBeLessThanOrEqual(1e-6);
    const saved = parseObservation(await readFile(at('pirate.observation.ndjson'), 'utf8'));
    expect(saved.header).toMatchObject({ asset: 'film', alphabet: 5, viewers: 1_000_000, eps: 1e-6 });
    expect(saved.readings[0]?.position).toBeGreaterThanOrEqual(13);
  });

  test('another codec, frame rate and colours, a stretch of another film in the middle', async () => {
    makeStranger(at('stranger.mp4'));
    const parts = '[0:v]trim=2:22,setpts=PTS-STARTPTS[a];[1:v]trim=0:7,setpts=PTS-STARTPTS[b];[0:v]trim=27:54,setpts=PTS-STARTPTS[c];[a][b][c]concat=n=3:v=1,eq=contrast=1.1:brightness=0.03,scale=426:240,fps=30[v]';
    ffmpeg(['-v', 'error', '-i', at('copy.mp4'), '-i', at('stranger.mp4'), '-filter_complex', parts, '-map', '[v]', '-c:v', 'libx265', '-x265-params', 'log-level=none', '-preset', 'ultrafast', '-crf', '28', '-y', at('edited.mkv')]);
    const { code, answer } = await trace('edited.mkv');
    expect([code, answer]).toEqual([0, expect.objectContaining({ verdict: 'accuse', viewer: VIEWER })]);
  });

  test('too short to be certain: more, with the segments that are missing; detect shows what was read', async () => {
    pirate(at('copy.mp4'), at('short.mp4'), ['-ss', '21', '-t', '9'], ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '26']);
    const { code, answer } = await trace('short.mp4');
    expect([code, answer['verdict']]).toEqual([1, 'more']);
    expect(answer['segmentsNeeded']).toBeGreaterThan(3);
    const detected = await sealcast('detect', at('short.mp4'), '--title', 'film', '--data', at('data'));
    expect(detected.code).toBe(0);
    expect(detected.stdout.trim().split('\n').length).toBeGreaterThanOrEqual(8);
  });
});

describe('nobody is accused', () => {
  test('by the original, re-encoded', async () => {
    pirate(at('film.mp4'), at('original.mp4'), [], ['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '27']);
    const { code, answer } = await trace('original.mp4');
    // Whether the best of a million comes near half the bound is chance, so `none` and `more` are both right.
    expect([code, answer['verdict'] === 'accuse', answer['observed']]).toEqual([1, false, SECONDS]);
    expect(answer['evidence']).toBeLessThan(answer['bound'] as number);
  });

  test('by another installation that packed the same film: its secret is not ours', async () => {
    const other = at('other');
    pirate(at('film.mp4'), at('part.mp4'), ['-t', '24'], ['-c', 'copy']);
    expect(await sealcast('pack', at('part.mp4'), '-o', other, '--title', 'film', '--variants', '5', '--segment', '1', '--data', at('elsewhere'), '--scheme', 'none')).toMatchObject({ code: 0 });
    expect(await sealcast('mark', other, '--viewer', String(VIEWER), '--title', 'film', '-o', at('theirs.mp4'), '--data', at('elsewhere'))).toMatchObject({ code: 0 });
    const { code, answer } = await trace('theirs.mp4');
    expect([code, answer['verdict'] === 'accuse', answer['observed']]).toEqual([1, false, 24]);
  });

  test('by files that say nothing: each has its own answer', async () => {
    await writeFile(at('text.mp4'), 'not a video at all');
    ffmpeg(['-v', 'error', '-f', 'lavfi', '-i', 'sine', '-t', '3', '-y', at('sound.m4a')]);
    pirate(at('copy.mp4'), at('tiny.mp4'), ['-t', '1'], ['-c:v', 'libx264', '-preset', 'veryfast']);
    for (const [file, reason] of [
      ['text.mp4', 'not-video'],
      ['sound.m4a', 'audio-only'],
      ['tiny.mp4', 'too-short'],
      ['stranger.mp4', 'no-common-content'],
    ] as const) {
      expect([file, await trace(file)]).toEqual([file, { code: 1, answer: expect.objectContaining({ verdict: 'none', viewer: null, observed: 0, reason }) }]);
    }
    expect(await sealcast('trace', at('film.mp4'), '--title', 'no-such-film', '--data', at('data'))).toMatchObject({ code: 1, stdout: '' });
    expect(await sealcast('trace', at('film.mp4'), '--title', 'film', '--eps', '2', '--data', at('data'))).toMatchObject({ code: 2 });
  });
});

describe('variants', () => {
  test("can be switched at every segment: a viewer's copy decodes without complaint", () => {
    const { stderr } = ffmpeg(['-v', 'error', '-err_detect', 'explode', '-xerror', '-i', at('copy.mp4'), '-f', 'null', '-']);
    expect(stderr).toBe('');
  });

  test('no key and counter serve two variants, and variants have the same frames', async () => {
    const { keys } = JSON.parse(await readFile(at('packed/keys.json'), 'utf8')) as { keys: { kid: string; key: string }[] };
    const init = await readFile(at('packed/v180/init.mp4'));
    const vectors: string[] = [];
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      for (const number of [0, 1, 7]) {
        const opened = openSegment(init, await readFile(at(`packed/v180/${name}/${number}.m4s`)), (kid) => {
          const found = keys.find((entry) => entry.kid === Buffer.from(kid).toString('hex'));
          return found === undefined ? undefined : (new Uint8Array(Buffer.from(found.key, 'hex')) as ContentKey);
        });
        expect([opened.samples.length, opened.samples[0]?.sync, opened.samples[0]?.decodeTime]).toEqual([25, true, opened.fragments[0]?.tracks[0]?.baseMediaDecodeTime]);
        vectors.push(...opened.vectors);
      }
    }
    expect(vectors).toHaveLength(5 * 3 * 25);
    expect(new Set(vectors).size).toBe(vectors.length);
  });

  test('every use of the mark keys stands in the audit log', async () => {
    const stores = createSqliteStores({ path: at('data/sealcast.sqlite') });
    const entries = await stores.audit.read(0, 100);
    stores.close();
    expect(entries[0]).toMatchObject({ action: 'mark', target: 'film', detail: { viewer: VIEWER } });
    // The keys are noted before they are used, the verdict after.
    expect(entries.slice(1).map(({ action }) => action).slice(0, 2)).toEqual(['mark-keys.read', 'trace']);
    expect(entries.slice(1).every(({ action }) => action === 'trace' || action === 'mark-keys.read')).toBe(true);
  });
});
