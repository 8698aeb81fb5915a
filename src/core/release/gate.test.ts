// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256 } from '#crypto/hmac.ts';
import type { CryptoPeriod, Micros } from '../time.ts';
import type { ClockStatus } from './clock-bound.ts';
import { decodeRelease, decodeSyncAnswer, decodeSyncRequest, encodeRelease, encodeSyncAnswer, encodeSyncRequest } from './frame.ts';
import { MAX_ERROR, mayRelease, releaseInstant } from './gate.ts';
import { permutation } from './permutation.ts';
import { isSealcastError } from '../errors.ts';

const schedule = { firstRelease: 1_800_000_000_000_000 as Micros, period: 100_000 as Micros, version: 1 };

describe('gate', () => {
  test('never early, for any clock, period and state', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -10_000_000, max: 10_000_000 }), fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 0, max: 1000 }),
        fc.constantFrom<ClockStatus>('starting', 'sync', 'single-host', 'fault'), fc.boolean(), fc.boolean(),
        (shift, half, period, status, granted, committed) => {
          const middle = schedule.firstRelease + shift;
          const bound = { earliest: (middle - half) as Micros, latest: (middle + half) as Micros, status };
          const decision = mayRelease({ bound, schedule, period: period as CryptoPeriod, granted, committed });
          const right = (status === 'sync' || status === 'single-host') && half <= MAX_ERROR && granted && committed && bound.earliest >= releaseInstant(schedule, period as CryptoPeriod);
          expect(decision.release).toBe(right);
        },
      ),
      { seed: 1, numRuns: 5000 },
    );
  });
  test('too early says how long', () => {
    const bound = { earliest: (schedule.firstRelease + 50_000) as Micros, latest: (schedule.firstRelease + 50_200) as Micros, status: 'sync' as const };
    expect(mayRelease({ bound, schedule, period: 1 as CryptoPeriod, granted: true, committed: true })).toEqual({ release: false, because: 'too-early', waitFor: 50_000 });
  });
});

describe('permutation', () => {
  test('is a permutation, differs by seed, repeats for a seed, and every place is equally likely', () => {
    const seedOf = (n: number): Uint8Array => Uint8Array.from({ length: 16 }, (_, index) => (n * 37 + index * 101 + (n >> 3)) & 255);
    const first = permutation(seedOf(1), 1000);
    expect([...first].sort((a, b) => a - b)).toEqual(Array.from({ length: 1000 }, (_, index) => index));
    expect(permutation(seedOf(1), 1000)).toEqual(first);
    expect(permutation(seedOf(2), 1000)).not.toEqual(first);
    const counts = new Array(10).fill(0);
    const rounds = 20_000;
    for (let n = 0; n < rounds; n++) counts[permutation(sha256(Uint8Array.of(n & 255, n >> 8)).subarray(0, 16), 10)[0] as number]++;
    const chi = counts.reduce((sum, count) => sum + (count - rounds / 10) ** 2 / (rounds / 10), 0);
    expect(chi).toBeLessThan(33.7); // chi-square, 9 degrees of freedom, p = 1e-4
  });
  test('reuses memory', () => {
    const space = new Uint32Array(16);
    expect(permutation(new Uint8Array(16), 8, space).buffer).toBe(space.buffer);
  });
});

describe('frames', () => {
  test('release round trip, 48 bytes', () => {
    const frame = { flags: 2, alias: 7, period: 18_000_000_001 as CryptoPeriod, releaseAt: schedule.firstRelease, lateness: 12 as Micros, error: 900 as Micros, secret: Uint8Array.from({ length: 16 }, (_, index) => index) };
    const bytes = encodeRelease(frame);
    expect(bytes.length).toBe(48);
    expect(decodeRelease(bytes)).toEqual(frame);
  });
  test('sync round trips', () => {
    const request = { seq: 9, t1: 123_456_789n };
    expect(decodeSyncRequest(encodeSyncRequest(request))).toEqual(request);
    const answer = { seq: 9, t1: 5n, received: 10 as Micros, sent: 12 as Micros, error: 900 as Micros };
    expect(decodeSyncAnswer(encodeSyncAnswer(answer))).toEqual(answer);
  });
  test('anything else is bad-request', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        for (const decode of [decodeRelease, decodeSyncAnswer, decodeSyncRequest]) {
          try {
            decode(bytes);
          } catch (error) {
            expect(isSealcastError(error, 'bad-request')).toBe(true);
          }
        }
      }),
      { seed: 3, numRuns: 3000 },
    );
  });
});
