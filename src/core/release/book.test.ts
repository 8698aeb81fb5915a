// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { AssetId } from '../ids.ts';
import { releaseCommitment, releaseSecret } from '../keys/ladder.ts';
import type { CryptoPeriod, Micros } from '../time.ts';
import { createReleaseBook, type ReleaseBook } from './book.ts';
import type { ClockBound } from './clock-bound.ts';
import { releaseInstant } from './gate.ts';
import type { BlockSchedule, ReleaseInfo } from './schedule.ts';

const p = (value: number): CryptoPeriod => value as CryptoPeriod;
const us = (value: number): Micros => value as Micros;
const info: ReleaseInfo = { event: 'final' as AssetId, version: 1, mode: 'standard', firstRelease: us(4_850_000), period: us(100_000), delta: us(150_000), fallbackDelta: us(150_000), perBlock: 100 };
const key = new Uint8Array(32).fill(7);
const secretOf = (period: number): Uint8Array => releaseSecret(ladderHash, key, info.event, period);
const secrets = (from: number, count: number): Uint8Array => {
  const out = new Uint8Array(count * 16);
  for (let index = 0; index < count; index++) out.set(secretOf(from + index), index * 16);
  return out;
};
const scheduleOf = (block: number): BlockSchedule => {
  const commitments = new Uint8Array(3200);
  for (let index = 0; index < 100; index++) {
    const period = block * 100 + index;
    commitments.set(releaseCommitment(ladderHash, { eventId: info.event, version: 1, period, releaseAt: releaseInstant(info, p(period)) }, secretOf(period)), index * 32);
  }
  return { event: info.event, version: 1, mode: 'standard', firstRelease: info.firstRelease, period: info.period, delta: info.delta, block, from: p(block * 100), commitments };
};
const at = (instant: number): ClockBound => ({ earliest: us(instant), latest: us(instant), status: 'sync' });
const filled = (): ReleaseBook => {
  const book = createReleaseBook({ info, hash: ladderHash });
  book.addSchedule(scheduleOf(5), 'jws');
  book.addSecrets(p(500), secrets(500, 100));
  return book;
};

describe('release book', () => {
  test('a secret leaves at its instant and not before', () => {
    const book = filled();
    const due = releaseInstant(info, p(510));
    expect(book.open(p(510), at(due - 1))).toMatchObject({ release: false, because: 'too-early', waitFor: 1 });
    expect(book.open(p(510), at(due))).toEqual({ release: true, secret: secretOf(510) });
    expect(book.open(p(510), { ...at(due), status: 'fault' })).toMatchObject({ because: 'clock-unsure' });
  });
  test('a secret without a commitment waits for it; one that does not match is wiped', () => {
    const book = createReleaseBook({ info, hash: ladderHash });
    book.addSecrets(p(500), secrets(500, 2));
    book.addSecrets(p(502), secrets(700, 1));
    const due = at(releaseInstant(info, p(502)));
    expect(book.open(p(500), due)).toMatchObject({ because: 'commit-unverified' });
    expect(book.horizon(releaseInstant(info, p(499)))).toBe(0);
    expect(book.addSchedule(scheduleOf(5), 'jws')).toBe(true);
    expect(book.open(p(500), due).release).toBe(true);
    expect(book.open(p(502), due)).toMatchObject({ because: 'not-granted' });
    expect(book.addSecrets(p(502), secrets(700, 1))).toEqual({ held: 0, mismatched: 1 });
    expect(book.addSecrets(p(502), secrets(502, 1))).toEqual({ held: 1, mismatched: 0 });
    expect(book.open(p(502), due).release).toBe(true);
  });
  test('a schedule with other times, or with other commitments for a known block, is refused', () => {
    const book = filled();
    expect(book.addSchedule({ ...scheduleOf(6), firstRelease: us(4_850_001) }, 'x')).toBe(false);
    expect(book.addSchedule({ ...scheduleOf(6), version: 2 }, 'x')).toBe(false);
    expect(book.addSchedule({ ...scheduleOf(5), commitments: new Uint8Array(3200) }, 'x')).toBe(false);
    expect(book.schedules(p(510), 3)).toEqual(['jws']);
  });
  test('the horizon counts proven secrets without a gap', () => {
    const book = filled();
    expect(book.horizon(releaseInstant(info, p(549)))).toBe(51 * 100_000);
    expect(book.horizon(us(releaseInstant(info, p(549)) + 30_000))).toBe(51 * 100_000 - 30_000);
    expect(book.horizon(releaseInstant(info, p(600)))).toBe(0);
  });
  test('forgetting wipes what is old', () => {
    const book = filled();
    const opened = book.open(p(500), at(releaseInstant(info, p(500))));
    const secret = opened.release ? opened.secret : new Uint8Array();
    book.forget(releaseInstant(info, p(500)));
    expect(secret.every((byte) => byte === 0)).toBe(true);
    expect(book.holds(p(500))).toBe(false);
    expect(book.holds(p(501))).toBe(true);
    book.close();
    expect(book.holds(p(501))).toBe(false);
  });
});
