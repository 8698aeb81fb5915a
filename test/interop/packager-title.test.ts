// SPDX-License-Identifier: Apache-2.0
/** Files packed as titles: sample-exact after decryption, readable by others, sound and subtitles with their languages. */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFfmpegTool, findTool } from '#adapters/ffmpeg/index.ts';
import { createFileObjectStore } from '#adapters/files/index.ts';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { decodeUtf8 } from '#core/bytes/utf8.ts';
import { assetId } from '#core/ids.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { packTitle } from '#packager/index.ts';
import type { PackedTitle, PackTitleOptions, TitleKeys } from '#packager/index.ts';
import type { ObjectStore } from '#ports';
import { openSegment } from '../e2e/ingest-decrypt.ts';
import { quietLog, randomKeys } from '../e2e/ingest-harness.ts';

let folder: string;
const run = promisify(execFile);
const ffmpeg = (...args: string[]): Promise<unknown> => run(findTool('ffmpeg'), ['-nostdin', '-hide_banner', '-loglevel', 'error', '-y', ...args]);
const at = (name: string): string => join(folder, name);
const PICTURE = ['-f', 'lavfi', '-i', 'testsrc2=s=320x180:r=25'];
const SOUND = ['-f', 'lavfi', '-i', 'sine=f=440:r=48000'];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-title-'));
  await writeFile(at('subtitles.srt'), '1\n00:00:01,000 --> 00:00:03,000\nGuten Tag\n\n2\n00:00:04,000 --> 00:00:05,500\nAuf Wiedersehen\n');
  await Promise.all([
    ffmpeg(
      ...PICTURE,
      ...SOUND,
      '-f',
      'lavfi',
      '-i',
      'sine=f=880:r=48000',
      '-i',
      at('subtitles.srt'),
      '-t',
      '9',
      '-map',
      '0',
      '-map',
      '1',
      '-map',
      '2',
      '-map',
      '3',
      '-c:v',
      'libx264',
      '-preset',
      'veryfast',
      '-bf',
      '3',
      '-g',
      '50',
      '-c:a',
      'aac',
      '-b:a',
      '64k',
      '-c:s',
      'srt',
      '-metadata:s:a:0',
      'language=eng',
      '-metadata:s:a:1',
      'language=ger',
      '-metadata:s:a:1',
      'title=Kommentar',
      '-metadata:s:s:0',
      'language=ger',
      at('film.mkv'),
    ),
    ffmpeg(...PICTURE, '-t', '6', '-c:v', 'mpeg4', at('old.avi')),
    ffmpeg(...PICTURE, '-t', '30', '-c:v', 'libx264', '-preset', 'ultrafast', '-g', '2000', '-keyint_min', '2000', at('sparse.mp4')),
    ffmpeg(...SOUND, '-t', '6', '-c:a', 'libmp3lame', at('song.mp3')),
    ffmpeg(...SOUND, '-t', '6', '-c:a', 'flac', at('song.flac')),
  ]);
  // ffmpeg's DASH reader stops at the end of the shortest track, so it gets a film without subtitles.
  await ffmpeg('-i', at('film.mkv'), '-map', '0:v', '-map', '0:a', '-c', 'copy', at('plain.mp4'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Packed = { readonly title: PackedTitle; readonly store: ObjectStore; read(path: string): Promise<Uint8Array>; text(path: string): Promise<string> };
const pack = async (file: string, keys: TitleKeys, more: Partial<PackTitleOptions> = {}): Promise<Packed> => {
  const store = createMemoryObjects();
  const title = await packTitle({
    asset: assetId('film'),
    file: at(file),
    keys,
    store,
    folder: 'titles/film',
    tool: createFfmpegTool(),
    aes: nodeSampleAes,
    random: systemRandom,
    clock: systemClock,
    log: quietLog,
    segmentDuration: 2_000_000 as never,
    ...more,
  });
  const read = async (path: string): Promise<Uint8Array> => {
    const bytes = await store.get(`titles/film/${path}`);
    if (bytes === undefined) throw new Error(`${path} was not written`);
    return bytes;
  };
  return { title, store, read, text: async (path) => decodeUtf8(await read(path)) };
};
const segments = async ({ read, title }: Packed, track: string): Promise<Uint8Array[]> =>
  Promise.all(Array.from({ length: title.tracks.find(({ id }) => id === track)!.segments }, (_, index) => read(`${track}/${index}.m4s`)));
/** Coded frames and their MD5s as ffmpeg sees them, without containers. */
const frameSums = async (bytes: Uint8Array, ...options: string[]): Promise<string[]> => {
  const child = spawn(findTool('ffmpeg'), ['-hide_banner', '-loglevel', 'error', ...options, '-i', 'pipe:0', '-map', '0:v', '-f', 'framemd5', 'pipe:1'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(bytes);
  let out = '';
  for await (const part of child.stdout) out += String(part);
  return out
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => line.split(',').at(-1)!.trim());
};

describe.each(['cenc', 'cbcs'] as const)('%s', (scheme) => {
  test('rotating keys: every sample comes back byte for byte, with its times, from many periods', async () => {
    const keys = randomKeys({ scheme, kind: 'title', periodMicros: 700_000 });
    const clear = await pack('film.mkv', { kind: 'none' });
    const sealed = await pack('film.mkv', { kind: 'source', source: keys });
    const vectors: string[] = [];
    for (const track of ['v180', 'a-en', 'a-de']) {
      const init = await sealed.read(`${track}/init.mp4`);
      const clearInit = await clear.read(`${track}/init.mp4`);
      const [protectedParts, clearParts] = [await segments(sealed, track), await segments(clear, track)];
      expect(protectedParts).toHaveLength(clearParts.length);
      const kids = new Set<string>();
      for (const [index, part] of protectedParts.entries()) {
        const opened = openSegment(init, part, keys.keyOf);
        expect(opened.encrypted).toBe(true);
        expect(opened.samples).toEqual(openSegment(clearInit, clearParts[index]!, keys.keyOf).samples);
        for (const kid of opened.kids) kids.add(kid);
        vectors.push(...opened.vectors);
      }
      expect(kids.size).toBe(13);
    }
    expect(new Set(vectors).size).toBe(vectors.length);
  });

  test('one fixed key: ffmpeg decrypts to the frames of the source', async () => {
    const kid = systemRandom.bytes(16) as KeyId;
    const key = systemRandom.bytes(16) as ContentKey;
    const sealed = await pack('film.mkv', { kind: 'fixed', scheme, kid, key });
    const clear = await pack('film.mkv', { kind: 'none' });
    const join = async (packed: Packed): Promise<Uint8Array> => concatBytes(await packed.read('v180/init.mp4'), ...(await segments(packed, 'v180')));
    const want = await frameSums(await join(clear));
    expect(want).toHaveLength(225);
    expect(await frameSums(await join(sealed), '-decryption_key', encodeHex(key))).toEqual(want);
  });
});

describe('a film with two sounds and subtitles', () => {
  test('copies picture and sound, passes subtitles through, keeps languages and sync', async () => {
    const packed = await pack('film.mkv', { kind: 'none' });
    expect(packed.title.tracks.map(({ id, language, copied }) => [id, language, copied])).toEqual([
      ['v180', 'und', true],
      ['a-en', 'en', true],
      ['a-de', 'de', true],
      ['s-de', 'de', true],
    ]);
    const vtt = await packed.text('s-de/0.vtt');
    expect(vtt).toMatch(/^WEBVTT\nX-TIMESTAMP-MAP=/);
    expect(vtt).toContain('Guten Tag');
    const master = await packed.text('master.m3u8');
    expect(master).toContain('NAME="Kommentar",LANGUAGE="de"');
    expect(master).toContain('TYPE=SUBTITLES');
    expect(await packed.text('manifest.mpd')).toContain('<BaseURL>s-de/0.vtt</BaseURL>');
    // Picture and sound start together within an audio frame: priming was dropped, not shifted (Matroska rounds to milliseconds).
    for (const [track, timescale] of [
      ['v180', 16_000],
      ['a-en', 48_000],
    ] as const) {
      expect(Number(openSegment(await packed.read(`${track}/init.mp4`), await packed.read(`${track}/0.m4s`), () => undefined).samples[0]!.decodeTime) / timescale).toBeLessThan(
        0.025,
      );
    }
    expect(Math.abs(packed.title.duration - 9_000_000)).toBeLessThan(50_000);
  });

  test('ffprobe reads both manifests from files', async () => {
    const packed = await pack('plain.mp4', { kind: 'none' });
    const root = await mkdtemp(join(folder, 'out-'));
    const files = createFileObjectStore({ root, durability: 'process' });
    for (const path of await packed.store.list('titles/film/')) await files.put(path.replace('titles/film/', ''), (await packed.store.get(path))!);
    for (const manifest of ['master.m3u8', 'manifest.mpd']) {
      const { stdout } = await run(findTool('ffprobe'), [
        '-v',
        'error',
        '-allowed_extensions',
        'ALL',
        '-count_packets',
        '-print_format',
        'json',
        '-show_streams',
        join(root, manifest),
      ]);
      const streams = (JSON.parse(stdout) as { streams: { codec_name: string; nb_read_packets: string }[] }).streams;
      const frames = streams.filter(({ codec_name }) => codec_name === 'h264').map((stream) => Number(stream.nb_read_packets));
      // Its DASH reader drops what lies behind the last sample of the shortest track.
      expect(frames).toEqual([manifest === 'master.m3u8' ? 225 : expect.closeTo(225, -1)]);
      expect(streams.filter(({ codec_name }) => codec_name === 'aac').length).toBeGreaterThanOrEqual(2);
    }
  });
});

describe('what has to be coded again', () => {
  test('other video becomes renditions with the same key frames', async () => {
    const packed = await pack('old.avi', { kind: 'none' }, { heights: [180, 90] });
    expect(packed.title.tracks.map(({ id, codec, copied }) => [id, codec.slice(0, 4), copied])).toEqual([
      ['v180', 'avc1', false],
      ['v90', 'avc1', false],
    ]);
    const starts = await Promise.all(
      ['v180', 'v90'].map(async (track) => {
        const init = await packed.read(`${track}/init.mp4`);
        return (await segments(packed, track)).map((part) => {
          const [first] = openSegment(init, part, () => undefined).samples;
          expect(first!.sync).toBe(true);
          return first!.decodeTime;
        });
      }),
    );
    expect(starts[0]).toHaveLength(3);
    expect(starts[0]).toEqual(starts[1]);
  });
  test('video with key frames too far apart is coded again instead of making endless segments', async () => {
    const packed = await pack('sparse.mp4', { kind: 'none' });
    expect(packed.title.tracks[0]).toMatchObject({ id: 'v180', copied: false, segments: 15 });
  });
  test.each(['song.mp3', 'song.flac'])('sound alone plays: %s', async (file) => {
    const keys = randomKeys({ scheme: 'cbcs', kind: 'title', periodMicros: 1_000_000 });
    const packed = await pack(file, { kind: 'source', source: keys });
    expect(packed.title.tracks).toMatchObject([{ id: 'a', codec: 'mp4a.40.2', copied: false, segments: 3 }]);
    expect(openSegment(await packed.read('a/init.mp4'), await packed.read('a/0.m4s'), keys.keyOf).samples.length).toBeGreaterThan(90);
    expect(await packed.text('master.m3u8')).toContain('CODECS="mp4a.40.2"');
  });
});

describe('bad input', () => {
  test.each([
    ['empty', new Uint8Array(), 'media-truncated'],
    ['noise', Uint8Array.from({ length: 5000 }, (_, index) => (index * 7919) % 251), 'media-malformed'],
    ['text', new TextEncoder().encode('1\n00:00:01,000 --> 00:00:03,000\nonly words\n'), 'media-unsupported'],
  ])('%s', async (name, bytes, code) => {
    await writeFile(at(`${name}.srt`), bytes);
    await expect(pack(`${name}.srt`, { kind: 'none' })).rejects.toMatchObject({ code });
  });
  test('a file that is not there', () => expect(pack('nowhere.mp4', { kind: 'none' })).rejects.toMatchObject({ code: 'not-found' }));
  test('a truncated file leaves no manifest', async () => {
    const whole = await readFile(at('sparse.mp4'));
    await writeFile(at('cut.mp4'), whole.subarray(0, whole.length >> 1));
    const store = createMemoryObjects();
    await expect(pack('cut.mp4', { kind: 'none' }, { store })).rejects.toMatchObject({ code: 'media-malformed' });
    expect((await store.list('titles/film/')).filter((path) => path.endsWith('.mpd'))).toEqual([]);
  });
  test('a playlist dressed up as a video opens nothing else', async () => {
    await writeFile(at('trick.mp4'), `#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n${at('song.mp3')}\n#EXT-X-ENDLIST\n`);
    await expect(pack('trick.mp4', { kind: 'none' })).rejects.toMatchObject({ code: 'media-malformed' });
  });
  test('stopping leaves no child behind', async () => {
    const stop = new AbortController();
    const packing = pack('old.avi', { kind: 'none' }, { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(packing).rejects.toMatchObject({ code: 'shutting-down' });
  });
});
