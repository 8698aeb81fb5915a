// SPDX-License-Identifier: Apache-2.0
/**
 * A small player without EME: decrypts with WebCrypto as keys come and appends clear media (Media Source Extensions).
 *
 * For browsers without Clear Key, and the default for timed events: a browser that decrypts by EME wants half a second of sound ahead before it plays on, and
 * a timed event has 150 ms; decrypted media it plays with a fifth of a second. One rendition of each kind, no switching.
 * Invariants: encrypted chunks are fetched as early as they are there and wait here for their key; nothing is appended that was not decrypted under its own
 * key; when the session ends, what lies ahead of the playhead is taken out again.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import { unprotectInit } from '#core/cenc/protect-init.ts';
import type { ContentKey } from '#core/ids.ts';
import { durationOf, onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Track } from '#core/isobmff/init.ts';
import { type MediaTicks, type Micros, microsFromTicks } from '#core/time.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import { runtimeClock } from '#client/clock.ts';
import { type MpdTrack, parseMpd } from '#client/mpd.ts';
import { mediaTimeAt } from '#client/release/playout.ts';
import type { Session } from '#client/session-types.ts';
import { type TrackFeed, createTrackFeed } from '#client/track-feed.ts';
import { type AppendQueue, createAppendQueue } from './append-queue.ts';
import type { MediaAddress } from './media-address.ts';

/** What it plays and where. */
export type DecryptingOptions = {
  readonly video: HTMLMediaElement;
  readonly session: Session;
  readonly address: MediaAddress;
  /** Events: µs from camera to picture. */
  readonly distance: Micros;
  /** Titles: where to start. */
  readonly startAt?: Micros;
  /** The best rendition up to so many bits per second is played. Default 3,000,000. */
  readonly maxBandwidth?: number;
};

/** A running one. */
export type DecryptingPlayer = {
  /** Resolves with the first appended picture; rejects if nothing can be played. */
  readonly loaded: Promise<void>;
  destroy(): Promise<void>;
};

const DEFAULT_BANDWIDTH = 3_000_000;
/** Encrypted chunks waiting per track. */
const MAX_WAITING = 600;
/** Clear media ahead of the playhead, s; and behind it, for seeks back. */
const AHEAD = 30;
const BEHIND = 120;
const TICK_MILLIS = 250;
const EVERY_TRIM = 40;
/** End of what an event may be seeked in, s: no event is so late. */
const FAR = 1e11;
/** A live chunk so far behind its turn is given up, µs. */
const TOO_OLD = 3_000_000;

type Prepared = { readonly track: MpdTrack; readonly feed: TrackFeed; readonly description: Track; readonly header: Uint8Array };

/** Starts at once. */
export const startDecrypting = (options: DecryptingOptions): DecryptingPlayer => {
  const { video, session, address } = options;
  const cipher = createSampleCipher();
  const stopping = new AbortController();
  const { signal } = stopping;
  const queues: AppendQueue[] = [];
  const keys = new Map<string, ContentKey>();
  const receivedTo = new Map<string, number>();
  let begun = false;
  let started: () => void = () => undefined;
  let failed: (error: Error) => void = () => undefined;
  const first = new Promise<void>((resolve, reject) => {
    started = resolve;
    failed = reject;
  });
  const source = new MediaSource();
  const objectUrl = URL.createObjectURL(source);

  /** Resolves when keys may have come. */
  const keysChanged = (): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        for (const off of offs) off();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, 200);
      const offs = [session.on('released', done), session.on('renewed', done), session.on('ended', done)];
      signal.addEventListener('abort', done);
    });

  const dueNow = (): Micros | undefined => {
    const { releases } = session;
    const reading = releases?.now();
    if (releases?.plan !== undefined && reading !== undefined) return mediaTimeAt(releases.plan, reading.now);
    return session.kind === 'event' ? ((session.now() - options.distance) as Micros) : undefined;
  };

  /** The clear chunk, once its key is there; undefined if its turn is over or the session is. */
  const decrypt = async (bytes: Uint8Array, track: Track, at: Micros, end: Micros): Promise<Uint8Array | undefined> => {
    while (!signal.aborted && session.end === undefined) {
      const result = await cipher.decryptFragment(bytes, [track], (kid) => keys.get(encodeHex(kid)));
      if ('clear' in result) return result.clear;
      const key = await session.key(result.missing, at);
      if (key !== undefined) {
        keys.set(encodeHex(result.missing), key);
        if (keys.size > 64) keys.delete(keys.keys().next().value as string);
        continue;
      }
      if (session.kind === 'event' && end < (dueNow() ?? 0) - TOO_OLD) return undefined;
      await keysChanged();
    }
    return undefined;
  };

  /** Whether the playhead is on the timeline already: an event's is far from zero. */
  const placed = (): boolean => begun && (session.kind === 'title' || video.currentTime > 1);

  const roomAhead = async (at: Micros): Promise<void> => {
    // Before the first seek to the event's own time the playhead stands at zero.
    while (!signal.aborted && placed() && at / 1e6 - video.currentTime > AHEAD) await new Promise((resolve) => setTimeout(resolve, TICK_MILLIS));
  };

  const prepare = async (track: MpdTrack): Promise<Prepared> => {
    const startNumber = track.startNumber + Math.floor((options.startAt ?? 0) / track.segmentDuration);
    const feed = createTrackFeed({
      session, track, manifest: address.dash, fetch: (request) => fetch(request), clock: runtimeClock, signal, follow: 'chunks', startNumber,
      distance: options.distance,
      onSegment(number) {
        const now = session.releases?.now();
        if (track.kind === 'video' && now !== undefined) session.releases?.segment(number, now.now);
      },
      onError: () => undefined,
    });
    const init = await feed.init();
    if ('kind' in init) throw new Error(init.kind === 'refused' ? init.detail : 'stopped');
    const [description] = init.tracks;
    if (description === undefined) throw new Error(`track ${track.id} has no header`);
    return { track, feed, description, header: unprotectInit(init.bytes) };
  };

  const playTrack = async ({ track, feed, description, header }: Prepared, queue: AppendQueue): Promise<void> => {
    await queue.append(header);

    const waiting: { readonly bytes: Uint8Array; readonly at: Micros; readonly end: Micros }[] = [];
    let wake = (): void => undefined;
    const pump = async (): Promise<void> => {
      while (!signal.aborted) {
        const chunk = waiting.shift();
        if (chunk === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            signal.addEventListener('abort', () => resolve(), { once: true });
          });
          continue;
        }
        await roomAhead(chunk.at);
        const clear = await decrypt(chunk.bytes, description, chunk.at, chunk.end);
        if (clear === undefined) continue;
        await queue.append(clear);
        if (track.kind === 'video') started();
      }
    };
    const pumping = pump().catch((error: unknown) => failed(error instanceof Error ? error : new Error('playback failed')));
    const end = await feed.run(async (chunk) => {
      const run = onlyTrackFragment(parseFragment(chunk.bytes, [description]));
      const at = microsFromTicks(run.baseMediaDecodeTime, description.timescale);
      const until = microsFromTicks((run.baseMediaDecodeTime + durationOf(run)) as MediaTicks, description.timescale);
      receivedTo.set(track.id, Math.max(receivedTo.get(track.id) ?? 0, until));
      session.releases?.received(Math.min(...receivedTo.values()) as Micros);
      waiting.push({ bytes: chunk.bytes, at, end: until });
      wake();
      while (waiting.length > MAX_WAITING && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, TICK_MILLIS));
    });
    if (end.kind === 'refused') failed(new Error(end.detail));
    await pumping;
  };

  const choose = (tracks: readonly MpdTrack[]): readonly MpdTrack[] => {
    const videos = tracks.filter(({ kind }) => kind === 'video').sort((a, b) => a.bandwidth - b.bandwidth);
    const best = videos.findLast(({ bandwidth }) => bandwidth <= (options.maxBandwidth ?? DEFAULT_BANDWIDTH)) ?? videos[0];
    const audio = tracks.find(({ kind }) => kind === 'audio');
    return [best, audio].filter((track) => track !== undefined);
  };

  const run = async (): Promise<void> => {
    const open = new Promise<void>((resolve) => source.addEventListener('sourceopen', () => resolve(), { once: true }));
    video.src = objectUrl;
    const answer = await fetch(address.dash, { headers: { authorization: address.authorization(address.dash) ?? '' }, signal });
    if (!answer.ok) throw new Error(`the manifest answered ${answer.status}`);
    const mpd = parseMpd(await answer.text());
    await open;
    source.duration = mpd.duration === undefined ? Number.POSITIVE_INFINITY : mpd.duration / 1e6;
    // Without it a seek is cut to what is buffered at that moment: to zero, if that is nothing.
    if (mpd.duration === undefined) source.setLiveSeekableRange(0, FAR);
    const tracks = choose(mpd.tracks.filter(({ init }) => init !== undefined));
    if (tracks.length === 0) throw new Error('there is nothing to play');
    const start = session.kind === 'event' ? dueNow() : options.startAt;
    const prepared = await Promise.all(tracks.map(prepare));
    // All buffers before the first media: a browser takes no further ones afterwards.
    queues.push(...prepared.map(({ track }) => createAppendQueue(source.addSourceBuffer(`${track.kind}/mp4; codecs="${track.codecs}"`), () => video.currentTime)));
    await Promise.all([
      Promise.all(prepared.map((each, index) => playTrack(each, queues[index] as AppendQueue))),
      first.then(() => {
        if (start !== undefined) video.currentTime = (session.kind === 'event' ? (dueNow() ?? start) : start) / 1e6;
        begun = true;
      }),
    ]);
  };

  let ticks = 0;
  const tick = setInterval(() => {
    const due = dueNow();
    if (begun && !placed() && due !== undefined) video.currentTime = due / 1e6;
    if (placed() && !video.ended) session.playhead(Math.round(video.currentTime * 1e6) as Micros);
    ticks += 1;
    if (ticks % EVERY_TRIM === 0) for (const queue of queues) void queue.remove(0, video.currentTime - BEHIND).catch(() => undefined);
  }, TICK_MILLIS);
  const offEnded = session.on('ended', () => {
    keys.clear();
    stopping.abort();
    for (const queue of queues) void queue.remove(video.currentTime, Number.POSITIVE_INFINITY).finally(() => queue.stop()).catch(() => undefined);
  });
  run().catch((error: unknown) => failed(error instanceof Error ? error : new Error('playback failed')));

  return {
    loaded: first,
    async destroy() {
      stopping.abort();
      clearInterval(tick);
      offEnded();
      keys.clear();
      for (const queue of queues) queue.stop();
      video.removeAttribute('src');
      video.load();
      URL.revokeObjectURL(objectUrl);
    },
  };
};
