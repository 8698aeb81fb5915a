// SPDX-License-Identifier: Apache-2.0
/** The small parts of the packager, each against a clock and a generator of its own. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { SealcastError } from '#core/errors.ts';
import { assetId, representationId } from '#core/ids.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import type { CryptoPeriod, GrantGroup, Micros, Millis, SegmentNumber } from '#core/time.ts';
import type { Clock, ContentKeySource, Log, Random } from '#ports';
import { createInitialisationVectors } from './initialisation-vectors.ts';
import { createKeyRing } from './key-ring.ts';
import { createSourceTimeline } from './source-timeline.ts';
import { planTitle } from './title-plan.ts';
import { ingestTarget } from './track-name.ts';
import { createRenditionWindow, segmentType } from './window.ts';

const log: Log = { debug() {}, info() {}, warn() {}, error() {} };
const kidOf = (value: number): KeyId => new Uint8Array(16).fill(value) as KeyId;
/** A clock that moves only when someone waits. */
const testClock = (start: number): Clock & { set(now: number): void } => {
  let now = start;
  return {
    now: () => now as Micros,
    monotonic: () => (now / 1000) as Millis,
    after(delay, run) {
      let cancelled = false;
      queueMicrotask(() => {
        if (cancelled) return;
        now += delay * 1000;
        run();
      });
      return () => {
        cancelled = true;
      };
    },
    set(value) {
      now = value;
    },
  };
};

describe('track names', () => {
  test.each([
    ['Streams(v720.cmfv)', 'v720'],
    ['streams(Audio_EN.cmfa)', 'audio-en'],
    ['Streams(v720.cmfv)/12.cmfv', 'v720'],
    ['init-stream0.m4s', 'stream0'],
    ['chunk-stream0-00004.m4s', 'stream0'],
    ['video-1/init.cmfv', 'video-1'],
    ['video-1/897645950.cmfv', 'video-1'],
    ['v720.mp4', 'v720'],
    ['a_en-init.mp4', 'a-en'],
    ['cam1_00042.m4s', 'cam1'],
  ])('%s is %s', (path, track) => expect(ingestTarget(path)).toEqual({ kind: 'track', track }));
  test.each(['manifest.mpd', 'master.m3u8', 'sub/manifest.mpd.tmp'])('%s is a manifest', (path) => expect(ingestTarget(path)).toEqual({ kind: 'manifest' }));
  test.each(['', 'x', 'x.jpg', 'Streams(.cmfv)', '***.mp4', '/'])('%s names nothing', (path) => expect(ingestTarget(path)).toEqual({ kind: 'unknown' }));
  test('no path gives anything but a safe id', () => {
    fc.assert(
      fc.property(fc.string(), (path) => {
        const target = ingestTarget(`${path}.m4s`);
        if (target.kind === 'track') expect(target.track).toMatch(/^[a-z0-9][a-z0-9-]{0,31}$/);
      }),
    );
  });
});

describe('initialisation vectors', () => {
  /** Answers the given numbers in turn, then counts up in large steps. */
  const drawing = (...first: bigint[]): Random => {
    let next = 1n << 40n;
    return {
      bytes(length) {
        const out = new Uint8Array(length);
        new DataView(out.buffer).setBigUint64(0, first.shift() ?? (next += 1n << 41n));
        return out;
      },
    };
  };
  const v720 = representationId('v720');
  const v360 = representationId('v360');
  test('count on within a representation and never meet those of another under the same key', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(v720, v360), fc.constantFrom(1, 2), fc.integer({ min: 1, max: 50 })), { maxLength: 40 }),
        fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { maxLength: 10 }),
        (steps, draws) => {
          const vectors = createInitialisationVectors(drawing(...draws));
          const used = new Set<string>();
          for (const [representation, kid, samples] of steps) {
            const first = vectors.counter(kidOf(kid), representation, samples);
            for (let index = 0n; index < BigInt(samples); index += 1n) {
              const name = `${kid}:${first + index}`;
              expect(used.has(name)).toBe(false);
              expect(first + index).toBeLessThan(1n << 64n);
              used.add(name);
            }
          }
        },
      ),
    );
  });
  test('a base too near to another, or to the end, is drawn again', () => {
    const vectors = createInitialisationVectors(drawing(1000n, 1001n, (1n << 64n) - 5n, 1n << 50n));
    expect(vectors.counter(kidOf(1), v720, 10)).toBe(1000n);
    expect(vectors.counter(kidOf(1), v360, 10)).toBe(1n << 50n);
    expect(vectors.counter(kidOf(1), v720, 1)).toBe(1010n);
  });
  test('the constant vector belongs to key and representation', () => {
    const vectors = createInitialisationVectors(drawing());
    const one = vectors.constant(kidOf(1), v720);
    expect(vectors.constant(kidOf(1), v720)).toEqual(one);
    expect(vectors.constant(kidOf(1), v360)).not.toEqual(one);
    expect(vectors.constant(kidOf(2), v720)).not.toEqual(one);
  });
});

describe('key ring', () => {
  const asset = assetId('match-1');
  const start = 1_800_000_000_000_000;
  const server = (fails = 0): ContentKeySource & { asked: { from: number; to: number }[] } => {
    const asked: { from: number; to: number }[] = [];
    return {
      asked,
      keying: () => Promise.reject(new Error('not asked for')),
      async contentKeys({ from, to }) {
        asked.push({ from, to });
        if (asked.length <= fails) throw new SealcastError('key-unavailable', 'down');
        return Array.from({ length: to - from }, (_, index) => ({
          period: (from + index) as CryptoPeriod,
          group: 0 as GrantGroup,
          kid: kidOf((from + index) % 256),
          key: new Uint8Array(16) as ContentKey,
        }));
      },
    };
  };
  const ring = (keys: ContentKeySource, clock: Clock) =>
    createKeyRing({ keys, asset, keyGroup: 'video', kind: 'event', schedule: { period: 2_000_000 as Micros, periodsPerGroup: 3 }, clock, log, patience: 1000 as Millis });
  const now = (start / 2_000_000) as CryptoPeriod;
  test('asks ahead, less than 60 s, and again when half is used', async () => {
    const keys = server();
    const clock = testClock(start);
    const keyRing = ring(keys, clock);
    expect((await keyRing.get(now)).period).toBe(now);
    expect(keys.asked).toEqual([{ from: now, to: now + 25 }]);
    for (let step = 1; step <= 14; step += 1) {
      clock.set(start + step * 2_000_000);
      await keyRing.get((now + step) as CryptoPeriod);
    }
    expect(keys.asked).toHaveLength(2);
    expect(keys.asked[1]!.from).toBe(now + 25);
  });
  test('waits out a short outage', async () => {
    const keys = server(2);
    expect((await ring(keys, testClock(start)).get(now)).period).toBe(now);
    expect(keys.asked).toHaveLength(3);
  });
  test('gives up with the refusal of the key server, and with no other key', async () => {
    await expect(ring(server(1000), testClock(start)).get(now)).rejects.toMatchObject({ code: 'key-unavailable' });
    const wrong: ContentKeySource = { keying: () => Promise.reject(new Error('x')), contentKeys: async () => [] };
    await expect(ring(wrong, testClock(start)).get(now)).rejects.toMatchObject({ code: 'key-unavailable' });
  });
});

describe('source timeline', () => {
  const now = 1_800_000_001_300_000;
  const make = (clock: Clock, newest: () => number | undefined = () => undefined, stored?: number) =>
    createSourceTimeline({
      clock,
      segmentDuration: 2_000_000 as Micros,
      stored: stored as Micros | undefined,
      newest: newest as () => Micros | undefined,
      onAnchor: () => undefined,
    });
  test('Unix time is left alone', () => {
    expect(make(testClock(now)).shift((now - 200_000) as Micros, now as Micros, true)).toBe(0);
  });
  test('time from zero is moved by whole segments, the same for all tracks', () => {
    const timeline = make(testClock(now));
    const shift = timeline.shift(0 as Micros, 200_000 as Micros, true);
    expect(shift % 2_000_000).toBe(0);
    expect(now - (shift + 200_000)).toBeLessThan(2_000_000);
    expect(timeline.shift(21_333 as Micros, 234_666 as Micros, true)).toBe(shift);
  });
  test('a restart goes on behind what players have', () => {
    const clock = testClock(now);
    const players: { newest: number | undefined } = { newest: undefined };
    const timeline = make(clock, () => players.newest);
    const shift = timeline.shift(0 as Micros, 200_000 as Micros, true);
    clock.set(now + 60_000_000);
    players.newest = now + 59_900_000;
    expect(timeline.shift(60_000_000 as Micros, 60_200_000 as Micros, false)).toBe(shift);
    const again = timeline.shift(0 as Micros, 200_000 as Micros, true);
    expect(again).toBeGreaterThanOrEqual(players.newest);
    expect(again % 2_000_000).toBe(0);
    expect(again - players.newest).toBeLessThan(2_000_000);
  });
  test('a restarted packager keeps the shift', () => {
    expect(make(testClock(now), () => undefined, 1_800_000_000_000_000).shift(500_000 as Micros, 700_000 as Micros, false)).toBe(1_800_000_000_000_000);
  });
});

describe('window', () => {
  const part = (start: number, independent = true) => ({ bytes: Uint8Array.of(1, 2, 3), start: start as Micros, duration: 500_000 as Micros, independent });
  const open = (store = createMemoryObjects(), depth = 3) =>
    createRenditionWindow({
      store,
      clock: testClock(0),
      path: 'live/x/v',
      segmentDuration: 1_000_000 as Micros,
      chunkDuration: 500_000 as Micros,
      depth,
      onFault: (error) => expect(error).toBeUndefined(),
    });
  test('finishes a segment at its boundary, lists gaps, forgets what is past', async () => {
    const store = createMemoryObjects();
    const window = await open(store);
    for (const number of [10, 11, 13, 14]) for (const half of [0, 500_000]) window.append(number as SegmentNumber, part(number * 1_000_000 + half));
    expect(window.list().map(({ number, state }) => [number, state])).toEqual([
      [12, 'gap'],
      [13, 'complete'],
      [14, 'complete'],
    ]);
    expect([9, 11, 12, 13, 15].map((number) => window.position(number))).toEqual(['past', 'held', 'gap', 'held', 'future']);
    for (let number = 15; number < 20; number += 1) for (const half of [0, 500_000]) window.append(number as SegmentNumber, part(number * 1_000_000 + half));
    await window.settled();
    expect(await store.list('live/x/v/')).toEqual(['live/x/v/15.m4s', 'live/x/v/16.m4s', 'live/x/v/17.m4s', 'live/x/v/18.m4s', 'live/x/v/19.m4s', 'live/x/v/window.json']);
  });
  test('a segment is its parts, behind a styp; the last one of an event says lmsg and has the same size', async () => {
    const window = await open();
    window.append(5 as SegmentNumber, part(5_000_000));
    const before = window.part(5, 0)!.bytes;
    expect(before.subarray(0, -3)).toEqual(segmentType(false));
    await window.finish(true);
    const bytes = (await window.segment(5))!;
    expect(bytes).toHaveLength(before.length);
    expect(bytes.subarray(0, -3)).toEqual(segmentType(true));
  });
  test('a segment that was finished at its boundary still becomes the last one', async () => {
    const window = await open();
    window.append(5 as SegmentNumber, part(5_000_000));
    window.append(5 as SegmentNumber, part(5_500_000));
    await window.finish(true);
    expect((await window.segment(5))!.subarray(0, segmentType(true).length)).toEqual(segmentType(true));
  });
  test('a new life takes the window and the open segment up', async () => {
    const store = createMemoryObjects();
    const first = await open(store);
    first.append(7 as SegmentNumber, part(7_000_000));
    first.append(7 as SegmentNumber, part(7_500_000));
    first.append(8 as SegmentNumber, part(8_000_000));
    await first.flush();
    const second = await open(store);
    expect(second.list().map(({ number, state, parts }) => [number, state, parts.length])).toEqual([
      [7, 'complete', 0],
      [8, 'open', 1],
    ]);
    second.append(8 as SegmentNumber, part(8_500_000));
    await second.settled();
    expect(await second.segment(8)).toHaveLength(segmentType(false).length + 6);
    expect(await second.segment(7)).toEqual(await first.segment(7));
  });
  test('those who wait are let go by time, abort and close', async () => {
    const window = await open();
    expect(await window.until(() => false, 10 as Millis)).toBe(false);
    const abort = new AbortController();
    abort.abort();
    expect(await window.until(() => false, 1e9 as Millis, abort.signal)).toBe(false);
    const waiting = window.until(() => window.latest === 3, 1e9 as Millis);
    window.append(3 as SegmentNumber, part(3_000_000));
    expect(await waiting).toBe(true);
  });
});

describe('title plan', () => {
  const segmentDuration = 4_000_000 as Micros;
  const video = { index: 0, kind: 'video', codec: 'h264', profile: 'High', pixelFormat: 'yuv420p', width: 1920, height: 1080, language: 'und', captions: false } as const;
  const audio = { index: 1, kind: 'audio', codec: 'aac', profile: 'LC', channels: 2, language: 'en', captions: false } as const;
  test('8-bit H.264 and AAC are copied', () => {
    expect(planTitle({ streams: [video, audio] }, { segmentDuration }).media.map(({ id, conversion }) => [id, conversion.copy])).toEqual([
      ['v1080', true],
      ['a-en', true],
    ]);
  });
  test.each([
    { ...video, codec: 'hevc' },
    { ...video, pixelFormat: 'yuv420p10le', profile: 'High 10' },
    { ...video, pixelFormat: 'yuv422p', profile: 'High 4:2:2' },
  ])('other video is coded in two sizes: $codec $profile', (stream) => {
    expect(planTitle({ streams: [stream] }, { segmentDuration }).media.map(({ id, conversion }) => [id, conversion.copy])).toEqual([
      ['v720', false],
      ['v360', false],
    ]);
  });
  test('renditions are never larger than the source', () => {
    expect(planTitle({ streams: [{ ...video, codec: 'vp9', width: 427, height: 240 }] }, { segmentDuration }).media.map(({ conversion }) => conversion)).toMatchObject([
      { width: 426, height: 240 },
    ]);
  });
  test('tracks of one language get different names', () => {
    const plan = planTitle({ streams: [audio, { ...audio, index: 2 }, { ...audio, index: 3, language: 'und', codec: 'mp3' }] }, { segmentDuration });
    expect(plan.media.map(({ id, conversion }) => [id, conversion.copy])).toEqual([
      ['a-en', true],
      ['a-en-2', true],
      ['a', false],
    ]);
  });
  test('neither video nor audio is refused', () => {
    expect(() => planTitle({ streams: [] }, { segmentDuration })).toThrow('neither video nor audio');
  });
});
