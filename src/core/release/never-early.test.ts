// SPDX-License-Identifier: Apache-2.0
/**
 * B163: in a simulated world of edges whose clocks are stepped, paused, restarted, partitioned and lied to, no period ever
 * leaves an edge before its instant of true time: at least a million (edge, period) pairs.
 */
import { describe, expect, test } from 'vitest';
import type { CryptoPeriod, Micros, Millis } from '../time.ts';
import { boundAt, type ClockState, observe, startClock, tick } from './clock-bound.ts';
import { mayRelease, releaseInstant } from './gate.ts';

/** xorshift32: the same worlds every time. */
const generator = (seed: number): (() => number) => {
  let state = seed || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 4_294_967_296;
  };
};

const PERIOD = 100_000;
const EPOCH = 1_800_000_000_000_000;
const schedule = { firstRelease: EPOCH as Micros, period: PERIOD as Micros, version: 1 };

/** One edge for `periods` periods; answers how many were released, how many of them early, and the greatest lateness. */
const life = (seed: number, periods: number): { released: number; early: number; faults: number; latest: number } => {
  const random = generator(seed);
  // Truth runs in microseconds since the epoch of the event; the host's monotonic clock drifts, its system clock may be anything.
  const drift = (random() - 0.5) * 80e-6;
  let truth = EPOCH;
  let mono = random() * 1e7;
  let systemError = (random() - 0.5) * 20_000;
  let partitioned = false;
  let liar = random() < 0.2;
  let state: ClockState = startClock(mono as Millis, 0 as Micros);
  let highest = -1;
  let floor = 0;
  let [released, early, faults, latest] = [0, 0, 0, 0];
  const advance = (micros: number): void => {
    truth += micros;
    mono += (micros * (1 + drift)) / 1000;
  };
  const sample = (source: string): void => {
    const [up, down] = [200 + random() * 8000, 200 + random() * 8000];
    // The answer was stamped by a source that knows the time to 500 us, unless it lies.
    const lie = liar && source === 'peer-2' ? (random() - 0.5) * 7_200_000_000 : (random() - 0.5) * 900;
    const at = mono;
    const rtt = ((up + down) * (1 + drift)) / 1000;
    const offset = truth - down + lie - (at - rtt / 2) * 1000;
    state = observe(state, { source, at: at as Millis, offset, error: Math.ceil((rtt * 1000) / 2 + 500) as Micros });
  };
  let sinceSample = 0;
  while (highest < periods) {
    // 20 to 60 ms between looks.
    const step = 20_000 + random() * 40_000;
    advance(step);
    const before = state.status;
    state = tick(state, mono as Millis, (truth + systemError) as Micros);
    if (state.status === 'fault' && before !== 'fault') faults++;
    sinceSample += step;
    if (sinceSample > (state.status === 'sync' ? 2_000_000 : 100_000)) {
      sinceSample = 0;
      if (!partitioned) for (const source of ['ks-1', 'ks-2', 'peer-2']) sample(source);
    }
    const incident = random();
    if (incident < 0.0008) systemError += (random() < 0.5 ? -1 : 1) * 10 ** (4 + random() * 5.56); // a step of the system clock, 10 ms to 1 h
    else if (incident < 0.0012) advance(10 ** (5 + random() * 3)); // a pause of 0.1 to 100 s: everything stands still but the time
    else if (incident < 0.0014) {
      // Suspended: the monotonic clock stands still as well.
      truth += 10 ** (5 + random() * 3);
    } else if (incident < 0.0016) {
      // A restart: everything but the persisted floor is forgotten.
      state = startClock(mono as Millis, floor as Micros);
    } else if (incident < 0.002) partitioned = !partitioned;
    else if (incident < 0.0022) liar = !liar;
    if (partitioned && random() < 0.01) partitioned = false;
    // Whatever the gate lets go now, for every period that is not out yet, at most a second's worth at a time.
    for (let turn = 0; turn < 10; turn++) {
      const period = highest + 1;
      const decision = mayRelease({ bound: boundAt(state, mono as Millis), schedule, period: period as CryptoPeriod, granted: true, committed: true });
      if (!decision.release) {
        if (decision.because === 'too-early' && truth - releaseInstant(schedule, period as CryptoPeriod) > 60_000_000) highest = Math.floor((truth - EPOCH) / PERIOD) - 20;
        break;
      }
      const at = releaseInstant(schedule, period as CryptoPeriod);
      if (truth < at) early++;
      latest = Math.max(latest, truth - at);
      released++;
      highest = period;
      floor = Math.max(floor, at);
    }
    // After an outage the loop goes on with what is recent, as an edge does.
    const due = Math.floor((truth - EPOCH) / PERIOD);
    if (due - highest > 50) highest = due - 10;
  }
  return { released, early, faults, latest };
};

describe('never early', () => {
  test('B163: 0 early releases in a million (edge, period) pairs with steps of 10 ms to 1 h, pauses, suspends, restarts, partitions and lying peers', () => {
    let [released, early, faults] = [0, 0, 0];
    for (let edge = 1; released < 1_000_000; edge++) {
      const outcome = life(edge * 2_654_435_761, 20_000);
      released += outcome.released;
      early += outcome.early;
      faults += outcome.faults;
    }
    expect(early).toBe(0);
    expect(released).toBeGreaterThanOrEqual(1_000_000);
    // The incidents really happened.
    expect(faults).toBeGreaterThan(500);
  }, 300_000);

  test('the same world with a clock that believes its system time does release early: the test can fail', () => {
    const random = generator(7);
    let early = 0;
    for (let period = 0; period < 20_000; period++) {
      const error = random() < 0.001 ? 10_000 + random() * 1e6 : (random() - 0.5) * 1000;
      const truth = EPOCH + period * PERIOD - random() * 5000;
      const decision = mayRelease({ bound: { earliest: (truth + error) as Micros, latest: (truth + error) as Micros, status: 'sync' }, schedule, period: period as CryptoPeriod, granted: true, committed: true });
      if (decision.release && truth < releaseInstant(schedule, period as CryptoPeriod)) early++;
    }
    expect(early).toBeGreaterThan(0);
  });
});
