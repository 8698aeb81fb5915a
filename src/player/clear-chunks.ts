// SPDX-License-Identifier: Apache-2.0
/**
 * The media of a session as clear CMAF chunks, each as soon as its key is there: what players without EME are fed with.
 *
 * docs/wire/media.md, docs/wire/release.md. Encrypted chunks are fetched as early as they are there and wait here. One rendition of each kind, no switching.
 * Invariants: nothing leaves that was not decrypted under its own key; what waits is bounded; after the end of the session nothing leaves.
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
import type { MediaAddress } from './media-address.ts';

/** What is played and where it comes from. */
export type ClearChunksOptions = {
  readonly session: Session;
  readonly address: MediaAddress;
  /** Events: µs from camera to picture. */
  readonly distance: Micros;
  /** Titles: where to start. */
  readonly startAt?: Micros;
  /** The best rendition up to so many bits per second is played. Default 3,000,000. */
  readonly maxBandwidth?: number;
};

/** A chosen track: its clear CMAF header and what it says. */
export type ClearTrack = { readonly track: MpdTrack; readonly description: Track; readonly header: Uint8Array };
/** One clear chunk, media time [at, end). */
export type ClearChunk = { readonly bytes: Uint8Array; readonly at: Micros; readonly end: Micros };

/** The clear media of one session. */
export type ClearChunks = {
  readonly tracks: readonly ClearTrack[];
  /** Titles: how long. */
  readonly duration: Micros | undefined;
  /** Events: the media time that is due now; undefined while time or schedule are unknown. */
  dueNow(): Micros | undefined;
  /** Hands on chunks of all tracks, each track's in order, until the end. `room` holds a track back while the player has enough. Rejects if a track is refused. */
  run(take: (index: number, chunk: ClearChunk) => Promise<void>, room: (at: Micros) => Promise<void>): Promise<void>;
  stop(): void;
};

const DEFAULT_BANDWIDTH = 3_000_000;
/** Encrypted chunks waiting per track. */
const MAX_WAITING = 600;
const MAX_KEYS = 64;
const PAUSE_MILLIS = 250;
/** A live chunk so far behind its turn is given up, µs. */
const TOO_OLD = 3_000_000;

const choose = (tracks: readonly MpdTrack[], limit: number): readonly MpdTrack[] => {
  const videos = tracks.filter(({ kind }) => kind === 'video').sort((a, b) => a.bandwidth - b.bandwidth);
  const best = videos.findLast(({ bandwidth }) => bandwidth <= limit) ?? videos[0];
  return [best, tracks.find(({ kind }) => kind === 'audio')].filter((track) => track !== undefined);
};

/** Asks for manifest and headers. Rejects if there is nothing to play. */
export const openClearChunks = async (options: ClearChunksOptions): Promise<ClearChunks> => {
  const { session, address } = options;
  const cipher = createSampleCipher();
  const stopping = new AbortController();
  const { signal } = stopping;
  const keys = new Map<string, ContentKey>();
  const receivedTo = new Map<string, number>();

  /** Resolves when keys may have come. */
  const keysChanged = (): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        for (const off of offs) off();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, PAUSE_MILLIS);
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
        if (keys.size > MAX_KEYS) keys.delete(keys.keys().next().value as string);
        continue;
      }
      if (session.kind === 'event' && end < (dueNow() ?? 0) - TOO_OLD) return undefined;
      await keysChanged();
    }
    return undefined;
  };

  const prepare = async (track: MpdTrack): Promise<ClearTrack & { readonly feed: TrackFeed }> => {
    const feed = createTrackFeed({
      session, track, manifest: address.dash, fetch: (request) => fetch(request), clock: runtimeClock, signal, follow: 'chunks', distance: options.distance,
      startNumber: track.startNumber + Math.floor((options.startAt ?? 0) / track.segmentDuration),
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

  const answer = await fetch(address.dash, { headers: { authorization: address.authorization(address.dash) ?? '' }, signal });
  if (!answer.ok) throw new Error(`the manifest answered ${answer.status}`);
  const mpd = parseMpd(await answer.text());
  const chosen = choose(mpd.tracks.filter(({ init }) => init !== undefined), options.maxBandwidth ?? DEFAULT_BANDWIDTH);
  if (chosen.length === 0) throw new Error('there is nothing to play');
  const prepared = await Promise.all(chosen.map(prepare));

  const runTrack = async ({ track, feed, description }: (typeof prepared)[number], take: (chunk: ClearChunk) => Promise<void>, room: (at: Micros) => Promise<void>): Promise<void> => {
    const waiting: ClearChunk[] = [];
    let wake = (): void => undefined;
    let over = false;
    const arrival = (): Promise<void> =>
      new Promise((resolve) => {
        wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    const pump = async (): Promise<void> => {
      while (!signal.aborted) {
        const chunk = waiting.shift();
        if (chunk === undefined) {
          if (over) return;
          await arrival();
          continue;
        }
        await room(chunk.at);
        const clear = await decrypt(chunk.bytes, description, chunk.at, chunk.end);
        if (clear !== undefined && !signal.aborted) await take({ ...chunk, bytes: clear });
      }
    };
    const pumping = pump();
    const end = await feed.run(async (chunk) => {
      const run = onlyTrackFragment(parseFragment(chunk.bytes, [description]));
      const at = microsFromTicks(run.baseMediaDecodeTime, description.timescale);
      const until = microsFromTicks((run.baseMediaDecodeTime + durationOf(run)) as MediaTicks, description.timescale);
      receivedTo.set(track.id, Math.max(receivedTo.get(track.id) ?? 0, until));
      session.releases?.received(Math.min(...receivedTo.values()) as Micros);
      waiting.push({ bytes: chunk.bytes, at, end: until });
      wake();
      while (waiting.length > MAX_WAITING && !signal.aborted) await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLIS));
    });
    over = true;
    wake();
    if (end.kind === 'refused') throw new Error(end.detail);
    await pumping;
  };

  return {
    tracks: prepared,
    duration: mpd.duration,
    dueNow,
    run: async (take, room) => void (await Promise.all(prepared.map((each, index) => runTrack(each, (chunk) => take(index, chunk), room)))),
    stop() {
      stopping.abort();
      keys.clear();
    },
  };
};
