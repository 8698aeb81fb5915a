// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { createBucket, createBuckets } from './limits.ts';
import { sampleOf } from './clock-task.ts';
import type { Millis } from '#core/time.ts';

const UTC = 1_800_000_000_000_000;
/** An answer of a source that knows the time to ±500 µs, `up` ms after t1. */
const answer = (t1: number, up: number, more: Record<string, unknown> = {}): Record<string, unknown> => {
  const t2 = UTC + (t1 + up) * 1000;
  return { t2, t3: t2 + 100, earliest: t2 + 100 - 500, latest: t2 + 100 + 500, status: 'sync', host: 'host-2', ...more };
};

describe('one exchange with a time source', () => {
  test('the middle of the exchange, give or take half of it and what the source says of itself; the truth is inside', () => {
    for (const [up, down] of [[1, 1], [0.2, 8], [30, 2]] as const) {
      const sample = sampleOf('keys-1', 1000, 1000 + up + down + 0.1, answer(1000, up), 'host-1');
      expect(sample?.source).toBe('keys-1');
      expect(Math.abs((sample?.offset ?? 0) - UTC)).toBeLessThanOrEqual(sample?.error ?? 0);
      expect(sample?.error).toBeLessThanOrEqual(((up + down) * 1000) / 2 + 502);
    }
  });
  test.each([
    ['it does not know the time', { status: 'fault' }], ['it has just started', { status: 'starting' }], ['it is this host, under another name', { host: 'host-1' }],
    ['it answered before it was asked', { t3: UTC }], ['no stamp', { t2: undefined }], ['text for a number', { t3: '1' }],
  ] as const)('no sample if %s', (_name, more) => {
    expect(sampleOf('keys-1', 1000, 1002, answer(1000, 1, more), 'host-1')).toBeUndefined();
  });
  test('a source that states no bound is taken at its word only to its own stamps', () => {
    expect(sampleOf('keys-1', 1000, 1002, answer(1000, 1, { status: 'host', earliest: undefined, latest: undefined }), 'host-1')?.error).toBe(950);
  });
});

describe('limits', () => {
  const at = (millis: number): Millis => millis as Millis;
  test('a bucket gives its burst at once, then its rate', () => {
    const bucket = createBucket(10, 5);
    expect(Array.from({ length: 7 }, () => bucket.take(at(0)))).toEqual([true, true, true, true, true, false, false]);
    expect(bucket.take(at(100))).toBe(true);
    expect(bucket.take(at(100))).toBe(false);
    expect(bucket.take(at(10_000), 5)).toBe(true);
    expect(bucket.take(at(5_000))).toBe(false);
  });
  test('addresses are apart, and forgetting one fills its bucket', () => {
    const buckets = createBuckets(1, 1, 2);
    expect([buckets.take('a', at(0)), buckets.take('a', at(0)), buckets.take('b', at(0))]).toEqual([true, false, true]);
    buckets.take('c', at(0));
    expect(buckets.take('a', at(0))).toBe(true);
  });
});
