// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTracking } from './chrony.ts';
import { createPreciseTime } from './precise-time.ts';

const line = (change: Readonly<Record<number, string>> = {}): string => {
  // Reference id, name, stratum, reference time, system offset, last offset, RMS, frequency, residual, skew, root delay, root dispersion, interval, leap.
  const fields = ['C0A80001', '192.168.0.1', '3', '1700000000.1', '-0.000250', '0.000010', '0.000020', '-12.3', '0.0', '0.1', '0.012700', '0.001100', '64.1', 'Normal'];
  for (const [at, value] of Object.entries(change)) fields[Number(at)] = value;
  return `${fields.join(',')}\n`;
};

describe('chronyc -c tracking', () => {
  test('the bound is |offset| + root dispersion + root delay / 2', () => {
    expect(parseTracking(line())).toBe(250 + 1100 + 6350);
  });
  test.each([['not synchronised', { 13: 'Not synchronised' }], ['stratum 16', { 2: '16' }], ['no number', { 4: 'x' }], ['an hour', { 11: '3600' }]] as const)('%s gives none', (_name, change) => {
    expect(parseTracking(line(change))).toBeUndefined();
  });
  test('any text is a bound or none', () => {
    fc.assert(fc.property(fc.string(), (text) => [undefined, 'number'].includes(parseTracking(text) === undefined ? undefined : 'number')), { seed: 1 });
    expect(parseTracking('')).toBeUndefined();
  });
});

describe('the host\'s clocks', () => {
  test('waiting never ends before its instant', () => {
    const time = createPreciseTime();
    for (const millis of [0, 0.05, 0.4, 1, 2.5, 5]) {
      const until = (time.monotonic() + millis) as never;
      time.waitUntil(until);
      expect(time.monotonic()).toBeGreaterThanOrEqual(until);
    }
    time.waitUntil(0 as never);
  });
  test('both clocks are read together, to microseconds', () => {
    const { at, utc, within } = createPreciseTime().system();
    expect(within).toBeGreaterThanOrEqual(0);
    expect(at).toBeGreaterThan(0);
    expect(Math.abs(utc / 1000 - Date.now())).toBeLessThan(10_000);
  });
});
