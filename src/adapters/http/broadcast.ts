// SPDX-License-Identifier: Apache-2.0
/**
 * Reads a stream that somebody publishes: one long answer (MPEG-TS, fragmented MP4, FLV) or an HLS playlist (RFC 8216).
 *
 * The publisher is a suspect: its playlists may name any address. Only http and https are followed, addresses of private
 * networks only where the operator's own address is in one, and sizes and times are bounded. Encrypted playlists are refused.
 * Invariant: bytes come in the order of the stream; a segment is read once.
 */
import { SealcastError } from '#core/errors.ts';
import type { Clock, Fetch } from '#ports';
import type { Millis } from '#core/time.ts';

const PLAYLIST_LIMIT = 1 << 20;
const SEGMENT_LIMIT = 64 << 20;
const HOPS = 3;
/** A playlist without news for so long is over. */
const PATIENCE = 30_000;
const PRIVATE = /^(?:localhost|.*\.localhost|127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|169\.254\.|0\.|\[|.*\.(?:local|internal)$)/i;

const isPrivate = (address: URL): boolean => PRIVATE.test(address.hostname);

const refuse = (rule: string): never => {
  throw new SealcastError('media-unsupported', rule);
};

/** An address of a playlist that may be asked. Exported for tests. */
export const allowedAddress = (text: string, base: URL): URL => {
  let address: URL;
  try {
    address = new URL(text, base);
  } catch {
    return refuse('the playlist names something that is no address');
  }
  if (address.protocol !== 'http:' && address.protocol !== 'https:') return refuse('the playlist names an address that is neither http nor https');
  if (isPrivate(address) && !isPrivate(base)) return refuse('the playlist of a public address names one in a private network');
  return address;
};

/** What a playlist says: variants, or segments with their numbers. Throws `media-unsupported`. */
export const readPlaylist = (text: string): { readonly variants: readonly string[]; readonly segments: readonly { readonly number: number; readonly uri: string }[]; readonly map?: string; readonly ended: boolean } => {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  if (lines[0] !== '#EXTM3U') return refuse('the answer is no playlist');
  const variants: string[] = [];
  const segments: { number: number; uri: string }[] = [];
  let number = 0;
  let map: string | undefined;
  let isVariant = false;
  for (const line of lines.slice(1)) {
    const sequence = /^#EXT-X-MEDIA-SEQUENCE:(\d{1,15})$/.exec(line);
    if (sequence !== null) number = Number(sequence[1]);
    else if (line.startsWith('#EXT-X-STREAM-INF')) isVariant = true;
    else if (/^#EXT-X-KEY:.*METHOD=(?!NONE)/.test(line)) return refuse('the playlist is encrypted; capture what a player shows instead');
    else if (line.startsWith('#EXT-X-BYTERANGE')) return refuse('the playlist names parts of files; capture it with a player instead');
    else if (line.startsWith('#EXT-X-MAP:')) map = /URI="([^"]{1,2048})"/.exec(line)?.[1];
    else if (line !== '' && !line.startsWith('#')) {
      if (isVariant) variants.push(line);
      else segments.push({ number: number++, uri: line });
      isVariant = false;
    }
  }
  return { variants, segments, ...(map !== undefined && { map }), ended: lines.includes('#EXT-X-ENDLIST') };
};

const bodyOf = async (response: Response, limit: number): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > limit) return refuse('the stream sends more at once than media does');
    parts.push(part);
  }
  return new Uint8Array(Buffer.concat(parts));
};

/** The bytes of the stream at `address`, from now until it ends or `signal` aborts. Throws `media-unsupported`, `service-unreachable`. */
export async function* readBroadcast(options: { readonly address: string; readonly fetch: Fetch; readonly clock: Clock; readonly signal: AbortSignal }): AsyncGenerator<Uint8Array> {
  const { fetch: ask, clock, signal } = options;
  const get = async (url: URL, hops = 0): Promise<Response> => {
    let response: Response;
    try {
      response = await ask(new Request(url, { signal, redirect: 'manual' }));
    } catch (cause) {
      throw new SealcastError('service-unreachable', 'the stream cannot be reached', { cause });
    }
    if (response.ok) return response;
    await response.body?.cancel();
    const elsewhere = response.headers.get('location');
    // A redirection is one more address that a stranger names.
    if (response.status >= 300 && response.status < 400 && elsewhere !== null && hops < HOPS) return get(allowedAddress(elsewhere, url), hops + 1);
    throw new SealcastError('service-unreachable', `the stream answers ${response.status}`);
  };
  let url = allowedAddress(options.address, new URL(options.address));
  for (let hop = 0; ; hop++) {
    const response = await get(url);
    const isPlaylist = url.pathname.endsWith('.m3u8') || /mpegurl/i.test(response.headers.get('content-type') ?? '');
    if (!isPlaylist) {
      for await (const part of response.body ?? []) yield part;
      return;
    }
    const { variants } = readPlaylist(new TextDecoder().decode(await bodyOf(response, PLAYLIST_LIMIT)));
    const [variant] = variants;
    if (variant === undefined) break;
    if (hop >= HOPS) return refuse('the playlist names playlists without end');
    url = allowedAddress(variant, url);
  }
  let next: number | undefined;
  let map: string | undefined;
  let heard = clock.monotonic();
  while (!signal.aborted) {
    const list = readPlaylist(new TextDecoder().decode(await bodyOf(await get(url), PLAYLIST_LIMIT)));
    // Behind the newest three: what is older is not on air any more.
    const fresh = list.segments.filter(({ number }) => (next === undefined ? number >= (list.segments.at(-3)?.number ?? 0) : number >= next));
    for (const { number, uri } of fresh) {
      if (list.map !== undefined && list.map !== map) {
        map = list.map;
        yield await bodyOf(await get(allowedAddress(map, url)), SEGMENT_LIMIT);
      }
      yield await bodyOf(await get(allowedAddress(uri, url)), SEGMENT_LIMIT);
      next = number + 1;
      heard = clock.monotonic();
    }
    if (list.ended || clock.monotonic() - heard > PATIENCE) return;
    await new Promise<void>((resolve) => {
      const cancel = clock.after(1000 as Millis, resolve);
      signal.addEventListener('abort', () => {
        cancel();
        resolve();
      }, { once: true });
    });
  }
}
