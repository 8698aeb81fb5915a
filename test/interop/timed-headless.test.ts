// SPDX-License-Identifier: Apache-2.0
/** Timed events through the whole platform: headless viewers get keys at their time, show frames at their instant, and nobody decrypts before. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createViewer } from '#client/viewer.ts';
import type { Millis } from '#core/time.ts';
import { type Shown, quantile, spreads } from './screens.ts';
import { type Stack, TIMED_LATENCY, startStack } from './stack.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
}, 60_000);
afterAll(() => stack?.stop());

const wait = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

describe('headless viewers of a timed event', () => {
  test('B160 B166: hold the bytes before T, decrypt at T, show each frame at its instant, all of them together', async () => {
    const asset = await stack.timedEvent('cenc');
    const screens: [number, number][][] = [];
    const viewers = await Promise.all(
      [1, 2, 3].map(async (n) => {
        const session = await stack.session(asset, { account: `timed-${n}` });
        const shown: [number, number][] = [];
        screens.push(shown);
        const viewer = createViewer({ session, baseUrl: stack.url, decodeTime: 5 as Millis, patience: 8000 as Millis, onFrame: (mediaTime, at) => shown.push([mediaTime, at]) });
        return { session, viewer };
      }),
    );
    const state = (): string => JSON.stringify(viewers.map(({ session, viewer }) => ({ stats: viewer.stats(), releases: session.releases?.statistics, up: session.releases?.connections, plan: session.releases?.plan })));
    for (let tries = 0; tries < 60 && !viewers.every(({ viewer }) => (viewer.stats().display?.shown ?? 0) > 150); tries++) await wait(500);
    for (const { session, viewer } of viewers) {
      const stats = viewer.stats();
      const releases = session.releases?.statistics;
      expect(stats, JSON.stringify({ stats, releases })).toMatchObject({ implausible: 0 });
      expect(stats.display?.shown, state()).toBeGreaterThan(150);
      expect(stats.display?.skipped ?? 0).toBeLessThan(stats.display?.shown ?? 0);
      expect(releases?.held).toBeGreaterThan(0.5);
      // Camera to picture: the schedule's, on every viewer.
      expect(Math.abs((stats.latencyMs?.last ?? 0) / 1000 - TIMED_LATENCY)).toBeLessThan(1);
      expect((await viewer.stop()).kind).toBe('stopped');
      await session.stop();
    }
    const apart = spreads(screens as Shown[]);
    expect(apart.length).toBeGreaterThan(100);
    expect(quantile(apart, 0.95)).toBeLessThan(600);
  }, 60_000);
});
