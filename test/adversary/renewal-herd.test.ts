// SPDX-License-Identifier: Apache-2.0
/** Fault 14, the thundering herd: 100,000 clients whose licences end in the same second (`bench/licensing/herd.ts`). */
import { describe, expect, it } from 'vitest';
import { CLIENTS, peak, runHerd, SECOND } from '../../bench/licensing/herd.ts';

describe('fault 14: 100,000 licences that end in one second', () => {
  const film = 5400 * SECOND;

  it('B077 jitter spreads their renewals over a tenth of the interval at first, and further with every round', () => {
    const { asked, stalled, renewals } = runHerd({ level: 2, film, until: 1200 * SECOND });
    expect(stalled).toBe(0);
    expect(renewals).toBeGreaterThan(3);
    // First wave: 30 s instead of one.
    expect(peak(asked, 0, 301)).toBeLessThan((CLIENTS / 30) * 1.25);
    expect(peak(asked, 900)).toBeLessThan(peak(asked, 0, 301) * 0.7);
  });

  it.each([
    [1, 'B052'],
    [2, 'B056'],
  ] as const)('level %i, %s: servers that answer a third of the first wave stop nobody, and the wave is worked off', (level, _line) => {
    const { served, asked, stalled } = runHerd({ level, film, until: 560 * SECOND, perSecond: 1200 });
    expect(stalled).toBe(0);
    expect(peak(served)).toBe(1200);
    // Refused clients come back later and later, and not in step: the servers never see more than a fifth of the herd in a second.
    expect(peak(asked)).toBeLessThan(CLIENTS / 5);
    expect(served.reduce((sum, value) => sum + value, 0)).toBeGreaterThanOrEqual(CLIENTS);
  });

  it('level 2: an outage that ends a minute before half of the film, with 4,000 answers a second after it, stops nobody; level 1 has everything open', () => {
    const short = 800 * SECOND;
    const { stalled, asked } = runHerd({ level: 2, film: short, until: 480 * SECOND, perSecond: 4000, outage: [250 * SECOND, 340 * SECOND] });
    expect(stalled).toBe(0);
    // Backoff holds the herd down, however long the outage lasts: everybody asks at most every 5 s or so.
    expect(peak(asked, 320)).toBeLessThan(CLIENTS / 5);
    expect(runHerd({ level: 1, film: short, until: 480 * SECOND, perSecond: 400, outage: [250 * SECOND, 340 * SECOND], clients: 10_000 }).stalled).toBe(0);
  });

  it('the same outage at level 3 stops everybody: the simulation can tell', () => {
    expect(runHerd({ level: 3, film, until: 520 * SECOND, perSecond: 4000, outage: [100 * SECOND, 500 * SECOND], clients: 10_000 }).stalled).toBe(10_000);
  });
});
