// SPDX-License-Identifier: Apache-2.0
/** The paper's Figure 5 as numbers, its headline claims, and the aligned book's window from information alone. */
import { describe, expect, it } from 'vitest';
import { adaptiveDetectionTime, alignedDetectionTime, alignedWindow, capacityOfLength, epochLength, lengthForUsers, usersForWindow, windowForLength } from './index.ts';

describe('adaptive', () => {
  // N, then L/k for m = 2..5.
  it.each([
    [1000n, ['13/24', '8/14', '7/12', '6/10']],
    [10_000n, ['17/32', '11/20', '8/14', '7/12']],
    [1_000_000n, ['24/46', '15/28', '12/22', '10/18']],
    [1_000_000_000n, ['34/66', '22/42', '17/32', '15/28']],
  ])('names %s users', (users, row) => {
    const got = [2, 3, 4, 5].map((m) => `${lengthForUsers(m, users)}/${windowForLength(lengthForUsers(m, users))}`);
    expect(got).toEqual(row);
  });
  it('counts cumulatively', () => {
    expect([13, 14, 15].map((l) => capacityOfLength(5, l))).toEqual([119_939_427n, 555_899_247n, 2_590_404_239n]);
    expect([16, 20, 33, 34].map((l) => capacityOfLength(2, l))).toEqual([8800n, 111_013n, 538_038_783n, 1_043_325_198n]);
    expect([21, 22].map((l) => capacityOfLength(3, l))).toEqual([766_918_996n, 2_193_322_744n]);
    expect([16, 17].map((l) => capacityOfLength(4, l))).toEqual([366_273_464n, 1_376_854_004n]);
  });
  it('finds a billion users with five variants within 300 s at every segment length up to 10 s', () => {
    expect([2, 4, 6, 8, 10].map((segmentSeconds) => adaptiveDetectionTime({ alphabet: 5, users: 10n ** 9n, segmentSeconds }))).toEqual([56, 112, 168, 224, 280]);
  });
  it('names at most 8800 users with two variants in 30 segments', () => {
    expect(usersForWindow(2, 30)).toBe(8800n);
    expect(adaptiveDetectionTime({ alphabet: 2, users: 10_000n, segmentSeconds: 10 })).toBe(320);
  });
  it('needs one segment even for words of length 1', () => {
    expect([1, 2, 3].map(windowForLength)).toEqual([1, 2, 4]);
    expect(usersForWindow(5, 1)).toBe(5n);
  });
  it('refuses populations without a sequence', () => {
    expect(() => lengthForUsers(2, 0n)).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(() => lengthForUsers(2, capacityOfLength(2, 64) + 1n)).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(lengthForUsers(2, capacityOfLength(2, 64))).toBe(64);
  });
});

describe('aligned', () => {
  it.each([[0, 0, 25.8], [0.01, 0, 26.9], [0.03, 0.05, 30.4], [0.05, 0.1, 34.3], [0.1, 0.1, 40.2]])('errors %s, erasures %s: %s segments', (symbolErrors, erasures, segments) => {
    expect(alignedWindow({ alphabet: 5, users: 1e9, eps: 1e-9, symbolErrors, erasures })).toBeCloseTo(segments, 1);
  });
  it('takes time per segment', () => {
    expect(alignedDetectionTime({ alphabet: 2, users: 1e9, eps: 1e-9, segmentSeconds: 2 })).toBeCloseTo(2 * 59.8, 0);
  });
  it('refuses a detector that knows nothing', () => {
    expect(() => alignedWindow({ alphabet: 5, users: 1e9, eps: 1e-9, symbolErrors: 0.8 })).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(() => alignedWindow({ alphabet: 5, users: 1e9, eps: 0 })).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(() => alignedDetectionTime({ alphabet: 5, users: 1e9, eps: 1e-9, segmentSeconds: 0 })).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });
  it('has digits for the population, a million codewords at least, and never more than 2^52', () => {
    expect([2, 3, 4, 5].map((m) => epochLength(m, 1e9))).toEqual([30, 19, 15, 13]);
    expect([2, 3, 4, 5].map((m) => epochLength(m, 1))).toEqual([20, 13, 10, 9]);
    expect(epochLength(5, 1e9, 1)).toBe(14);
    expect(5 ** epochLength(5, 1e15)).toBeLessThanOrEqual(2 ** 52);
  });
});
