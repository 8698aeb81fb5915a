// SPDX-License-Identifier: Apache-2.0
/** Runs inside the browser: an app with downloads, as small as one can be. */
import { openDevice } from '#client/device.ts';
import { type Offline, openOffline } from '#client/offline/offline.ts';
import { registerDevice, startSession } from '#client/start-session.ts';
import type { Session } from '#client/session-types.ts';
import { assetId } from '#core/ids.ts';
import { browserOfflineStorage, pageOwner } from '#player/offline-storage.ts';
import { indexedDbDeviceStorage } from '#player/device-storage.ts';
import { type Playback, type PlayOptions, playProtected } from '#player/play.ts';

const video = document.querySelector('video') as HTMLVideoElement;
const device = await openDevice({ name: 'browser', storage: indexedDbDeviceStorage() });
const servers = [location.origin];
const entitlement = async (): Promise<string> => (await fetch('/offline/entitlement', { method: 'POST' })).text();
let playback: Playback | undefined;
let failure: string | undefined;

const registration = await navigator.serviceWorker.register('/sw.js', { type: 'module', scope: '/' });
await navigator.serviceWorker.ready;
const offline: Offline = await openOffline({ servers, baseUrl: location.origin, device, storage: await browserOfflineStorage(), entitlement, connected: () => navigator.onLine, ...(await pageOwner()) });

const start = async (session: Session, player: 'decrypting' | 'shaka' | 'hls'): Promise<string | undefined> => {
  failure = undefined;
  try {
    const library = { decrypting: undefined, shaka: (globalThis as Record<string, unknown>)['shaka'], hls: (globalThis as Record<string, unknown>)['Hls'] }[player];
    playback = await playProtected({ video, session, baseUrl: location.origin, player, library } as PlayOptions);
    await video.play();
  } catch (error) {
    failure = error instanceof Error ? error.message : JSON.stringify(error);
  }
  return failure;
};

const app = {
  offline,
  controlled: () => navigator.serviceWorker.controller !== null && registration.active !== null,
  async setUp(): Promise<unknown> {
    const registered = await registerDevice({ servers, device, entitlement });
    if (!registered.ok) return registered.denial;
    return offline.subscriptions.refresh();
  },
  async online(title: string): Promise<string | undefined> {
    const started = await startSession({ servers, device, entitlement, asset: title });
    if (!started.ok) return started.denial.detail;
    return start(await offline.follow(started.session, 'family'), 'decrypting');
  },
  async play(title: string, player: 'decrypting' | 'shaka' | 'hls' = 'decrypting'): Promise<string | undefined> {
    const playing = await offline.play(title);
    return playing.ok ? start(playing.session, player) : playing.denial.code;
  },
  stop: async (): Promise<void> => playback?.stop(),
  async download(titles: readonly string[]): Promise<unknown> {
    for (const title of titles) {
      const added = await offline.downloads.add(assetId(title));
      if (!added.ok) return added.denial;
    }
    await offline.downloads.settled();
    return offline.downloads.all.map(({ title, state, trouble }) => ({ title, state, trouble }));
  },
  report: () => ({ frames: video.getVideoPlaybackQuality().totalVideoFrames, at: video.currentTime, ended: video.ended, duration: video.duration, failure, error: video.error?.message, pending: offline.usage.pending, online: navigator.onLine }),
  /** Look-ups of leaves, ms: the p-th slowest. */
  lookups(titles: readonly string[], share: number): number {
    const times = titles.map((title) => {
      const began = performance.now();
      if (offline.catalogue.get(title as never) === undefined) throw new Error('not there');
      return performance.now() - began;
    });
    return times.sort((a, b) => a - b)[Math.floor(times.length * share)] as number;
  },
};
export type OfflineApp = typeof app;
Object.assign(globalThis, { app });
