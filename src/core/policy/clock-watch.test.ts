// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Micros, Millis } from '../time.ts';
import { type ClockWatch, type ClockWatchPolicy, observeClock, observePeers, startClockWatch } from './clock-watch.ts';

const START = 1_800_000_000_000_000;
const POLICY: ClockWatchPolicy = { tolerance: 1_000_000 as Micros, skew: 5_000_000 as Micros, acceptAfter: 60_000 as Millis };
/** Looks once a second; `off` is how far wall time is ahead of what monotonic time says, µs. */
const look = (watch: ClockWatch, second: number, off: number, policy = POLICY): ClockWatch => observeClock(watch, policy, (START + second * 1_000_000 + off) as Micros, (second * 1000) as Millis);
const start = startClockWatch(START as Micros, 0 as Millis);

test.each([3600, -3600, 10, -10].map((seconds) => [seconds]))('fault 6: a step by %d s is distrusted at once, trusted again when it is undone', (seconds) => {
  const stepped = look(start, 1, seconds * 1e6);
  expect(stepped.suspect).toMatchObject({ cause: 'step', since: 1000 });
  expect(look(stepped, 30, seconds * 1e6).suspect).toBeDefined();
  expect(look(look(stepped, 30, seconds * 1e6), 31, 0).suspect).toBeUndefined();
});

test('fault 6: a step that stays is believed after the time allowed, counted anew from every further step; never, if so told', () => {
  let watch = look(start, 1, 5e6);
  watch = look(watch, 50, 5e6);
  watch = look(watch, 51, 9e6);
  expect(look(watch, 110, 9e6).suspect).toBeDefined();
  expect(look(watch, 111, 9e6).suspect).toBeUndefined();
  expect(look(watch, 1e6, 9e6, { ...POLICY, acceptAfter: Number.POSITIVE_INFINITY as Millis }).suspect).toBeDefined();
});

test('slewing at the rate that time daemons use is no step, however far it goes', () => {
  let watch = start;
  for (let second = 1; second <= 20_000; second++) watch = look(watch, second, second * 500);
  expect(watch.suspect).toBeUndefined();
});

test('fault 6: peers settle it: their median confirms a step, undoes trust in a clock that was wrong from the start, and one liar decides nothing', () => {
  const at = (watch: ClockWatch, second: number, off: number, ahead: readonly number[], asked = 3): ClockWatch => observePeers(watch, POLICY, (START + second * 1e6 + off) as Micros, (second * 1000) as Millis, ahead, asked);
  const stepped = look(start, 1, 3600e6);
  expect(at(stepped, 2, 3600e6, [3600e6, 3600e6, 0]).suspect).toBeDefined();
  expect(look(at(stepped, 2, 3600e6, [100, -200, 50_000]), 3, 3600e6).suspect).toBeUndefined();
  const wrong = at(start, 2, 0, [-10e6, -10.1e6, 4]);
  expect(wrong.suspect).toMatchObject({ cause: 'peers' });
  expect(look(wrong, 200, 0).suspect).toBeDefined();
  expect(at(wrong, 201, 0, [0, 0, 0]).suspect).toBeUndefined();
  expect(at(start, 2, 0, [9e6, 0, 0]).suspect).toBeUndefined();
  expect(at(start, 2, 0, [9e6]).suspect).toBeUndefined();
  expect(at(start, 2, 0, []).suspect).toBeUndefined();
});

test('B159: peers that are more than 5 s away take a clock out of rotation, less do not; nor do they settle a step', () => {
  const at = (watch: ClockWatch, ahead: number): ClockWatch => observePeers(watch, POLICY, (START + 2e6) as Micros, 2000 as Millis, [ahead, ahead, ahead], 3);
  expect(at(start, 4.9e6).suspect).toBeUndefined();
  expect(at(start, -5.1e6).suspect).toMatchObject({ cause: 'peers' });
  expect(at(look(start, 1, 3e6), 3e6).suspect).toBeDefined();
});

test('whatever the steps, a clock that is off by more than the tolerance is never trusted before its time', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: -20_000_000, max: 20_000_000 })), { maxLength: 40 }), (looks) => {
      let [watch, second, trustedOff, changedAt, lastOff] = [start, 0, 0, 0, 0];
      for (const [wait, off] of looks) {
        second += wait;
        watch = look(watch, second, off);
        if (Math.abs(off - lastOff) > 1) [changedAt, lastOff] = [second, off];
        if (watch.suspect !== undefined) continue;
        // The slew that is followed meanwhile is at most 500 ppm of the time that passed.
        const near = Math.abs(off - trustedOff) <= 1_000_000 + second * 500;
        expect(near || second - changedAt >= 60 || wait >= 60).toBe(true);
        if (!near) trustedOff = off;
      }
    }),
    { seed: 5, numRuns: 500 },
  );
});
