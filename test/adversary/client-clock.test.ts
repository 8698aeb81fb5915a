// SPDX-License-Identifier: Apache-2.0
/**
 * Fault 7: devices whose clocks are stepped or drift. Server time decides: nobody honest misses a frame, nobody gains one.
 *
 * Facts 4.9, fault 7; the parts about stored licences (B156-B158) belong to offline playback.
 */
import { describe, expect, it } from 'vitest';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock } from '#ports';
import { LIVE, SCHEDULE, SECOND } from './license-world.ts';
import { createRenewalWorld, dead, NODES, sealMedia } from './renewal-world.ts';

const DAY = 24 * 3600;
type DeviceClock = Clock & { step: number };
/** A device's clock on the world's: `rate` times as fast, wall time `step` µs off. */
const deviceClock = (clock: Clock, rate = 1): DeviceClock => {
  const began = clock.monotonic();
  const passed = (): number => (clock.monotonic() - began) * rate;
  const start = clock.now();
  const own: DeviceClock = {
    step: 0,
    now: () => Math.round(start + passed() * 1000 + own.step) as Micros,
    monotonic: () => passed() as Millis,
    after: (delay, run) => clock.after((delay / rate) as Millis, run),
  };
  return own;
};

const CASES: readonly (readonly [string, number, number])[] = [
  ['set back a day', 1, -DAY],
  ['set forward a month', 1, 30 * DAY],
  ['10 % fast', 1.1, 0],
  ['10 % slow', 0.9, 0],
];

describe('fault 7: a device whose clock is', () => {
  it.each(CASES)('%s: plays on without missing a frame, is counted once, and gains nothing once renewals stop', async (_name, rate, step) => {
    const stage = await createRenewalWorld();
    const { clock } = stage.world;
    const own = deviceClock(clock, rate);
    const session = await stage.watch(LIVE, { clock: own });
    const plays = await sealMedia(stage.world, LIVE);
    const missed: number[] = [];
    const each = async (): Promise<void> => {
      const now = clock.now();
      // The player follows the media, not the clock.
      session.playhead(now);
      if (!(await plays(session, Math.floor(now / SCHEDULE.period)))) missed.push(now);
    };
    await stage.pass(30, each, 1);
    own.step = step * SECOND;
    await stage.pass(300, each, 1);
    expect([missed, session.state, await stage.count()]).toEqual([[], 'active', 1]);
    expect(Math.abs(session.now() - clock.now())).toBeLessThan(5 * SECOND);

    // Stepping again does not stretch what is open: one term (60 s) and one group (6 s) after the last renewal all is dark.
    for (const host of NODES) stage.hosts.set(host, dead);
    stage.hosts.set('license.example', dead);
    own.step = -step * SECOND;
    let last = clock.now();
    const cut = clock.now();
    await stage.pass(150, async () => {
      session.playhead(clock.now());
      if (await plays(session, Math.floor(clock.now() / SCHEDULE.period))) last = clock.now();
    }, 1);
    expect((last - cut) / SECOND).toBeLessThanOrEqual(66);
    expect((last - cut) / SECOND).toBeGreaterThan(20);
  }, 30_000);
});
