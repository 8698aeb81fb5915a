// SPDX-License-Identifier: Apache-2.0
/**
 * Real Chromium for tests: launches the installed one, bundles our browser code, serves a test page on the platform's own origin.
 *
 * Invariant: without Chromium a test fails with the command that installs it; every page and process is closed by `close`.
 */
import { accessSync, constants } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, type Page, chromium } from 'playwright-core';
import { rolldown } from 'rolldown';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'] as const;
export const CHROMIUM_INSTALL_COMMAND = 'apt-get install -y --no-install-recommends chromium';

/** Path of the installed browser; throws the install command. */
export const findChromium = (path: string = process.env['PATH'] ?? ''): string => {
  for (const name of NAMES) {
    for (const folder of path.split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // not here
      }
    }
  }
  throw new Error(`Chromium is needed for this test and was not found on PATH. Install it with: ${CHROMIUM_INSTALL_COMMAND}`);
};

/** Without these Chromium looks for servers of its own and tries https first, and each of those waits where there is no network. */
const QUIET = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run', '--disable-quic'];

/** Chromium as viewers' browsers are, but allowed to play without a click; sandboxing needs rights that containers lack. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: findChromium(), args: [...QUIET, '--no-sandbox', '--autoplay-policy=no-user-gesture-required', '--disable-dev-shm-usage', '--mute-audio', '--disable-features=LocalNetworkAccessChecks,HttpsUpgrades'] });

const here = dirname(fileURLToPath(import.meta.url));
const packages = createRequire(import.meta.url);

/** One ES module of a TypeScript entry beside this file and all it imports. */
export const bundle = async (entry: string): Promise<string> => {
  const build = await rolldown({ input: join(here, entry), platform: 'browser', logLevel: 'silent' });
  try {
    const { output } = await build.generate({ format: 'esm' });
    return output[0].code;
  } finally {
    await build.close();
  }
};

/** Player libraries as their packages ship them for script tags. */
export const PLAYER_SCRIPTS = {
  shaka: ['shaka-player', 'dist/shaka-player.compiled.js'],
  hls: ['hls.js', 'dist/hls.min.js'],
  dash: ['dashjs', 'dist/modern/umd/dash.all.min.js'],
} as const;
export type PlayerName = keyof typeof PLAYER_SCRIPTS;

const packageFolder = (name: string): string => {
  const folders = packages.resolve.paths(name) ?? [];
  for (const folder of folders) {
    try {
      accessSync(join(folder, name, 'package.json'));
      return join(folder, name);
    } catch {
      // one folder up
    }
  }
  throw new Error(`${name} is not installed; run npm ci`);
};

const PAGE = `<!doctype html><meta charset="utf-8"><title>interop</title><style>body{margin:0;background:#000}video{width:320px;height:180px;display:block}</style><video muted playsinline></video>`;

export type TestBrowser = {
  /** A page at `{url}/interop/` with the harness and, if named, a player library; its errors are collected. */
  open(url: string, player?: PlayerName): Promise<{ readonly page: Page; readonly errors: string[] }>;
  /** An empty page. */
  blank(): Promise<Page>;
  close(): Promise<void>;
};

/** Launches Chromium and bundles the harness (`page.ts`). */
export const openTestBrowser = async (): Promise<TestBrowser> => {
  const [browser, harness] = await Promise.all([launchChromium(), bundle('page.ts')]);
  return {
    async open(url, player) {
      const page = await browser.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      // Served by the test itself on the platform's origin, so that nothing of it has to exist in the product.
      await page.route(`${url}/interop/**`, async (route) => {
        const file = new URL(route.request().url()).pathname.slice('/interop/'.length);
        if (file === 'harness.js') return route.fulfill({ contentType: 'text/javascript', body: harness });
        if (file === 'player.js' && player !== undefined) {
          const [name, script] = PLAYER_SCRIPTS[player];
          return route.fulfill({ contentType: 'text/javascript', body: await readFile(join(packageFolder(name), script), 'utf8') });
        }
        return route.fulfill({ contentType: 'text/html', body: PAGE });
      });
      await page.goto(`${url}/interop/`);
      if (player !== undefined) await page.addScriptTag({ url: `${url}/interop/player.js` });
      await page.addScriptTag({ url: `${url}/interop/harness.js`, type: 'module' });
      await page.waitForFunction('globalThis.harness !== undefined');
      return { page, errors };
    },
    blank: () => browser.newPage(),
    close: () => browser.close(),
  };
};

/** How much a screenshot of the video varies: standard deviation of its luma, 0 for black or any other single colour. */
export const pictureContrast = async (page: Page): Promise<number> => {
  const shot = (await page.locator('video').screenshot()).toString('base64');
  return page.evaluate(async (base64) => {
    const image = new Image();
    image.src = `data:image/png;base64,${base64}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext('2d');
    if (context === null) throw new Error('no canvas');
    context.drawImage(image, 0, 0);
    const { data } = context.getImageData(0, 0, image.width, image.height);
    const luma = Array.from({ length: data.length / 4 }, (_, i) => 0.3 * (data[4 * i] ?? 0) + 0.6 * (data[4 * i + 1] ?? 0) + 0.1 * (data[4 * i + 2] ?? 0));
    const mean = luma.reduce((sum, value) => sum + value, 0) / luma.length;
    return Math.sqrt(luma.reduce((sum, value) => sum + (value - mean) ** 2, 0) / luma.length);
  }, shot);
};
