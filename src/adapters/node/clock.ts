// SPDX-License-Identifier: Apache-2.0
/**
 * The process's clock: wall time, monotonic time and timers of Node.
 *
 * Wall time follows the steps that NTP makes; `monotonic` never steps, so durations are measured with it.
 * Invariant: a cancelled timer never runs, and delays beyond Node's 2^31 - 1 ms limit are chained instead of firing at once.
 */
import { performance } from 'node:perf_hooks';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';

const LONGEST_TIMER_MILLIS = 2_147_483_647;

/** Wall time in microseconds (millisecond resolution), a monotonic counter and one-shot timers. Timers keep the process alive. */
export const systemClock: Clock = {
  now: () => (Date.now() * 1000) as Micros,
  monotonic: () => performance.now() as Millis,
  after(delay, run) {
    let timer: ReturnType<typeof setTimeout>;
    const arm = (left: number): void => {
      const step = Math.min(Math.max(left, 0), LONGEST_TIMER_MILLIS);
      timer = setTimeout(() => (left > step ? arm(left - step) : run()), step);
    };
    arm(delay);
    return () => clearTimeout(timer);
  },
};
