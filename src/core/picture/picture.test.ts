// SPDX-License-Identifier: Apache-2.0
import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { AMPLITUDE, CELLS, COEFFICIENTS, createPatterns, LARGEST_CHANGE, patternSize, pictureSecret, project, render } from './index.ts';

const hmac = (key: Uint8Array, data: Uint8Array): Uint8Array => createHmac('sha256', key).update(data).digest();
const secret = pictureSecret(hmac, new Uint8Array(32).fill(7), 'film-1');
const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0);

test('cosines are orthonormal: a rendered mark projects to its coefficients', () => {
  const coefficients = Float64Array.from({ length: COEFFICIENTS }, (_, k) => Math.sin(k * k + 1));
  const seen = project(render(coefficients));
  for (let k = 0; k < COEFFICIENTS; k++) expect(seen[k]).toBeCloseTo(coefficients[k] as number, 9);
  expect(dot(render(coefficients), new Float64Array(CELLS).fill(1))).toBeCloseTo(0, 6);
});

test('variants of a segment are orthogonal, segments and assets are unrelated', () => {
  const patterns = createPatterns({ hmac, secret, alphabet: 8 });
  const codes = patterns.codes(12);
  for (let a = 0; a < 8; a++) for (let b = 0; b < 8; b++) expect(dot(codes[a]!, codes[b]!)).toBe(a === b ? COEFFICIENTS : 0);
  const other = createPatterns({ hmac, secret: pictureSecret(hmac, new Uint8Array(32).fill(7), 'film-2'), alphabet: 8 });
  // Six standard deviations of a random sign sum.
  for (const stranger of [patterns.codes(13), other.codes(12)]) for (let d = 0; d < 8; d++) expect(Math.abs(dot(codes[d]!, stranger[d]!))).toBeLessThan(6 * Math.sqrt(COEFFICIENTS));
  expect(patterns.codes(12)).toEqual(codes);
});

test('a pattern picture is faint: 45 dB or better after rounding, and has the asked size', () => {
  const patterns = createPatterns({ hmac, secret, alphabet: 5 });
  const { width, height } = patternSize(5);
  for (const segment of [0, 1, 1000]) {
    const picture = patterns.picture(segment);
    expect(picture).toHaveLength(width * height * 1.5);
    expect(picture.subarray(width * height).every((value) => value === 128)).toBe(true);
    for (let variant = 0; variant < 5; variant++) {
      const changes = Array.from(picture.subarray(variant * CELLS, (variant + 1) * CELLS), (value) => value - 128);
      expect(Math.max(...changes.map(Math.abs))).toBeLessThanOrEqual(LARGEST_CHANGE);
      const meanSquare = changes.reduce((sum, value) => sum + value * value, 0) / CELLS;
      expect(Math.sqrt(meanSquare)).toBeGreaterThan(AMPLITUDE * 0.9);
      expect(10 * Math.log10((255 * 255) / meanSquare)).toBeGreaterThan(45.5);
    }
  }
});

test('refuses alphabets and secrets that cannot be', () => {
  expect(() => createPatterns({ hmac, secret, alphabet: 9 })).toThrow(expect.objectContaining({ code: 'bad-request' }));
  expect(() => createPatterns({ hmac, secret: secret.subarray(1), alphabet: 2 })).toThrow(expect.objectContaining({ code: 'key-unavailable' }));
});
