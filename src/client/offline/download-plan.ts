// SPDX-License-Identifier: Apache-2.0
/**
 * What there is to fetch of a title, and which requests of players its files answer.
 *
 * docs/wire/media.md. Invariant: the plan follows from the stored manifest alone, so that a restart finds the same one.
 */
import type { AssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { type Mpd, type MpdTrack, parseMpd } from '../mpd.ts';
import type { DownloadFiles } from './download-files.ts';

/** Names of files that every download has, or may have. */
export const MPD = 'manifest.mpd';
export const HLS = 'master.m3u8';
/** Beside the media: the answer that players get in place of the Clear Key exchange. */
export const ENTRY_KEY = 'clearkey.json';

/** A file to fetch: where it is, when it is needed, and how long it is about to be. */
export type PlannedFile = { readonly path: string; readonly at: Micros; readonly expected: number };
/** The files of a download, in the order in which they are needed. */
export type DownloadPlan = { readonly mpd: Mpd; readonly files: readonly PlannedFile[] };

const TYPES: Readonly<Record<string, string>> = { json: 'application/json', mpd: 'application/dash+xml', m3u8: 'application/vnd.apple.mpegurl', vtt: 'text/vtt' };

/** Content-Type of a file of a download. */
export const mediaTypeOf = (path: string): string => TYPES[path.slice(path.lastIndexOf('.') + 1)] ?? 'video/mp4';

/** What is downloaded unless the app chooses: the lowest video and the first audio. */
export const lowestTracks = (tracks: readonly MpdTrack[]): readonly MpdTrack[] => {
  const video = tracks.filter(({ kind }) => kind === 'video').sort((a, b) => a.bandwidth - b.bandwidth)[0];
  const audio = tracks.find(({ kind }) => kind === 'audio');
  return [video, audio].filter((track) => track !== undefined);
};

/** Title and file that a request of a player is for: media, or the Clear Key exchange; empty for all others. */
export const offlinePlace = ({ pathname, searchParams }: URL): readonly [title: string, path: string] => {
  if (pathname === '/v1/clearkey') return [searchParams.get('asset') ?? '', ENTRY_KEY];
  const [, title = '', path = ''] = /^\/media\/([^/]+)\/(.+)$/.exec(pathname) ?? [];
  return [title, path];
};

/** Files of the chosen tracks, in the order in which they are played. */
const filesOf = (mpd: Mpd, hls: boolean): readonly PlannedFile[] => {
  const media = mpd.tracks.flatMap((track) => {
    const { segmentDuration, startNumber } = track;
    const expected = (track.bandwidth * segmentDuration) / 8e6;
    const segments = Array.from({ length: (track.endNumber ?? startNumber) - startNumber }, (_, index) => ({ path: track.segment(startNumber + index), at: (index * segmentDuration) as Micros, expected }));
    return [...(track.init === undefined ? [] : [{ path: track.init, at: 0 as Micros, expected: 0 }]), ...(hls ? [{ path: `${track.id}/playlist.m3u8`, at: 0 as Micros, expected: 0 }] : []), ...segments];
  });
  return [...media].sort((a, b) => a.at - b.at || a.expected - b.expected);
};

/** The plan of a title whose manifest is there. */
export const readPlan = async (files: DownloadFiles, title: AssetId): Promise<DownloadPlan | undefined> => {
  const [text, hls] = [await files.read(title, MPD), files.length(title, HLS)];
  if (text === undefined) return undefined;
  const mpd = parseMpd(new TextDecoder().decode(text));
  return { mpd, files: filesOf(mpd, hls !== undefined) };
};
