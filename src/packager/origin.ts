// SPDX-License-Identifier: Apache-2.0
/**
 * Serves events and titles to edges at `/origin/{asset}/...` (paths and caching: docs/wire/media.md).
 *
 * DASH low latency: a segment in the making is answered in chunks as they come, up to 4 s before it starts. LL-HLS (RFC 8216bis
 * 6.2.5.2): playlists block on `_HLS_msn` and `_HLS_part`, parts and hinted parts are held until they are there.
 * Invariants: what is cacheable for ever never changes; a response that was cut off by a shutdown ends in an error, so that no
 * cache takes a part for the whole.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { isAssetId, representationId } from '#core/ids.ts';
import type { AssetId } from '#core/ids.ts';
import type { KeyFormat } from '#core/manifest/hls.ts';
import { MAX_POSITION } from '#core/pace/pace-info.ts';
import type { Millis } from '#core/time.ts';
import { encodePaceInfo } from '#crypto/pace-cbor.ts';
import type { Clock, ObjectStore } from '#ports';
import { bodyResponse, IMMUTABLE, LIVE_MANIFEST, mediaType, NO_STORE, problemResponse, TITLE_MANIFEST } from './http.ts';
import { eventFolder, type LiveEvent } from './live-event.ts';
import type { LiveTrack } from './live-track.ts';
import { variantOf, variantTrack } from './track-name.ts';

/** What the origin serves from. */
export type OriginOptions = {
  readonly store: ObjectStore;
  /** The event, restored from the store if need be; undefined for titles and unknown names. */
  readonly event: (asset: AssetId) => Promise<LiveEvent | undefined>;
  readonly clock: Clock;
};

/** Folder of a title in the object store. */
export const titleFolder = (asset: AssetId): string => `titles/${asset}`;

const ROUTE = /^\/origin\/([^/]+)\/(.+)$/;
const REP_FILE = /^([a-z0-9-]+)\/(init\.mp4|playlist\.m3u8|(?:([a-h0-7])\/)?(\d{1,15})(?:\.(\d{1,6}))?\.m4s)$/;
/** Pace information of a segment or part (ETSI TS 104 002 clause 5.7). */
const PACE_FILE = /^([a-z0-9-]{1,32})\/WMPaceInfo\/(\d{1,15})(?:\.\d{1,6})?\.m4s$/;
const TITLE_VARIANT = /^([a-z0-9-]{1,32})\/([a-h0-7])\/(\d{1,15})\.m4s$/;
const TITLE_FILE = /^(?:manifest\.mpd|master\.m3u8|imported-keys\.json|leaf\.json|[a-z0-9-]{1,32}\/(?:init\.mp4|playlist\.m3u8|\d{1,15}\.(?:m4s|vtt)))$/;
/** How long before its start a segment may be asked for, and how long a source may be late with it. */
const AHEAD = 4_000_000;
const MANIFEST_WAIT = 4_000 as Millis;

const absent = (what: string): SealcastError => new SealcastError('not-found', what);

/** The handler of `/origin/{asset}/...`. Every outcome is a response; it never rejects. */
export const createOrigin = (options: OriginOptions): ((request: Request) => Promise<Response>) => {
  const { store, clock } = options;

  return async (request) => {
    try {
      if (request.method !== 'GET' && request.method !== 'HEAD') throw new SealcastError('method-not-allowed', 'media is read with GET and HEAD');
      const url = new URL(request.url);
      const route = ROUTE.exec(url.pathname);
      const name = route?.[1] ?? '';
      const path = route?.[2] ?? '';
      if (!isAssetId(name)) throw absent('no such asset');
      const keyFormat = keyFormatOf(url);
      const event = await options.event(name);
      return event === undefined ? await serveTitle(request, name, path, keyFormat) : await serveEvent(request, url, event, path, keyFormat);
    } catch (error) {
      return problemResponse(error);
    }
  };

  async function serveTitle(request: Request, asset: AssetId, path: string, keyFormat: KeyFormat): Promise<Response> {
    const variant = TITLE_VARIANT.exec(path);
    if (variant !== null) {
      const name = String.fromCharCode(97 + variantOf(variant[2] ?? ''));
      const segment = await store.get(`${titleFolder(asset)}/${variant[1]}/${name}/${variant[3]}.m4s`);
      if (segment === undefined) throw absent('no such variant of the title');
      return withPace(bodyResponse(request, segment, mediaType('.m4s'), IMMUTABLE), Number(variant[3]) % (MAX_POSITION + 1));
    }
    const paced = PACE_FILE.exec(path);
    if (paced !== null) {
      if ((await store.size(`${titleFolder(asset)}/${paced[1]}/a/${paced[2]}.m4s`)) === undefined) throw absent('no such segment with variants');
      return paceResponse(request, Number(paced[2]) % (MAX_POSITION + 1));
    }
    if (!TITLE_FILE.test(path)) throw absent('no such file of the title');
    const stored = keyFormat === 'identity' && path.endsWith('.m3u8') ? path.replace(/\.m3u8$/, '.identity.m3u8') : path;
    const bytes = await store.get(`${titleFolder(asset)}/${stored}`);
    if (bytes === undefined) throw absent('no such file of the title');
    const manifest = /\.(?:mpd|m3u8|json)$/.test(path);
    return bodyResponse(request, bytes, path.startsWith('a') && path.endsWith('.mp4') ? 'audio/mp4' : mediaType(path), manifest ? TITLE_MANIFEST : IMMUTABLE);
  }

  async function serveEvent(request: Request, url: URL, event: LiveEvent, path: string, keyFormat: KeyFormat): Promise<Response> {
    if (path === 'manifest.mpd' || path === 'master.m3u8') {
      if (!(await event.ready(MANIFEST_WAIT, request.signal))) throw absent('the event has no media yet');
      return bodyResponse(request, path === 'manifest.mpd' ? event.mpd() : event.multivariant(keyFormat), mediaType(path), LIVE_MANIFEST);
    }
    if (path === 'leaf.json') {
      const leaf = await store.get(`${eventFolder(event.asset)}/leaf.json`);
      if (leaf === undefined) throw absent('no leaf of the event');
      return bodyResponse(request, leaf, mediaType(path), TITLE_MANIFEST);
    }
    const paced = PACE_FILE.exec(path);
    if (paced !== null) {
      const [track, second] = [0, 1].map((variant) => event.tracks.get(variantTrack(representationId(paced[1]), variant)));
      if (track === undefined || second === undefined) throw absent('no such segment with variants');
      return servePace(request, event, track, Number(paced[2]));
    }
    const match = REP_FILE.exec(path);
    const track = match?.[1] === undefined || match[1].length > 32 ? undefined : event.tracks.get(representationId(match[1]));
    if (match === null || track === undefined) throw absent('no such track or file of the event');
    if (match[2] === 'init.mp4') return bodyResponse(request, track.init, typeOf(track), IMMUTABLE);
    if (match[2] === 'playlist.m3u8') return servePlaylist(request, url, event, track, keyFormat);
    const number = Number(match[4]);
    const marked = event.tracks.has(variantTrack(track.id, 1));
    // Without a variant in its path a marked segment does not exist: an edge that knows of no variants must not serve the first.
    if (marked && match[3] === undefined) throw absent('this track has variants');
    const chosen = match[3] === undefined ? track : event.tracks.get(variantTrack(track.id, variantOf(match[3])));
    if (chosen === undefined) throw absent('no such variant of the track');
    const response = await (match[5] === undefined ? serveSegment(request, event, chosen, number) : servePart(request, event, chosen, number, Number(match[5])));
    return match[3] === undefined ? response : withPace(response, await paceOf(event, number));
  }

  async function servePlaylist(request: Request, url: URL, event: LiveEvent, track: LiveTrack, keyFormat: KeyFormat): Promise<Response> {
    const sequence = directive(url, '_HLS_msn');
    const part = directive(url, '_HLS_part');
    if (part !== undefined && sequence === undefined) throw new SealcastError('bad-request', '_HLS_part without _HLS_msn');
    const { window } = track;
    if (sequence !== undefined && !event.ended) {
      if (sequence > (window.latest ?? Number.POSITIVE_INFINITY) + 2) throw new SealcastError('bad-request', '_HLS_msn is more than two segments ahead');
      const there = (): boolean => {
        const latest = window.latest ?? -1;
        const held = window.partsFrom(sequence, 0);
        if (latest > sequence) return true;
        if (part === undefined || held === undefined) return held?.complete === true;
        return held.complete || held.parts.length > part;
      };
      const waited = await window.until(() => there() || event.ended, ((event.times.segmentDuration * 3) / 1000) as Millis, request.signal);
      if (!waited) throw new SealcastError('origin-unavailable', 'the source is late: no new media within three target durations');
    }
    const text = event.playlist(track.id, keyFormat);
    if (text === undefined) throw absent('the track has no media yet');
    return bodyResponse(request, text, mediaType('.m3u8'), sequence === undefined ? LIVE_MANIFEST : NO_STORE);
  }

  async function servePart(request: Request, event: LiveEvent, track: LiveTrack, number: number, index: number): Promise<Response> {
    const { window } = track;
    const finished = (): boolean => window.partsFrom(number, 0)?.complete === true || (window.latest ?? -1) > number;
    await hold(request, event, track, number, () => window.part(number, index) !== undefined || finished());
    const part = window.part(number, index);
    if (part === undefined) throw absent('no such part');
    return bodyResponse(request, part.bytes, typeOf(track), IMMUTABLE);
  }

  /** An answer that edges keep for ever: only for segments whose position is settled. */
  async function servePace(request: Request, event: LiveEvent, track: LiveTrack, number: number): Promise<Response> {
    await hold(request, event, track, number, () => track.window.position(number) !== 'future');
    if (!['held', 'open'].includes(track.window.position(number))) throw absent('no such segment');
    return paceResponse(request, await paceOf(event, number));
  }

  /** The encoder's position is noted right behind its first chunk. Throws `not-found` where it gives positions, but none here. */
  async function paceOf({ pace }: LiveEvent, number: number): Promise<number> {
    for (let tries = 0; tries < PACE_TRIES && !pace.known(number); tries++) await new Promise<void>((resolve) => void clock.after(PACE_PAUSE, resolve));
    if (!pace.known(number)) throw absent('the encoder gave no position for this segment');
    return pace.of(number);
  }

  async function serveSegment(request: Request, event: LiveEvent, track: LiveTrack, number: number): Promise<Response> {
    const { window } = track;
    await hold(request, event, track, number, () => window.position(number) !== 'future');
    const place = window.position(number);
    if (place === 'held') {
      const bytes = await window.segment(number);
      if (bytes === undefined) throw absent('no such segment');
      return bodyResponse(request, bytes, typeOf(track), IMMUTABLE);
    }
    if (place !== 'open') throw absent(place === 'gap' ? 'the segment never arrived' : 'no such segment');
    const headers = { 'content-type': typeOf(track), 'cache-control': IMMUTABLE };
    return new Response(request.method === 'HEAD' ? null : segmentStream(track, number, request.signal, ((event.times.segmentDuration * 3) / 1000) as Millis), {
      status: 200,
      headers,
    });
  }

  /** Waits for media that is next in line; throws `not-found` for what is too far ahead or does not come. */
  async function hold(request: Request, event: LiveEvent, track: LiveTrack, number: number, there: () => boolean): Promise<void> {
    if (there()) return;
    const start = number * event.times.segmentDuration;
    const now = clock.now();
    if (event.ended || start > now + AHEAD || start + event.times.segmentDuration < now - AHEAD) throw absent('no such segment');
    const patience = Math.max(0, start + event.times.segmentDuration + AHEAD - now) / 1000;
    const waited = await track.window.until(() => there() || event.ended, patience as Millis, request.signal);
    if (!waited || !there()) throw absent('the segment did not arrive in time');
  }
};

/** How long a position may be behind its chunk. */
const PACE_TRIES = 20;
const PACE_PAUSE = 5 as Millis;
/** `WMPaceInfoEgress`: for edges, which pass it to nobody. */
const withPace = (response: Response, position: number): Response => {
  response.headers.set('WMPaceInfoEgress', encodeBase64url(encodePaceInfo({ kind: 'discrete', position })));
  return response;
};
const paceResponse = (request: Request, position: number): Response => bodyResponse(request, encodePaceInfo({ kind: 'discrete', position }), 'application/cbor', IMMUTABLE);

/** The open segment as it grows. */
const segmentStream = (track: LiveTrack, number: number, signal: AbortSignal, patience: Millis): ReadableStream<Uint8Array> => {
  const { window } = track;
  const gone = new AbortController();
  signal.addEventListener('abort', () => gone.abort(), { once: true });
  let next = 0;
  let tail: readonly { readonly bytes: Uint8Array }[] | undefined;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (tail === undefined) {
          const more = (): boolean => {
            const held = window.partsFrom(number, next);
            return held === undefined || held.complete || held.parts.length > 0;
          };
          const waited = await window.until(more, patience, gone.signal);
          const held = window.partsFrom(number, next);
          if (!waited || held === undefined) {
            controller.error(new SealcastError('origin-unavailable', 'the segment was not finished'));
            return;
          }
          // From here on the reader owns the rest, however slow it is.
          if (held.complete) tail = held.parts;
          else {
            for (const part of held.parts) controller.enqueue(part.bytes);
            next += held.parts.length;
            return;
          }
        }
        for (const part of tail) controller.enqueue(part.bytes);
        controller.close();
      },
      cancel() {
        gone.abort();
      },
    },
    { highWaterMark: 1 },
  );
};

const typeOf = (track: LiveTrack): string => (track.source.media.kind === 'audio' ? 'audio/mp4' : 'video/mp4');

const keyFormatOf = (url: URL): KeyFormat => {
  const value = url.searchParams.get('keyformat');
  if (value === null) return 'clearkey';
  if (value !== 'identity') throw new SealcastError('bad-request', 'keyformat may only be identity');
  return 'identity';
};

const directive = (url: URL, name: string): number | undefined => {
  const value = url.searchParams.get(name);
  if (value === null) return undefined;
  if (!/^\d{1,15}$/.test(value)) throw new SealcastError('bad-request', `${name} must be a whole number`);
  return Number(value);
};
