// SPDX-License-Identifier: Apache-2.0
/**
 * Chromium's Clear Key decrypter as an independent reader of rotating keys: it knows `seig`, both schemes, and full
 * sample encryption of audio with a constant vector and no auxiliary information.
 */
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { createFragmentEncrypter } from '#core/cenc/encrypt-fragment.ts';
import { protectInit } from '#core/cenc/protect-init.ts';
import type { ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import { launchChromium } from './browser.ts';
import { generatedAudio, generatedVideo } from './clips.ts';
import type { Cmaf } from './clips.ts';

const fill = (value: number): Uint8Array => new Uint8Array(16).fill(value);
const ENTRY = fill(1) as KeyId;

type Sealed = { readonly type: string; readonly pieces: readonly string[]; readonly keys: readonly { kid: string; k: string }[] };

/** A clip with a new key for every fragment, as base64 for the page. */
const seal = (clip: Cmaf, scheme: ProtectionScheme, group: number): Sealed => {
  const constant = (n: number): { constantIv?: Uint8Array } => (scheme === 'cbcs' ? { constantIv: fill(n + 7) } : {});
  const encrypter = createFragmentEncrypter({ scheme, track: clip.track, aes: nodeSampleAes, signalling: 'fragment' });
  const keys: { kid: string; k: string }[] = [];
  let firstIv = 0n;
  const fragments = clip.fragments.map((fragment, i) => {
    const [kid, key] = [fill(group + i) as KeyId, fill(group + i + 100) as ContentKey];
    keys.push({ kid: encodeBase64url(kid), k: encodeBase64url(key) });
    const result = encrypter.encrypt(fragment, { kid, key, ...(scheme === 'cenc' ? { firstIv } : constant(i)) });
    firstIv = result.nextIv;
    return result.bytes;
  });
  const init = protectInit(clip.init, { scheme, defaultKid: ENTRY, ...constant(0) });
  return { type: `${clip.track.kind}/mp4; codecs="${clip.track.codec}"`, pieces: [init, ...fragments].map((bytes) => Buffer.from(bytes).toString('base64')), keys };
};

type Outcome = { readonly ended: boolean; readonly error: string; readonly frames: number; readonly audioBytes: number };

/** Runs in the page: plays the tracks with the given keys until the end, or until nothing moves for 1.5 s. */
const play = async ({ tracks, keys, scheme }: { tracks: readonly Sealed[]; keys: readonly { kid: string; k: string }[]; scheme: string }): Promise<Outcome> => {
  const bytes = (text: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const video = document.createElement('video');
  video.muted = true;
  document.body.append(video);
  const capability = (kind: string): MediaKeySystemMediaCapability[] =>
    tracks.filter((track) => track.type.startsWith(kind)).map((track) => ({ contentType: track.type, encryptionScheme: scheme }));
  const access = await navigator.requestMediaKeySystemAccess('org.w3.clearkey', [
    { initDataTypes: ['keyids'], videoCapabilities: capability('video'), audioCapabilities: capability('audio') },
  ]);
  const mediaKeys = await access.createMediaKeys();
  await video.setMediaKeys(mediaKeys);
  const session = mediaKeys.createSession();
  await session.generateRequest('keyids', new TextEncoder().encode(JSON.stringify({ kids: keys.map((key) => key.kid) })));
  await session.update(new TextEncoder().encode(JSON.stringify({ keys: keys.map((key) => ({ kty: 'oct', ...key })) })));
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  await new Promise((resolve) => source.addEventListener('sourceopen', resolve, { once: true }));
  const buffers = tracks.map((track) => source.addSourceBuffer(track.type));
  for (const [n, track] of tracks.entries()) {
    const buffer = buffers[n];
    for (const piece of track.pieces) {
      buffer?.appendBuffer(bytes(piece));
      await new Promise((resolve) => buffer?.addEventListener('updateend', resolve, { once: true }));
    }
  }
  source.endOfStream();
  video.play().catch(() => undefined);
  let last = -1;
  let still = 0;
  while (!video.ended && video.error === null && still < 15) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    still = video.currentTime === last ? still + 1 : 0;
    last = video.currentTime;
  }
  const decoded = (video as unknown as { webkitAudioDecodedByteCount: number }).webkitAudioDecodedByteCount;
  return { ended: video.ended, error: video.error?.message ?? '', frames: video.getVideoPlaybackQuality().totalVideoFrames, audioBytes: decoded };
};

describe('Chromium plays rotating keys', () => {
  let browser: Browser;
  let server: Server;
  let address = '';
  beforeAll(async () => {
    server = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<!doctype html><title>cenc</title>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    browser = await launchChromium();
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  for (const scheme of ['cenc', 'cbcs'] as const) {
    it(`${scheme}: to the end with all keys, up to the gate without the last ones`, { timeout: 60_000 }, async () => {
      const [video, audio] = [seal(generatedVideo('high, CABAC, 8x8, pyramid, many references'), scheme, 10), seal(generatedAudio(), scheme, 50)];
      const page = await browser.newPage();
      await page.goto(address);
      const whole = await page.evaluate(play, { tracks: [video, audio], keys: [...video.keys, ...audio.keys], scheme });
      expect(whole).toMatchObject({ ended: true, error: '' });
      expect(whole.frames).toBeGreaterThanOrEqual(48);
      expect(whole.audioBytes).toBeGreaterThan(10_000);
      const gated = await page.evaluate(play, { tracks: [video, audio], keys: [...video.keys.slice(0, 2), ...audio.keys], scheme });
      expect(gated).toMatchObject({ ended: false, error: '' });
      // The audio keys are all there, so the clock runs on; the picture stops at the gate.
      expect(gated.frames).toBeGreaterThan(0);
      expect(gated.frames).toBeLessThan(whole.frames - 10);
      await page.close();
    });
  }
});
