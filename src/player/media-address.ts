// SPDX-License-Identifier: Apache-2.0
/**
 * Where an asset's manifests, keys and clock are, and which requests may carry the media token.
 *
 * docs/wire/media.md. Invariant: the token goes to the asset's own media folder on the service's own origin, in the Authorization
 * header, and nowhere else: a manifest that names a foreign address does not get it.
 */
import type { Session } from '#client/session-types.ts';

/** Addresses of one asset, and the token for the requests that may have it. */
export type MediaAddress = {
  readonly dash: string;
  readonly hls: string;
  /** The W3C Clear Key exchange: answers the entry key. */
  readonly clearKey: string;
  readonly time: string;
  /** Value of the Authorization header for a request to `url`; undefined if it must not have one. */
  authorization(url: string): string | undefined;
};

/** Addresses of the session's asset at `baseUrl`, e.g. `https://tv.example/`. */
export const mediaAddress = (baseUrl: string, session: Pick<Session, 'asset' | 'mediaToken'>): MediaAddress => {
  const folder = new URL(`/media/${session.asset}/`, baseUrl).href;
  return {
    dash: `${folder}manifest.mpd`,
    hls: `${folder}master.m3u8`,
    clearKey: new URL(`/v1/clearkey?asset=${session.asset}`, baseUrl).href,
    time: new URL('/v1/time?format=xsdate', baseUrl).href,
    authorization: (url) => (new URL(url, folder).href.startsWith(folder) ? `Bearer ${session.mediaToken}` : undefined),
  };
};
