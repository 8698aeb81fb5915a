// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast pack`, files to files, against itself without protection and against ffmpeg copying with its CENC option.
 *
 * Every contender is a process of its own on the same input of at least 100 MB (the short form: 40), one after the other in every round; a figure
 * is the ratio of the best rounds, which other programs on the machine disturb least. Outputs go to the same disk.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { findTool } from '#adapters/ffmpeg/index.ts';

export type Figure = { name: string; value: number; unit: string; baseline: string; goal: string; ok: boolean; reason?: string };

const MAIN = fileURLToPath(new URL('../bin/sealcast.js', import.meta.url));
const KEY = '00112233445566778899aabbccddeeff';
const leastBytes = (full: boolean): number => (full ? 100_000_000 : 40_000_000);

const timed = (file: string, args: readonly string[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const began = performance.now();
    const child = spawn(file, [...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (text: Buffer) => {
      said += text.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => (code === 0 ? resolve((performance.now() - began) / 1000) : reject(new Error(`${file} ended with ${code}: ${said.slice(-400)}`))));
  });

/** Noisy pictures at a high rate, copied end to end until the file is large enough. */
const makeInput = async (folder: string, full: boolean): Promise<string> => {
  const ffmpeg = findTool('ffmpeg');
  const quiet = ['-nostdin', '-hide_banner', '-loglevel', 'error', '-y'];
  const piece = join(folder, 'piece.mp4');
  const input = join(folder, 'input.mp4');
  await timed(ffmpeg, [
    ...quiet,
    '-f',
    'lavfi',
    '-i',
    'testsrc2=s=1280x720:r=25,noise=alls=40:allf=t',
    '-f',
    'lavfi',
    '-i',
    'sine=f=440:r=48000',
    '-t',
    full ? '8' : '4',
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-bf',
    '0',
    '-g',
    '50',
    '-b:v',
    '24M',
    '-maxrate',
    '24M',
    '-bufsize',
    '24M',
    '-c:a',
    'aac',
    '-b:a',
    '128k',
    piece,
  ]);
  const times = Math.ceil(leastBytes(full) / (await stat(piece)).size);
  await timed(ffmpeg, [...quiet, '-stream_loop', String(times), '-i', piece, '-c', 'copy', input]);
  return input;
};

const figure = (name: string, seconds: Map<string, number>, of: string, to: string, limit: number): Figure => {
  const value = (seconds.get(of) ?? Number.NaN) / (seconds.get(to) ?? Number.NaN);
  const ok = value <= limit;
  return {
    name,
    value: Number(value.toFixed(3)),
    unit: 'ratio of time',
    baseline: to,
    goal: `<= ${limit}`,
    ok,
    ...(ok ? {} : { reason: `${of} took ${seconds.get(of)?.toFixed(2)} s, ${to} ${seconds.get(to)?.toFixed(2)} s` }),
  };
};

const run = async (options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-pack-'));
  try {
    const input = await makeInput(folder, options.full);
    const { size } = await stat(input);
    options.log(`input: ${(size / 1e6).toFixed(0)} MB, H.264 720p and AAC`);
    const pack = (scheme: string) => (out: string) => timed(process.execPath, [MAIN, 'pack', input, '-o', out, '--scheme', scheme, '--json']);
    const contenders: readonly (readonly [name: string, run: (out: string) => Promise<number>])[] = [
      ['pack --scheme none', pack('none')],
      ['pack --scheme cenc', pack('cenc')],
      ['pack --scheme cbcs', pack('cbcs')],
      [
        'ffmpeg -c copy with cenc-aes-ctr',
        (out) =>
          timed(findTool('ffmpeg'), [
            '-nostdin',
            '-hide_banner',
            '-loglevel',
            'error',
            '-i',
            input,
            '-c',
            'copy',
            '-encryption_scheme',
            'cenc-aes-ctr',
            '-encryption_key',
            KEY,
            '-encryption_kid',
            KEY,
            `${out}.mp4`,
          ]),
      ],
    ];
    const best = new Map<string, number>();
    for (let round = 0; round < (options.full ? 9 : 2); round += 1) {
      for (const [name, contend] of contenders) {
        const out = join(folder, `out-${round}`);
        const seconds = await contend(out);
        best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, seconds));
        await rm(out, { recursive: true, force: true });
        await rm(`${out}.mp4`, { force: true });
        options.log(`round ${round + 1}: ${name} ${seconds.toFixed(2)} s, ${(size / 1e6 / seconds).toFixed(0)} MB/s`);
      }
    }
    return {
      figures: [
        figure('pack cenc, against no protection', best, 'pack --scheme cenc', 'pack --scheme none', 1.6),
        figure('pack cbcs, against no protection', best, 'pack --scheme cbcs', 'pack --scheme none', 2),
        figure('pack cenc, against ffmpeg', best, 'pack --scheme cenc', 'ffmpeg -c copy with cenc-aes-ctr', 1),
      ],
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

export const bench: { name: string; run: typeof run } = { name: 'pack', run };
