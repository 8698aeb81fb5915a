// SPDX-License-Identifier: Apache-2.0
/**
 * Which track an ingest request belongs to, from its path alone (DASH-IF Live Media Ingest 1.1, section 6; ffmpeg's names).
 *
 * The segment number in a name is read past and never used: ffmpeg starts at 1 at every start. Time comes from `tfdt`.
 * Invariant: whatever a source calls its track, the result is a safe representation id or nothing.
 */
import { representationId } from '#core/ids.ts';
import type { RepresentationId } from '#core/ids.ts';

/** What an ingest path names. */
export type IngestTarget =
  | { readonly kind: 'track'; readonly track: RepresentationId; /** From a leading folder `a`, `b`, ... or `0`, `1`, ... */ readonly variant?: number }
  /** Manifests a source writes for others; accepted and not used. */
  | { readonly kind: 'manifest' }
  | { readonly kind: 'unknown' };

const MEDIA = /\.(?:cmf[vatm]|m4[sva]|mp4|isml|ismv|isma)$/i;
const MANIFEST = /\.(?:mpd|m3u8|ism|tmp)$/i;
const STREAMS = /^streams\((.+)\)$/i;
/** `init-X`, `X-init`, `chunk-X-12`, `X-12`, `X_12`: what is left is X. */
const HEADER = /^(?:init|header)[-_.](.+)$|^(.+)[-_.](?:init|header)$/i;
const CHUNK = /^(?:chunk|seg|segment)[-_.](.+?)[-_.]\d+$|^(.+?)[-_.]\d{3,}$/i;
const NUMBER = /^(?:init|header|(?:chunk|seg|segment)?[-_]?\d+)$/i;

const VARIANT = /^(?:([a-h])|([0-7]))\/(.+)$/i;

/** The variant that a folder `a`..`h` or `0`..`7` names. */
export const variantOf = (folder: string): number => (/[0-7]/.test(folder) ? Number(folder) : folder.toLowerCase().charCodeAt(0) - 97);

/** Under what name a variant of a track is kept. No source can choose it: track names have no dot. The first has the track's own. */
export const variantTrack = (track: RepresentationId, variant: number): RepresentationId =>
  variant === 0 ? track : (`${track}.${String.fromCharCode(97 + variant)}` as RepresentationId);

/** Whether a name is that of a variant other than the first, which manifests do not list. */
export const isVariantTrack = (name: string): boolean => name.includes('.');

/**
 * `path` is what follows `/ingest/{event}/`, percent-decoded. A leading folder is a variant's (DASH-IF watermarking ingest)
 * where the rest names the track by itself; else it may be the track's name.
 */
export const ingestTarget = (path: string): IngestTarget => {
  const [, letter, digit, rest] = VARIANT.exec(path) ?? [];
  const inner = rest === undefined ? undefined : trackTarget(rest);
  return inner?.kind === 'track' ? { ...inner, variant: variantOf(letter ?? digit ?? '') } : trackTarget(path);
};

const trackTarget = (path: string): IngestTarget => {
  const parts = path.split('/').filter((part) => part !== '');
  for (const part of parts) {
    const streams = STREAMS.exec(part);
    if (streams?.[1] !== undefined) return named(streams[1].replace(MEDIA, ''));
  }
  const last = parts.at(-1);
  if (last === undefined) return { kind: 'unknown' };
  if (MANIFEST.test(last)) return { kind: 'manifest' };
  if (!MEDIA.test(last)) return { kind: 'unknown' };
  const stem = last.replace(MEDIA, '');
  if (NUMBER.test(stem)) return named(parts.at(-2) ?? '');
  const match = HEADER.exec(stem) ?? CHUNK.exec(stem);
  return named(match?.[1] ?? match?.[2] ?? stem);
};

const named = (name: string): IngestTarget => {
  const safe = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
    .slice(0, 32);
  return safe === '' ? { kind: 'unknown' } : { kind: 'track', track: representationId(safe) };
};
