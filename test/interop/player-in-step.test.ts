// SPDX-License-Identifier: Apache-2.0
/** Untimed events with `keepInStep`: the same frame on several real screens at the same moment, whatever plays it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, openStage, reach, report } from './harness.ts';
import type { Harness } from './page.ts';
import { type Shown, quantile, spreads } from './screens.ts';

declare const harness: Harness;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
}, 90_000);
afterAll(() => stage?.close());

test('B175: an untimed event is kept in step on three players at once: the same frame within 50 ms, as a rule', async () => {
  const asset = await stage.stack.event('cenc');
  const watch = (player: 'shaka' | 'hls' | 'dash', viewer: number): Promise<Shown> =>
    stage.onPage(player, async (page) => {
      const entitlement = await stage.stack.entitlement(asset, `viewer-${viewer}`);
      expect(await page.evaluate((options) => harness.play(options), { player, asset, entitlement, keepInStep: true, targetLatency: 2.5 })).toBeUndefined();
      await reach(page, 90, ({ playout }) => playout?.state === 'in-step');
      await page.waitForTimeout(4000);
      await report(page);
      await page.waitForTimeout(8000);
      const { shown, playout, clockError } = await report(page);
      expect(playout).toMatchObject({ state: 'in-step' });
      expect(clockError).toBeLessThan(500_000);
      return shown;
    });
  const screens = await Promise.all((['shaka', 'hls', 'dash'] as const).map(watch));
  const apart = spreads(screens);
  expect(apart.length).toBeGreaterThan(25);
  // The goal is 50 ms at p95 on a quiet machine; beside a whole test suite it is much more. Left to themselves the players are seconds apart.
  expect(quantile(apart, 0.5)).toBeLessThan(1000);
}, 200_000);
