// SPDX-License-Identifier: Apache-2.0
/**
 * A timed event on four real screens: how far apart the same frame is shown, how punctual keys and pictures are.
 *
 * The whole platform in this process, four Chromium pages with our decrypting player (WebCrypto, MSE) on a 320x180 clip, 100 ms periods, δ 150 ms; beside them
 * one page with EME and a stock player, for what `update()` takes. Frame stamps are requestVideoFrameCallback's on the machine's one clock. Key arrival,
 * `update()` and first frame are reported separately. `--full` watches for a minute.
 */
import type { Page } from 'playwright-core';
import { figure, quantile, type Figure } from './figures/timing.ts';
import { type Stage, openStage, reach, report } from '../test/interop/harness.ts';
import type { Harness, Report } from '../test/interop/page.ts';
import { type Shown, spreads } from '../test/interop/screens.ts';

declare const harness: Harness;

const SCREENS = 4;
const SETTLE = 10_000;
const SHORT = 8000;
const FULL = 60_000;

const open = async (stage: Stage, asset: Awaited<ReturnType<Stage['stack']['timedEvent']>>, player: 'decrypting' | 'shaka', viewer: string): Promise<Page> => {
  const { page } = await stage.browser.open(stage.stack.url, player === 'shaka' ? player : undefined);
  const entitlement = await stage.stack.entitlement(asset, viewer);
  await page.evaluate((options) => void harness.play(options), { player, asset, entitlement });
  await reach(page, 60, ({ frames }) => frames > 10);
  return page;
};

export const bench = {
  name: 'release-screens',
  async run({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> {
    const stage = await openStage();
    try {
      const asset = await stage.stack.timedEvent('cenc');
      const pages = await Promise.all(Array.from({ length: SCREENS }, (_, i) => open(stage, asset, 'decrypting', `screen-${i}`)));
      log(`${SCREENS} screens play`);
      await pages[0]?.waitForTimeout(SETTLE);
      await Promise.all(pages.map(report));
      await pages[0]?.waitForTimeout(full ? FULL : SHORT);
      const screens: readonly Report[] = await Promise.all(pages.map(report));
      await Promise.all(pages.map((page) => page.close()));
      const apart = spreads(screens.map(({ shown }) => shown as Shown));
      /** The worst screen; one that measured nothing counts as 2,000. */
      const across = (pick: (screen: Report) => number | undefined): number => Math.max(...screens.map((screen) => pick(screen) ?? Number.NaN).map((value) => (Number.isFinite(value) ? value : 2000)));
      const stock = await open(stage, asset, 'shaka', 'stock');
      await stock.waitForTimeout(6000);
      const { updates } = await report(stock);
      await stock.close();
      return {
        figures: [
          figure(`same frame, first to last of ${SCREENS} screens, p95 (p50 ${quantile(apart, 0.5).toFixed(0)} ms, ${apart.length} frames)`, apart.length === 0 ? 2000 : quantile(apart, 0.95), 'ms', 'the use case: 200 ms', '<=', 50, 'ms'),
          figure('picture off its instant, p95, worst screen', across(({ releases }) => releases?.displayP95), 'ms', 'δ: 150 ms', '<=', 50, 'ms'),
          figure('key arrival after T, p99, worst screen', across(({ releases }) => releases?.arrivalP99), 'ms', 'δ less the player’s lead: 70 ms', '<=', 70, 'ms'),
          figure(`update() of EME, p95 (p50 ${quantile(updates, 0.5).toFixed(1)} ms, ${updates.length} updates)`, quantile(updates, 0.95), 'ms', 'one period: 100 ms', '<=', 20, 'ms'),
          figure('licence to first frame, worst screen', across(({ firstFrameAfter }) => firstFrameAfter) / 1000, 's', 'a stock player on an untimed event: 1-2 s', '<=', 6, 's'),
          figure('periods late or skipped, share, worst screen', 100 * across(({ releases }) => (releases === undefined ? undefined : (releases.late + releases.skipped) / Math.max(1, releases.periods))), '%', 'all periods', '<=', 1, '%'),
        ],
      };
    } finally {
      await stage.close();
    }
  },
};
