// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LEAD, REPORT_STEPS, adviseDelta } from './delta-advice.ts';

const reportOf = (arrivals: readonly number[]): number[] => {
  const steps = new Array<number>(REPORT_STEPS.length + 1).fill(0);
  for (const value of arrivals) {
    const step = REPORT_STEPS.findIndex((end) => value <= end);
    const at = step === -1 ? REPORT_STEPS.length : step;
    steps[at] = (steps[at] as number) + 1;
  }
  return steps;
};
const viewer = (...arrivals: number[]): number[][] => [reportOf(Array.from({ length: 100 }, (_, i) => arrivals[i % arrivals.length] as number))];

describe('delta advice', () => {
  test('is max(q95 + lead, q99 + 20), within 80-200 ms', () => {
    const fast = Array.from({ length: 200 }, () => viewer(8));
    expect(adviseDelta(fast, LEAD.standard)?.delta).toBe(90_000);
    expect(adviseDelta(fast, LEAD.strict)?.delta).toBe(80_000);
    expect(adviseDelta(Array.from({ length: 200 }, () => viewer(300)), LEAD.standard)?.delta).toBe(200_000);
    expect(adviseDelta([], LEAD.standard)).toBeUndefined();
    expect(adviseDelta([[reportOf([5, 5])]], LEAD.standard)).toBeUndefined();
  });

  test('liars below 1 % of the viewers move nothing, however loud', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 50 }), (liars, loudness) => {
        const honest = Array.from({ length: 1000 - liars }, (_, i) => viewer(10 + (i % 30)));
        const without = adviseDelta(honest, LEAD.standard);
        const lies = Array.from({ length: liars }, () => Array.from({ length: loudness }, () => reportOf(Array.from({ length: 100 }, () => 60_000))));
        const advice = adviseDelta([...honest, ...lies], LEAD.standard);
        expect(Math.abs((advice?.delta ?? 0) - (without?.delta ?? 0))).toBeLessThanOrEqual(1000);
        expect(advice?.trimmed).toBe(10);
      }),
      { seed: 4, numRuns: 20 },
    );
  });
});
