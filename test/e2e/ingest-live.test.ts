// SPDX-License-Identifier: Apache-2.0
/** The generated scene, pushed over HTTP, comes out of the origin encrypted, in every form players ask for. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startLiveScene } from '#adapters/ffmpeg/index.ts';
import type { LiveSource } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { bytesOf, openSegment } from './ingest-decrypt.ts';
import { CREDENTIAL, EVENT, quietLog, randomKeys, startHarness } from './ingest-harness.ts';
import type { Harness } from './ingest-harness.ts';

let harness: Harness;
let source: LiveSource;
const keys = randomKeys({ scheme: 'cenc', periodMicros: 1_000_000 });
const get = (path: string): Promise<Response> => fetch(`${harness.url}/origin/${EVENT}/${path}`);
const text = async (path: string): Promise<string> => (await get(path)).text();
const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));
/** Number of the segment that starts next. */
const upcoming = (): number => Math.floor(Date.now() / 2000) + 1;

beforeAll(async () => {
  harness = await startHarness(keys);
  source = startLiveScene({ asset: EVENT, ingestUrl: harness.ingestUrl, credential: CREDENTIAL, clock: systemClock, log: quietLog, events: (event) => harness.events.push(event) });
  for (let tries = 0; tries < 200; tries += 1) {
    const status = await harness.packager.status(EVENT);
    if (status.length === 3 && status.every((track) => track.latestSegment !== undefined)) return;
    await pause(100);
  }
  throw new Error(`the scene did not arrive: ${JSON.stringify(harness.events)}`);
}, 40_000);
afterAll(async () => {
  await source.stop();
  await harness.close();
});

describe('a running event', () => {
  test('the manifests list two aligned pictures and one sound', async () => {
    const mpd = await text('manifest.mpd');
    expect([...mpd.matchAll(/<Representation id="([^"]+)"/g)].map((match) => match[1])).toEqual(['v720', 'v360', 'a']);
    expect(mpd).toContain('width="1280" height="720" frameRate="25"');
    const master = await text('master.m3u8');
    expect(master).toContain('RESOLUTION=640x360');
    expect(master).toContain('TYPE=AUDIO');
  });

  test('a segment is answered while it is made, chunk by chunk, with 50 frames that open under rotating keys', async () => {
    const number = upcoming();
    const response = await get(`v720/${number}.m4s`);
    expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
    const reader = response.body!.getReader();
    const reads: { at: number; bytes: Uint8Array }[] = [];
    for (let read = await reader.read(); !read.done; read = await reader.read()) reads.push({ at: Date.now(), bytes: read.value });
    expect(reads.at(-1)!.at - reads[0]!.at).toBeGreaterThan(1000);
    const opened = openSegment(await bytesOf(await get('v720/init.mp4')), concatBytes(...reads.map((read) => read.bytes)), keys.keyOf);
    expect(opened.encrypted).toBe(true);
    expect(opened.samples).toHaveLength(50);
    expect(opened.samples[0]).toMatchObject({ sync: true, decodeTime: BigInt(number) * 2n * 12_800n });
    expect(opened.kids).toHaveLength(2);
    expect(new Set(opened.vectors).size).toBe(50);
    expect(opened.fragments[0]!.brands?.compatible).toContain('cmfl');
    for (const fragment of opened.fragments) expect(fragment.prft?.wallClock).toBe(Number((fragment.tracks[0]!.baseMediaDecodeTime * 1_000_000n) / 12_800n));
    const again = await bytesOf(await get(`v720/${number}.m4s`));
    expect(again).toEqual(concatBytes(...reads.map((read) => read.bytes)));
    const key = openSegment(await bytesOf(await get('v360/init.mp4')), await bytesOf(await get(`v360/${number}.m4s`)), keys.keyOf);
    expect(key.samples.filter((sample) => sample.sync).map((sample) => sample.decodeTime)).toEqual(
      opened.samples.filter((sample) => sample.sync).map((sample) => sample.decodeTime),
    );
  });

  test('nothing of a segment opens without its keys', async () => {
    const number = upcoming() - 2;
    const init = await bytesOf(await get('a/init.mp4'));
    const bytes = await bytesOf(await get(`a/${number}.m4s`));
    expect(() => openSegment(init, bytes, () => undefined)).toThrow('a key is missing');
  });

  test('a playlist blocks until the part is there, and parts make up the segment', async () => {
    const number = upcoming();
    const playlist = await get(`v720/playlist.m3u8?_HLS_msn=${number}&_HLS_part=2`);
    expect(playlist.headers.get('cache-control')).toBe('no-store');
    const body = await playlist.text();
    expect(body).toContain(`URI="${number}.2.m4s"`);
    expect(body).toContain('#EXT-X-PRELOAD-HINT:TYPE=PART');
    expect(body.match(/#EXT-X-KEY/g)).toHaveLength(1);
    const parts: Uint8Array[] = [];
    for (let index = 0; index < 10; index += 1) parts.push(await bytesOf(await get(`v720/${number}.${index}.m4s`)));
    expect(concatBytes(...parts)).toEqual(await bytesOf(await get(`v720/${number}.m4s`)));
    expect((await get(`v720/${number}.10.m4s`)).status).toBe(404);
  });

  test('picture and sound share the media sequence', async () => {
    const number = upcoming() - 1;
    for (const track of ['v720', 'v360', 'a'])
      expect(await text(`${track}/playlist.m3u8?keyformat=identity`)).toMatch(new RegExp(`URI="/v1/events/${EVENT}/entry-key"[\\s\\S]*\n${number - 2}\\.m4s\n`));
  });

  test('what cannot be had is refused without being cached', async () => {
    const now = upcoming();
    for (const [path, status] of [
      [`v720/${now + 30}.m4s`, 404],
      ['v720/12.m4s', 404],
      ['v999/init.mp4', 404],
      [`v720/playlist.m3u8?_HLS_msn=${now + 60}`, 400],
      ['v720/playlist.m3u8?_HLS_part=1', 400],
      ['master.m3u8?keyformat=other', 400],
    ] as const) {
      const response = await get(path);
      expect([path, response.status, response.headers.get('cache-control')]).toEqual([path, status, 'no-store']);
    }
    const put = await fetch(`${harness.url}/origin/${EVENT}/manifest.mpd`, { method: 'PUT', body: 'x' });
    expect(put.status).toBe(405);
  });

  test('keys are asked for ahead, and never more than 60 s', () => {
    expect(keys.asked.length).toBeGreaterThan(0);
    for (const { from, to } of keys.asked) expect(to - from).toBeLessThanOrEqual(60);
  });
});

describe('the end', () => {
  test('the manifests close, the last segment says so, and ingest is over', async () => {
    await harness.packager.endEvent(EVENT);
    const playlist = await text('v720/playlist.m3u8');
    expect(playlist.trimEnd().split('\n').at(-1)).toBe('#EXT-X-ENDLIST');
    const last = [...playlist.matchAll(/\n(\d+)\.m4s/g)].at(-1)![1];
    const bytes = await bytesOf(await get(`v720/${last}.m4s`));
    expect(openSegment(await bytesOf(await get('v720/init.mp4')), bytes, keys.keyOf).fragments[0]!.brands?.compatible).toContain('lmsg');
    const mpd = await text('manifest.mpd');
    expect(mpd).toContain('mediaPresentationDuration');
    expect(mpd).not.toContain('minimumUpdatePeriod');
    const refused = await fetch(`${harness.ingestUrl}/Streams(v720.cmfv)`, { method: 'PUT', body: new Uint8Array(8), headers: { authorization: `Bearer ${CREDENTIAL}` } });
    expect(refused.status).toBe(404);
  });
});
