// SPDX-License-Identifier: Apache-2.0
/**
 * Recommended settings of the three stock players for protected, low-latency events and for titles.
 *
 * All of them set up EME with the entry key from /v1/clearkey; content keys come through `attachProtection`. Live settings aim at
 * `targetLatency` from camera clock to picture; a player that fell behind catches up at 1.05 times normal speed.
 * Invariant: no player is told a content key or a future key id: hls.js stops for good at the first refused licence.
 */
import type { MediaAddress } from './media-address.ts';

const CLEAR_KEY = 'org.w3.clearkey';

/** What kind of timeline is played, and how close to the camera. */
export type SettingsOptions = {
  readonly address: MediaAddress;
  readonly kind: 'event' | 'title';
  /** Events: distance of the picture to the camera in seconds. Default 1.5. */
  readonly targetLatency?: number;
  /** Events: the picture is kept at its instant from outside (`controlPlayout`), so the player's own catching up stays off. */
  readonly paced?: boolean;
};

const DEFAULT_LATENCY = 1.5;

/** Shaka measures liveSync from the end of its seek range, which is this much closer to the camera than the wanted picture. */
const SHAKA_LIVE_SYNC = 0.3;
/** Chunk duration: the newest media that can be had is this old. */
const CHUNK_SECONDS = 0.2;

/** For `player.configure(...)` of Shaka Player 5. Media requests also need `authorizeShaka`. */
export const shakaConfig = ({ address, kind, targetLatency = DEFAULT_LATENCY, paced = false }: SettingsOptions): Record<string, unknown> => ({
  drm: { servers: { [CLEAR_KEY]: address.clearKey } },
  ...(kind === 'event' ? { manifest: { defaultPresentationDelay: Math.max(0.3, targetLatency - SHAKA_LIVE_SYNC - CHUNK_SECONDS), dash: { ignoreSuggestedPresentationDelay: true, ignoreMinBufferTime: true } } } : {}),
  streaming: {
    lowLatencyMode: kind === 'event',
    // Waiting for a key looks like a stall; seeking over it would lose picture that opens a moment later.
    stallEnabled: false,
    liveSync: { enabled: kind === 'event' && !paced, targetLatency: SHAKA_LIVE_SYNC, targetLatencyTolerance: 0.2, maxPlaybackRate: 1.05, minPlaybackRate: 0.95 },
  },
});

/** The part of Shaka's networking engine that carries the token. */
export type ShakaNetworking = { registerRequestFilter(filter: (type: number, request: { uris: string[]; headers: Record<string, string> }) => void): void };

/** Adds the media token to Shaka's media requests: `authorizeShaka(player.getNetworkingEngine(), address)`. */
export const authorizeShaka = (networking: ShakaNetworking, address: MediaAddress): void =>
  networking.registerRequestFilter((_type, request) => {
    const value = address.authorization(request.uris[0] ?? '');
    if (value !== undefined) request.headers['Authorization'] = value;
  });

/** For `new Hls(...)` of hls.js 1.7. Complete: media requests carry the token through `xhrSetup` and `fetchSetup`. */
export const hlsConfig = ({ address, kind, targetLatency = DEFAULT_LATENCY, paced = false }: SettingsOptions): Record<string, unknown> => ({
  emeEnabled: true,
  drmSystems: { [CLEAR_KEY]: { licenseUrl: address.clearKey } },
  lowLatencyMode: kind === 'event',
  ...(kind === 'event' ? { liveSyncDuration: targetLatency, liveMaxLatencyDuration: paced ? Number.POSITIVE_INFINITY : Math.max(6, 4 * targetLatency), maxLiveSyncPlaybackRate: paced ? 1 : 1.05 } : {}),
  // Nudging cannot cure a missing key, and giving up would be final when the key comes after an outage.
  nudgeMaxRetry: 1_000_000,
  xhrSetup(xhr: XMLHttpRequest, url: string) {
    const value = address.authorization(url);
    if (value === undefined) return;
    xhr.open('GET', url, true);
    xhr.setRequestHeader('Authorization', value);
  },
  fetchSetup(context: { url: string }, init: RequestInit) {
    const value = address.authorization(context.url);
    const headers = new Headers(init.headers);
    if (value !== undefined) headers.set('Authorization', value);
    return new Request(context.url, { ...init, headers });
  },
});

/** For `player.updateSettings(...)` of dash.js 5. Media requests also need `authorizeDash`, keys `dashProtection`. */
export const dashSettings = ({ address, kind, targetLatency = DEFAULT_LATENCY, paced = false }: SettingsOptions): Record<string, unknown> => ({
  streaming: {
    // The built-in default asks a public host for the time; ours has milliseconds.
    utcSynchronization: { enabled: true, useManifestDateHeaderTimeSource: false, defaultTimingSource: { scheme: 'urn:mpeg:dash:utc:http-xsdate:2014', value: address.time } },
    ...(kind === 'event' ? { delay: { liveDelay: targetLatency, useSuggestedPresentationDelay: false }, liveCatchup: { enabled: !paced, maxDrift: 4, playbackRate: { min: -0.05, max: 0.05 } } } : {}),
  },
});

/** For `player.setProtectionData(...)` of dash.js. */
export const dashProtection = ({ address }: Pick<SettingsOptions, 'address'>): Record<string, unknown> => ({ [CLEAR_KEY]: { serverURL: address.clearKey } });

type DashRequest = { url: string; headers?: Record<string, string> };
/** The part of dash.js' MediaPlayer that carries the token. */
export type DashInterceptors = { addRequestInterceptor(interceptor: (request: DashRequest) => Promise<DashRequest>): void };

/** Adds the media token to dash.js' media requests. */
export const authorizeDash = (player: DashInterceptors, address: MediaAddress): void =>
  player.addRequestInterceptor(async (request) => {
    const value = address.authorization(request.url);
    return value === undefined ? request : { ...request, headers: { ...request.headers, Authorization: value } };
  });
