// SPDX-License-Identifier: Apache-2.0
/** The prebuffer on the source's line (2-5, on average 4 Mb/s for a stream of 4 Mb/s) and on random ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Micros } from '#core/time.ts';
import { arrivals, type AwaitedSegment, cautiousForecast, leastWait, prebufferWait, type RateForecast } from './prebuffer.ts';

const SECOND = 1_000_000;
const MEGABIT = 1e6;
const SEGMENT_SECONDS = 4;

/** Segments of a stream, 4 s each. */
const stream = (seconds: number, rate: number, vary: (index: number) => number = () => 1): AwaitedSegment[] =>
  Array.from({ length: Math.ceil(seconds / SEGMENT_SECONDS) }, (_, index) => ({ at: (index * SEGMENT_SECONDS * SECOND) as Micros, bytes: Math.round((rate * SEGMENT_SECONDS * vary(index)) / 8) }));

/** Plays over a line, second by second of its own: seconds waited before the start, and seconds stood still afterwards. */
const playOver = (segments: readonly AwaitedSegment[], line: RateForecast, wait: number): number => {
  let late = 0;
  for (const [index, arrival] of arrivals(segments, line).entries()) late = Math.max(late, arrival - (wait + (segments[index] as AwaitedSegment).at));
  return late;
};
const generator = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
};
/** A line between `low` and `high` that wanders, with the mean wanted. */
const wandering = (seconds: number, low: number, high: number, mean: number, seed: number): number[] => {
  const random = generator(seed);
  let at = mean;
  const raw = Array.from({ length: seconds }, () => (at = Math.min(high, Math.max(low, at + (random() - 0.5) * 1.2))));
  // Pull the mean where it belongs without leaving the bounds.
  for (let round = 0; round < 50; round++) {
    const off = mean - raw.reduce((sum, rate) => sum + rate, 0) / seconds;
    for (let index = 0; index < seconds; index++) raw[index] = Math.min(high, Math.max(low, (raw[index] as number) + off));
  }
  return raw.map((rate) => rate * MEGABIT);
};

describe('prebuffer', () => {
  it('B133: on the source\'s line play never stands still, waits no more than a fifth longer than it had to, and five minutes suffice', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const rates = wandering(1800, 2, 5, 4, seed);
      expect(rates.reduce((sum, rate) => sum + rate, 0) / 1800 / MEGABIT).toBeCloseTo(4, 2);
      const line: RateForecast = { step: SECOND as Micros, rates };
      const segments = stream(1800, 4 * MEGABIT);
      const wait = prebufferWait(segments, line);
      expect(playOver(segments, line, wait)).toBe(0);
      expect(wait).toBeLessThanOrEqual(1.2 * leastWait(segments, line));
      expect(playOver(segments, line, leastWait(segments, line) - 0.01 * SECOND)).toBeGreaterThan(0);
      expect(wait).toBeLessThanOrEqual(300 * SECOND);
    }
    // The worst order of such a line over half an hour: its slow third first.
    const worst: RateForecast = { step: SECOND as Micros, rates: [...Array.from({ length: 600 }, () => 2 * MEGABIT), ...Array.from({ length: 1200 }, () => 5 * MEGABIT)] };
    const segments = stream(1800, 4 * MEGABIT);
    expect(playOver(segments, worst, prebufferWait(segments, worst))).toBe(0);
  });

  it('B133: on random lines and segments of any size it is enough, and no more than a fifth above the least', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.05, max: 20, noNaN: true }), { minLength: 1, maxLength: 400 }),
        fc.array(fc.double({ min: 0.2, max: 3, noNaN: true }), { minLength: 1, maxLength: 150 }),
        fc.double({ min: 0.2, max: 12, noNaN: true }),
        (rates, sizes, megabits) => {
          const line: RateForecast = { step: SECOND as Micros, rates: rates.map((rate) => rate * MEGABIT) };
          const segments = stream(sizes.length * SEGMENT_SECONDS, megabits * MEGABIT, (index) => sizes[index] ?? 1);
          const least = leastWait(segments, line);
          const wait = prebufferWait(segments, line);
          expect(playOver(segments, line, wait)).toBe(0);
          expect(wait).toBeLessThanOrEqual(1.2 * least + 1);
          // The least is the least: a moment earlier it stands still.
          if (least > 1000) expect(playOver(segments, line, least - 1000)).toBeGreaterThan(0);
        },
      ),
      { numRuns: 100 },
    );
  });

  it('says that it will never do where nothing comes any more', () => {
    expect(prebufferWait(stream(8, MEGABIT), { step: SECOND as Micros, rates: [0] })).toBe(Number.POSITIVE_INFINITY);
    expect(prebufferWait([], { step: SECOND as Micros, rates: [] })).toBe(0);
    expect(prebufferWait(stream(8, MEGABIT), cautiousForecast([], SECOND as Micros, SECOND as Micros))).toBe(Number.POSITIVE_INFINITY);
  });

  it('B133: a forecast from what was measured expects the slow part first, and then play on such a line never stands still', () => {
    const forecast = cautiousForecast([5e6, 2e6, 4e6], SECOND as Micros, (6 * SECOND) as Micros);
    expect(forecast.rates).toEqual([2e6, 2e6, 4e6, 4e6, 5e6, 5e6]);
    for (let seed = 1; seed <= 100; seed++) {
      const rates = wandering(1800, 2, 5, 4, seed);
      const segments = stream(1800, 4 * MEGABIT);
      const expected = cautiousForecast(rates, SECOND as Micros, (1800 * SECOND) as Micros);
      expect(playOver(segments, { step: SECOND as Micros, rates }, prebufferWait(segments, expected))).toBe(0);
    }
  });
});
