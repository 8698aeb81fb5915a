// SPDX-License-Identifier: Apache-2.0
/** Shaka, hls.js and dash.js in real Chromium on the real platform: events and titles, both schemes, keys rotating in band. Pairs of pages at once. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pictureContrast } from './browser.ts';
import { type Stage, openStage, reach } from './harness.ts';
import type { Harness } from './page.ts';
import { TERMS } from './stack.ts';

declare const harness: Harness;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
  await Promise.all(SCHEMES.flatMap((scheme) => [stage.stack.event(scheme), stage.stack.title(scheme)]));
}, 90_000);
afterAll(() => stage?.close());

const PLAYERS = ['shaka', 'hls', 'dash'] as const;
const SCHEMES = ['cenc', 'cbcs'] as const;
/** Long enough for four key periods after the first frame. */
const WATCH_SECONDS = 4 * TERMS.periodSeconds + 0.5;
/** Of those decoded; how many of them a busy machine draws in time is another matter. */
const ENOUGH_FRAMES = WATCH_SECONDS * 25 * 0.6;
const DRAWN_FRAMES = 10;
const decoded = (seen: { readonly frames: number; readonly dropped: number }): number => seen.frames + seen.dropped;

describe.each(SCHEMES.flatMap((scheme) => PLAYERS.map((player) => [player, scheme] as const)))('%s, %s', (player, scheme) => {
  test.concurrent('plays the event over at least four key periods', async () => {
    const asset = await stage.stack.event(scheme);
    await stage.onPage(player, async (page, errors) => {
      expect(await page.evaluate((options) => harness.play(options), { player, asset, entitlement: await stage.stack.entitlement(asset) })).toBeUndefined();
      const first = await reach(page, 20, ({ frames }) => frames > 5);
      const last = await reach(page, WATCH_SECONDS + 8, ({ mediaTime }) => (mediaTime ?? 0) - (first.mediaTime ?? 0) > WATCH_SECONDS * 1e6);
      expect(decoded(last) - decoded(first)).toBeGreaterThan(ENOUGH_FRAMES);
      expect(last.frames - first.frames).toBeGreaterThan(DRAWN_FRAMES);
      expect(last).toMatchObject({ state: 'active', end: undefined, failure: undefined, mediaError: undefined });
      expect(last.notices.filter((text) => text !== undefined)).toEqual([]);
      expect(Math.abs((last.sessionNow ?? 0) - (last.mediaTime ?? 0))).toBeLessThan(8e6);
      expect(await pictureContrast(page)).toBeGreaterThan(20);
      expect(errors).toEqual([]);
      await page.evaluate(() => harness.stop());
    });
  }, 240_000);

  test.concurrent("plays the title from a place of the viewer's choice", async () => {
    const asset = await stage.stack.title(scheme);
    await stage.onPage(player, async (page, errors) => {
      expect(await page.evaluate((options) => harness.play(options), { player, asset, entitlement: await stage.stack.entitlement(asset), startAt: 3_000_000 })).toBeUndefined();
      const first = await reach(page, 20, ({ frames, currentTime }) => frames > 5 && currentTime >= 3);
      const last = await reach(page, 12, ({ currentTime }) => currentTime - first.currentTime > WATCH_SECONDS);
      expect(decoded(last) - decoded(first)).toBeGreaterThan(ENOUGH_FRAMES);
      expect(last.frames - first.frames).toBeGreaterThan(DRAWN_FRAMES);
      expect(last).toMatchObject({ state: 'active', failure: undefined, mediaError: undefined });
      expect(await pictureContrast(page)).toBeGreaterThan(20);
      expect(errors).toEqual([]);
      await page.evaluate(() => harness.stop());
    });
  }, 240_000);
});
