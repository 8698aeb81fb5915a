// SPDX-License-Identifier: Apache-2.0
/** The system clock and randomness: units, order, cancelling, delays longer than Node's timers. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Millis } from '#core/time.ts';
import { systemClock } from './clock.ts';
import { systemRandom } from './random.ts';

afterEach(() => vi.useRealTimers());

describe('system clock', () => {
  it('tells microseconds of Unix time', () => {
    vi.useFakeTimers({ now: 1_700_000_000_123 });
    expect(systemClock.now()).toBe(1_700_000_000_123_000);
  });

  it('runs once after the delay, unless cancelled', () => {
    vi.useFakeTimers();
    const ran: string[] = [];
    systemClock.after(10 as Millis, () => ran.push('a'));
    const cancel = systemClock.after(10 as Millis, () => ran.push('b'));
    cancel();
    vi.advanceTimersByTime(9);
    expect(ran).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(ran).toEqual(['a']);
    cancel();
  });

  it('waits longer than 2^31 ms, and can be cancelled on the way', () => {
    vi.useFakeTimers();
    const delay = 2 ** 31 + 5;
    const ran: string[] = [];
    systemClock.after(delay as Millis, () => ran.push('a'));
    const cancel = systemClock.after(delay as Millis, () => ran.push('b'));
    vi.advanceTimersByTime(2 ** 31);
    expect(ran).toEqual([]);
    cancel();
    vi.advanceTimersByTime(5);
    expect(ran).toEqual(['a']);
  });

  it('runs at once for delays that are over', () => {
    vi.useFakeTimers();
    let ran = 0;
    systemClock.after(-5 as Millis, () => (ran += 1));
    vi.advanceTimersByTime(1);
    expect(ran).toBe(1);
  });

  it('counts up monotonically', () => {
    const first = systemClock.monotonic();
    expect(systemClock.monotonic()).toBeGreaterThanOrEqual(first);
  });
});

describe('system randomness', () => {
  it('gives fresh bytes of the asked length', () => {
    expect(systemRandom.bytes(0)).toHaveLength(0);
    const [a, b] = [systemRandom.bytes(32), systemRandom.bytes(32)];
    expect(a).toHaveLength(32);
    expect(a).not.toEqual(b);
    expect(a.buffer).not.toBe(b.buffer);
  });
});
