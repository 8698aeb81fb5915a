// SPDX-License-Identifier: Apache-2.0
/** `sealcast pack` as a person or a script runs it. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findTool } from '#adapters/ffmpeg/index.ts';
import type { ContentKey } from '#core/ids.ts';
import { openSegment } from '../e2e/ingest-decrypt.ts';

let folder: string;
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const run = (file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => execFile(file, [...args], { env }, (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })));
const sealcast = (...args: string[]): ReturnType<typeof run> => run(process.execPath, [MAIN, 'pack', ...args]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-pack-'));
  const made = await run(findTool('ffmpeg'), [
    '-nostdin',
    '-loglevel',
    'error',
    '-f',
    'lavfi',
    '-i',
    'testsrc2=s=160x90:r=25',
    '-f',
    'lavfi',
    '-i',
    'sine=r=48000',
    '-t',
    '6',
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-g',
    '50',
    '-c:a',
    'aac',
    join(folder, 'My Clip.mp4'),
  ]);
  expect(made).toMatchObject({ code: 0 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));
const clip = (): string => join(folder, 'My Clip.mp4');

test('random keys go to a file only the owner reads, and open what was packed', async () => {
  const out = join(folder, 'random');
  const { code, stdout, stderr } = await sealcast(clip(), '-o', out, '--scheme', 'cbcs', '--period', '2', '--segment', '2', '--json');
  expect([code, stderr.includes('warning')]).toEqual([0, true]);
  expect(JSON.parse(stdout)).toMatchObject({
    ok: true,
    asset: 'my-clip',
    scheme: 'cbcs',
    tracks: [
      { id: 'v90', segments: 3, copied: true },
      { id: 'a', segments: 3 },
    ],
  });
  expect((await stat(join(out, 'keys.json'))).mode & 0o777).toBe(0o600);
  const { keys } = JSON.parse(await readFile(join(out, 'keys.json'), 'utf8')) as { keys: { kid: string; key: string }[] };
  expect(keys).toHaveLength(6);
  for (const { key } of keys) expect(stdout + stderr).not.toContain(key);
  const opened = openSegment(await readFile(join(out, 'v90/init.mp4')), await readFile(join(out, 'v90/2.m4s')), (kid) => {
    const found = keys.find((entry) => entry.kid === Buffer.from(kid).toString('hex'));
    return found === undefined ? undefined : (new Uint8Array(Buffer.from(found.key, 'hex')) as ContentKey);
  });
  expect(opened.samples).toHaveLength(50);
});

test('one fixed key, an id of choice', async () => {
  const out = join(folder, 'fixed');
  const { code, stdout } = await sealcast(clip(), '-o', out, '--key', `${'a1'.repeat(16)}:${'b2'.repeat(16)}`, '--title', 'film-7');
  expect([code, stdout.startsWith('film-7: 6.0 s, cenc')]).toEqual([0, true]);
  expect(await readdir(out)).not.toContain('keys.json');
  expect(await readFile(join(out, 'manifest.mpd'), 'utf8')).toContain(`default_KID="${'a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1'}"`);
});

test('usage errors end with 2, say what is wrong and never repeat a key', async () => {
  const secret = 'c3'.repeat(15);
  for (const [args, words] of [
    [[clip()], '--output'],
    [[clip(), '-o', join(folder, 'x1'), '--scheme', 'aes'], 'cenc, cbcs or none'],
    [[clip(), '-o', join(folder, 'x2'), '--key', secret], 'KIDHEX:KEYHEX'],
    [[clip(), '-o', join(folder, 'x3'), '--segment', '0'], '--segment must be'],
    [[clip(), '-o', join(folder, 'x4'), '--title', 'Not An Id'], '--title must be'],
    [[clip(), '-o', folder], 'not empty'],
    [[clip(), '-o', join(folder, 'x5'), '--frobnicate'], 'unknown option'],
  ] as const) {
    const { code, stderr } = await sealcast(...args);
    expect([args.slice(1), code]).toEqual([args.slice(1), 2]);
    expect(stderr.toLowerCase()).toContain(words.toLowerCase());
    expect(stderr).not.toContain(secret);
  }
});

test('bad files end with 1, a missing tool with 3 and the command that installs it', async () => {
  await writeFile(join(folder, 'empty.mp4'), '');
  const empty = await sealcast(join(folder, 'empty.mp4'), '-o', join(folder, 'y1'));
  expect([empty.code, empty.stderr]).toEqual([1, expect.stringContaining('zero length')]);
  const bare = await run(process.execPath, [MAIN, 'pack', clip(), '-o', join(folder, 'y2')], { PATH: folder });
  expect([bare.code, bare.stderr]).toEqual([3, expect.stringContaining('apt-get install -y ffmpeg')]);
});
