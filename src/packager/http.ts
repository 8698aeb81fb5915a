// SPDX-License-Identifier: Apache-2.0
/**
 * Answers of the packager's two handlers: problem documents (RFC 9457) and media with the caching rules of docs/wire/media.md.
 *
 * Invariant: an error or an answer that was held is never stored by a cache.
 */
import { problemOf } from '#core/errors.ts';

/** The problem document of a fault, never cached. */
export const problemResponse = (error: unknown): Response => {
  const problem = problemOf(error);
  return new Response(JSON.stringify(problem), { status: problem.status, headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' } });
};

/** Headers, finished segments and parts never change. */
export const IMMUTABLE = 'public, max-age=31536000, immutable';
/** Manifests of events: as good as new for a second. */
export const LIVE_MANIFEST = 'public, max-age=1';
/** Manifests of titles change only when a title is packed again. */
export const TITLE_MANIFEST = 'public, max-age=60';
/** Held answers are for the one who waited. */
export const NO_STORE = 'no-store';

/** A GET or HEAD answer with known bytes. */
export const bodyResponse = (request: Request, body: Uint8Array | string, type: string, caching: string): Response => {
  const bytes = typeof body === 'string' ? new TextEncoder().encode(body) : body;
  return new Response(request.method === 'HEAD' ? null : (bytes as Uint8Array<ArrayBuffer>), {
    status: 200,
    headers: { 'content-type': type, 'cache-control': caching, 'content-length': String(bytes.length) },
  });
};

/** Content type by file name; segments of sound are named `audio/mp4` by their callers. */
export const mediaType = (path: string): string => {
  if (path.endsWith('.mpd')) return 'application/dash+xml';
  if (path.endsWith('.m3u8')) return 'application/vnd.apple.mpegurl';
  if (path.endsWith('.vtt')) return 'text/vtt';
  if (path.endsWith('.json')) return 'application/json';
  return 'video/mp4';
};
