// SPDX-License-Identifier: Apache-2.0
/** Geometry recovered from warps whose truth is known. */
import { describe, expect, test } from 'vitest';
import { apart, compose, geometryOf, IDENTITY, invert, mapPlace, windowMap, type Homography } from './homography.ts';
import { cubicAt, pictureOf, pyramidOf, type Picture } from './picture.ts';
import { refine } from './refine.ts';

const WIDTH = 640;
const HEIGHT = 360;

/** A scene given at every real place, so that any warp of it is exact. */
const scene = (x: number, y: number): number =>
  120 + 34 * Math.sin(9 * x + 3 * y) * Math.cos(7 * y - 2 * x) + 22 * Math.sin(31 * x - 17 * y) + 14 * Math.sin(70 * x + 40 * y) * Math.cos(55 * y) + 40 * Math.tanh(14 * Math.sin(5 * x + 1) * Math.sin(4 * y + 2));
/** Renders with 2 x 2 samples a pixel. */
const render = (width: number, height: number, at: (x: number, y: number) => number): Picture => {
  const luma = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (const dy of [0.25, 0.75]) for (const dx of [0.25, 0.75]) sum += at((2 * (x + dx)) / width - 1, (2 * (y + dy)) / height - 1);
      luma[y * width + x] = Math.max(0, Math.min(255, Math.round(sum / 4)));
    }
  }
  return pictureOf(luma, width, height);
};
const reference = render(WIDTH, HEIGHT, scene);
const noise = (x: number, y: number): number => (((Math.imul(Math.round(x * 1e6) | 0, 2654435761) ^ Math.imul(Math.round(y * 1e6) | 0, 40503)) >>> 8) % 1000) / 500 - 1;
/** What a pirate shows under a map. */
const suspectUnder = (map: Homography, width: number, height: number, tone: (value: number) => number = (value) => value, grain = 0): Picture => {
  const back = invert(map);
  return render(width, height, (x, y) => tone(scene(...mapPlace(back, [x, y]))) + grain * noise(x, y));
};
const found = (suspect: Picture, start: Homography = IDENTITY) => refine([{ reference: pyramidOf(reference, 60), suspect: pyramidOf(suspect, 60) }], start);

const turn = (degrees: number): Homography => {
  const r = (degrees * Math.PI) / 180;
  const aspect = WIDTH / HEIGHT;
  return [Math.cos(r), -Math.sin(r) / aspect, 0, Math.sin(r) * aspect, Math.cos(r), 0, 0, 0, 1];
};

describe('refine', () => {
  test.each<[string, Homography, number, number]>([
    ['nothing changed', IDENTITY, 640, 360],
    ['scaled to 480 lines', IDENTITY, 854, 480],
    ['scaled to 240 lines', IDENTITY, 426, 240],
    ['moved by 0.3 pixels', [1, 0, 0.6 / WIDTH, 0, 1, -0.6 / HEIGHT, 0, 0, 1], 640, 360],
    ['cropped by 4 %', windowMap([0.01, -0.02], [0.96, 0.96]), 640, 360],
    ['cropped by 8 %, another aspect', windowMap([0.03, 0.02], [0.9, 0.94]), 512, 384],
    ['turned by 2 degrees', turn(2), 640, 360],
    ['perspective', [1, 0.01, 0, -0.01, 1.02, 0, 0.015, -0.01, 1], 640, 360],
  ])('%s: exact to a tenth of a pixel', (_, truth, width, height) => {
    const answer = found(suspectUnder(truth, width, height, undefined, 2));
    expect(answer?.correlation).toBeGreaterThan(0.97);
    expect(apart(answer?.map ?? IDENTITY, truth, WIDTH, HEIGHT)).toBeLessThan(0.1);
    expect(answer?.standardError).toBeLessThan(0.1);
  });

  test('contrast, brightness, gamma and a logo do not move it', () => {
    const truth = windowMap([0.01, 0], [0.97, 0.97]);
    const faded = suspectUnder(truth, 640, 360, (value) => 25 + 0.7 * 255 * (value / 255) ** 1.1, 3);
    for (let y = 20; y < 80; y++) (faded.luma as Uint8Array).fill(235, y * 640 + 480, y * 640 + 600);
    const answer = found(faded);
    expect(apart(answer?.map ?? IDENTITY, truth, WIDTH, HEIGHT)).toBeLessThan(0.1);
  });

  test('pictures with nothing in common do not correlate', () => {
    const other = render(640, 360, (x, y) => scene(1.7 * y + 3, 0.6 * x - 5));
    expect(found(other)?.correlation ?? 0).toBeLessThan(0.6);
    expect(found(pictureOf(new Uint8Array(640 * 360).fill(16), 640, 360))?.correlation ?? 0).toBeLessThan(0.3);
  });
});

describe('maps', () => {
  test('compose, invert and describe', () => {
    const map = compose(windowMap([0.1, -0.05], [0.8, 0.9], true), turn(1.5));
    expect(apart(compose(map, invert(map)), IDENTITY, 1000, 1000)).toBeLessThan(1e-9);
    const described = geometryOf(windowMap([0.1, -0.05], [0.8, 0.9]), WIDTH / HEIGHT);
    expect(described.shown[0]).toBeCloseTo(0.8);
    expect(described.shown[1]).toBeCloseTo(0.9);
    expect(described.centre[0]).toBeCloseTo(0.1);
    expect(described.mirrored).toBe(false);
    expect(geometryOf(map, WIDTH / HEIGHT).mirrored).toBe(true);
    expect(Math.abs(geometryOf(turn(1.5), WIDTH / HEIGHT).rotation)).toBeCloseTo(1.5);
  });
  test('interpolation is exact at pixels and on ramps', () => {
    const ramp = pictureOf(Uint8Array.from({ length: 64 }, (_, i) => 3 * (i % 8) + 5 * Math.floor(i / 8)), 8, 8);
    expect(cubicAt(ramp.luma, 8, 3, 4)).toBeCloseTo(29, 9);
    expect(cubicAt(ramp.luma, 8, 3.25, 4.5)).toBeCloseTo(3 * 3.25 + 5 * 4.5, 9);
  });
});
