// SPDX-License-Identifier: Apache-2.0
/** What browser tests share: pages that close behind their test, reports polled until they say what is wanted. */
import type { Page } from 'playwright-core';
import { type PlayerName, type TestBrowser, openTestBrowser } from './browser.ts';
import type { Harness, Report } from './page.ts';
import { type Stack, startStack } from './stack.ts';

declare const harness: Harness;

export type Stage = {
  readonly stack: Stack;
  readonly browser: TestBrowser;
  /** Runs `use` on a page with the harness and, if named, a player; closes the page whatever happens. */
  onPage<T>(player: PlayerName | undefined, use: (page: Page, errors: readonly string[]) => Promise<T>): Promise<T>;
  close(): Promise<void>;
};

export const openStage = async (): Promise<Stage> => {
  const [stack, browser] = await Promise.all([startStack(), openTestBrowser()]);
  return {
    stack,
    browser,
    async onPage(player, use) {
      const { page, errors } = await browser.open(stack.url, player);
      try {
        return await use(page, errors);
      } finally {
        await page.close();
      }
    },
    async close() {
      await browser.close();
      await stack.stop();
    },
  };
};

export const report = (page: Page): Promise<Report> => page.evaluate(() => harness.report());

/** A machine that does much else is this much slower than the one for which the tests say how long things take. */
const PATIENCE = 4;

/** Polls the page until `wanted` is true of its report, which takes up to `seconds` on a quiet machine; fails with the last report. */
export const reach = async (page: Page, seconds: number, wanted: (report: Report) => boolean): Promise<Report> => {
  const deadline = performance.now() + PATIENCE * seconds * 1000;
  for (;;) {
    const now = await report(page);
    if (wanted(now)) return now;
    if (performance.now() > deadline) throw new Error(`not reached in ${PATIENCE * seconds} s: ${JSON.stringify({ ...now, shown: now.shown.length })}`);
    await page.waitForTimeout(100);
  }
};
