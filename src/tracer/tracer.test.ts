// SPDX-License-Identifier: Apache-2.0
import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createMemoryObjects } from '#adapters/memory/objects.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { SealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import { CELLS, createPatterns, HEIGHT, pictureSecret, WIDTH } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import { replay } from '#core/trace/index.ts';
import { createAlignedBook, markKeys, position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import type { FrameTool, MediaProbe, VideoTool } from '#ports';
import { align, type Clip } from './align.ts';
import { createReferenceStore, createTracer, type Marking } from './index.ts';
import { createSegmentReader, likelihoodsOf } from './read-segment.ts';
import { regressors, residualOf } from './residual.ts';

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
const SECRET = new Uint8Array(32).fill(11);
const ASSET = assetId('film');
const SECONDS = 40;
const ALPHABET = 5;
const patterns = createPatterns({ hmac, secret: pictureSecret(hmac, SECRET, ASSET), alphabet: ALPHABET });
const schedule = startSchedule({ alphabet: ALPHABET, viewers: 1_000_000 });
const book = createAlignedBook({ alphabet: ALPHABET, schedule, keys: markKeys(hmac, SECRET) });
const marking: Marking = { asset: ASSET, alphabet: ALPHABET, book: { kind: 'aligned', schedule }, segment: 1_000_000 as Micros, segments: SECONDS };

const pictures = new Map<number, Uint8Array>();
const marksOf = (segment: number): Uint8Array => {
  const known = pictures.get(segment) ?? patterns.picture(segment);
  pictures.set(segment, known);
  return known;
};

/** A picture of drifting waves at time t (seconds); `scene` makes another film. */
const drawn = new Map<string, Float64Array>();
const picture = (t: number, scene = 1): Float64Array => {
  const name = `${Math.round(t * 1000)} ${scene}`;
  const known = drawn.get(name) ?? draw(t, scene);
  drawn.set(name, known);
  return known;
};
const draw = (t: number, scene: number): Float64Array => {
  const [width, height] = [WIDTH, HEIGHT];
  const out = new Float64Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      out[y * width + x] =
        128 + 30 * Math.sin(x * 0.31 * scene + 2.1 * t) * Math.cos(y * 0.23 + 1.3 * t * scene) + 25 * Math.sin((x + y * scene) * 0.17 - 0.7 * t) + 15 * Math.sin(x * 0.05 * t * scene + y * 0.4);
    }
  }
  return out;
};
/** Rounded and clamped by the platform. */
const bytes = (cells: ArrayLike<number>): Uint8Array => new Uint8Array(new Uint8ClampedArray(cells).buffer);

type Film = { readonly from: number; readonly seconds: number; readonly viewer?: number; readonly scene?: number; readonly gain?: number; readonly noise?: number };
/** Frames of a film as a pirate would show it; deterministic noise. */
const shown = ({ from, seconds, viewer, scene = 1, gain = 1, noise = 0 }: Film, rate: number): Uint8Array[] =>
  Array.from({ length: Math.floor(seconds * rate) }, (_, n) => {
    const t = from + n / rate;
    const cells = picture(t, scene).slice();
    const segment = Math.floor(t + 1e-9);
    if (viewer !== undefined) {
      const marks = marksOf(segment).subarray(book.symbol(viewerNumber(viewer), position(segment)) * CELLS);
      for (let i = 0; i < cells.length; i++) cells[i] = (cells[i] as number) + (marks[i] as number) - 128;
    }
    return bytes(cells.map((value, i) => gain * (value - 128) + 130 + noise * (((Math.imul(i + 1, 2654435761) + Math.imul(n + 7, 40503 * i + 1)) >>> 16) / 32768 - 1)));
  });

const frames = (film: Film): FrameTool => ({
  async *grayFrames({ framesPerSecond }) {
    yield* shown(film, framesPerSecond);
  },
});
const video: MediaProbe = { streams: [{ index: 0, kind: 'video', codec: 'h264', language: 'und', captions: false, frameRate: { numerator: 10, denominator: 1 } }] };
const toolOf = (probe: () => Promise<MediaProbe>): VideoTool => ({
  probe,
  toCmaf: () => {
    throw new Error('tracing converts nothing');
  },
  toWebVtt: () => Promise.reject(new Error('tracing converts nothing')),
});

const traced = async (film: Film, probe: () => Promise<MediaProbe> = async () => video) => {
  const references = createReferenceStore(createMemoryObjects());
  const markSecret = async (): Promise<Uint8Array> => SECRET;
  await createTracer({ references, markSecret, tool: toolOf(probe), frames: frames({ from: 0, seconds: SECONDS }) }).record({ marking, file: 'film' });
  return createTracer({ references, markSecret, tool: toolOf(probe), frames: frames(film) }).trace({ asset: ASSET, file: 'suspect', viewers: 20_000, eps: 1e-6 });
};

describe('trace', () => {
  test('names the viewer of a noisy, faded copy that begins somewhere', async () => {
    const answer = await traced({ from: 7.36, seconds: 26, viewer: 4711, gain: 0.8, noise: 3 });
    expect(answer).toMatchObject({ readable: true, report: { verdict: 'accuse', viewer: 4711 } });
    if (!answer.readable) return;
    expect(answer.observation.readings[0]?.position).toBe(7);
    expect(answer.stretches[0]?.shift).toBeCloseTo(7.36, 1);
    // The saved observation gives the same verdict without the video.
    expect(replay(answer.observation, markKeys(hmac, SECRET))).toEqual(answer.report);
  });

  test('says how much more is needed, and names nobody for the original', async () => {
    expect(await traced({ from: 3, seconds: 8, viewer: 4711 })).toMatchObject({ readable: true, report: { verdict: 'more' } });
    const original = await traced({ from: 0, seconds: SECONDS, noise: 2 });
    expect(original.readable && original.report.verdict !== 'accuse' && original.report.evidence < original.report.bound / 2).toBe(true);
  });

  test('answers what a file lacks', async () => {
    const failing = (code: 'media-malformed' | 'media-truncated') => () => Promise.reject(new SealcastError(code, 'broken'));
    const sound: MediaProbe = { streams: [{ index: 0, kind: 'audio', codec: 'aac', language: 'und', captions: false }] };
    expect(await traced({ from: 0, seconds: 9 }, async () => video)).toMatchObject({ readable: true });
    expect(await traced({ from: 0, seconds: 20, scene: 3.7 })).toMatchObject({ readable: false, reason: 'no-common-content' });
    expect(await traced({ from: 0, seconds: 1 })).toMatchObject({ readable: false, reason: 'too-short' });
    expect(await traced({ from: 0, seconds: 9 }, async () => sound)).toMatchObject({ readable: false, reason: 'audio-only' });
    for (const code of ['media-malformed', 'media-truncated'] as const) expect(await traced({ from: 0, seconds: 9 }, failing(code))).toMatchObject({ readable: false, reason: 'not-video' });
    await expect(traced({ from: 0, seconds: 9 }, () => Promise.reject(new SealcastError('not-found', 'no file')))).rejects.toMatchObject({ code: 'not-found' });
  });

  test('needs a reference and a mark secret', async () => {
    const references = createReferenceStore(createMemoryObjects());
    const tracer = createTracer({ references, markSecret: async () => undefined, tool: toolOf(async () => video), frames: frames({ from: 0, seconds: 5 }) });
    await expect(tracer.trace({ asset: ASSET, file: 'x', viewers: 10, eps: 0.1 })).rejects.toMatchObject({ code: 'not-found' });
    await tracer.record({ marking, file: 'film' });
    await expect(tracer.trace({ asset: ASSET, file: 'x', viewers: 10, eps: 0.1 })).rejects.toMatchObject({ code: 'key-unavailable' });
  });
});

describe('reference store', () => {
  test('reads back what was written and refuses what was damaged', async () => {
    const objects = createMemoryObjects();
    const store = createReferenceStore(objects);
    const clip: Clip = { framesPerSecond: 5, frames: new Uint8Array(3 * CELLS).fill(9), count: 3 };
    expect(await store.read(ASSET)).toBeUndefined();
    await store.write({ ...marking, clip });
    expect(await store.read(ASSET)).toEqual({ ...marking, clip });
    const text = new TextDecoder().decode(await objects.get('film/reference.json'));
    for (const [from, to] of [
      ['sealcast-reference/1', 'sealcast-reference/2'],
      ['"frames":3', '"frames":4'],
      ['"alphabet":5', '"alphabet":1'],
      ['"segments":40', '"segments":-1'],
      ['"asset":"film"', '"asset":"other"'],
      ['"framesPerSecond":5', '"framesPerSecond":6'],
      ['{', '['],
    ] as const) {
      expect(text).toContain(from);
      await objects.put('film/reference.json', encodeUtf8(text.replace(from, to)));
      await expect(store.read(ASSET)).rejects.toBeInstanceOf(SealcastError);
    }
  });
});

describe('align', () => {
  const clipOf = (film: Film, framesPerSecond: number): Clip => {
    const list = shown(film, framesPerSecond);
    return { framesPerSecond, frames: concatBytes(...list), count: list.length };
  };
  const reference = clipOf({ from: 0, seconds: 30 }, 5);

  test('finds every part of a copy that was cut and put together anew', () => {
    const parts = [clipOf({ from: 20, seconds: 8 }, 25), clipOf({ from: 4, seconds: 8 }, 25)];
    const joined: Clip = { framesPerSecond: 25, frames: concatBytes(...parts.map(({ frames: all }) => all)), count: parts.reduce((sum, { count }) => sum + count, 0) };
    const found = align(reference, joined);
    expect(found).toHaveLength(4);
    expect(found[0]?.shift).toBeCloseTo(20, 1);
    expect(found[3]?.shift).toBeCloseTo(-4, 1);
  });

  test('finds nothing in a black picture, another film or nothing at all', () => {
    expect(align(reference, { framesPerSecond: 25, frames: new Uint8Array(250 * CELLS).fill(16), count: 250 })).toEqual([]);
    expect(align(reference, clipOf({ from: 0, seconds: 12, scene: 3.7 }, 25))).toEqual([]);
    expect(align(reference, { framesPerSecond: 25, frames: new Uint8Array(0), count: 0 })).toEqual([]);
  });
});

describe('reading', () => {
  test('a change of contrast, brightness, gamma and a small shift leave no residual to speak of', () => {
    const original = bytes(picture(3));
    const shifted = Uint8Array.from({ length: CELLS }, (_, i) => original[Math.max(Math.floor(i / WIDTH) * WIDTH, i - (i % 3 === 0 ? 1 : 0))] as number);
    const faded = bytes(Float64Array.from(original, (value) => 20 + 0.7 * value + 0.0006 * value * value));
    expect(residualOf(regressors(original), faded)?.noise).toBeLessThan(0.3);
    expect(residualOf(regressors(original), shifted)?.correlation).toBeGreaterThan(0.9);
  });

  test('pictures without contrast, or unlike the reference, are not fitted', () => {
    const terms = regressors(bytes(picture(3)));
    expect(residualOf(terms, new Uint8Array(CELLS).fill(16))).toBeUndefined();
    const inverted = bytes(picture(3).map((value) => 255 - value));
    expect(residualOf(terms, inverted)).toBeUndefined();
  });

  test('statistics of absent variants stay within their bound, likelihoods are cautious both ways', () => {
    const reader = createSegmentReader();
    let seed = 1;
    const cells = Float64Array.from({ length: CELLS }, () => ((seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5) * 4);
    reader.add({ cells, correlation: 1, noise: 1 });
    const statistics = Array.from({ length: 200 }, (_, segment) => reader.statistics(patterns.codes(segment))).flat();
    const meanSquare = statistics.reduce((sum, t) => sum + t * t, 0) / statistics.length;
    // Signs that have nothing to do with the residual: mean square 1, give or take (1000 values).
    expect(meanSquare).toBeGreaterThan(0.8);
    expect(meanSquare).toBeLessThan(1.2);
    expect(Math.max(...statistics.map(Math.abs))).toBeLessThan(5);
    const certain = likelihoodsOf([14, 0, 0, 0, 0]);
    expect(certain[0]).toBeGreaterThan(0.98);
    expect(Math.min(...certain)).toBeGreaterThanOrEqual(0.002);
    const silent = likelihoodsOf([0.3, -0.2, 0, 0.1, -0.4]);
    expect(Math.max(...silent) / Math.min(...silent)).toBeLessThan(3);
    expect(new Set(createSegmentReader().statistics(patterns.codes(0)))).toEqual(new Set([0]));
  });
});
