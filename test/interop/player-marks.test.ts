// SPDX-License-Identifier: Apache-2.0
/**
 * A live event marked inside its bitstream in real Chromium: Shaka, hls.js and dash.js each play two viewers' copies, whose
 * segments have the same sizes and other bytes, all cut from one object of the origin.
 */
import { createHash } from 'node:crypto';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pictureContrast } from './browser.ts';
import { openStage, reach, type Stage } from './harness.ts';
import type { Harness } from './page.ts';

declare const harness: Harness;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
  await stage.stack.markedEvent('cenc');
}, 90_000);
afterAll(() => stage?.close());

type Fetched = Map<string, { readonly hash: string; readonly bytes: number; readonly caching: string }>;
/** What the page fetches of the marked video, whole segments and parts. */
const collect = (page: Page): Fetched => {
  const fetched: Fetched = new Map();
  page.on('response', (response) => {
    const name = /\/(v180\/\d+(?:\.\d+)?\.m4s)/.exec(response.url())?.[1];
    if (name === undefined || response.status() !== 200) return;
    const caching = response.headers()['cache-control'] ?? '';
    void response.body().then((body) => fetched.set(name, { hash: createHash('sha256').update(body).digest('hex'), bytes: body.length, caching })).catch(() => undefined);
  });
  return fetched;
};

describe.each(['shaka', 'hls', 'dash'] as const)('%s on an event marked inside the bitstream', (player) => {
  test('B200 B204 plays two viewers\' copies, which differ in bytes and not in size', async () => {
    const asset = await stage.stack.markedEvent('cenc');
    const [ann, ben] = await Promise.all(
      ['ann', 'ben'].map((account) =>
        stage.onPage(player, async (page, errors) => {
          const fetched = collect(page);
          expect(await page.evaluate((options) => harness.play(options), { player, asset, entitlement: await stage.stack.entitlement(asset, account) })).toBeUndefined();
          const first = await reach(page, 30, ({ frames }) => frames > 5);
          const last = await reach(page, 30, ({ frames }) => frames - first.frames > 100);
          expect(last).toMatchObject({ state: 'active', failure: undefined, mediaError: undefined });
          expect(await pictureContrast(page)).toBeGreaterThan(20);
          expect(errors).toEqual([]);
          await page.evaluate(() => harness.stop());
          return fetched;
        }),
      ),
    );
    const common = [...(ann as Fetched).keys()].filter((name) => (ben as Fetched).has(name));
    expect(common.length).toBeGreaterThanOrEqual(2);
    expect(common.filter((name) => ann?.get(name)?.hash !== ben?.get(name)?.hash).length).toBeGreaterThan(0);
    for (const name of common) {
      expect(ann?.get(name)?.bytes, name).toBe(ben?.get(name)?.bytes);
      expect(ann?.get(name)?.caching, name).toMatch(/^private,.*no-transform$/);
    }
  }, 300_000);
});
