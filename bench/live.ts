// SPDX-License-Identifier: Apache-2.0
/**
 * The live path in real time: how long a chunk needs from ingest to a client at the edge, what a viewer sees, and whether
 * memory stays flat.
 *
 * The whole demo runs in this process (encoder as a child); a client reads chunks over HTTP as they come. Each chunk is timed
 * from the moment its last byte is handed to ingest to the moment its last byte is read at the client.
 * `--full` runs 10 minutes with one Chromium page (Shaka, EME) beside it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '#adapters/node/clock.ts';
import { ensureTool } from '#adapters/node/setup.ts';
import { prepareDashboard } from '#cli/dashboard-build.ts';
import { openDevice, startSession } from '#client/index.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit, type Track } from '#core/isobmff/init.ts';
import { loadConfig } from '#entry/config/index.ts';
import { DEMO_OVERRIDES, openStage, type Stage } from '#entry/demo/stage.ts';
import { keepWatching } from '#entry/demo/watching.ts';
import type { Fetch } from '#ports';

type Figure = { name: string; value: number; unit: string; baseline: string; goal: string; ok: boolean; reason?: string };

const SHORT_SECONDS = 12;
const FULL_SECONDS = 600;
const WARM_UP_SECONDS = 4;

const quantile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
};

/** Notes when each chunk's last byte passes on its way into ingest, by its decode time. */
const clocked = (ingest: Fetch, noted: Map<string, number>, name: string): Fetch => async (request) => {
  if (!request.url.includes(name) || request.body === null) return ingest(request);
  const splitter = createBoxSplitter();
  let track: Track | undefined;
  const watch = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, controller) {
      for (const piece of splitter.push(bytes)) {
        if (piece.kind === 'init') track = parseInit(piece.bytes).tracks[0];
        else if (track !== undefined) noted.set(String(onlyTrackFragment(parseFragment(piece.bytes, [track])).baseMediaDecodeTime), performance.now());
      }
      controller.enqueue(bytes);
    },
  });
  return ingest(new Request(request.url, { method: request.method, headers: request.headers, body: request.body.pipeThrough(watch), duplex: 'half' } as RequestInit));
};

/** Reads the 360p rendition at the edge chunk by chunk and answers each chunk's delay, ms. */
const follow = async (stage: Stage, noted: ReadonlyMap<string, number>, seconds: number): Promise<{ delays: number[]; missed: number }> => {
  const base = stage.platform.url;
  const device = await openDevice({ name: 'bench' });
  const started = await startSession({ servers: [base], device, asset: stage.event, entitlement: () => stage.issuer.issue('bench' as never, stage.event) });
  if (!started.ok) throw new Error(started.denial.detail);
  const { session } = started;
  const get = (path: string): Promise<Response> => fetch(`${base}/media/${stage.event}/v360/${path}`, { headers: { authorization: `Bearer ${session.mediaToken}` } });
  const track = parseInit(new Uint8Array(await (await get('init.mp4')).arrayBuffer())).tracks[0] as Track;
  const delays: number[] = [];
  let missed = 0;
  const end = performance.now() + seconds * 1000;
  for (let number = Math.floor(Date.now() / 2000) + 1; performance.now() < end; number++) {
    const response = await get(`${number}.m4s`);
    if (!response.ok) {
      await response.body?.cancel();
      missed++;
      continue;
    }
    const splitter = createBoxSplitter();
    try {
      for await (const bytes of response.body ?? []) {
        for (const piece of splitter.push(bytes)) {
          const sent = noted.get(String(onlyTrackFragment(parseFragment(piece.bytes, [track])).baseMediaDecodeTime));
          if (sent !== undefined) delays.push(performance.now() - sent);
        }
      }
    } catch {
      // The source started again in the middle of a segment: the edge breaks the answer off.
      missed++;
    }
  }
  await session.stop();
  return { delays, missed };
};

type Seen = { latencies: number[]; dropped: number; total: number };

/** One page of the demo in real Chromium; samples glass-to-glass latency (DASH: the media clock is Unix time) once per second. */
const browse = async (stage: Stage, seconds: number, log: (line: string) => void): Promise<Seen> => {
  const { chromium } = await import('playwright-core');
  const tool = await ensureTool('chromium');
  if ('missing' in tool) throw new Error(`Chromium is missing; install it with: ${tool.missing}`);
  const browser = await chromium.launch({ executablePath: tool.path, args: ['--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--disable-background-networking'] });
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
    await page.goto(`${stage.platform.url}/#asset=${stage.event}`);
    await page.waitForFunction(() => (document.querySelector('video')?.currentTime ?? 0) > 1e9, undefined, { timeout: 30_000 });
    await page.waitForTimeout(WARM_UP_SECONDS * 1000);
    const first = await page.evaluate(() => document.querySelector('video')?.getVideoPlaybackQuality().droppedVideoFrames ?? 0);
    const latencies: number[] = [];
    let quality = { dropped: first, total: 0 };
    const start = performance.now();
    while (performance.now() < start + seconds * 1000) {
      await page.waitForTimeout(1000);
      const sample = await page.evaluate(() => {
        const video = document.querySelector('video');
        const playback = video?.getVideoPlaybackQuality();
        return { latency: Date.now() / 1000 - (video?.currentTime ?? 0), dropped: playback?.droppedVideoFrames ?? 0, total: playback?.totalVideoFrames ?? 0, rate: video?.playbackRate ?? 1, height: video?.videoHeight ?? 0 };
      });
      // What the player was doing then: a change of rendition or rate explains a drop, nothing of the kind points at the machine.
      if (sample.dropped > quality.dropped) log(`  ${sample.dropped - quality.dropped} frames dropped at ${((performance.now() - start) / 1000).toFixed(0)} s: rate ${sample.rate}, ${sample.height} lines, ${sample.latency.toFixed(2)} s behind`);
      latencies.push(sample.latency);
      quality = sample;
    }
    return { latencies, dropped: quality.dropped - first, total: quality.total };
  } finally {
    await browser.close();
  }
};

/** Resident memory once per second; growth is the last fifth against the second one (the first is warm-up). */
const watchMemory = (): { stop(): { growth: number; last: number } } => {
  const samples: number[] = [];
  const timer = setInterval(() => samples.push(process.memoryUsage().rss / 2 ** 20), 1000).unref();
  return {
    stop() {
      clearInterval(timer);
      const fifth = Math.max(1, Math.floor(samples.length / 5));
      const median = (from: number): number => quantile(samples.slice(from, from + fifth), 0.5);
      return { growth: median(samples.length - fifth) / median(fifth), last: samples.at(-1) ?? 0 };
    },
  };
};

export const bench = {
  name: 'live',
  async run({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> {
    const seconds = full ? FULL_SECONDS : SHORT_SECONDS;
    // The page of the full form is the built watch page.
    if (full) await prepareDashboard(log);
    const data = await mkdtemp(join(tmpdir(), 'sealcast-bench-live-'));
    const noted = new Map<string, number>();
    const config = loadConfig(undefined, { ...DEMO_OVERRIDES, data, listen: { port: 0 }, edge: { cacheMemoryMegabytes: 64, cacheDiskMegabytes: 0 }, log: { level: 'error' } });
    const stage = await openStage({ config, clock: systemClock, say: log, film: false, wrapIngest: (ingest) => clocked(ingest, noted, 'v360') });
    const audience = keepWatching(stage, 3);
    try {
      log(`live event with 3 headless viewers, ${seconds} s`);
      while (noted.size < 10) await new Promise((resolve) => setTimeout(resolve, 100));
      await new Promise((resolve) => setTimeout(resolve, WARM_UP_SECONDS * 1000));
      const memory = watchMemory();
      const [edge, seen] = await Promise.all([follow(stage, noted, seconds), full ? browse(stage, seconds, log) : undefined]);
      const { growth, last } = memory.stop();
      const p99 = quantile(edge.delays, 0.99);
      const figures: Figure[] = [
        { name: 'ingest to edge client, p50', value: quantile(edge.delays, 0.5), unit: 'ms', baseline: 'the same chunk handed to ingest, same clock', goal: 'reported', ok: true },
        { name: 'ingest to edge client, p99', value: p99, unit: 'ms', baseline: 'the same chunk handed to ingest, same clock', goal: '< 50', ok: p99 < 50, ...(p99 >= 50 && { reason: 'encoder, viewers, edge and client share the cores of this machine' }) },
        { name: 'segments missed', value: edge.missed, unit: '', baseline: 'one request per segment', goal: '0', ok: edge.missed === 0, ...(edge.missed > 0 && { reason: 'the encoder fell behind the clock and was started again' }) },
        { name: 'chunks measured', value: edge.delays.length, unit: '', baseline: `${seconds * 5} expected`, goal: `>= ${seconds * 4}`, ok: edge.delays.length >= seconds * 4 },
      ];
      if (seen !== undefined) {
        const latency = quantile(seen.latencies, 0.5);
        figures.push(
          { name: 'glass to glass, p50', value: latency, unit: 's', baseline: 'clock drawn by the encoder', goal: '< 2.5', ok: latency < 2.5 },
          { name: 'glass to glass, p95', value: quantile(seen.latencies, 0.95), unit: 's', baseline: 'clock drawn by the encoder', goal: 'reported', ok: true },
          { name: 'dropped frames with EME', value: seen.dropped, unit: `of ${seen.total}`, baseline: 'frames shown', goal: '0', ok: seen.dropped === 0, ...(seen.dropped > 0 && { reason: 'software decoding shares two cores with the encoder and the other viewers' }) },
          { name: 'memory, last fifth / second fifth', value: growth, unit: 'x', baseline: 'the same process earlier in the run', goal: '<= 1.15', ok: growth <= 1.15 },
          { name: 'memory at the end', value: last, unit: 'MiB', baseline: 'resident set', goal: 'reported', ok: true },
        );
      }
      return { figures };
    } finally {
      await audience.stop();
      await stage.close();
      await rm(data, { recursive: true, force: true });
    }
  },
};
