// SPDX-License-Identifier: Apache-2.0
/**
 * Asks the origin for one object and turns its answer into checked parts.
 *
 * RFC 9110 sections 8 and 15. The request carries nothing of the viewer's: no token, no cookie, no range, no address.
 * Invariant: what the origin says is data: unknown statuses become `origin-unavailable`, header values are bounded,
 * and a length is believed only as far as the bytes bear it out.
 */
import type { ErrorCode } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import { type Freshness, freshnessOf } from '#edge/freshness.ts';
import type { Fetch } from '#ports';

/** What is worth keeping of an origin's header fields. */
export type OriginHead = {
  readonly type: string;
  readonly cacheControl: string | null;
  readonly etag: string | null;
  readonly lastModified: string | null;
};

/** An origin's answer in checked parts; `refused` holds the code the client gets. */
export type OriginAnswer =
  | {
      readonly kind: 'object';
      readonly head: OriginHead;
      readonly freshness: Freshness;
      /** Seconds it was already old when it came. */
      readonly age: number;
      readonly length: number | undefined;
      readonly body: ReadableStream<Uint8Array> | null;
    }
  | { readonly kind: 'unchanged'; readonly freshness: Freshness; readonly age: number }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly detail: string };

/** Asks for `key`; `etag` makes it conditional. Rejects when the origin cannot be reached. */
export type Origin = (request: { readonly key: string; readonly etag: string | null; readonly signal: AbortSignal; readonly now: () => Micros }) => Promise<OriginAnswer>;

const MAX_HEADER = 512;
const bounded = (headers: Headers, name: string): string | null => {
  const value = headers.get(name);
  return value !== null && value.length <= MAX_HEADER ? value : null;
};
const TYPES: Readonly<Record<string, string>> = {
  mpd: 'application/dash+xml',
  m3u8: 'application/vnd.apple.mpegurl',
  mp4: 'video/mp4',
  m4s: 'video/mp4',
  vtt: 'text/vtt',
  json: 'application/json',
};
/** Type of a file whose origin names none. `nosniff` would leave it unplayable. */
const typeOf = (key: string): string => TYPES[/\.([a-z0-9]+)(?:\?|$)/.exec(key)?.[1] ?? ''] ?? 'application/octet-stream';

const lengthOf = (headers: Headers): number | undefined => {
  const encoding = headers.get('content-encoding');
  // fetch hands out decoded bytes and leaves the length of the encoded ones.
  if (encoding !== null && encoding.toLowerCase() !== 'identity') return undefined;
  const text = headers.get('content-length');
  return text !== null && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
};

const refusal = (status: number): { code: ErrorCode; detail: string } => {
  if (status === 404 || status === 410) return { code: 'not-found', detail: 'the origin does not have this object' };
  if (status === 425) return { code: 'too-early', detail: 'the origin has not released this object yet' };
  if (status === 400) return { code: 'bad-request', detail: 'the origin does not accept this request' };
  return { code: 'origin-unavailable', detail: `the origin answered ${status}` };
};

/** `base`: URL before `/{asset}/{file}`, without a slash at its end. `authorization`: the edge's credential at the origin. */
export const createOrigin =
  (options: { fetch: Fetch; base: string; authorization?: string | undefined }): Origin =>
  async ({ key, etag, signal, now }) => {
    const headers = new Headers({ accept: '*/*', 'accept-encoding': 'identity' });
    if (etag !== null) headers.set('if-none-match', etag);
    if (options.authorization !== undefined) headers.set('authorization', options.authorization);
    const requested = now();
    const response = await options.fetch(new Request(`${options.base}/${key}`, { headers, signal, redirect: 'manual' }));
    const cacheControl = bounded(response.headers, 'cache-control');
    const ageText = response.headers.get('age');
    const freshness = freshnessOf({ cacheControl, age: ageText }, requested);
    const age = ageText !== null && /^[0-9]{1,10}$/.test(ageText) ? Number(ageText) : 0;
    if (response.status === 304 && etag !== null) return { kind: 'unchanged', freshness, age };
    if (response.status !== 200) {
      await response.body?.cancel();
      return { kind: 'refused', ...refusal(response.status) };
    }
    return {
      kind: 'object',
      head: {
        type: bounded(response.headers, 'content-type') ?? typeOf(key),
        cacheControl,
        etag: bounded(response.headers, 'etag'),
        lastModified: bounded(response.headers, 'last-modified'),
      },
      freshness,
      age,
      length: lengthOf(response.headers),
      body: response.body as ReadableStream<Uint8Array> | null,
    };
  };
