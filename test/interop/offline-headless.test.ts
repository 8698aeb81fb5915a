// SPDX-License-Identifier: Apache-2.0
/** Subscriptions and offline play on the real platform, without a screen: roots, leaves, downloads, pushes, usage. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createViewer, type ViewerEnd, type ViewerStats } from '#client/viewer.ts';
import type { Offline } from '#client/offline/offline.ts';
import { EPISODE_SECONDS, makeViewer, playerFetch, startSubscriptionStack, type SubscriptionStack, type TestViewer } from './subscription-stack.ts';

let stack: SubscriptionStack;
beforeAll(async () => {
  stack = await startSubscriptionStack();
  await stack.titles(['episode-1', 'episode-2', 'episode-3', 'episode-4']);
  await stack.titles(['film-cbcs'], { scheme: 'cbcs' });
}, 180_000);
afterAll(() => stack?.stop());

const watch = async (offline: Offline, viewer: TestViewer, title: string, { speed = 3 } = {}): Promise<{ end: ViewerEnd; stats: ViewerStats }> => {
  const playing = await offline.play(title);
  if (!playing.ok) throw new Error(`${playing.denial.code}: ${playing.denial.detail}`);
  const screen = createViewer({ session: playing.session, baseUrl: stack.url, fetch: playerFetch(offline, viewer), speed });
  const end = await screen.done;
  // The viewer reads ahead of its picture; the rest of the title is shown before the play is over.
  const left = (EPISODE_SECONDS * 1e6) / speed / 1000;
  await new Promise((resolve) => setTimeout(resolve, left / 2));
  await playing.session.stop();
  return { end, stats: screen.stats() };
};

describe('a title on the device', () => {
  test('B116 B132 B134: root and leaf open a downloaded title with the line cut, both schemes', async () => {
    const viewer = await makeViewer(stack);
    const offline = await viewer.open();
    expect(await offline.subscriptions.refresh()).toEqual({ ok: true, refused: [] });
    expect(await offline.subscriptions.fetchLeaves({ plan: 'family' })).toEqual({ ok: true, missing: [] });
    for (const title of ['episode-1', 'film-cbcs']) expect(await offline.downloads.add(title as never)).toEqual({ ok: true });
    await offline.downloads.settled();
    expect(offline.downloads.all.map(({ state, trouble }) => [state, trouble])).toEqual([['complete', undefined], ['complete', undefined]]);
    viewer.cut = true;
    viewer.asked.length = 0;
    for (const title of ['episode-1', 'film-cbcs']) {
      const { end, stats } = await watch(offline, viewer, title);
      expect(end).toEqual({ kind: 'finished' });
      expect(stats).toMatchObject({ errors: 0, missingKeys: 0, implausible: 0, frames: EPISODE_SECONDS * 25 });
    }
    expect(viewer.asked).toEqual([]);
    await offline.close();
  });
});
