// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { REPORT_STEPS } from '#core/release/delta-advice.ts';
import { MAX_CLIENT_MESSAGE, type StatMessage, encodeClientMessage, parseClientMessage } from '#core/release/messages.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { type Arrival, type Way, createStatistics, createTally } from './statistics.ts';

const arrival = (period: number, after: number, extra: { way?: Way; bytesAt?: number } = {}): Arrival => ({
  period: period as CryptoPeriod, way: extra.way ?? 'push', at: (500_000 + after * 1000) as Micros, error: 5 as Micros, releaseAt: 500_000 as Micros, shownAt: 598_500 as Micros,
  ...(extra.bytesAt === undefined ? {} : { bytesAt: extra.bytesAt as Micros }),
});

describe('tally', () => {
  test('quantiles are those of the sorted values, to the millisecond', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1999 }), { minLength: 1, maxLength: 300 }), fc.constantFrom(0.01, 0.5, 0.95, 0.99, 1), (values, share) => {
        const tally = createTally();
        for (const value of values) tally.add(value);
        expect(tally.quantile(share)).toBe(values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(share * values.length)) - 1]);
        expect(tally.steps().reduce((sum, count) => sum + count, 0)).toBe(values.length);
      }),
      { seed: 3 },
    );
  });
  test('takes anything for a value', () => {
    const tally = createTally();
    for (const value of [-5, Number.NaN, Number.POSITIVE_INFINITY, 1e9]) tally.add(value);
    expect(tally.count).toBe(4);
    expect(tally.steps()).toHaveLength(REPORT_STEPS.length + 1);
    expect(Number.isNaN(createTally().quantile(0.5))).toBe(true);
  });
});

describe('statistics', () => {
  test('counts arrivals, lateness, bytes held, displays and skips, and reports them once', () => {
    const kept = createStatistics();
    expect(kept.report()).toBeUndefined();
    for (let n = 1; n <= 100; n++) kept.arrived(arrival(n, n, { bytesAt: n <= 90 ? 400_000 : 600_000 }));
    kept.arrived(arrival(3, 9000, { way: 'block' }));
    for (const error of [-4, 4, 40]) kept.displayed(error as Millis);
    kept.skipped(2);
    kept.segment(7, 12 as Micros);
    expect(kept.read()).toMatchObject({ periods: 100, arrivalP50: 50, arrivalP99: 99, displayP50: 4, displayP95: 40, displays: 3, late: 2, skipped: 2, held: 0.9, ways: { push: 100, second: 0, pull: 0, block: 1 } });
    const report = kept.report();
    expect(report).toMatchObject({
      from: 1, to: 100, n: 100, late: 2, skipped: 2, pulled: 0, arrival: { p50: 50_000, high: 99_000 }, display: { p50: 4000, high: 40_000 }, held: 0.9,
      receipts: [{ period: 100, earliest: 599_995, latest: 600_005 }], segments: [{ segment: 7, at: 12 }],
    });
    const wire = encodeClientMessage(report as StatMessage);
    expect(wire.length).toBeLessThan(MAX_CLIENT_MESSAGE);
    expect(parseClientMessage(wire)).toEqual(report);
    expect(kept.report()).toBeUndefined();
    expect(kept.read().periods).toBe(100);
  });
  test('a secret that never came counts as late', () => {
    const kept = createStatistics();
    kept.missed(5 as CryptoPeriod);
    expect(kept.read()).toMatchObject({ late: 1, periods: 1 });
    expect(kept.report()).toMatchObject({ from: 5, to: 5, late: 1 });
  });
});
