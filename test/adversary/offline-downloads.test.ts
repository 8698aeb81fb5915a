// SPDX-License-Identifier: Apache-2.0
/** Downloads against everything that stops one: pauses, restarts, full disks, quotas, lost lines, ended rights, damaged and evicted files. */
import { beforeEach, describe, expect, it } from 'vitest';
import { textOf } from '#client/texts/texts.ts';
import { mpdWithOnly, playlistWithOnly } from '#client/offline/manifest-choice.ts';
import { multivariantPlaylist } from '#core/manifest/hls.ts';
import type { AssetId, RepresentationId } from '#core/ids.ts';
import { parseMpd } from '#client/mpd.ts';
import { FILM, SECOND, settle, until } from './license-world.ts';
import { createOfflineWorld, DAY, equipped, NOW, type OfflineClient, type OfflineWorld, verdict } from './offline-world.ts';

type Offline = Awaited<ReturnType<OfflineClient['open']>>;
let world: OfflineWorld;
let client: OfflineClient;
let served: string[];
/** Answers media requests in place of the service; undefined: the usual. */
let media: ((path: string) => Response | Promise<Response> | undefined) | undefined;

const SEGMENTS = 15;
const track = (id: string, bandwidth: number): string => `      <Representation id="${id}" bandwidth="${bandwidth}" codecs="avc1.42E01E"/>\n`;
const MANIFEST = `<?xml version="1.0"?>
<MPD type="static" mediaPresentationDuration="PT60S">
  <Period>
    <AdaptationSet mimeType="video/mp4">
      <SegmentTemplate timescale="1000" duration="4000" startNumber="0" initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/$Number$.m4s"/>
${track('v720', 2_000_000)}${track('v360', 500_000)}    </AdaptationSet>
    <AdaptationSet mimeType="audio/mp4" lang="en">
      <SegmentTemplate timescale="1000" duration="4000" startNumber="0" initialization="$RepresentationID$/init.mp4" media="$RepresentationID$/$Number$.m4s"/>
      <Representation id="a-en" bandwidth="96000" codecs="mp4a.40.2"/>
    </AdaptationSet>
  </Period>
</MPD>
`;
/** Media, playlists and headers of two tracks. */
const FILES = 2 * (SEGMENTS + 1);

const answerMedia = async (request: Request): Promise<Response> => {
  const path = new URL(request.url).pathname;
  served.push(path);
  const own = await media?.(path);
  if (own !== undefined) return own;
  if (!(request.headers.get('authorization') ?? '').startsWith('Bearer ey')) return new Response(null, { status: 401 });
  if (path.endsWith('.mpd')) return new Response(MANIFEST);
  if (path.endsWith('.m3u8')) return new Response(null, { status: 404 });
  return new Response(new Uint8Array(1000).fill(path.length) as BodyInit);
};

beforeEach(async () => {
  world = await createOfflineWorld();
  client = await world.client();
  served = [];
  media = undefined;
  client.between = (request, forward) => (new URL(request.url).pathname.startsWith('/media/') ? answerMedia(request) : forward(request));
});

/** Lets time pass until the download rests. */
const pass = async (offline: Offline, seconds = 600): Promise<void> => {
  let resting = false;
  void offline.downloads.settled().then(() => (resting = true));
  for (let at = 0; at < seconds && !resting; at += 1) {
    for (let turn = 0; turn < 5; turn++) await settle();
    await world.clock.advance(1);
  }
};
const stateOf = (offline: Offline, title: AssetId = FILM) => {
  const { state, done, total, trouble } = offline.downloads.get(title) ?? { state: 'none', done: 0, total: 0, trouble: undefined };
  return [state, done, total, trouble?.code];
};

describe('downloads', () => {
  it('B132: the chosen renditions are fetched, told of as they come, and nothing else is', async () => {
    const offline = await equipped(client);
    const seen: number[] = [];
    offline.downloads.on('changed', ({ done }) => seen.push(done));
    await offline.downloads.add(FILM);
    await pass(offline);
    expect(stateOf(offline)).toEqual(['complete', FILES, FILES, undefined]);
    expect(offline.downloads.get(FILM)).toMatchObject({ tracks: ['v360', 'a-en'], duration: 60 * SECOND });
    expect([...seen]).toEqual([...seen].sort((a, b) => a - b));
    expect(new Set(seen).size).toBeGreaterThan(20);
    expect(served.some((path) => path.includes('v720'))).toBe(false);
    const [title] = await world.addTitles(['other']);
    await offline.downloads.add(title as AssetId, { choose: (tracks) => tracks.filter(({ id }) => id === 'v720') });
    await pass(offline);
    expect(offline.downloads.get(title as AssetId)?.tracks).toEqual(['v720']);
    const manifest = await (await offline.downloads.serve(new Request('https://media.example/media/other/manifest.mpd')))?.text();
    expect(parseMpd(manifest ?? '').tracks.map(({ id }) => id)).toEqual(['v720']);
  });

  it('B132: pause stops at once, resume goes on, a restart goes on by itself; nothing is fetched twice', async () => {
    let offline = await equipped(client);
    let count = 0;
    let pausing: Promise<void> | undefined;
    media = () => {
      count += 1;
      if (count === 10) pausing = offline.downloads.pause(FILM);
      return undefined;
    };
    await offline.downloads.add(FILM);
    await pass(offline);
    await pausing;
    const [state, done] = stateOf(offline);
    expect(state).toBe('paused');
    expect(done).toBeLessThan(12);
    await world.clock.advance(3600);
    expect(served.length).toBe(10);
    media = (path) => (path.endsWith('/7.m4s') ? Promise.reject(new TypeError('crash')) : undefined);
    await offline.downloads.resume(FILM);
    await pass(offline, 10);
    expect(stateOf(offline)[0]).not.toBe('complete');
    media = undefined;
    await offline.close();
    offline = await client.restart();
    await pass(offline);
    expect(stateOf(offline)).toEqual(['complete', FILES, FILES, undefined]);
    const fetched = served.filter((path) => /\d\.m4s$/.test(path) && !path.endsWith('/7.m4s'));
    expect(fetched.length - new Set(fetched).size).toBeLessThanOrEqual(1);
  });

  it('a full disk pauses it with a sentence, keeps what is there, and room lets it go on', async () => {
    const offline = await equipped(client);
    client.storage.capacity = 12_000;
    await offline.downloads.add(FILM);
    await pass(offline);
    expect(stateOf(offline)[0]).toBe('paused');
    expect(offline.downloads.get(FILM)?.trouble).toEqual({ code: 'storage-full', text: textOf('storage-full') });
    const { done = 0 } = offline.downloads.get(FILM) ?? {};
    expect(done).toBeGreaterThan(3);
    served.length = 0;
    client.storage.capacity = Number.POSITIVE_INFINITY;
    offline.downloads.wake();
    await pass(offline);
    expect(stateOf(offline)).toEqual(['complete', FILES, FILES, undefined]);
    expect(served.length).toBe(FILES - done);
  });

  it('a quota holds for all downloads together', async () => {
    const [title] = await world.addTitles(['other']);
    await equipped(client);
    const offline = await client.restart({ quota: 40_000 });
    await offline.downloads.add(FILM);
    await offline.downloads.add(title as AssetId);
    await pass(offline);
    expect(offline.downloads.all.map(({ state, trouble }) => [state, trouble?.code])).toEqual([['complete', undefined], ['paused', 'storage-full']]);
    expect(offline.downloads.all.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(40_000);
    await offline.downloads.remove(FILM);
    offline.downloads.wake();
    await pass(offline);
    expect(stateOf(offline, title)[0]).toBe('complete');
    expect([...client.storage.bytes.keys()].some((name) => name.startsWith(`${FILM}/`))).toBe(false);
    expect(offline.usage.pending).toBe(3);
  });

  it('a lost line is waited for, longer and longer, and at once when it is back', async () => {
    const offline = await equipped(client);
    media = (path) => {
      if (path.endsWith('/3.m4s')) client.cut = true;
      return undefined;
    };
    await offline.downloads.add(FILM);
    await pass(offline, 120);
    expect(stateOf(offline)[0]).not.toBe('complete');
    const before = client.asked.length;
    await pass(offline, 600);
    expect(client.asked.length - before).toBeLessThan(120);
    media = undefined;
    client.cut = false;
    await offline.reconnected();
    await pass(offline);
    expect(stateOf(offline)).toEqual(['complete', FILES, FILES, undefined]);
  });

  it('a token that was refused is asked for anew, once; a right that ended stops the download', async () => {
    const offline = await equipped(client);
    let refused = 0;
    media = (path) => (path.endsWith('/5.m4s') && refused++ === 0 ? new Response(null, { status: 401 }) : undefined);
    await offline.downloads.add(FILM);
    await pass(offline);
    expect(stateOf(offline)[0]).toBe('complete');
    expect(client.asked.filter((path) => path === 'POST /v1/downloads').length).toBe(2);
    const [title] = await world.addTitles(['other']);
    await offline.subscriptions.fetchLeaves({ titles: [title as AssetId] });
    await world.clock.advance(30 * DAY);
    expect(verdict(await offline.downloads.add(title as AssetId))).toBe('license-expired');
    expect(NOW).toBeGreaterThan(0);
  });

  it('a file that was cut, changed or evicted is not given out, and comes again', async () => {
    let offline = await equipped(client);
    await offline.downloads.add(FILM);
    await pass(offline);
    const names = [...client.storage.bytes.keys()].filter((name) => name.endsWith('.m4s'));
    client.storage.bytes.set(names[0] as string, new Uint8Array(10));
    (client.storage.bytes.get(names[1] as string) as Uint8Array)[5] = 99;
    client.storage.bytes.delete(names[2] as string);
    offline = await client.restart();
    served.length = 0;
    const path = (names[0] as string).slice(FILM.length);
    const answer = offline.downloads.serve(new Request(`https://media.example/media/${FILM}${path}`));
    await pass(offline);
    expect((await (await (answer as Promise<Response>)).arrayBuffer()).byteLength).toBe(1000);
    expect(await offline.downloads.check(FILM)).toBe(false);
    await pass(offline);
    expect(await offline.downloads.check(FILM)).toBe(true);
    expect(served.filter((each) => each.endsWith('.m4s')).length).toBe(3);
    client.storage.bytes.clear();
    offline = await client.restart();
    expect(await offline.downloads.check(FILM)).toBe(false);
    await pass(offline);
    expect(await offline.downloads.check(FILM)).toBe(true);
  });

  it('B133: what is not there yet is waited for while it downloads, and refused where it does not', async () => {
    const offline = await equipped(client);
    let gate: (() => void) | undefined;
    media = (path) => (path.endsWith('v360/2.m4s') ? new Promise<Response>((resolve) => (gate = () => resolve(new Response(new Uint8Array(7) as BodyInit)))) : undefined);
    await offline.downloads.add(FILM);
    await until(() => gate !== undefined);
    const waiting = offline.downloads.serve(new Request(`https://media.example/media/${FILM}/v360/2.m4s`)) as Promise<Response>;
    gate?.();
    await pass(offline);
    expect((await (await waiting).arrayBuffer()).byteLength).toBe(7);
    expect(offline.downloads.waitFor(FILM)).toBe(0);
    expect((await offline.downloads.serve(new Request(`https://media.example/media/${FILM}/v720/2.m4s`)))?.status).toBe(404);
    expect(offline.downloads.serve(new Request('https://media.example/media/unknown/v720/2.m4s'))).toBeUndefined();
  });

  it('B135: what a viewer asks for goes before what was pushed; a push message is read strictly', async () => {
    const titles = await world.addTitles(['one', 'two', 'wanted']);
    const offline = await equipped(client);
    expect(await offline.pushed({ titles: ['one', 'two', 'nowhere'] })).toEqual(['one', 'two']);
    await offline.downloads.add(titles[2] as AssetId);
    await pass(offline);
    const order = [...new Set(served.map((path) => path.split('/')[2]))];
    expect(order.indexOf('wanted')).toBeLessThan(order.indexOf('two'));
    for (const message of [undefined, 'titles', { titles: 'one' }, { titles: ['../x'] }, { titles: Array.from({ length: 65 }, () => 'one') }]) await expect(offline.pushed(message)).rejects.toThrow();
  });

  it('tidy removes what no plan can play any more, and nothing that waits for a clock', async () => {
    const offline = await equipped(client);
    await offline.downloads.add(FILM);
    await pass(offline);
    client.clock.set(-DAY);
    expect(await offline.tidy()).toEqual([]);
    client.clock.set(DAY);
    client.bought.plans = [world.plan({ revoked: true })];
    await offline.subscriptions.refresh();
    expect(await offline.tidy()).toEqual([FILM]);
    expect(client.storage.bytes.size).toBe(0);
    expect(offline.catalogue.size).toBe(0);
    expect([...client.storage.texts.keys()].filter((key) => key.startsWith('download/') || key.startsWith('file/'))).toEqual([]);
  });

  it('nothing on the device is a key in the clear', async () => {
    const offline = await equipped(client);
    await offline.downloads.add(FILM);
    await pass(offline);
    const playing = await offline.play(FILM);
    if (!playing.ok) throw new Error(playing.denial.detail);
    const keys = await playing.session.keysBetween(0 as never, (60 * SECOND) as never);
    expect(keys.length).toBeGreaterThan(50);
    const texts = [...client.storage.texts.values()].join('\n');
    for (const { key } of keys) for (const form of ['base64url', 'hex'] as const) expect(texts).not.toContain(Buffer.from(key).toString(form));
    await playing.session.stop();
  });
});

describe('manifests of downloads', () => {
  it('keep the chosen renditions byte for byte and lose the others', () => {
    const only = mpdWithOnly(MANIFEST, new Set(['v720'] as RepresentationId[]));
    expect(parseMpd(only).tracks.map(({ id }) => id)).toEqual(['v720']);
    expect(only).toContain(track('v720', 2_000_000));
    expect(mpdWithOnly(MANIFEST, new Set(['v720', 'v360', 'a-en'] as RepresentationId[]))).toBe(MANIFEST);
    const video = (id: string, width: number) => ({ kind: 'video' as const, id: id as RepresentationId, bandwidth: width * 1000, codec: 'avc1', width, height: 180, timescale: 90_000 });
    const audio = (id: string, language: string) => ({ kind: 'audio' as const, id: id as RepresentationId, bandwidth: 1000, codec: 'mp4a.40.2', language, channels: 2, sampleRate: 48_000, timescale: 48_000 });
    const playlist = multivariantPlaylist([video('v1', 320), video('v2', 640), audio('a1', 'en'), audio('a2', 'de')] as never, { keyFormat: 'clearkey' });
    const kept = playlistWithOnly(playlist, new Set(['v2', 'a1'] as RepresentationId[]));
    expect(kept).toContain('v2/playlist.m3u8');
    expect(kept).toContain('a1/playlist.m3u8');
    expect(kept).not.toMatch(/v1\/|a2\//);
    expect(playlistWithOnly(playlist, new Set(['v1', 'v2', 'a1', 'a2'] as RepresentationId[]))).toBe(playlist);
  });
});
