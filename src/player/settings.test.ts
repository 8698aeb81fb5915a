// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test, vi } from 'vitest';
import { assetId } from '#core/ids.ts';
import { checkPlaybackSupport } from './context.ts';
import { mediaAddress } from './media-address.ts';
import { authorizeDash, authorizeShaka, dashSettings, hlsConfig, shakaConfig } from './settings.ts';

const session = { asset: assetId('match-1'), mediaToken: 'first' };
const address = mediaAddress('https://tv.example/watch/', session);

describe('the media token', () => {
  test.each([
    ['https://tv.example/media/match-1/v720/5.m4s', 'Bearer first'],
    ['v720/init.mp4', 'Bearer first'],
    ['https://tv.example/media/match-2/v720/5.m4s', undefined],
    ['https://tv.example/media/match-1/../match-2/manifest.mpd', undefined],
    ['https://tv.example.evil.example/media/match-1/5.m4s', undefined],
    ['https://evil.example/media/match-1/5.m4s', undefined],
    ['https://tv.example/v1/clearkey?asset=match-1', undefined],
  ])('%s gets %s', (url, expected) => expect(address.authorization(url)).toBe(expected));

  test('is read anew for every request, in each player', async () => {
    const changing = { asset: assetId('match-1'), mediaToken: 'one' };
    const live = mediaAddress('https://tv.example/', changing);
    const url = 'https://tv.example/media/match-1/v/1.m4s';
    let filter: (type: number, request: { uris: string[]; headers: Record<string, string> }) => void = () => undefined;
    authorizeShaka({ registerRequestFilter: (registered) => (filter = registered) }, live);
    let interceptor = async (request: { url: string; headers?: Record<string, string> }) => request;
    authorizeDash({ addRequestInterceptor: (registered) => (interceptor = registered) }, live);
    const { xhrSetup } = hlsConfig({ address: live, kind: 'event' }) as { xhrSetup: (xhr: object, url: string) => void };
    for (const token of ['one', 'two']) {
      changing.mediaToken = token;
      const request = { uris: [url], headers: {} as Record<string, string> };
      filter(1, request);
      expect(request.headers['Authorization']).toBe(`Bearer ${token}`);
      expect((await interceptor({ url })).headers).toEqual({ Authorization: `Bearer ${token}` });
      expect((await interceptor({ url: 'https://evil.example/x' })).headers).toBeUndefined();
      const xhr = { open: vi.fn(), setRequestHeader: vi.fn() };
      xhrSetup(xhr, url);
      expect(xhr.setRequestHeader).toHaveBeenCalledWith('Authorization', `Bearer ${token}`);
    }
  });
});

test('settings name the entry key exchange and our own clock, and differ for titles', () => {
  expect(shakaConfig({ address, kind: 'event' })).toMatchObject({ drm: { servers: { 'org.w3.clearkey': 'https://tv.example/v1/clearkey?asset=match-1' } }, manifest: { defaultPresentationDelay: 1 }, streaming: { liveSync: { enabled: true, targetLatency: 0.3 } } });
  expect(shakaConfig({ address, kind: 'title' })).toMatchObject({ streaming: { lowLatencyMode: false, liveSync: { enabled: false } } });
  expect(hlsConfig({ address, kind: 'event', targetLatency: 2 })).toMatchObject({ emeEnabled: true, lowLatencyMode: true, liveSyncDuration: 2 });
  expect(hlsConfig({ address, kind: 'title' })).not.toHaveProperty('liveSyncDuration');
  expect(JSON.stringify(dashSettings({ address, kind: 'event' }))).toContain('https://tv.example/v1/time?format=xsdate');
});

describe('checkPlaybackSupport', () => {
  const href = 'http://192.0.2.7:8080/watch';
  test('names the https address, or the one the page was told', async () => {
    const context = { isSecureContext: false, location: { href }, navigator: {} };
    expect(await checkPlaybackSupport({ context })).toMatchObject({ ok: false, reason: 'insecure-context', address: 'https://192.0.2.7:8080/watch' });
    const told = await checkPlaybackSupport({ context, secureAddress: 'https://tv.example/' });
    expect(told).toMatchObject({ address: 'https://tv.example/', text: expect.stringContaining('https://tv.example/') as string });
  });
  test('tells a browser without EME from one without Clear Key', async () => {
    const page = { isSecureContext: true, location: { href } };
    expect(await checkPlaybackSupport({ context: { ...page, navigator: {} } })).toMatchObject({ reason: 'no-eme' });
    expect(await checkPlaybackSupport({ context: { ...page, navigator: { requestMediaKeySystemAccess: () => Promise.reject(new Error('no')) } } })).toMatchObject({ reason: 'no-clear-key' });
    expect(await checkPlaybackSupport({ context: { ...page, navigator: { requestMediaKeySystemAccess: () => Promise.resolve({}) } } })).toEqual({ ok: true });
  });
});
