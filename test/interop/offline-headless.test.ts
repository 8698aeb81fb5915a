// SPDX-License-Identifier: Apache-2.0
/** Subscriptions and offline play on the real platform, without a screen: roots, leaves, downloads, pushes, usage. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createViewer, type ViewerEnd, type ViewerStats } from '#client/viewer.ts';
import { openFolderOfflineStorage } from '#adapters/node/offline-storage.ts';
import { type Device, openDevice, textDeviceStorage } from '#client/device.ts';
import { type Offline, openOffline } from '#client/offline/offline.ts';
import type { Session } from '#client/session-types.ts';
import { registerDevice, startSession } from '#client/start-session.ts';
import { assetId } from '#core/ids.ts';
import { micros } from '#core/time.ts';
import { EPISODE_SECONDS, makeViewer, playerFetch, startSubscriptionStack, type SubscriptionStack, type TestViewer } from './subscription-stack.ts';

let stack: SubscriptionStack;
beforeAll(async () => {
  stack = await startSubscriptionStack();
  await stack.titles(['episode-1', 'episode-2', 'episode-3', 'episode-4']);
  await stack.titles(['film-cbcs'], { scheme: 'cbcs' });
}, 180_000);
afterAll(() => stack?.stop());

/** Plays a session as a screen does: decrypts, and moves the playhead at `speed` until the end or `until` seconds of media. */
const show = async (session: Session, offline: Offline, viewer: TestViewer, { speed = 3, until = EPISODE_SECONDS } = {}): Promise<{ end: ViewerEnd; stats: ViewerStats }> => {
  const screen = createViewer({ session, baseUrl: stack.url, fetch: playerFetch(offline, viewer), speed });
  const began = performance.now();
  for (let at = 0; at < until; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    at = ((performance.now() - began) / 1000) * speed;
    session.playhead(micros(Math.round(Math.min(at, EPISODE_SECONDS) * 1e6)));
  }
  const end = until < EPISODE_SECONDS ? await screen.stop() : await screen.done;
  await session.stop();
  return { end, stats: screen.stats() };
};

const watch = async (offline: Offline, viewer: TestViewer, title: string, how: { speed?: number; until?: number } = {}): Promise<{ end: ViewerEnd; stats: ViewerStats }> => {
  const playing = await offline.play(title);
  if (!playing.ok) throw new Error(`${playing.denial.code}: ${playing.denial.detail}`);
  return show(playing.session, offline, viewer, how);
};

describe('a title on the device', () => {
  test('B116 B132 B134: root and leaf open a downloaded title with the line cut, both schemes', async () => {
    const viewer = await makeViewer(stack);
    const offline = await viewer.open();
    expect(await offline.subscriptions.refresh()).toEqual({ ok: true, refused: [] });
    expect(await offline.subscriptions.fetchLeaves({ plan: 'family' })).toEqual({ ok: true, missing: [] });
    for (const title of ['episode-1', 'film-cbcs']) expect(await offline.downloads.add(assetId(title))).toEqual({ ok: true });
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

describe('a device on disk', () => {
  test('B134: device, licences and downloads lie in a folder; another process plays them with no connection, a copy of the folder without the key does not', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sealcast-device-'));
    const keyFile = join(folder, 'device.json');
    const keys = textDeviceStorage({ read: () => readFile(keyFile, 'utf8').catch(() => undefined), write: (text) => writeFile(keyFile, text, { mode: 0o600 }) });
    const bought = { account: 'disk', plans: [stack.plan()] };
    let cut = false;
    const open = async (device: Device) => {
      const storage = await openFolderOfflineStorage(join(folder, 'offline'));
      const offline = await openOffline({ servers: [stack.url], baseUrl: stack.url, device, storage, entitlement: () => stack.entitlement(bought), fetch: (request) => (cut ? Promise.reject(new TypeError('cut')) : fetch(request)) });
      return { offline, storage };
    };
    try {
      const device = await openDevice({ name: 'box', storage: keys });
      await registerDevice({ servers: [stack.url], device, entitlement: () => stack.entitlement(bought) });
      const first = await open(device);
      await first.offline.subscriptions.refresh();
      expect(await first.offline.downloads.add(assetId('episode-1'))).toEqual({ ok: true });
      await first.offline.downloads.settled();
      expect(first.offline.downloads.get(assetId('episode-1'))?.state).toBe('complete');
      await first.offline.close();
      await first.storage.close();
      cut = true;
      const second = await open(await openDevice({ name: 'box', storage: keys }));
      const playing = await second.offline.play('episode-1');
      if (!playing.ok) throw new Error(playing.denial.detail);
      const screen = createViewer({ session: playing.session, baseUrl: stack.url, fetch: (request) => second.offline.downloads.serve(request) ?? Promise.reject(new TypeError('cut')) });
      expect(await screen.done).toEqual({ kind: 'finished' });
      expect(screen.stats()).toMatchObject({ implausible: 0, frames: EPISODE_SECONDS * 25 });
      await playing.session.stop();
      await second.offline.close();
      await second.storage.close();
      const thief = await open(await openDevice({ name: 'copy' }));
      expect(await thief.offline.play('episode-1')).toMatchObject({ ok: false, denial: { code: 'license-missing' } });
      await thief.offline.close();
      await thief.storage.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('the story of the source', () => {
  test('B135 B136 B137 B141: 1 online, 2 to 4 pushed, cut off, 2 and 3 watched, the app restarted, reconnected: 1, 2, 3 counted, 4 not', async () => {
    const viewer = await makeViewer(stack, 'story');
    let offline = await viewer.open();
    await offline.subscriptions.refresh();
    const started = await startSession({ servers: [stack.url], asset: 'episode-1', device: viewer.device, entitlement: () => stack.entitlement(viewer.bought) });
    if (!started.ok) throw new Error(started.denial.detail);
    const online = await offline.follow(started.session, 'family');
    const first = show(online, offline, viewer);
    // The service pushes while episode 1 plays.
    expect(await offline.pushed({ titles: ['episode-2', 'episode-3', 'episode-4', 'no-such-title'] })).toEqual(['episode-2', 'episode-3', 'episode-4']);
    expect((await first).end).toEqual({ kind: 'finished' });
    await offline.downloads.settled();
    expect(offline.downloads.all.map(({ title, state }) => [title, state])).toEqual([['episode-2', 'complete'], ['episode-3', 'complete'], ['episode-4', 'complete']]);
    viewer.cut = true;
    for (const title of ['episode-2', 'episode-3']) expect((await watch(offline, viewer, title)).end).toEqual({ kind: 'finished' });
    // One second is not a play.
    await watch(offline, viewer, 'episode-4', { until: 1, speed: 1 });
    expect(await offline.usage.flush()).toBe(false);
    await offline.close();
    offline = await viewer.open();
    expect(offline.usage.pending).toBe(7);
    expect(Object.keys(await stack.plays())).toEqual([]);
    viewer.cut = false;
    expect(await offline.reconnected()).toEqual({ time: true, roots: true, stops: true, usage: true });
    expect(await stack.plays()).toEqual({ 'episode-1': 1, 'episode-2': 1, 'episode-3': 1 });
    expect(offline.usage.pending).toBe(0);
    const totals = await stack.platform.stores.usage.totals('owner', { from: micros(0), to: micros(Number.MAX_SAFE_INTEGER), limit: 9 });
    expect(totals).toMatchObject([{ key: 'Studio', plays: 3, offlinePlays: 2, downloads: 3 }]);
    // Nothing on the device is a key: the storage holds no title key and no node, only what is sealed.
    await offline.close();
  });
});
