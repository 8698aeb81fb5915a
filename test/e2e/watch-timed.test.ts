// SPDX-License-Identifier: Apache-2.0
/** The watch page on a timed event, in two windows: both are in step, say so, and show the same frame at the same moment. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDashboard } from '#cli/dashboard-build.ts';
import { launchChromium } from '../interop/browser.ts';
import { type Shown, quantile, spreads } from '../interop/screens.ts';
import { type Stack, startStack } from '../interop/stack.ts';

let stack: Stack;
let browser: Browser;
beforeAll(async () => {
  await prepareDashboard(() => undefined);
  [stack, browser] = await Promise.all([startStack(), launchChromium()]);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await stack?.stop();
}, 60_000);

/** Notes every frame that is shown; the machine has one clock. */
const noteFrames = (page: Page): Promise<void> =>
  page.evaluate(() => {
    const video = document.querySelector('video') as HTMLVideoElement;
    const shown: [number, number][] = [];
    Object.assign(globalThis, { shown });
    const note = (_now: number, frame: VideoFrameCallbackMetadata): void => {
      shown.push([Math.round(frame.mediaTime * 1e6), Math.round((performance.timeOrigin + frame.expectedDisplayTime) * 1000)]);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  });
const framesOf = (page: Page): Promise<Shown> => page.evaluate(() => (globalThis as unknown as { shown: [number, number][] }).shown);

test('two windows agree on every frame, and the page says how well', async () => {
  const asset = await stack.timedEvent('cenc');
  const open = async (): Promise<Page> => {
    // A context of its own: another viewer, as in another browser.
    const page = await (await browser.newContext({ viewport: { width: 1280, height: 1000 } })).newPage();
    await page.goto(`${stack.url}/#asset=${asset}`);
    await page.getByRole('region', { name: 'Timed release' }).getByText('In step', { exact: true }).waitFor({ timeout: 120_000 });
    return page;
  };
  const pages = await Promise.all([open(), open()]);
  await pages[0]?.waitForTimeout(5000);
  await Promise.all(pages.map(noteFrames));
  await pages[0]?.waitForTimeout(8000);
  const shown = await Promise.all(pages.map(framesOf));
  const apart = spreads(shown);
  expect(apart.length).toBeGreaterThan(25);
  expect(quantile(apart, 0.5), `p50 ${quantile(apart, 0.5)}, p95 ${quantile(apart, 0.95)}`).toBeLessThan(1000);
  const card = pages[0]?.getByRole('region', { name: 'Timed release' });
  expect(await card?.textContent()).toMatch(/150 ms/);
  expect(await card?.textContent()).toMatch(/Edges connected/);
  const shot = process.env['SEALCAST_SCREENSHOT'];
  if (shot !== undefined) await pages[0]?.screenshot({ path: shot });
}, 240_000);
