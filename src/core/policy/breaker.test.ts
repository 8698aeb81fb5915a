// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Micros } from '../time.ts';
import { type Breaker, BREAKER_DEFAULTS as P, closedBreaker, mayCall, outcome, probing } from './breaker.ts';
import { calm, loadFactor, observeLoad, type Overload, OVERLOAD_DEFAULTS as O, shedsInitialRequests } from './overload.ts';

const s = (seconds: number): Micros => (1_800_000_000_000_000 + seconds * 1_000_000) as Micros;
const run = (from: Breaker, outcomes: readonly [number, boolean][]): Breaker => outcomes.reduce((breaker, [seconds, ok]) => outcome(breaker, P, s(seconds), ok), from);

describe('breaker', () => {
  test('B099 opens at 5 failures in a row and says since when and why', () => {
    const four = run(closedBreaker, [[0, false], [1, false], [2, false], [3, false]]);
    expect(four.mode).toBe('closed');
    expect(outcome(four, P, s(4), false, 'timeout')).toMatchObject({ mode: 'open', since: s(4), cause: 'timeout' });
    expect(outcome(four, P, s(4), true).mode).toBe('closed');
  });
  test('opens at more than half failed within 10 s, but not on a few calls', () => {
    const flapping = Array.from({ length: 30 }, (_, n): [number, boolean] => [n * 0.3, n % 3 === 0]);
    expect(run(closedBreaker, flapping).mode).toBe('open');
    expect(run(closedBreaker, flapping.slice(0, 12)).mode).toBe('closed');
    const spread = Array.from({ length: 30 }, (_, n): [number, boolean] => [n * 2, n % 3 === 0]);
    expect(run(closedBreaker, spread).mode).toBe('closed');
  });
  test('while open one probe per 5 s; three good probes close it; a bad one starts over', () => {
    let breaker = run(closedBreaker, [[0, false], [0, false], [0, false], [0, false], [0, false]]);
    expect(mayCall(breaker, P, s(4))).toBe(false);
    expect(mayCall(breaker, P, s(5))).toBe(true);
    breaker = probing(breaker, s(5));
    expect(mayCall(breaker, P, s(6))).toBe(false);
    breaker = outcome(outcome(breaker, P, s(5), true), P, s(10), true);
    breaker = outcome(breaker, P, s(15), false);
    expect(run(breaker, [[20, true], [25, true]]).mode).toBe('open');
    expect(run(breaker, [[20, true], [25, true], [30, true]])).toEqual(closedBreaker);
  });
  test('its memory is bounded', () => {
    fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 100 }), fc.boolean()), { maxLength: 200 }), (steps) => {
      let now = 0;
      let breaker: Breaker = closedBreaker;
      for (const [gap, ok] of steps) {
        now += gap / 10;
        breaker = outcome(breaker, P, s(now), ok);
        if (breaker.mode === 'closed') expect(breaker.slots.length).toBeLessThanOrEqual(10);
      }
    }), { seed: 5 });
  });
});

describe('overload', () => {
  const hot = { lagMillis: 200, cpuShare: 0.5 };
  const cool = { lagMillis: 1, cpuShare: 0.2 };
  test('B071 grows step by step under sustained load and returns with hysteresis', () => {
    let load: Overload = calm(s(0));
    const factors: number[] = [];
    for (let second = 0; second <= 45; second++) {
      load = observeLoad(load, O, hot, s(second));
      factors.push(loadFactor(load, O));
    }
    expect([factors[5], factors[10], factors[20], factors[30], factors[45]]).toEqual([1, 1.5, 2, 4, 4]);
    expect(shedsInitialRequests(load)).toBe(true);
    const down: number[] = [];
    for (let second = 46; second <= 240; second++) {
      load = observeLoad(load, O, cool, s(second));
      down.push(loadFactor(load, O));
    }
    expect([down[10], down[16], down[31], down[46]]).toEqual([4, 2, 1.5, 1]);
    expect(shedsInitialRequests(load)).toBe(false);
  });
  test('B071 all is as before within a minute of the end, whatever the step', () => {
    let load: Overload = { step: O.factors.length - 1, hot: true, since: s(0) };
    let second = 0;
    while (loadFactor(load, O) > 1) load = observeLoad(load, O, cool, s(++second));
    expect(second).toBeLessThanOrEqual(60);
  });
  test('B071 beside other work it counts only where licensing makes a good part of it', () => {
    let load: Overload = calm(s(0));
    for (let second = 0; second <= 45; second++) load = observeLoad(load, O, { ...hot, licensingShare: 0.05 }, s(second));
    expect([loadFactor(load, O), shedsInitialRequests(load)]).toEqual([1, false]);
    for (let second = 46; second <= 91; second++) load = observeLoad(load, O, { ...hot, licensingShare: 0.4 }, s(second));
    expect([loadFactor(load, O), shedsInitialRequests(load)]).toEqual([4, true]);
  });
  test('a spike changes nothing', () => {
    let load: Overload = calm(s(0));
    for (let second = 0; second < 120; second++) load = observeLoad(load, O, second % 5 === 0 ? hot : cool, s(second));
    expect(loadFactor(load, O)).toBe(1);
  });
});
