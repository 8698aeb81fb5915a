// SPDX-License-Identifier: Apache-2.0
/** The bundled clip, looped without ffmpeg, is a live event like any other. */
import { stat } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readFallbackClip } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import type { Micros } from '#core/time.ts';
import { createClipLoop } from '#packager/index.ts';
import type { ClipLoop } from '#packager/index.ts';
import { bytesOf, openSegment } from './ingest-decrypt.ts';
import { CREDENTIAL, EVENT, quietLog, randomKeys, startHarness } from './ingest-harness.ts';
import type { Harness } from './ingest-harness.ts';

let harness: Harness;
let loop: ClipLoop;
const keys = randomKeys({ scheme: 'cbcs' });
beforeAll(async () => {
  harness = await startHarness(keys);
  loop = createClipLoop({
    tracks: await readFallbackClip(),
    asset: EVENT,
    ingestUrl: `http://ingest.internal/ingest/${EVENT}`,
    credential: CREDENTIAL,
    send: (request) => harness.packager.ingestHandler(request),
    clock: systemClock,
    log: quietLog,
    events: (event) => harness.events.push(event),
    segmentDuration: 2_000_000 as Micros,
  });
});
afterAll(async () => {
  await loop.stop();
  await harness.close();
});

test('the clip is at most 3 MB', async () => {
  const folder = new URL('../../assets/fallback/', import.meta.url);
  const sizes = await Promise.all(['v720.cmfv', 'v360.cmfv', 'a.cmfa'].map(async (name) => (await stat(new URL(name, folder))).size));
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(3_000_000);
});

test('three tracks run without a gap over the seam of the loop, on the clock', async () => {
  // The clip has 8 s: watching 9 s from anywhere crosses its end.
  const first = Math.floor(Date.now() / 2000) + 2;
  const numbers = [0, 1, 2, 3, 4].map((index) => first + index);
  await new Promise((resolve) => setTimeout(resolve, (first + 1) * 2000 - Date.now()));
  for (const [track, timescale, samples] of [
    ['v720', 12_800n, 50],
    ['v360', 12_800n, 50],
    ['a', 48_000n, 93],
  ] as const) {
    const init = await bytesOf(await fetch(`${harness.url}/origin/${EVENT}/${track}/init.mp4`));
    let next: bigint | undefined;
    for (const number of numbers) {
      const response = await fetch(`${harness.url}/origin/${EVENT}/${track}/${number}.m4s`);
      expect(response.status).toBe(200);
      const opened = openSegment(init, await bytesOf(response), keys.keyOf);
      expect(opened.samples.length).toBeGreaterThanOrEqual(samples);
      const start = opened.samples[0]!.decodeTime;
      expect(start).toBe(next ?? start);
      expect(Number(start / timescale)).toBe(number * 2);
      next = opened.samples.reduce((time, sample) => time + BigInt(sample.duration), start);
    }
  }
  expect(harness.events.filter((event) => event.kind !== 'ingest.started')).toEqual([]);
});
