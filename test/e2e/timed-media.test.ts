// SPDX-License-Identifier: Apache-2.0
/**
 * The media of a timed event: delivered early, encrypted from the first sample, cut at the periods on every track, opened by
 * the released secrets and the right together, and bit for bit the pictures that were sent.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readFallbackClip } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { lengthPrefixedNals, NAL_IDR, NAL_SLICE } from '#core/avc/nal.ts';
import { encodeHex } from '#core/bytes/hex.ts';
import { type AssetId, assetId, type KeyGroup } from '#core/ids.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { contentKey, keyIdOf } from '#core/keys/ladder.ts';
import { decodeRelease } from '#core/release/frame.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type EdgeInfo, parseEdgeInfo } from '#core/release/schedule.ts';
import { type CryptoPeriod, groupOf, type GrantGroup, type Micros, microsFromTicks } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { loadConfig } from '#entry/config/index.ts';
import { type Platform, startPlatform } from '#entry/node.ts';
import { createClipLoop } from '#packager/index.ts';
import { type Opened, openSegment } from './ingest-decrypt.ts';

const EVENT = assetId('final');
let folder: string;
let platform: Platform;
let loop: { stop(): Promise<void> };
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const origin = async (path: string): Promise<Uint8Array> => {
  const response = await platform.roles.packager?.originHandler(new Request(`http://origin/origin/${EVENT}/${path}`));
  if (response?.status !== 200) throw new Error(`${path}: ${response?.status}`);
  return new Uint8Array(await response.arrayBuffer());
};
/** The description, once the edge has heard of the event. */
const infoOf = async (asset: AssetId): Promise<EdgeInfo> => {
  for (;;) {
    const answer = await fetch(`${platform.url}/v1/events/${asset}/release`, { headers: { accept: 'application/json' } });
    if (answer.status === 200) return parseEdgeInfo(await answer.text());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
const ingest = (asset: AssetId, credential: string, clip: Awaited<ReturnType<typeof readFallbackClip>>): { stop(): Promise<void> } =>
  createClipLoop({ asset, ingestUrl: `${platform.url}/ingest/${asset}`, credential, send: platform.roles.packager?.ingestHandler as never, clock: systemClock, log: silent, events: () => undefined, segmentDuration: 2_000_000 as Micros, tracks: clip });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-timed-media-'));
  platform = await startPlatform({ config: loadConfig(undefined, { data: join(folder, 'data'), listen: { port: 0 }, log: { level: 'error' }, release: { chrony: false, suspendMillis: 20_000 } }) });
  const made = await platform.actions?.createEvent({ asset: EVENT, name: 'Final', scheme: 'cenc', clearKey: 'off', timed: 'standard' });
  loop = ingest(EVENT, made?.ingest.credential ?? '', await readFallbackClip());
}, 60_000);
afterAll(async () => {
  await loop?.stop();
  await platform?.stop();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

/** Keys of a segment's periods, once the edge has released them. */
const keysOf = async (group: KeyGroup, periods: readonly number[]): Promise<ReadonlyMap<string, Uint8Array>> => {
  const keyServer = platform.roles.keyServer;
  const keying = await keyServer?.keying(EVENT);
  if (keyServer === undefined || keying === undefined) throw new Error('a key server');
  const keys = new Map<string, Uint8Array>();
  for (const period of periods as readonly CryptoPeriod[]) {
    let answer = await fetch(`${platform.url}/v1/events/${EVENT}/release/${period}`);
    for (; answer.status === 425 || answer.status === 429; answer = await fetch(`${platform.url}/v1/events/${EVENT}/release/${period}`)) await new Promise((resolve) => setTimeout(resolve, 100));
    const { secret } = decodeRelease(new Uint8Array(await answer.arrayBuffer()));
    const g = groupOf(period, keying.schedule);
    const [grant] = await keyServer.grantKeys({ asset: EVENT, from: g, to: (g + 1) as GrantGroup });
    keys.set(encodeHex(keyIdOf(ladderHash, keying.salt, keying, period, group)), contentKey(ladderHash, grant?.key as never, keying, period, group, secret));
  }
  return keys;
};

describe('media of a timed event', () => {
  test('B160 B161 B162 B166 B172: early, one key per 100 ms on every track, opened after the instants, the same pictures', async () => {
    const info = await infoOf(EVENT);
    // Encoder to glass: what the schedule says.
    expect(info.firstRelease + info.delta).toBeGreaterThanOrEqual(3_000_000);
    expect(info.firstRelease + info.delta).toBeLessThanOrEqual(10_000_000);
    await expect.poll(async () => (await platform.roles.packager?.status(EVENT))?.every(({ latestSegment }) => latestSegment !== undefined), { timeout: 15_000 }).toBe(true);
    const number = Math.max(...((await platform.roles.packager?.status(EVENT)) ?? []).map(({ latestSegment }) => latestSegment ?? 0)) + 1;
    const tracks = ['v720', 'v360', 'a'] as const;
    // The whole segment, as it is finished; its last periods are still closed then.
    const segments = await Promise.all(tracks.map(async (track) => ({ track, init: await origin(`${track}/init.mp4`), bytes: await origin(`${track}/${number}.m4s`) })));
    const arrived = Date.now() * 1000;
    const last = (Math.floor(((number + 1) * 2_000_000) / 100_000) - 1) as CryptoPeriod;
    expect(arrived).toBeLessThan(releaseInstant(info, last));
    expect((await fetch(`${platform.url}/v1/events/${EVENT}/release/${last}`)).status).toBe(425);

    const opened = new Map<string, Opened>();
    for (const { track, init, bytes } of segments) {
      const media = parseInit(init).tracks[0];
      if (media === undefined) throw new Error('a track');
      const group: KeyGroup = track === 'a' ? 'audio' : 'video';
      const periods: number[] = [];
      for (const { bytes: chunk } of createBoxSplitter().push(bytes)) {
        const run = onlyTrackFragment(parseFragment(chunk, [media]));
        let time = run.baseMediaDecodeTime as bigint;
        const of = run.samples.map(({ duration }) => {
          const period = Math.floor(microsFromTicks(time as never, media.timescale) / 100_000);
          time += BigInt(duration);
          return period;
        });
        // No chunk spans two periods.
        expect(new Set(of).size).toBe(1);
        periods.push(of[0] as number);
      }
      expect(new Set(periods).size).toBe(20);
      const keys = await keysOf(group, [...new Set(periods)]);
      const clear = openSegment(init, bytes, (kid) => keys.get(encodeHex(kid)) as never);
      expect(clear.encrypted).toBe(true);
      // Every sample under a key of its own period: no clear lead, no key of the header.
      expect(new Set(clear.kids)).toEqual(new Set(keys.keys()));
      opened.set(track, clear);
    }

    // Every slice that was sent is there, unchanged, with nothing behind it but zero words.
    const [source] = (await readFallbackClip()).filter(({ name }) => name === 'v360.cmfv');
    const pieces = createBoxSplitter().push(source?.bytes as Uint8Array);
    const track = parseInit((pieces[0] as { bytes: Uint8Array }).bytes).tracks[0];
    if (track === undefined) throw new Error('a track');
    const slices = (sample: Uint8Array): Uint8Array[] => lengthPrefixedNals(sample, 4).filter(({ type }) => type === NAL_SLICE || type === NAL_IDR).map(({ start, end }) => sample.subarray(start, end));
    const sent = pieces.slice(1).flatMap(({ bytes }) => {
      const fragment = parseFragment(bytes, [track]);
      return onlyTrackFragment(fragment).samples.map(({ offset, size }) => slices(fragment.bytes.subarray(offset, offset + size)));
    });
    const received = (opened.get('v360') as Opened).samples.map(({ data }) => slices(data));
    expect(received.length).toBe(50);
    const stripped = (unit: Uint8Array): string => Buffer.from(unit).toString('hex').replace(/(?:000003)+$/, '');
    const known = new Set(sent.map((units) => units.map(stripped).join('|')));
    expect(received.every((units) => known.has(units.map(stripped).join('|')))).toBe(true);
  }, 60_000);

  test('a strictly timed event has a key per frame, and δ of 120 ms', async () => {
    const strict = assetId('strict');
    const made = await platform.actions?.createEvent({ asset: strict, name: 'Strict', scheme: 'cenc', clearKey: 'off', timed: 'strict' });
    const clip = (await readFallbackClip()).filter(({ name }) => name !== 'v720.cmfv');
    const second = ingest(strict, made?.ingest.credential ?? '', clip);
    try {
      await expect.poll(async () => ((await platform.roles.packager?.status(strict)) ?? []).map(({ latestSegment }) => latestSegment !== undefined), { timeout: 15_000 }).toEqual([true, true]);
      const info = await infoOf(strict);
      expect(info).toMatchObject({ mode: 'strict', period: 40_000, delta: 120_000, fallbackDelta: 150_000, perBlock: 250 });
    } finally {
      await second.stop();
    }
  }, 60_000);
});
