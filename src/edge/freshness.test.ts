// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { micros } from '#core/time.ts';
import { forClients, freshnessOf } from '#edge/freshness.ts';

const at = micros(1_000_000_000);
const seconds = (cacheControl: string | null, age: string | null = null): number => (freshnessOf({ cacheControl, age }, at).freshUntil - at) / 1e6;

describe('freshness', () => {
  it.each<[string | null, string | null, number, boolean]>([
    ['public, max-age=60', null, 60, true],
    ['max-age=60', '20', 40, true],
    ['max-age=60', '61', 0, true],
    ['max-age=60, s-maxage=10', null, 10, true],
    ['s-maxage=0, max-age=60', null, 0, false],
    ['MAX-AGE="60"', null, 60, true],
    ['max-age = 60', null, 60, true],
    ['max-age=60, max-age=9999', null, 60, true],
    ['no-store, max-age=60', null, 0, false],
    ['no-cache, max-age=60', null, 0, false],
    ['private, max-age=60', null, 0, false],
    ['public', null, 0, false],
    ['', null, 0, false],
    [null, null, 0, false],
    ['max-age=-5', null, 0, false],
    ['max-age=abc', null, 0, false],
    ['max-age=60', 'abc', 60, true],
    ['max-age=99999999999999999999', null, 2 ** 31, true],
  ])('%s, age %s: %i s, storable %s', (cacheControl, age, fresh, storable) => {
    expect([seconds(cacheControl, age), freshnessOf({ cacheControl, age }, at).storable]).toEqual([fresh, storable]);
  });
  it('knows immutable', () => {
    expect(freshnessOf({ cacheControl: 'public, max-age=9, immutable', age: null }, at).immutable).toBe(true);
    expect(freshnessOf({ cacheControl: 'no-store, immutable', age: null }, at).immutable).toBe(false);
  });
  it('never gives longer than max-age, whatever else is said', () => {
    fc.assert(fc.property(fc.nat(10_000), fc.string(), fc.nat(10_000), (max, junk, age) => seconds(`max-age=${max}, ${junk}`, String(age)) <= Math.max(0, max - age) || /s-maxage/i.test(junk)));
  });
});

describe('towards clients', () => {
  it.each<[string | null, string]>([
    ['public, max-age=31536000, immutable', 'private, max-age=31536000, immutable'],
    ['public, max-age=60, s-maxage=600', 'private, max-age=60'],
    ['private, max-age=1', 'private, max-age=1'],
    ['no-store', 'no-store'],
    [null, 'no-store'],
  ])('%s becomes %s', (given, passed) => {
    expect(forClients(given)).toBe(passed);
  });
});
