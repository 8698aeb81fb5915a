// SPDX-License-Identifier: Apache-2.0
/** What browser tests share: pages that close by themselves, reports polled until they say what is wanted. */
import type { Page } from 'playwright-core';
import { type PlayerName, type TestBrowser, openTestBrowser } from './browser.ts';
import type { Harness, Report } from './page.ts';
import { type Stack, startStack } from './stack.ts';

declare const harness: Harness;

export type Stage = {
  readonly stack: Stack;
  readonly browser: TestBrowser;
  open(player?: PlayerName): Promise<{ readonly page: Page; readonly errors: string[] }>;
  /** Closes the pages of the last test. */
  clear(): Promise<void>;
  close(): Promise<void>;
};

export const openStage = async (): Promise<Stage> => {
  const [stack, browser] = await Promise.all([startStack(), openTestBrowser()]);
  const pages: Page[] = [];
  return {
    stack,
    browser,
    async open(player) {
      const opened = await browser.open(stack.url, player);
      pages.push(opened.page);
      return opened;
    },
    async clear() {
      await Promise.all(pages.splice(0).map((page) => page.close()));
    },
    async close() {
      await browser.close();
      await stack.stop();
    },
  };
};

export const report = (page: Page): Promise<Report> => page.evaluate(() => harness.report());

/** Polls the page until `wanted` is true of its report; fails with the last report. */
export const reach = async (page: Page, seconds: number, wanted: (report: Report) => boolean): Promise<Report> => {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const now = await report(page);
    if (wanted(now)) return now;
    if (performance.now() > deadline) throw new Error(`not reached in ${seconds} s: ${JSON.stringify(now)}`);
    await page.waitForTimeout(100);
  }
};
