// SPDX-License-Identifier: Apache-2.0
/** Downloads, offline play and usage in real Chromium, with the cable pulled: the page itself comes from its service worker. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launchChromium, pictureContrast } from './browser.ts';
import type { OfflineApp } from './offline-page.ts';
import { type OfflineSite, startOfflineSite } from './offline-site.ts';
import { type Bought, EPISODE_SECONDS, startSubscriptionStack, type SubscriptionStack } from './subscription-stack.ts';

declare const app: OfflineApp;

let stack: SubscriptionStack;
let site: OfflineSite;
let browser: Browser;
const bought: Bought = { account: 'browser-1', plans: [] };
beforeAll(async () => {
  stack = await startSubscriptionStack();
  bought.plans = [stack.plan()];
  await stack.titles(['episode-1', 'episode-2', 'episode-3', 'episode-4']);
  await stack.titles(['song-1', 'song-2', 'song-3'], { audioOnly: true });
  const playerScript = await readFile(resolve(import.meta.dirname, '../../node_modules/shaka-player/dist/shaka-player.compiled.js'), 'utf8');
  [site, browser] = await Promise.all([startOfflineSite({ platform: stack.url, playerScript, entitlement: () => stack.entitlement(bought) }), launchChromium()]);
}, 240_000);
afterAll(async () => {
  await browser?.close();
  await site?.close();
  await stack?.stop();
});

const openApp = async (context: BrowserContext): Promise<Page> => {
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error('page:', error.message));
  await page.goto(`${site.url}/offline/`);
  await ready(page);
  return page;
};
const ready = async (page: Page): Promise<void> => {
  await page.waitForFunction('globalThis.app !== undefined && navigator.serviceWorker.controller !== null', undefined, { timeout: 60_000 });
};
/** Waits for the picture to reach `seconds`. */
const played = async (page: Page, seconds: number): Promise<void> => {
  const deadline = performance.now() + 90_000;
  for (;;) {
    const now = await page.evaluate(() => app.report());
    if (now.at >= seconds || now.ended) return;
    if (now.failure !== undefined || performance.now() > deadline) throw new Error(`did not play to ${seconds} s: ${JSON.stringify(now)}`);
    await page.waitForTimeout(100);
  }
};
const pull = async (context: BrowserContext, isOut: boolean): Promise<void> => {
  site.cut(isOut);
  await context.setOffline(isOut);
};

describe('a page with the cable out', () => {
  test('B130 B131 B134 B137: one online, three pushed, the cable pulled, the page loaded again, two watched, plugged in: three counted', async () => {
    const context = await browser.newContext();
    const page = await openApp(context);
    expect(await page.evaluate(() => app.setUp())).toEqual({ ok: true, refused: [] });
    expect(await page.evaluate(() => app.online('episode-1'))).toBeUndefined();
    // While episode 1 plays the service pushes the next ones.
    expect(await page.evaluate(() => app.offline.pushed({ titles: ['episode-2', 'episode-3', 'episode-4'] }))).toHaveLength(3);
    await played(page, 4);
    await page.evaluate(() => app.offline.downloads.settled());
    await page.evaluate(() => app.stop());
    expect(await page.evaluate(() => app.offline.downloads.all.map(({ state }) => state))).toEqual(['complete', 'complete', 'complete']);
    await pull(context, true);
    site.asked.length = 0;
    await page.reload();
    await ready(page);
    for (const title of ['episode-2', 'episode-3']) {
      expect(await page.evaluate((name) => app.play(name), title)).toBeUndefined();
      await played(page, 4);
      expect(await pictureContrast(page)).toBeGreaterThan(10);
      await page.evaluate(() => app.stop());
    }
    expect(await page.evaluate(() => app.report().pending)).toBe(6);
    expect(site.asked).toEqual([]);
    expect(await page.evaluate(() => app.offline.usage.flush())).toBe(false);
    await pull(context, false);
    expect(await page.evaluate(() => app.offline.reconnected())).toMatchObject({ time: true, usage: true });
    expect(await stack.plays()).toEqual({ 'episode-1': 1, 'episode-2': 1, 'episode-3': 1 });
    await context.close();
  }, 240_000);

  test('B134: a stock player plays a download by EME, its entry key and all, with no connection', async () => {
    const context = await browser.newContext();
    const page = await openApp(context);
    await page.evaluate(() => app.setUp());
    expect(await page.evaluate(() => app.download(['episode-2']))).toEqual([{ title: 'episode-2', state: 'complete', trouble: undefined }]);
    await pull(context, true);
    await page.reload();
    await ready(page);
    expect(await page.evaluate(() => app.play('episode-2', 'shaka'))).toBeUndefined();
    await played(page, EPISODE_SECONDS - 2);
    expect(await pictureContrast(page)).toBeGreaterThan(10);
    await page.evaluate(() => app.stop());
    await pull(context, false);
    await context.close();
  }, 240_000);

  test('keys lie in the browser under its device key only, and cleared site data leave nothing that plays', async () => {
    const context = await browser.newContext();
    const page = await openApp(context);
    await page.evaluate(() => app.setUp());
    await page.evaluate(() => app.download(['episode-3']));
    // The browser evicts the files and keeps the records: the title shows as incomplete and is fetched again.
    await page.evaluate(() => caches.delete('sealcast-downloads'));
    await page.reload();
    await ready(page);
    expect(await page.evaluate(() => app.offline.downloads.check('episode-3' as never))).toBe(false);
    await page.evaluate(() => app.offline.downloads.settled());
    expect(await page.evaluate(() => app.offline.downloads.check('episode-3' as never))).toBe(true);
    const exported = await page.evaluate(async () => {
      const open = indexedDB.open('sealcast-device');
      const db = await new Promise<IDBDatabase>((done) => (open.onsuccess = () => done(open.result)));
      const request = db.transaction('keys').objectStore('keys').get('device');
      const pairs = await new Promise<{ agree: CryptoKeyPair }>((done) => (request.onsuccess = () => done(request.result as { agree: CryptoKeyPair })));
      return crypto.subtle.exportKey('jwk', pairs.agree.privateKey).then(
        () => 'exported',
        (error: Error) => error.name,
      );
    });
    expect(exported).toBe('InvalidAccessError');
    await context.close();
  }, 240_000);

  test('B112: three audio titles from one answer play on into each other: no request between them, no more than 10 ms of silence', async () => {
    const context = await browser.newContext();
    const page = await openApp(context);
    await page.evaluate(() => app.setUp());
    site.asked.length = 0;
    expect(await page.evaluate(() => app.offline.subscriptions.fetchLeaves({ titles: ['song-1', 'song-2', 'song-3'] as never[] }))).toEqual({ ok: true, missing: [] });
    expect(site.asked).toEqual(['POST /v1/leaves']);
    await page.evaluate(() => app.download(['song-1', 'song-2', 'song-3']));
    site.asked.length = 0;
    const music = await page.evaluate(() => app.gapless(['song-1', 'song-2', 'song-3']));
    expect(site.asked).toEqual([]);
    expect(music.heard).toEqual([0, 1, 2]);
    // One buffered stretch of the three titles, and sound in all of it.
    expect(music.ranges).toBe(1);
    expect(Math.abs(music.duration - 3 * EPISODE_SECONDS)).toBeLessThan(0.01);
    expect(music.seconds).toBeGreaterThan(3 * EPISODE_SECONDS - 0.03);
    expect(music.jump).toBeLessThanOrEqual(0.01);
    expect(music.longestSilence, JSON.stringify(music)).toBeLessThanOrEqual(0.01);
    await page.evaluate(() => app.offline.reconnected());
    expect(await stack.plays()).toMatchObject({ 'song-1': expect.any(Number), 'song-2': expect.any(Number), 'song-3': expect.any(Number) });
    await context.close();
  }, 240_000);

  test('B113: ten thousand leaves are found in less than 5 ms each, after a restart of the page too', async () => {
    const context = await browser.newContext();
    const page = await openApp(context);
    await page.evaluate(() => app.setUp());
    await page.evaluate(() => app.offline.subscriptions.fetchLeaves({ plan: 'family' }));
    const titles = Array.from({ length: 10_000 }, (_, index) => `track-${index}`);
    await page.evaluate(async (names) => {
      const leaf = app.offline.catalogue.text('song-1' as never) ?? '';
      await app.offline.catalogue.add(names.map((name) => leaf.replace('"title":"song-1"', `"title":"${name}"`)));
    }, titles);
    const p99 = (): Promise<number> => page.evaluate((names) => app.lookups(names, 0.99), titles);
    expect(await p99()).toBeLessThan(5);
    await page.reload();
    await ready(page);
    expect(await page.evaluate(() => app.offline.catalogue.size)).toBeGreaterThanOrEqual(10_000);
    expect(await p99()).toBeLessThan(5);
    await context.close();
  }, 240_000);
});
