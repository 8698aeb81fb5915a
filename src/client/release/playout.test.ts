// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Micros, Millis } from '#core/time.ts';
import { MAX_RATE_CHANGE, type PlayoutState, SEEK_BEYOND, TOLERANCE, mediaTimeAt, rateFor, releaseAt, seekLanded, shownAt, startPlayout, steer } from './playout.ts';

const ms = (value: number): Millis => value as Millis;
const plan = { firstRelease: 3_850_000 as Micros, period: 100_000 as Micros, delta: 150_000 as Micros };

describe('presentation plan', () => {
  test('no frame is wanted before its release instant, and every one exactly δ + its place in the period after it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 51 }), (mediaTime) => {
        const period = Math.floor(mediaTime / plan.period);
        const released = releaseAt(plan, period);
        const shown = shownAt(plan, mediaTime as Micros);
        expect(shown - released).toBe(plan.delta + (mediaTime - period * plan.period));
        expect(mediaTimeAt(plan, shown)).toBe(mediaTime);
      }),
      { seed: 5 },
    );
  });
});

describe('control law', () => {
  test.each([[0, 1], [8, 1], [-8, 1], [20, 0.98], [-20, 1.02], [50, 0.95], [149, 0.95], [-149, 1.05]])('%d ms off: rate %d', (error, rate) => {
    expect(steer(startPlayout(), ms(error), ms(0), false).steering).toEqual({ act: 'rate', rate });
  });

  test('beyond 150 ms it seeks, to where the picture will be due when it lands', () => {
    const { state, steering } = steer(startPlayout(), ms(-151), ms(1000), false);
    expect(steering).toMatchObject({ act: 'seek' });
    expect(steer(state, ms(-151), ms(1010), false).steering).toEqual({ act: 'wait' });
    const landed = seekLanded(state, ms(1300));
    expect(landed.seekTakes).toBeGreaterThan(state.seekTakes);
  });

  test('a picture that landed ahead waits for its instant; in ordinary playback it never stands', () => {
    const { state } = steer(startPlayout(), ms(-400), ms(1000), false);
    const landed = seekLanded(state, ms(1050));
    const held = steer(landed, ms(60), ms(1060), false);
    expect(held.steering).toEqual({ act: 'hold', wait: 60 });
    expect(steer(held.state, ms(60), ms(1100), false).steering).toEqual({ act: 'rate', rate: 0.95 });
  });

  test('skips, does not play late: after standing for want of a key what is behind jumps', () => {
    expect(steer(startPlayout(), ms(-101), ms(0), true).steering.act).toBe('seek');
    expect(steer(startPlayout(), ms(-101), ms(0), false).steering).toEqual({ act: 'rate', rate: 1.05 });
    expect(steer(startPlayout(), ms(-99), ms(0), true).steering).toEqual({ act: 'rate', rate: 1.05 });
    expect(steer(startPlayout(), ms(140), ms(0), true).steering.act).toBe('rate');
  });

  test('a decoder that lands behind however often it is asked is brought up by speed, not by more seeks', () => {
    let { state } = steer(startPlayout(), ms(-5000), ms(0), false);
    state = seekLanded(state, ms(500));
    let turn = steer(state, ms(-400), ms(1500), false);
    expect(turn.steering.act).toBe('seek');
    turn = steer(seekLanded(turn.state, ms(2000)), ms(-390), ms(2300), false);
    expect(turn.steering).toEqual({ act: 'rate', rate: 1.05 });
    for (let now = 2340; now < 9000; now += 40) {
      turn = steer(turn.state, ms(-390), ms(now), false);
      expect(turn.steering).toEqual({ act: 'rate', rate: 1.05 });
    }
    // Far worse than where it landed: a seek is worth it again.
    expect(steer(turn.state, ms(-700), ms(9040), false).steering.act).toBe('seek');
  });

  test('rates stay within 5 % and always point towards the instant', () => {
    fc.assert(
      fc.property(fc.double({ min: -SEEK_BEYOND, max: SEEK_BEYOND, noNaN: true }), (error) => {
        const rate = rateFor(ms(error));
        expect(Math.abs(rate - 1)).toBeLessThanOrEqual(MAX_RATE_CHANGE + 1e-9);
        if (Math.abs(error) > TOLERANCE) expect(Math.sign(1 - rate)).toBe(Math.sign(error));
        else expect(rate).toBe(1);
      }),
      { seed: 6 },
    );
  });
});

/** A player whose seeks take a while and land on a frame boundary, whose pictures come 25 times a second with noise. */
const play = (options: { readonly start: number; readonly seekTakes: (n: number) => number; readonly noise: (n: number) => number; readonly drift: number; readonly seconds: number }): { readonly errors: readonly number[]; readonly seeks: number } => {
  let state: PlayoutState = startPlayout();
  let position = options.start;
  let rate = 1;
  let landing: { at: number; to: number } | undefined;
  let holdUntil = Number.NEGATIVE_INFINITY;
  let seeks = 0;
  const errors: number[] = [];
  for (let now = 0, n = 0; now < options.seconds * 1000; now += 40, n++) {
    if (landing !== undefined) {
      if (now < landing.at) continue;
      position = landing.to + (now - landing.at);
      landing = undefined;
      state = seekLanded(state, ms(now));
      rate = 1;
    } else if (now >= holdUntil) position += 40 * rate * (1 + options.drift);
    if (now < holdUntil) continue;
    const error = position + options.noise(n) - now;
    if (now > 6000) errors.push(Math.abs(position - now));
    const turn = steer(state, ms(error), ms(now), false);
    state = turn.state;
    if (turn.steering.act === 'rate') rate = turn.steering.rate;
    else if (turn.steering.act === 'hold') holdUntil = now + turn.steering.wait;
    else if (turn.steering.act === 'seek') {
      seeks += 1;
      const takes = options.seekTakes(seeks);
      landing = { at: now + takes, to: Math.floor((now + turn.steering.ahead) / 40) * 40 };
    }
  }
  return { errors, seeks };
};

test('B165: wherever a player starts, it is within 60 ms of its instant after 6 s and stays there, with few seeks', () => {
  fc.assert(
    fc.property(fc.integer({ min: -20_000, max: 20_000 }), fc.array(fc.integer({ min: 10, max: 400 }), { minLength: 6, maxLength: 6 }), fc.array(fc.integer({ min: -6, max: 6 }), { minLength: 50, maxLength: 50 }), fc.double({ min: -0.0002, max: 0.0002, noNaN: true }), (start, takes, noise, drift) => {
      const { errors, seeks } = play({ start, seekTakes: (n) => takes[n % takes.length] as number, noise: (n) => noise[n % noise.length] as number, drift, seconds: 30 });
      expect(errors.toSorted((a, b) => a - b)[Math.floor(errors.length * 0.95)]).toBeLessThan(60);
      expect(seeks).toBeLessThanOrEqual(4);
    }),
    { seed: 8, numRuns: 300 },
  );
});

test('seeks that never help are given a rest instead of a storm', () => {
  let state = startPlayout();
  let seeks = 0;
  for (let now = 0; now < 60_000; now += 40) {
    const turn = steer(state, ms(-5000), ms(now), false);
    state = turn.state;
    if (turn.steering.act === 'seek') {
      seeks += 1;
      state = seekLanded(state, ms(now + 20));
    }
  }
  expect(seeks).toBeLessThan(40);
  expect(seeks).toBeGreaterThan(4);
});
