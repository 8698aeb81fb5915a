// SPDX-License-Identifier: Apache-2.0
/**
 * The detector on a drawn film whose marks, warps and frame rates are known: geometry to a tenth of a pixel, time to the
 * picture, every slot's symbol.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { assetId } from '#core/ids.ts';
import { CELLS, HEIGHT, WIDTH } from '#core/picture/index.ts';
import type { Micros } from '#core/time.ts';
import { position } from '#core/watermark/index.ts';
import type { PictureTool } from '#ports';
import type { Clip } from './align.ts';
import { detect, type Detection } from './detector.ts';
import type { Differences } from './differences.ts';
import type { MarkedReference } from './marked-reference.ts';
import { createMomentFinder } from './moments.ts';
import { apart, compose, IDENTITY, invert, windowMap, type Homography } from './registration/homography.ts';
import { cubicAt, pictureOf, type Picture } from './registration/picture.ts';
import { slotLikelihoods, softValueOf } from './soft-values.ts';
import type { Suspect } from './suspect.ts';

const ACROSS = 320;
const DOWN = 180;
const RATE = 25;
const SECONDS = 6;
const SLOTS = 8;
const GROUPS = 2 * SLOTS;

const randomFrom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
};
const symbolAt = (segment: number, slot: number): number => (Math.imul(segment * 31 + slot * 7 + 3, 2_654_435_761) >>> 19) & 1;

/** Blotches of all sizes, so that no two places look alike. */
const TEXTURE = 512;
const texture = ((): Float64Array => {
  const out = new Float64Array(TEXTURE * TEXTURE);
  for (const [grain, level] of [[64, 14], [32, 11], [16, 9], [8, 7], [4, 5]] as const) {
    const random = randomFrom(grain);
    const side = TEXTURE / grain;
    const corners = Float64Array.from({ length: side * side }, () => level * (2 * random() - 1));
    const corner = (x: number, y: number): number => corners[(y % side) * side + (x % side)] as number;
    for (let y = 0; y < TEXTURE; y++) {
      for (let x = 0; x < TEXTURE; x++) {
        const [cx, cy] = [Math.floor(x / grain), Math.floor(y / grain)];
        const [u, v] = [(x % grain) / grain, (y % grain) / grain].map((t) => t * t * (3 - 2 * t)) as [number, number];
        out[y * TEXTURE + x] = (out[y * TEXTURE + x] as number) + (1 - v) * ((1 - u) * corner(cx, cy) + u * corner(cx + 1, cy)) + v * ((1 - u) * corner(cx, cy + 1) + u * corner(cx + 1, cy + 1));
      }
    }
  }
  return out;
})();
/** A film in which everything moves. */
const draw = (t: number, film: number): Uint8Array => {
  const out = new Uint8Array(ACROSS * DOWN);
  const [panX, panY] = [Math.round(50 * t * film + 200 * film), Math.round(24 * Math.sin(1.3 * t) + 60 * film)];
  const [ballX, ballY] = [160 + 110 * Math.sin(2.1 * t + film), 90 + 60 * Math.cos(1.7 * t * film)];
  for (let y = 0; y < DOWN; y++) {
    for (let x = 0; x < ACROSS; x++) {
      const ball = (x - ballX) ** 2 + (y - ballY) ** 2 < 900 ? 45 : 0;
      out[y * ACROSS + x] = Math.max(0, Math.min(255, 118 + (texture[((y + panY) % TEXTURE) * TEXTURE + ((x + panX) % TEXTURE)] as number) + 12 * Math.sin(0.05 * x + 3 * t) * Math.cos(0.07 * y - 2 * t) + ball));
    }
  }
  return out;
};

/** Marks of a segment: patches of four by four cells that stay to its end. */
type Patch = { readonly group: number; readonly cell: number; readonly from: number; readonly tilt: number; readonly level: number };
const patchesOf = (segment: number): Patch[] => {
  const random = randomFrom(segment * 977 + 5);
  return Array.from({ length: GROUPS * 10 }, (_, i) => ({
    group: i % GROUPS,
    cell: (4 + Math.floor(random() * (DOWN / 4 - 9))) * (ACROSS / 4) + 4 + Math.floor(random() * (ACROSS / 4 - 9)),
    from: Math.floor(random() * 18),
    tilt: random() * 4 - 2,
    level: (random() < 0.5 ? -1 : 1) * (3 + random() * 3),
  }));
};
const addPatch = (luma: Int16Array, { cell, tilt, level }: Patch): void => {
  const [x0, y0] = [(cell % (ACROSS / 4)) * 4, Math.floor(cell / (ACROSS / 4)) * 4];
  for (let y = 0; y < 8; y++) for (let x = 0; x < 8; x++) luma[(y0 + y) * ACROSS + x0 + x] = (luma[(y0 + y) * ACROSS + x0 + x] as number) + Math.round(level + (tilt * (x - 3.5)) / 3.5);
};
const differencesFor = (segment: number): Differences => {
  const starts = new Uint32Array(RATE * GROUPS + 1);
  const cells: number[] = [];
  const sums: number[] = [];
  const patches = patchesOf(segment);
  for (let group = 0; group < GROUPS; group++) {
    for (let n = 0; n < RATE; n++) {
      const luma = new Int16Array(ACROSS * DOWN);
      const touched = new Set<number>();
      for (const patch of patches) {
        if (patch.group !== group || patch.from > n) continue;
        addPatch(luma, patch);
        for (const step of [0, 1, ACROSS / 4, ACROSS / 4 + 1]) touched.add(patch.cell + step);
      }
      for (const cell of [...touched].sort((a, b) => a - b)) {
        const at = Math.floor(cell / (ACROSS / 4)) * 4 * ACROSS + (cell % (ACROSS / 4)) * 4;
        cells.push(cell);
        for (const corner of [0, 2, 2 * ACROSS, 2 * ACROSS + 2]) sums.push([0, 1, ACROSS, ACROSS + 1].reduce((sum, step) => sum + (luma[at + corner + step] as number), 0));
      }
      starts[group * RATE + n + 1] = cells.length;
    }
  }
  return { width: ACROSS, height: DOWN, frames: RATE, groups: GROUPS, starts, cells: Uint32Array.from(cells), sums: Int8Array.from(sums, (sum) => Math.max(-127, Math.min(127, sum))) };
};

const small = (luma: Uint8Array, width: number, height: number): Uint8Array => {
  const out = new Uint8Array(CELLS);
  for (let row = 0; row < HEIGHT; row++) {
    for (let column = 0; column < WIDTH; column++) {
      let sum = 0;
      let count = 0;
      for (let y = Math.floor((row * height) / HEIGHT); y < Math.max(Math.floor((row * height) / HEIGHT) + 1, Math.floor(((row + 1) * height) / HEIGHT)); y++) {
        for (let x = Math.floor((column * width) / WIDTH); x < Math.max(Math.floor((column * width) / WIDTH) + 1, Math.floor(((column + 1) * width) / WIDTH)); x++) {
          sum += luma[y * width + x] as number;
          count++;
        }
      }
      out[row * WIDTH + column] = Math.round(sum / count);
    }
  }
  return out;
};
const clipOf = (pictures: readonly { luma: Uint8Array; width: number; height: number }[], framesPerSecond: number): Clip => {
  const frames = new Uint8Array(pictures.length * CELLS);
  pictures.forEach(({ luma, width, height }, n) => frames.set(small(luma, width, height), n * CELLS));
  return { framesPerSecond, frames, count: pictures.length };
};

const originals: Uint8Array[] = [];
const marked: Uint8Array[] = [];
const differences: Differences[] = [];
beforeAll(() => {
  for (let n = 0; n < SECONDS * RATE; n++) {
    const luma = draw(n / RATE, 1);
    originals.push(luma);
    const segment = Math.floor(n / RATE);
    const sum = Int16Array.from(luma);
    for (const patch of patchesOf(segment)) if (patch.from <= n % RATE && (patch.group & 1) !== symbolAt(segment, patch.group >> 1)) addPatch(sum, patch);
    marked.push(Uint8Array.from(sum, (value) => Math.max(0, Math.min(255, value))));
  }
  for (let segment = 0; segment < SECONDS; segment++) differences.push(differencesFor(segment));
}, 120_000);

const reference = (): MarkedReference => ({
  asset: assetId('film'), slots: SLOTS, segmentLength: 1_000_000 as Micros, book: { kind: 'aligned', schedule: [{ from: position(0), length: 24 }] }, representations: ['v'], live: false,
  renditions: [{ id: 'v', width: ACROSS, height: DOWN }],
  numbers: Array.from({ length: SECONDS }, (_, n) => n),
  clip: clipOf(Array.from({ length: SECONDS * 5 }, (_, n) => ({ luma: originals[n * 5] as Uint8Array, width: ACROSS, height: DOWN })), 5),
  origin: 0,
  segment: async (_, number) => ({ frames: RATE, groups: GROUPS, times: Float64Array.from({ length: RATE + 1 }, (__, n) => number + n / RATE), original: Uint8Array.of(number), withGroup: () => new Uint8Array() }),
  differences: async (_, number) => differences[number],
});
const tool: PictureTool = {
  filePictures: () => {
    throw new Error('suspects of this test are no files');
  },
  async *codedPictures({ parts }) {
    for (const part of parts) yield* originals.slice((part[0] as number) * RATE, ((part[0] as number) + 1) * RATE);
  },
};

type Treatment = { readonly map?: Homography; readonly size?: readonly [number, number]; readonly rate?: number; readonly from?: number; readonly tone?: (value: number) => number; readonly source?: readonly Uint8Array[]; readonly shown?: (n: number) => number };
/** The suspect's picture of a reference picture. */
const warp = (luma: Uint8Array, { map = IDENTITY, size = [ACROSS, DOWN], tone = (value) => value }: Treatment, seed: number): Uint8Array => {
  const [width, height] = size;
  const out = new Uint8Array(width * height);
  const [m0 = 1, m1 = 0, m2 = 0, m3 = 0, m4 = 1, m5 = 0, g = 0, h = 0] = invert(map);
  const random = randomFrom(seed);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const [a, b] = [(2 * x + 1) / width - 1, (2 * y + 1) / height - 1];
      const w = g * a + h * b + 1;
      const [u, v] = [(m0 * a + m1 * b + m2) / w, (m3 * a + m4 * b + m5) / w];
      const px = ((u + 1) * ACROSS) / 2 - 0.5;
      const py = ((v + 1) * DOWN) / 2 - 0.5;
      const inside = px >= -0.5 && py >= -0.5 && px <= ACROSS - 0.5 && py <= DOWN - 0.5;
      const value = inside ? tone(cubicAt(luma, ACROSS, Math.min(ACROSS - 3.001, Math.max(1, px)), Math.min(DOWN - 3.001, Math.max(1, py)))) : 16;
      out[y * width + x] = Math.max(0, Math.min(255, Math.round(value + 4 * (random() - 0.5))));
    }
  }
  return out;
};
const suspectOf = (treatment: Treatment): Suspect => {
  const { rate = RATE, from = 1.24, size = [ACROSS, DOWN], source = marked, shown = (n) => Math.floor((from + (n + 0.01) / rate) * RATE) } = treatment;
  const cache = new Map<number, Uint8Array>();
  const pictures: Picture[] = [];
  for (let n = 0; shown(n) < SECONDS * RATE; n++) {
    const own = shown(n);
    const luma = cache.get(own) ?? warp(source[own] as Uint8Array, treatment, own + 1);
    cache.set(own, luma);
    pictures.push(pictureOf(luma, size[0], size[1]));
  }
  const every = Math.max(1, Math.round(rate / 30));
  return {
    width: size[0], height: size[1], rate, seconds: pictures.length / rate,
    clip: clipOf(pictures.filter((_, n) => n % every === 0).map(({ luma }) => ({ luma: luma as Uint8Array, width: size[0], height: size[1] })), rate / every),
    async *pictures(start, seconds) {
      for (let n = Math.ceil(start * rate - 1e-6); n < Math.min(pictures.length, (start + seconds) * rate); n++) yield { picture: pictures[n] as Picture, at: n / rate };
    },
  };
};
const wrongSlots = ({ segments }: Detection): { readonly wrong: number; readonly read: number } => {
  let wrong = 0;
  let read = 0;
  for (const { number, statistics } of segments) {
    statistics.forEach((statistic, slot) => {
      if (statistic.seen < 0.3) return;
      read++;
      if (softValueOf(statistic) > 0 !== (symbolAt(number, slot) === 1)) wrong++;
    });
  }
  return { wrong, read };
};
const turn = (degrees: number): Homography => {
  const r = (degrees * Math.PI) / 180;
  return [Math.cos(r), (-Math.sin(r) * DOWN) / ACROSS, 0, (Math.sin(r) * ACROSS) / DOWN, Math.cos(r), 0, 0, 0, 1];
};

describe('the detector finds place, time and symbols', () => {
  test.each<[string, Treatment]>([
    ['a plain copy', {}],
    ['24 pictures a second', { rate: 24 }],
    ['30 pictures a second', { rate: 30 }],
    ['50 pictures a second', { rate: 50 }],
    ['60 pictures a second', { rate: 60 }],
    ['pictures dropped and others repeated', { shown: (n) => 31 + n - (n % 13 === 7 ? 1 : 0) + (n % 17 === 5 ? 1 : 0) }],
    ['scaled down', { size: [256, 144] }],
    ['cropped by 4 %', { map: windowMap([0, 0], [0.96, 0.96]) }],
    ['cropped by 20 % off the middle', { map: windowMap([0.15, -0.1], [0.8, 0.8]) }],
    ['mirrored', { map: windowMap([0, 0], [1, 1], true) }],
    ['letterboxed to 4:3', { map: [1, 0, 0, 0, 0.75, 0, 0, 0, 1], size: [320, 240] }],
    ['stretched to 4:3', { size: [320, 240] }],
    ['turned by 1.5 degrees and cropped', { map: compose(windowMap([0, 0], [0.94, 0.94]), turn(1.5)) }],
    ['perspective', { map: [1.02, 0.01, 0, -0.008, 1.02, 0, 0.012, -0.008, 1] }],
    ['contrast, brightness and gamma', { tone: (value) => 20 + 0.8 * 255 * (value / 255) ** 1.15 }],
  ])('%s', async (_, treatment) => {
    const detection = await detect({ reference: reference(), suspect: suspectOf(treatment), tool });
    const { wrong, read } = wrongSlots(detection);
    // A fifth of the picture less leaves fewer slots whole.
    expect(read).toBeGreaterThanOrEqual(treatment.map?.[0] === 1.25 ? 2 * SLOTS : 4 * SLOTS);
    expect(wrong).toBeLessThanOrEqual(1);
    for (const { map, shift } of detection.segments.slice(1, -1)) {
      // Over the part that is shown, in pixels of the reference.
      expect(apart(invert(map), invert(treatment.map ?? IDENTITY), ACROSS, DOWN)).toBeLessThan(0.1);
      // Time to the picture: a suspect's picture stands for a moment within its own length.
      if (treatment.shown === undefined) expect(Math.abs(shift - 1.24)).toBeLessThan(1 / RATE / 2 + 0.001);
    }
    expect(detection.hypotheses).toBe(1);
  }, 120_000);

  test('a copy that was cut and put together anew is read from both parts', async () => {
    const order = [...Array.from({ length: 100 }, (_, n) => 49 + n), ...Array.from({ length: 100 }, (_, n) => 2 + n)];
    const detection = await detect({ reference: reference(), suspect: suspectOf({ shown: (n) => order[n] ?? SECONDS * RATE }), tool });
    expect(wrongSlots(detection).wrong).toBe(0);
    expect(detection.segments.map(({ number }) => number)).toEqual(expect.arrayContaining([1, 3, 4]));
  }, 120_000);

  test('of two renditions the one that was copied is read, and both are paid for', async () => {
    const one = reference();
    const decoys = Array.from({ length: SECONDS }, (_, segment) => differencesFor(segment + 500));
    const two: MarkedReference = {
      ...one,
      renditions: [{ id: 'w', width: ACROSS, height: DOWN }, { id: 'v', width: ACROSS, height: DOWN }],
      differences: async (rendition, number) => (rendition === 'v' ? differences[number] : decoys[number]),
    };
    const detection = await detect({ reference: two, suspect: suspectOf({}), tool });
    expect(detection.segments.map(({ rendition }) => rendition)).toEqual(detection.segments.map(() => 'v'));
    expect(wrongSlots(detection).wrong).toBe(0);
    expect(detection.hypotheses).toBe(2);
  }, 120_000);

  test('an unmarked original says nothing either way, another film is not found', async () => {
    const original = await detect({ reference: reference(), suspect: suspectOf({ source: originals }), tool });
    const likelihoods = slotLikelihoods(original.segments.flatMap(({ statistics }) => statistics));
    expect(likelihoods.length).toBeGreaterThan(24);
    // Wherever the sign falls, it is the same for every viewer: what matters is that few slots claim to be sure.
    expect(likelihoods.filter((pair) => pair !== undefined && Math.max(...pair) > 0.9).length / likelihoods.length).toBeLessThan(0.25);
    const other = Array.from({ length: SECONDS * RATE }, (_, n) => draw(n / RATE + 40, 2.7));
    expect((await detect({ reference: reference(), suspect: suspectOf({ source: other }), tool })).segments).toEqual([]);
  }, 120_000);
});

describe('moments', () => {
  test('name the very picture, for every picture of a moving scene', () => {
    const pictures = originals.slice(50, 75);
    const finder = createMomentFinder(pictures, { width: ACROSS, height: DOWN, stride: ACROSS });
    for (let n = 0; n < 25; n++) {
      const shown = pictureOf(warp(marked[50 + n] as Uint8Array, { map: windowMap([0.02, 0], [0.95, 0.95]) }, n), ACROSS, DOWN);
      for (const off of [-1.4, 0, 1.2]) expect(finder.find(shown, windowMap([0.02, 0], [0.95, 0.95]), n + off, 2.6)?.n).toBe(n);
    }
  });
});
