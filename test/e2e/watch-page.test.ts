// SPDX-License-Identifier: Apache-2.0
/**
 * The watch page against the whole demo in real Chromium: each stock player shows moving pictures, and blocking renewals
 * stops the picture within the published bound and says why.
 *
 * The demo is started as a user starts it; everything is read from the page, as a viewer would.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from '../interop/browser.ts';

const root = resolve(import.meta.dirname, '../..');
/** A term and a group of the demo, and time for this machine to be slow. */
const BOUND_SECONDS = 20 + 6;
const SLACK_SECONDS = 30;
/** For the first picture: the encoder of a busy machine starts late; ms. */
const PATIENCE = 90_000;

let demo: ChildProcess;
let data: string;
let url: string;
let browser: Browser;

const startDemo = async (): Promise<string> => {
  let log = '';
  demo = spawn(process.execPath, [join(root, 'src/cli/main.ts'), 'demo', '--viewers', '0', '--port', '0', '--data', data], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  return new Promise((done, failed) => {
    const read = (chunk: Buffer): void => {
      log += chunk.toString();
      const address = /watch page\s+(http\S+)/.exec(log)?.[1];
      if (address !== undefined) done(address);
    };
    demo.stdout?.on('data', read);
    demo.stderr?.on('data', read);
    demo.once('exit', (code) => failed(new Error(`the demo ended with ${code}:\n${log.slice(-2000)}`)));
  });
};

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'sealcast-watch-'));
  url = await startDemo();
  browser = await launchChromium();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  if (demo?.exitCode === null) {
    const ended = new Promise((done) => demo.once('exit', done));
    demo.kill('SIGTERM');
    await ended;
  }
  await rm(data, { recursive: true, force: true });
}, 60_000);

const framesOf = (page: Page): Promise<number> => page.locator('video').evaluate((video: HTMLVideoElement) => video.getVideoPlaybackQuality().totalVideoFrames);
/** What the page shows, in one line, for the message of a failure. */
const lookOf = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const video = document.querySelector('video');
    const chosen = [...document.querySelectorAll('[aria-pressed=true]')].map((button) => button.textContent).join(', ');
    return `${chosen}: ${document.querySelector('.stage')?.className}, ${document.querySelector('.stage .message')?.textContent ?? 'no message'}, readyState ${video?.readyState}, at ${video?.currentTime}`;
  });
/** Waits until `count` more frames have been shown. */
const moreFrames = async (page: Page, count: number): Promise<void> => {
  const before = await framesOf(page);
  const until = Date.now() + PATIENCE;
  while ((await framesOf(page)) <= before + count) {
    if (Date.now() > until) throw new Error(`no ${count} frames after ${before} in ${PATIENCE} ms; ${await lookOf(page)}`);
    await page.waitForTimeout(250);
  }
};
const openPage = async (): Promise<{ page: Page; faults: string[] }> => {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) faults.push(message.text());
  });
  await page.goto(url);
  return { page, faults };
};

describe('watch page', () => {
  it('shows moving pictures in each stock player, with live figures', async () => {
    const { page, faults } = await openPage();
    for (const player of ['Shaka', 'hls.js', 'dash.js']) {
      await page.getByRole('button', { name: player, exact: true }).click();
      // The element counts from 0 with each player.
      if (player !== 'Shaka') await page.locator('.stage.starting').waitFor();
      await page.locator('.stage.watching').waitFor({ timeout: PATIENCE });
      await moreFrames(page, 25);
      await expect.poll(() => page.getByText(/s behind the camera/).textContent()).toMatch(/^\d+\.\d\d s/);
      expect(await page.getByRole('img', { name: /seconds unlocked ahead of the playhead/ }).count()).toBe(1);
    }
    expect(faults).toEqual([]);
    await page.close();
  }, 360_000);

  it('stops within the bound when renewals are blocked, says why, and goes on when they are not', async () => {
    const { page, faults } = await openPage();
    await page.locator('.stage.watching').waitFor({ timeout: PATIENCE });
    await moreFrames(page, 25);
    const blockedAt = Date.now();
    await page.getByRole('switch', { name: /Block renewals/ }).check({ force: true });
    await page.getByText('The picture stopped: its keys are used up').waitFor({ timeout: (BOUND_SECONDS + SLACK_SECONDS) * 1000 });
    const unlockedSeconds = (Date.now() - blockedAt) / 1000;
    expect(unlockedSeconds).toBeLessThan(BOUND_SECONDS + SLACK_SECONDS);
    expect(await page.getByText(/No renewal reached the server/).count()).toBe(1);
    // The last opened frames may still be on their way to the screen when the sentence is there.
    await page.waitForTimeout(1000);
    const stoodAt = await framesOf(page);
    await page.waitForTimeout(3000);
    expect(await framesOf(page)).toBe(stoodAt);
    await page.getByRole('switch', { name: /Block renewals/ }).uncheck({ force: true });
    await moreFrames(page, 25);
    await expect.poll(() => page.getByText('The picture stopped: its keys are used up').count(), { timeout: 10_000 }).toBe(0);
    expect(faults).toEqual([]);
    await page.close();
  }, 360_000);

  it('B046 B047 at the stream limit shows what else is playing, stops the chosen one and plays here in one request; leaving the page sends the stop', async () => {
    const { page, faults } = await openPage();
    await page.locator('.stage.watching').waitFor({ timeout: PATIENCE });
    const conflict = { sid: 'A'.repeat(24), deviceName: 'Kitchen tablet', asset: 'some-film', startedAt: Date.now() * 1000, terminationCode: 'code-1' };
    const chosen: unknown[] = [];
    // The demo has no limit, so the refusal is made on the way; what the page then asks for goes to the real service.
    await page.route('**/v1/sessions', async (route) => {
      const request = route.request();
      if (request.method() !== 'POST') return route.continue();
      const { ends, ...body } = JSON.parse(request.postData() ?? '{}') as Record<string, unknown>;
      if (ends !== undefined) {
        chosen.push(ends);
        return route.continue({ postData: JSON.stringify(body) });
      }
      return route.fulfill({ status: 409, contentType: 'application/problem+json', body: JSON.stringify({ code: 'concurrency-limit', status: 409, limit: 1, conflicts: [conflict] }) });
    });
    await page.getByRole('button', { name: 'hls.js', exact: true }).click();
    await page.getByText('Kitchen tablet').waitFor({ timeout: PATIENCE });
    expect(await page.locator('.stage.over').count()).toBe(1);
    await page.getByRole('button', { name: 'Stop that one and watch here' }).click();
    await page.locator('.stage.watching').waitFor({ timeout: PATIENCE });
    await moreFrames(page, 10);
    expect(chosen).toEqual([['code-1']]);
    expect(faults).toEqual([]);
    // Nobody reads a request's answer on a page that is gone, so the page notes down what it sends while it closes.
    await page.evaluate(() => {
      const send = window.fetch;
      window.fetch = (input, init) => {
        if (input instanceof Request && new URL(input.url).pathname === '/v1/stop') localStorage.setItem('stop', String(input.keepalive));
        return send(input, init);
      };
    });
    await page.goto(new URL('/v1/time', url).href);
    expect(await page.evaluate(() => localStorage.getItem('stop'))).toBe('true');
    await page.close();
  }, 360_000);
});
