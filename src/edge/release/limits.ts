// SPDX-License-Identifier: Apache-2.0
/**
 * How much one client or address may ask for: a bucket that refills steadily.
 *
 * docs/wire/release.md, limits of pulls and clock requests. Invariant: memory is bounded; forgetting an address only ever
 * gives it a full bucket back.
 */
import type { Millis } from '#core/time.ts';

/** A bucket of `burst` that gains `perSecond`. */
export type Bucket = { take(now: Millis, count?: number): boolean };

/** Full at first. */
export const createBucket = (perSecond: number, burst: number): Bucket => {
  let level = burst;
  let at: number | undefined;
  return {
    take(now, count = 1) {
      level = Math.min(burst, level + (Math.max(0, now - (at ?? now)) * perSecond) / 1000);
      at = now;
      if (level < count) return false;
      level -= count;
      return true;
    },
  };
};

/** A bucket per key, the least recently used forgotten beyond `most`. */
export const createBuckets = (perSecond: number, burst: number, most: number = 50_000): { take(key: string, now: Millis, count?: number): boolean } => {
  const buckets = new Map<string, Bucket>();
  return {
    take(key, now, count) {
      const bucket = buckets.get(key) ?? createBucket(perSecond, burst);
      buckets.delete(key);
      buckets.set(key, bucket);
      const [oldest] = buckets.keys();
      if (buckets.size > most && oldest !== undefined) buckets.delete(oldest);
      return bucket.take(now, count);
    },
  };
};
