// SPDX-License-Identifier: Apache-2.0
/** How the picture ends in real Chromium: renewals cut off, session denied, no keys at all, insecure page. Judged by frames. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pictureContrast } from './browser.ts';
import { type Stage, openStage, reach, report } from './harness.ts';
import { accountId } from '#core/ids.ts';
import type { Harness } from './page.ts';
import { GROUP_SECONDS, TERMS } from './stack.ts';

declare const harness: Harness;

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
  await stage.stack.event('cenc');
}, 90_000);
afterAll(() => stage?.close());

const PLAYERS = ['shaka', 'hls', 'dash'] as const;

test.concurrent.each(PLAYERS)('%s without renewals stops within the published bound, says why, and comes back with the service', async (player) => {
  const asset = await stage.stack.event('cenc');
  await stage.onPage(player, async (page) => {
    expect(await page.evaluate((options) => harness.play(options), { player, asset, entitlement: await stage.stack.entitlement(asset) })).toBeUndefined();
    await reach(page, 20, ({ frames, renewals }) => frames > 5 && renewals > 0);
    let cut = true;
    await page.route(/\/v1\/(renew|licenses)$/, (route) => (cut ? route.abort() : route.continue()));
    const before = await report(page);
    const stopped = await reach(page, TERMS.durationSeconds + GROUP_SECONDS + 8, ({ state, now, lastFrameAt }) => state === 'expired' && now - lastFrameAt > 1000);
    // The last renewal was before the cut, so its live edge was at most the time then.
    const bound = (before.sessionNow ?? 0) + (TERMS.durationSeconds + GROUP_SECONDS) * 1e6;
    expect(stopped.frameTime).toBeGreaterThan(before.frameTime ?? 0);
    expect(stopped.frameTime).toBeLessThanOrEqual(bound);
    // hls.js knows the programme date of its timeline to within a frame.
    expect(stopped.frameTime).toBeLessThanOrEqual((stopped.openedTo ?? 0) + 40_000);
    expect(stopped.notices.at(-1)).toMatch(/connection to the service was lost/);
    expect(stopped.mediaError).toBeUndefined();
    cut = false;
    await reach(page, 14, ({ frames, state }) => state === 'active' && frames > stopped.frames + 10);
    expect((await report(page)).notices.at(-1)).toBeUndefined();
    await page.evaluate(() => harness.stop());
  });
}, 240_000);

test('a session that the operator ends loses its picture at the next renewal and names the reason', async () => {
  const asset = await stage.stack.event('cenc');
  await stage.onPage('shaka', async (page) => {
    await page.evaluate((options) => harness.play(options), { player: 'shaka' as const, asset, entitlement: await stage.stack.entitlement(asset, 'viewer-2') });
    await reach(page, 20, ({ frames, renewals }) => frames > 5 && renewals > 0);
    expect(await stage.stack.platform.actions?.endAccount(accountId('viewer-2'))).toBe(1);
    const ended = await reach(page, TERMS.intervalSeconds + 2, ({ state }) => state === 'ended');
    expect(ended.end?.code).toBe('operator');
    expect(ended.notices.at(-1)).toBe('This viewing session was ended by the service.');
    await page.waitForTimeout(400);
    const after = await report(page);
    expect(after.keyCount).toBe(0);
    await page.waitForTimeout(1000);
    expect((await report(page)).lastFrameAt).toBe(after.lastFrameAt);
  });
});

test.concurrent.each(PLAYERS)('%s with a good media token but no session of ours shows nothing', async (player) => {
  const asset = await stage.stack.event('cenc');
  const watching = await stage.stack.session(asset);
  await stage.onPage(player, async (page) => {
    let entryKeys = 0;
    let segments = 0;
    page.on('response', (response) => {
      if (response.url().includes('/v1/clearkey') && response.ok()) entryKeys += 1;
      if (response.url().endsWith('.m4s') && response.ok()) segments += 1;
    });
    await page.evaluate((options) => harness.playWithoutKeys(options), { player, asset, token: watching.mediaToken, kind: 'event' as const });
    await expect.poll(() => entryKeys > 0 && segments > 2, { timeout: 15_000 }).toBe(true);
    await page.waitForTimeout(2500);
    expect(await report(page)).toMatchObject({ frames: 0, keyCount: 0 });
    expect(await pictureContrast(page)).toBeLessThan(1);
  });
  await watching.stop();
}, 240_000);

test('a device keeps its identity over a reload, in keys that no script can export', async () => {
  await stage.onPage(undefined, async (page) => {
    const first = await page.evaluate(() => harness.deviceId());
    await page.reload();
    await page.addScriptTag({ url: `${stage.stack.url}/interop/harness.js`, type: 'module' });
    await page.waitForFunction('globalThis.harness !== undefined');
    expect(await page.evaluate(() => harness.deviceId())).toBe(first);
    expect(await page.evaluate(() => harness.support())).toEqual({ ok: true });
  });
});

test('a page opened over http from elsewhere says which address to use instead', async () => {
  const { page } = await stage.browser.open('http://tv.example:8080');
  const support = await page.evaluate(() => harness.support());
  expect(support).toMatchObject({ ok: false, reason: 'insecure-context', address: 'https://tv.example:8080/interop/' });
  await page.close();
});
