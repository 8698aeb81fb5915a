// SPDX-License-Identifier: Apache-2.0
/** The example pages, served by their own server on another origin, play the event and a title. */
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pictureContrast } from './browser.ts';
import { type Stage, openStage } from './harness.ts';

const script = join(dirname(fileURLToPath(import.meta.url)), '../../examples/serve.js');
let stage: Stage;
let server: ChildProcess;
let base = '';

beforeAll(async () => {
  stage = await openStage();
  await Promise.all([stage.stack.event('cbcs'), stage.stack.title('cenc')]);
  server = spawn(process.execPath, [script, stage.stack.url, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  base = await new Promise<string>((resolve, reject) => {
    server.stdout?.setEncoding('utf8').once('data', (text: string) => resolve(new URL('.', text.split('\n')[0]).href));
    server.once('exit', (code) => reject(new Error(`the example server ended with ${code}`)));
  });
}, 90_000);
afterAll(async () => {
  server?.kill();
  await stage?.close();
});

test.each([
  ['shaka.html', 'live-cbcs'],
  ['hls.html', 'live-cbcs'],
  ['dash.html', 'live-cbcs'],
  ['bare-eme.html', 'live-cbcs'],
  ['bare-eme.html', 'title-cenc'],
])('%s plays %s', async (name, asset) => {
  const page = await stage.browser.blank();
  await page.goto(`${base}${name}?asset=${asset}`);
  const frames = (): Promise<number> => page.evaluate(() => document.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0);
  await expect.poll(frames, { timeout: 60_000 }).toBeGreaterThan(5);
  const first = await frames();
  // A picture that stands for good never gets there; one on a busy machine takes its time.
  await expect.poll(frames, { timeout: 60_000 }).toBeGreaterThan(first + 40);
  // A renewal that was late on a busy machine may have said so for a moment.
  await expect.poll(() => page.locator('#notice').textContent(), { timeout: 30_000 }).toBe('');
  expect(await pictureContrast(page)).toBeGreaterThan(20);
  await page.close();
}, 200_000);
