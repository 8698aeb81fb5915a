// SPDX-License-Identifier: Apache-2.0
/** Live sources by ffmpeg: a looped file, a contribution over rtmp and srt, and what happens when ingest refuses them. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { findTool, startLoop, startRelay } from '#adapters/ffmpeg/index.ts';
import type { LiveSource, LiveSourceOptions } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { bytesOf, openSegment } from './ingest-decrypt.ts';
import { CREDENTIAL, EVENT, quietLog, randomKeys, startHarness } from './ingest-harness.ts';
import type { Harness } from './ingest-harness.ts';

let folder: string;
let harness: Harness;
let source: LiveSource | undefined;
let encoder: ChildProcess | undefined;
const keys = randomKeys({ scheme: 'cenc' });
const at = (name: string): string => join(folder, name);
const make = (name: string, ...args: string[]): Promise<unknown> =>
  promisify(execFile)(findTool('ffmpeg'), ['-nostdin', '-loglevel', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=320x240:r=30', ...args, at(name)]);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-sources-'));
  await Promise.all([
    make('silent.mp4', '-t', '3', '-c:v', 'libx264', '-preset', 'ultrafast'),
    make('film.mp4', '-f', 'lavfi', '-i', 'sine=r=44100', '-t', '20', '-c:v', 'libx264', '-preset', 'ultrafast', '-g', '30', '-c:a', 'aac'),
  ]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(async () => {
  harness = await startHarness(keys);
});
afterEach(async () => {
  encoder?.kill('SIGKILL');
  await source?.stop();
  source = undefined;
  await harness.close();
});

const options = (more: Partial<LiveSourceOptions> = {}): LiveSourceOptions => ({
  asset: EVENT,
  ingestUrl: harness.ingestUrl,
  credential: CREDENTIAL,
  clock: systemClock,
  log: quietLog,
  events: (event) => harness.events.push(event),
  ...more,
});
const arrived = async (tracks: readonly string[]): Promise<void> => {
  for (let tries = 0; tries < 250; tries += 1) {
    const status = await harness.packager.status(EVENT);
    if (status.length === tracks.length && status.every((track) => track.latestSegment !== undefined)) {
      expect(status.map(({ track }) => track).sort()).toEqual([...tracks].sort());
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`tracks did not arrive: ${JSON.stringify([harness.events, harness.warnings])}`);
};
/** The next segment of a track, on the UTC grid. */
const nextSegment = async (track: string): Promise<{ samples: number; sync: boolean }> => {
  const number = Math.floor(Date.now() / 2000) + 2;
  const init = await bytesOf(await fetch(`${harness.url}/origin/${EVENT}/${track}/init.mp4`));
  await new Promise((resolve) => setTimeout(resolve, number * 2000 - Date.now()));
  const opened = openSegment(init, await bytesOf(await fetch(`${harness.url}/origin/${EVENT}/${track}/${number}.m4s`)), keys.keyOf);
  return { samples: opened.samples.length, sync: opened.samples[0]!.sync };
};
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

test('a silent file loops on the UTC grid, over its end', async () => {
  source = await startLoop({ ...options(), file: at('silent.mp4') });
  await arrived(['v720', 'v360']);
  expect(await nextSegment('v360')).toEqual({ samples: 50, sync: true });
  expect(source.restarts).toBe(0);
});

test('a source that is refused starts again, and says why', async () => {
  let refusals = 0;
  source = await startLoop({
    ...options({
      send: async (request) => {
        if (refusals < 2) {
          refusals += 1;
          return Response.json({ code: 'ingest-init-missing', detail: 'for the test' }, { status: 412 });
        }
        return harness.packager.ingestHandler(request);
      },
    }),
    file: at('silent.mp4'),
  });
  await arrived(['v720', 'v360']);
  expect(source.restarts).toBeGreaterThanOrEqual(1);
  expect(harness.events.find((event) => event.kind === 'source.restarted')?.message).toContain('ingest-init-missing');
});

test.each(['rtmp', 'srt'] as const)('an encoder contributes over %s', async (scheme) => {
  const port = await freePort();
  const url = scheme === 'rtmp' ? `rtmp://127.0.0.1:${port}/live/key` : `srt://127.0.0.1:${port}`;
  source = startRelay({ ...options(), url: scheme === 'srt' ? `${url}?mode=listener` : url, listen: true });
  await new Promise((resolve) => setTimeout(resolve, 1500));
  encoder = spawn(
    findTool('ffmpeg'),
    ['-nostdin', '-loglevel', 'error', '-re', '-stream_loop', '-1', '-i', at('film.mp4'), '-c', 'copy', '-f', scheme === 'rtmp' ? 'flv' : 'mpegts', url],
    { stdio: 'ignore' },
  );
  await arrived(['v720', 'v360', 'a']);
  expect(await nextSegment('v360')).toEqual({ samples: 50, sync: true });
});

test('a relay takes contribution addresses only', () => {
  expect(() => startRelay({ ...options(), url: 'http://127.0.0.1/stream' })).toThrow('rtmp://');
});

test('a file without sound and picture is refused at once, and so is none', async () => {
  await writeFile(at('words.srt'), '1\n00:00:01,000 --> 00:00:02,000\nonly words\n');
  await expect(startLoop({ ...options(), file: at('words.srt') })).rejects.toMatchObject({ code: 'media-unsupported' });
  await expect(startLoop({ ...options(), file: at('absent.mp4') })).rejects.toMatchObject({ code: 'not-found' });
});
