// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { REPORT_STEPS } from '#core/release/delta-advice.ts';
import type { StatMessage } from '#core/release/messages.ts';
import type { CryptoPeriod, Millis } from '#core/time.ts';
import { createFigureBook } from './figures.ts';

const stat = (arrivals: number, step: number): StatMessage => ({
  type: 'stat', from: 0 as CryptoPeriod, to: 100 as CryptoPeriod, n: arrivals, late: 0, skipped: 0, pulled: 0,
  steps: Array.from({ length: REPORT_STEPS.length + 1 }, (_, i) => (i === step ? arrivals : 0)),
});

test('arrivals of the last hour add up, and speak for a δ; older ones are forgotten', () => {
  const book = createFigureBook();
  expect(book.figures(0 as Millis)).not.toHaveProperty('advice');
  for (let n = 0; n < 200; n++) book.stat(stat(100, 1), 0 as Millis);
  const { steps, advice } = book.figures(11_000 as Millis);
  expect(steps?.[1]).toBe(20_000);
  expect(advice).toMatchObject({ delta: 90_000, viewers: 198, trimmed: 2 });
  expect(book.figures(3_700_000 as Millis)).not.toHaveProperty('steps');
});
