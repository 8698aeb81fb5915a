// SPDX-License-Identifier: Apache-2.0
/** A packager that is killed and started again goes on: same numbers, same header, same keys, no gap, nothing acknowledged lost. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeClip, moved, recentStart } from './ingest-clip.ts';
import type { Clip, ClipTrack } from './ingest-clip.ts';
import { bytesOf, openSegment } from './ingest-decrypt.ts';
import { CREDENTIAL, EVENT } from './ingest-harness.ts';
import { namedKeys } from './ingest-server.ts';

let clip: Clip;
let folder: string;
const children: ChildProcess[] = [];
beforeAll(async () => {
  clip = await makeClip();
  folder = await mkdtemp(join(tmpdir(), 'sealcast-restart-'));
});
afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

const startServer = async (root: string, scheme: string): Promise<{ url: string; child: ChildProcess }> => {
  const child = spawn(process.execPath, [fileURLToPath(new URL('ingest-server.ts', import.meta.url)), root, scheme], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (line: Buffer) => resolve(line.toString().trim()));
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { url, child };
};
const ended = (child: ChildProcess): Promise<void> => new Promise((resolve) => child.once('exit', () => resolve()));
const put = async (url: string, name: string, body: readonly Uint8Array[]): Promise<void> => {
  const response = await fetch(`${url}/ingest/${EVENT}/${name}`, {
    method: 'PUT',
    body: new Blob(body as Uint8Array<ArrayBuffer>[]),
    headers: { authorization: `Bearer ${CREDENTIAL}`, 'content-type': 'video/mp4' },
  });
  expect([name, response.status]).toEqual([name, 200]);
};
/** Chunks whose media lies in [from, to) seconds of the clip. */
const between = (track: ClipTrack, from: number, to: number, start: number): Uint8Array[] =>
  track.chunks.slice(Math.round(from * 5), Math.round(to * 5)).map((chunk) => moved(track, chunk, start));

test.each([
  ['cenc', 'SIGKILL'],
  ['cbcs', 'SIGTERM'],
] as const)('%s, %s', async (scheme, signal) => {
  const root = join(folder, scheme);
  const keys = namedKeys(scheme);
  const start = recentStart(12);
  const first = await startServer(root, scheme);
  await put(first.url, 'init-v.m4s', [clip.video.init]);
  await put(first.url, 'chunk-v-00001.m4s', between(clip.video, 0, 4, start));
  await put(first.url, 'chunk-v-00002.m4s', between(clip.video, 4, 5, start));
  const init = await bytesOf(await fetch(`${first.url}/origin/${EVENT}/v/init.mp4`));
  first.child.kill(signal);
  await ended(first.child);

  const second = await startServer(root, scheme);
  expect(await bytesOf(await fetch(`${second.url}/origin/${EVENT}/v/init.mp4`))).toEqual(init);
  // The source does not know about the restart: no header, its own numbering starts anew.
  await put(second.url, 'chunk-v-00001.m4s', between(clip.video, 5, 10, start));

  const playlist = await (await fetch(`${second.url}/origin/${EVENT}/v/playlist.m3u8`)).text();
  expect(playlist).not.toContain('EXT-X-GAP');
  expect(playlist).toContain(`#EXT-X-MEDIA-SEQUENCE:${start / 2}\n`);
  const numbers = [...playlist.matchAll(/\n(\d+)\.m4s/g)].map((match) => Number(match[1]));
  expect(numbers).toEqual([0, 1, 2, 3, 4].map((index) => start / 2 + index));

  const vectors: string[] = [];
  let time = BigInt(start) * BigInt(clip.video.media.timescale);
  for (const number of numbers) {
    const opened = openSegment(init, await bytesOf(await fetch(`${second.url}/origin/${EVENT}/v/${number}.m4s`)), keys.keyOf);
    expect(opened.samples).toHaveLength(50);
    expect(opened.kids).toHaveLength(2);
    for (const sample of opened.samples) {
      expect(sample.decodeTime).toBe(time);
      time += BigInt(sample.duration);
    }
    vectors.push(...opened.vectors);
  }
  expect(new Set(vectors).size).toBe(vectors.length);
  expect(vectors).toHaveLength(scheme === 'cenc' ? 250 : 0);

  // Segments that never came are numbered all the same.
  await put(second.url, 'chunk-v-00002.m4s', between(clip.video, 0, 2, start + 12));
  const later = await (await fetch(`${second.url}/origin/${EVENT}/v/playlist.m3u8`)).text();
  expect(later).toMatch(new RegExp(`#EXT-X-GAP\n#EXTINF:2,\n${start / 2 + 5}\\.m4s`));
  second.child.kill('SIGTERM');
  await ended(second.child);
});
