// SPDX-License-Identifier: Apache-2.0
/**
 * Manifests of a download: our own, without the renditions that were not downloaded.
 *
 * docs/wire/media.md. A player that has no connection must not be offered what is not there.
 * Invariant: what stays is byte for byte the packager's.
 */
import { representationId } from '#core/ids.ts';
import type { RepresentationId } from '#core/ids.ts';

const REPRESENTATION = /[ \t]*<Representation\b[^>]*?(?:\/>|>[\s\S]*?<\/Representation>)\n?/g;
const ADAPTATION_SET = /[ \t]*<AdaptationSet\b[^>]*>[\s\S]*?<\/AdaptationSet>\n?/g;

/** An MPD with only these representations; sets that have none left are taken out. */
export const mpdWithOnly = (mpd: string, kept: ReadonlySet<RepresentationId>): string =>
  mpd
    .replace(REPRESENTATION, (text) => (kept.has(representationId(/\bid="([^"]*)"/.exec(text.slice(0, text.indexOf('>')))?.[1])) ? text : ''))
    .replace(ADAPTATION_SET, (text) => (/<Representation\b/.test(text) ? text : ''));

const playlistId = (uri: string | undefined): RepresentationId | undefined => {
  const id = uri?.split('/')[0];
  return id === undefined ? undefined : representationId(id);
};

/** A multivariant playlist with only these renditions. */
export const playlistWithOnly = (playlist: string, kept: ReadonlySet<RepresentationId>): string => {
  const lines = playlist.split('\n');
  const out: string[] = [];
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? '';
    if (line.startsWith('#EXT-X-STREAM-INF:')) {
      const uri = lines[index + 1] ?? '';
      if (kept.has(playlistId(uri) as RepresentationId)) out.push(line, uri);
      index += 1;
    } else if (!line.startsWith('#EXT-X-MEDIA:') || kept.has(playlistId(/URI="([^"]*)"/.exec(line)?.[1]) as RepresentationId)) out.push(line);
  }
  return out.join('\n');
};
