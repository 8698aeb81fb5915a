// SPDX-License-Identifier: Apache-2.0
/** Strict timed events in Chromium: a release per frame, decoded by WebCodecs and drawn at 120 ms; without WebCodecs 150 ms, and it says so. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Stage, openStage, reach } from './harness.ts';
import type { Harness, Report } from './page.ts';

declare const harness: Harness;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
}, 90_000);
afterAll(() => stage?.close());

const play = (player: 'codecs' | 'decrypting', frames: number): Promise<Report> =>
  stage.onPage(undefined, async (page, errors) => {
    const asset = await stage.stack.timedEvent('cenc', 'strict');
    const entitlement = await stage.stack.entitlement(asset, player);
    await page.evaluate((options) => void harness.play(options), { player, asset, entitlement });
    const last = await reach(page, 60, (report) => report.frames > frames && (report.releases?.displays ?? 0) > 0);
    expect(errors).toEqual([]);
    expect(last).toMatchObject({ state: 'active', failure: undefined });
    return last;
  });

test('WebCodecs: δ 120 ms, frames are decoded and drawn one by one', async () => {
  const { releases } = await play('codecs', 100);
  expect(releases).toMatchObject({ delta: 120_000, fallback: false });
  expect(releases?.displays).toBeGreaterThan(20);
}, 120_000);

test('without WebCodecs: δ 150 ms, and the session says that it is the fallback', async () => {
  const { releases } = await play('decrypting', 60);
  expect(releases).toMatchObject({ delta: 150_000, fallback: true });
}, 120_000);
