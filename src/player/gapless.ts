// SPDX-License-Identifier: Apache-2.0
/**
 * Plays audio titles one after the other without a gap: their decrypted frames follow each other in one SourceBuffer.
 *
 * W3C Media Source Extensions, section 3.5.8 (append window) and 3.5.9 (timestampOffset); B112. The decoder runs through, so the next
 * track begins with the sample after the last one of the track before. Each title keeps its own session, licence and usage record.
 * Invariant: a title is asked for while the one before it still plays; what lies behind its announced end is cut off.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import { unprotectInit } from '#core/cenc/protect-init.ts';
import type { ContentKey } from '#core/ids.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { type Micros, microsFromTicks } from '#core/time.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import { runtimeClock } from '#client/clock.ts';
import { parseMpd } from '#client/mpd.ts';
import type { Session } from '#client/session-types.ts';
import { createTrackFeed } from '#client/track-feed.ts';
import type { Fetch } from '#ports';
import { mediaAddress } from './media-address.ts';

/** What to play. */
export type GaplessOptions = {
  readonly audio: HTMLMediaElement;
  readonly baseUrl: string;
  /** The session of the title with this index, asked for in turn and ahead of need; undefined after the last one. */
  readonly next: (index: number) => Promise<Session | undefined>;
  /** Default: the page's, behind which a service worker may stand. */
  readonly fetch?: Fetch;
  /** A title's first sample is heard. */
  readonly onTitle?: (index: number, session: Session) => void;
};

/** A running row of titles. */
export type GaplessPlayback = {
  /** Resolves at the end of the last title; rejects if one cannot be played. */
  readonly done: Promise<void>;
  /** Which title is heard, and where in it, µs. */
  at(): { readonly index: number; readonly mediaTime: Micros } | undefined;
  stop(): Promise<void>;
};

type Placed = { readonly session: Session; readonly from: number; to: number };

/** Clear media ahead of the playhead, s; behind it nothing is needed. */
const AHEAD = 30;
const TICK_MILLIS = 100;
const MAX_KEYS = 64;

/** Starts at once. */
export const playGapless = (options: GaplessOptions): GaplessPlayback => {
  const { audio } = options;
  const fetchMedia: Fetch = options.fetch ?? ((request) => fetch(request));
  const stopping = new AbortController();
  const { signal } = stopping;
  const cipher = createSampleCipher();
  const placed: Placed[] = [];
  const source = new MediaSource();
  const objectUrl = URL.createObjectURL(source);
  let heard = -1;

  const wait = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

  const updated = (buffer: SourceBuffer, start: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      const failed = (): void => reject(new Error('the browser could not read decrypted audio'));
      buffer.addEventListener('error', failed, { once: true });
      buffer.addEventListener(
        'updateend',
        () => {
          buffer.removeEventListener('error', failed);
          resolve();
        },
        { once: true },
      );
      start();
    });

  const append = async (buffer: SourceBuffer, bytes: Uint8Array): Promise<void> => {
    if (!signal.aborted) await updated(buffer, () => buffer.appendBuffer(bytes as Uint8Array<ArrayBuffer>));
  };

  /** Appends one title behind `from` (s) and answers where it ends. */
  const appendTitle = async (session: Session, from: number, bufferOf: (type: string) => SourceBuffer): Promise<number> => {
    const { dash, authorization } = mediaAddress(options.baseUrl, session);
    const answer = await fetchMedia(new Request(dash, { headers: { authorization: authorization(dash) ?? '' }, signal }));
    if (!answer.ok) throw new Error(`the manifest answered ${answer.status}`);
    const mpd = parseMpd(await answer.text());
    const track = mpd.tracks.find(({ kind }) => kind === 'audio');
    if (track === undefined || mpd.duration === undefined) throw new Error('a title has no sound');
    const feed = createTrackFeed({ session, track, manifest: dash, fetch: fetchMedia, clock: runtimeClock, signal, follow: 'chunks', startNumber: track.startNumber, onSegment: () => undefined, onError: () => undefined });
    const init = await feed.init();
    const description = 'kind' in init ? undefined : init.tracks[0];
    if ('kind' in init || description === undefined) throw new Error('a title has no header');
    const buffer = bufferOf(`audio/mp4; codecs="${track.codecs}"`);
    const place: Placed = { session, from, to: from + mpd.duration / 1e6 };
    placed.push(place);
    // The end first: an append window must never be empty.
    buffer.appendWindowEnd = place.to;
    buffer.appendWindowStart = from;
    buffer.timestampOffset = from;
    await append(buffer, unprotectInit(init.bytes));
    const keys = new Map<string, ContentKey>();
    const end = await feed.run(async ({ bytes }) => {
      const at = microsFromTicks(onlyTrackFragment(parseFragment(bytes, [description])).baseMediaDecodeTime, description.timescale);
      while (!signal.aborted && from + at / 1e6 - audio.currentTime > AHEAD) await wait(TICK_MILLIS);
      for (;;) {
        const result = await cipher.decryptFragment(bytes, [description], (kid) => keys.get(encodeHex(kid)));
        if ('clear' in result) return append(buffer, result.clear);
        const key = await session.key(result.missing, at);
        if (key === undefined) throw new Error(session.notice ?? 'a key is missing');
        keys.set(encodeHex(result.missing), key);
        if (keys.size > MAX_KEYS) keys.delete(keys.keys().next().value as string);
      }
    });
    if (session.end !== undefined && !signal.aborted) throw new Error(session.end.text);
    if (end.kind === 'refused') throw new Error(end.detail);
    // Sound may be some samples shorter than announced: the next title follows what is really there.
    const { buffered } = buffer;
    if (buffered.length > 0) place.to = Math.min(place.to, buffered.end(buffered.length - 1));
    return place.to;
  };

  const tick = setInterval(() => {
    const index = placed.findLastIndex(({ from }) => audio.currentTime >= from);
    const place = placed[index];
    if (place === undefined) return;
    if (index > heard && (!audio.paused || audio.currentTime > place.from)) {
      for (const { session, from, to } of placed.slice(Math.max(0, heard), index)) {
        // Between two ticks the rest of it was heard.
        session.playhead(Math.round((to - from) * 1e6) as Micros);
        void session.stop().catch(() => undefined);
      }
      heard = index;
      options.onTitle?.(index, place.session);
    }
    place.session.playing(!audio.paused);
    place.session.playhead(Math.round((audio.currentTime - place.from) * 1e6) as Micros);
  }, TICK_MILLIS);

  const run = async (): Promise<void> => {
    const open = new Promise<void>((resolve) => source.addEventListener('sourceopen', () => resolve(), { once: true }));
    audio.src = objectUrl;
    await open;
    let buffer: SourceBuffer | undefined;
    const bufferOf = (type: string): SourceBuffer => {
      if (buffer === undefined) buffer = source.addSourceBuffer(type);
      else buffer.changeType(type);
      return buffer;
    };
    let end = 0;
    for (let index = 0; !signal.aborted; index++) {
      const session = await options.next(index);
      if (session === undefined) break;
      end = await appendTitle(session, end, bufferOf);
    }
    if (!signal.aborted && source.readyState === 'open') source.endOfStream();
    while (!signal.aborted && !audio.ended) await wait(TICK_MILLIS);
  };

  const finish = async (): Promise<void> => {
    clearInterval(tick);
    stopping.abort();
    await Promise.allSettled(placed.map(({ session }) => session.stop()));
  };
  const play = async (): Promise<void> => {
    try {
      await run();
    } finally {
      await finish();
    }
  };
  const done = play();
  done.catch(() => undefined);

  return {
    done,
    at() {
      const index = placed.findLastIndex(({ from }) => audio.currentTime >= from);
      const place = placed[index];
      return place === undefined ? undefined : { index, mediaTime: Math.round((audio.currentTime - place.from) * 1e6) as Micros };
    },
    async stop() {
      await finish();
      await done.catch(() => undefined);
      audio.removeAttribute('src');
      audio.load();
      URL.revokeObjectURL(objectUrl);
    },
  };
};
