// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Micros, Millis } from '../time.ts';
import { boundAt, type ClockSample, type ClockState, intersect, observe, startClock, tick, trustHost } from './clock-bound.ts';

const ms = (value: number): Millis => value as Millis;
const us = (value: number): Micros => value as Micros;

/** A host whose monotonic clock runs `ppm` fast, and the truth beside it. */
const world = (ppm: number, epoch = 1_800_000_000_000_000) => {
  const truthAt = (mono: number): number => epoch + mono * 1000 * (1 - ppm / 1_000_000);
  const honest = (source: string, mono: number, delayUp: number, delayDown: number): ClockSample => {
    // The source stamps at mono - delayDown; the client assumes the middle of the round trip.
    const rtt = delayUp + delayDown;
    return { source, at: ms(mono), offset: truthAt(mono - delayDown) - (mono - rtt / 2) * 1000, error: us(Math.ceil((rtt / 2) * 1000) + 1) };
  };
  return { truthAt, honest };
};

const synced = (): { state: ClockState; mono: number; world: ReturnType<typeof world> } => {
  const here = world(0);
  let state = startClock(ms(0), us(0));
  let mono = 0;
  for (let round = 0; round < 12; round++) {
    mono += 100;
    state = observe(tick(state, ms(mono), us(here.truthAt(mono))), here.honest(round % 2 === 0 ? 'ks-1' : 'ks-2', mono, 1, 1));
  }
  return { state, mono, world: here };
};

describe('intersect', () => {
  test('Marzullo: the classic example', () => {
    expect(intersect([{ low: 8, high: 12 }, { low: 11, high: 13 }, { low: 10, high: 12 }], 3)).toEqual({ low: 11, high: 12 });
    expect(intersect([{ low: 8, high: 12 }, { low: 11, high: 13 }, { low: 14, high: 15 }], 2)).toEqual({ low: 11, high: 12 });
    expect(intersect([{ low: 1, high: 2 }, { low: 3, high: 4 }], 2)).toBeUndefined();
  });
  test('a tie keeps both candidates, so the truth is inside', () => {
    expect(intersect([{ low: 0, high: 10 }, { low: 8, high: 20 }, { low: 18, high: 30 }], 2)).toEqual({ low: 8, high: 20 });
  });
});

describe('clock bound', () => {
  test('starts untrusted and needs 8 samples over a second from 2 sources', () => {
    const here = world(0);
    let state = startClock(ms(0), us(0));
    for (let n = 1; n <= 20; n++) state = observe(state, here.honest('only', n * 100, 1, 1));
    expect(state.status).toBe('starting');
    expect(synced().state.status).toBe('sync');
  });

  test('the truth is inside the interval with drift, asymmetric delays and a lying minority', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -40, max: 40 }),
        fc.array(fc.record({ source: fc.integer({ min: 0, max: 2 }), gap: fc.integer({ min: 20, max: 3000 }), up: fc.double({ min: 0.1, max: 40, noNaN: true }), down: fc.double({ min: 0.1, max: 40, noNaN: true }), lie: fc.integer({ min: -50_000, max: 3_600_000_000 }) }), { minLength: 5, maxLength: 80 }),
        (ppm, steps) => {
          const here = world(ppm);
          let state = startClock(ms(0), us(0));
          let mono = 0;
          for (const step of steps) {
            mono += step.gap;
            const sample = here.honest(`s${step.source}`, mono, step.up, step.down);
            state = observe(state, step.source === 2 ? { ...sample, offset: sample.offset + step.lie } : sample);
            // Two honest sources must have been heard before a majority of honest ones can be claimed.
            const heard = new Set(state.samples.map((each) => each.source));
            if (state.status === 'fault' || !(heard.has('s0') && heard.has('s1'))) continue;
            for (const later of [0, 500, 5000]) {
              const bound = boundAt(state, ms(mono + later));
              expect(bound.earliest).toBeLessThanOrEqual(here.truthAt(mono + later));
              expect(bound.latest).toBeGreaterThanOrEqual(here.truthAt(mono + later));
            }
          }
        },
      ),
      { seed: 7, numRuns: 300 },
    );
  });

  test.each([3_600_000_000, -3_600_000_000, 10_000, -10_000])('a system clock stepped by %d µs does not move the bound and is a fault', (step) => {
    const { state, mono, world: here } = synced();
    const before = boundAt(state, ms(mono + 50));
    const after = tick(state, ms(mono + 50), us(here.truthAt(mono + 50) + step));
    expect(boundAt(after, ms(mono + 50)).earliest).toBe(before.earliest);
    expect(after.status).toBe('fault');
    expect(after.cause).toContain('stepped');
  });

  test('a first look that was far off is forgotten when closer ones come: the bound is that of the best samples', () => {
    const here = world(0);
    let state = startClock(ms(0), us(0));
    // The first answers took half a second one way; later ones take a millisecond.
    for (let n = 1; n <= 4; n++) state = observe(state, here.honest(n % 2 === 0 ? 'a' : 'b', n * 600, 1, 500));
    for (let n = 1; n <= 12; n++) state = observe(state, here.honest(n % 2 === 0 ? 'a' : 'b', 2400 + n * 100, 1, 1));
    expect(state.status).toBe('sync');
    const bound = boundAt(state, ms(3700));
    expect(bound.latest - bound.earliest).toBeLessThan(6000);
    expect(bound.earliest).toBeLessThanOrEqual(here.truthAt(3700));
    expect(bound.latest).toBeGreaterThanOrEqual(here.truthAt(3700));
    // A slow answer afterwards changes nothing.
    const after = observe(state, here.honest('a', 3800, 400, 1));
    expect(boundAt(after, ms(3800)).latest - boundAt(after, ms(3800)).earliest).toBeLessThan(6000);
  });

  test('a gap between ticks is a suspend; trust comes back after 8 agreeing samples', () => {
    const { state, mono, world: here } = synced();
    let now = mono + 5_000;
    let woken = tick(state, ms(now), us(here.truthAt(now)));
    expect(woken.status).toBe('fault');
    for (let n = 0; n < 13; n++) {
      if (n < 8) expect(woken.status).toBe('fault');
      now += 100;
      woken = observe(tick(woken, ms(now), us(here.truthAt(now))), here.honest(n % 2 === 0 ? 'ks-1' : 'ks-2', now, 1, 1));
    }
    expect(woken.status).toBe('sync');
  });

  test('time before the persisted floor is a fault', () => {
    const here = world(0);
    let state = startClock(ms(0), us(here.truthAt(0) + 3_600_000_000));
    for (let n = 1; n <= 20; n++) state = observe(state, here.honest(n % 2 === 0 ? 'a' : 'b', n * 100, 1, 1));
    expect(state.status).toBe('fault');
  });

  test('samples that bound nothing are ignored', () => {
    const { state, mono } = synced();
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -1]) expect(observe(state, { source: 'x', at: ms(mono), offset: 0, error: us(bad) })).toBe(state);
  });

  test('single-host mode trusts the host clock, until it steps', () => {
    const state = trustHost(startClock(ms(0), us(0)), ms(10), us(1_000_000));
    expect(boundAt(state, ms(20))).toEqual({ earliest: 1_010_000, latest: 1_010_000, status: 'single-host' });
    expect(tick(state, ms(60), us(9_000_000)).status).toBe('fault');
  });
});
