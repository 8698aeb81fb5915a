// SPDX-License-Identifier: Apache-2.0
/** Runs inside the browser: an app with downloads, as small as one can be. */
import { openDevice } from '#client/device.ts';
import { type Offline, openOffline } from '#client/offline/offline.ts';
import { registerDevice, startSession } from '#client/start-session.ts';
import type { Session } from '#client/session-types.ts';
import { assetId } from '#core/ids.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { parseInit, type Track } from '#core/isobmff/init.ts';
import { browserOfflineStorage, pageOwner } from '#player/offline-storage.ts';
import { indexedDbDeviceStorage } from '#player/device-storage.ts';
import { playGapless } from '#player/gapless.ts';
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
  /** Plays titles one after the other, and decodes what the browser's decoder was given, in its order. */
  async gapless(titles: readonly string[]): Promise<{ seconds: number; ranges: number; jump: number; longestSilence: number; silenceAt: number; duration: number; heard: number[] }> {
    const element = new Audio();
    const frames: { readonly at: number; readonly bytes: Uint8Array }[] = [];
    const { appendBuffer } = SourceBuffer.prototype;
    let header: Track | undefined;
    SourceBuffer.prototype.appendBuffer = function (this: SourceBuffer, data: BufferSource) {
      const bytes = new Uint8Array((data as Uint8Array<ArrayBuffer>).slice());
      if (bytes[4] === 0x66) [header] = parseInit(bytes).tracks;
      else if (header !== undefined) {
        const run = onlyTrackFragment(parseFragment(bytes, [header]));
        for (const [index, { offset, size }] of run.samples.entries()) {
          const at = this.timestampOffset + (Number(run.baseMediaDecodeTime) + index * 1024) / 48_000;
          if (at < this.appendWindowEnd) frames.push({ at, bytes: bytes.slice(offset, offset + size) });
        }
      }
      appendBuffer.call(this, data);
    };
    const heard: number[] = [];
    const playback = playGapless({
      audio: element,
      baseUrl: location.origin,
      onTitle: (index) => heard.push(index),
      async next(index) {
        const title = titles[index];
        if (title === undefined) return undefined;
        const playing = await offline.play(title);
        if (!playing.ok) throw new Error(playing.denial.code);
        return playing.session;
      },
    });
    await element.play();
    let ranges = 0;
    const watch = setInterval(() => (ranges = Math.max(ranges, element.buffered.length)), 50);
    await playback.done;
    clearInterval(watch);
    const { duration } = element;
    await playback.stop();
    SourceBuffer.prototype.appendBuffer = appendBuffer;

    const samples: number[] = [];
    const decoder = new AudioDecoder({
      output(decoded) {
        const plane = new Float32Array(decoded.numberOfFrames);
        decoded.copyTo(plane, { planeIndex: 0, format: 'f32-planar' });
        samples.push(...plane);
        decoded.close();
      },
      error(error) {
        throw error;
      },
    });
    // AAC-LC, 48 kHz, two channels.
    decoder.configure({ codec: 'mp4a.40.2', sampleRate: 48_000, numberOfChannels: 2, description: new Uint8Array([0x11, 0x90]) });
    for (const { at, bytes } of frames) decoder.decode(new EncodedAudioChunk({ type: 'key', timestamp: Math.round(at * 1e6), data: bytes as BufferSource }));
    await decoder.flush();
    const jump = frames.slice(1).reduce((most, { at }, index) => Math.max(most, Math.abs(at - (frames[index]?.at ?? 0) - 1024 / 48_000)), 0);
    // Silence is 40 dB below the tone: the packager drops the packet that AAC decoders warm up with, so a track rises within 21 ms.
    const loud = (sample: number | undefined): boolean => Math.abs(sample ?? 0) > 0.00125;
    const [first, last] = [samples.findIndex(loud), samples.findLastIndex(loud)];
    let longest = 0;
    let silenceAt = 0;
    for (let at = first, run = 0; at <= last; at++) {
      run = loud(samples[at]) ? 0 : run + 1;
      if (run > longest) [longest, silenceAt] = [run, at / 48_000];
    }
    return { seconds: (last - first) / 48_000, ranges, jump, longestSilence: longest / 48_000, silenceAt, duration, heard };
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
