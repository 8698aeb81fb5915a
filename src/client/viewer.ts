// SPDX-License-Identifier: Apache-2.0
/**
 * A viewer without a screen: follows an event or a title, decrypts what its session opens, counts what comes out.
 *
 * The demo's viewers, load generators and tests use it: it plays by the session's keys alone, so what it cannot decrypt a screen
 * cannot show. Invariant: a frame is counted only after it was decrypted under its own key and, if asked, looked at.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { type TrackFragment, durationOf, onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import type { Track } from '#core/isobmff/init.ts';
import { type MediaTicks, type Micros, type Millis, microsFromSeconds, microsFromTicks } from '#core/time.ts';
import { createSampleCipher } from '#crypto/sample-cipher.ts';
import type { Clock, Fetch } from '#ports';
import { runtimeClock, sleep } from './clock.ts';
import { type Mpd, type MpdTrack, parseMpd } from './mpd.ts';
import { inspectFragment } from './plausible.ts';
import type { ReleaseChannel } from './release/channel-types.ts';
import { shownAt } from './release/playout.ts';
import { type DisplayCounts, createTimedDisplay } from './release/timed-display.ts';
import type { Session, SessionEnd } from './session-types.ts';
import { type FeedEnd, type FedChunk, createTrackFeed } from './track-feed.ts';

/** What to watch, and how much like a screen to behave. */
export type ViewerOptions = {
  readonly session: Session;
  /** Where media is served, e.g. `https://edge.example/`. */
  readonly baseUrl: string;
  readonly fetch?: Fetch;
  readonly clock?: Clock;
  /** Picks the tracks to watch. Default: the video with the lowest bandwidth and the first audio. */
  readonly choose?: (tracks: readonly MpdTrack[]) => readonly MpdTrack[];
  /** Events: follow the segment being made, or finished ones only (fewer requests under way). Default `chunks`. */
  readonly follow?: 'chunks' | 'segments';
  /** Titles: where to start. Default 0. */
  readonly startAt?: Micros;
  /** Titles: speed of the playhead. Default 1. Faster than real time waits for the grants, as a screen would. */
  readonly speed?: number;
  /** How long the picture may stand for want of a key before the viewer gives up. Default 4,000 ms. */
  readonly patience?: Millis;
  /** Check that decrypted frames are plausible. Default true. */
  readonly inspect?: boolean;
  /** Timed events: what the pretended decoder takes per chunk, ms. Default 10. */
  readonly decodeTime?: Millis;
  /** Timed events: a video frame was shown; its media time and the instant, UTC by the viewer's clock. */
  readonly onFrame?: (mediaTime: Micros, at: Micros) => void;
};

/** Counts since the start; all of what really came out of the decryption. */
export type ViewerStats = {
  /** Decrypted video frames. */
  readonly frames: number;
  /** Decrypted samples of other tracks. */
  readonly audioSamples: number;
  /** Media bytes received. */
  readonly bytes: number;
  readonly segments: number;
  readonly chunks: number;
  /** Chunks that were due and had no key when they came. */
  readonly missingKeys: number;
  /** Decrypted samples that cannot be what they should be: a wrong key or damaged media. */
  readonly implausible: number;
  readonly errors: number;
  readonly lastError: string | undefined;
  /** Crypto periods' keys used. */
  readonly keysUsed: number;
  /** Media time after the newest decrypted video frame (audio-only: sample). */
  readonly decryptedTo: Micros | undefined;
  /** Events: age of a chunk's first frame when it was decrypted, ms. */
  readonly latencyMs: { readonly last: number; readonly mean: number; readonly max: number } | undefined;
  /** Timed events: frames shown at their instant, and skipped because their key came too late. */
  readonly display: DisplayCounts | undefined;
};

/** Why watching ended. */
export type ViewerEnd =
  | { readonly kind: 'finished' | 'stopped' }
  | { readonly kind: 'ended'; readonly end: SessionEnd }
  | { readonly kind: 'keys-missing'; readonly kid: string; readonly text: string }
  | { readonly kind: 'refused'; readonly status: number; readonly detail: string };

/** A viewer that watches until something in `ViewerEnd` happens. */
export type Viewer = {
  stats(): ViewerStats;
  /** Resolves once watching is over, for whatever reason. Never rejects. */
  readonly done: Promise<ViewerEnd>;
  /** Stops watching; the session goes on. */
  stop(): Promise<ViewerEnd>;
};

const DEFAULT_DECODE = 10 as Millis;
const DEFAULT_PATIENCE = 4000 as Millis;
/** Titles are fetched and decrypted so far ahead of the playhead. */
const READ_AHEAD = microsFromSeconds(8);
const MAX_KNOWN_KEYS = 256;
const NO_KEY_TEXT = 'The key for this part of the programme is not available.';

const lowest = (tracks: readonly MpdTrack[]): readonly MpdTrack[] => {
  const video = tracks.filter((track) => track.kind === 'video').sort((a, b) => a.bandwidth - b.bandwidth)[0];
  const audio = tracks.find((track) => track.kind === 'audio');
  return [video, audio].filter((track) => track !== undefined);
};

/** Presentation times of a fragment's video frames; none for sound. */
const frameTimes = (run: TrackFragment, track: Track): readonly Micros[] => {
  if (track.kind !== 'video') return [];
  let decodeAt = run.baseMediaDecodeTime as bigint;
  return run.samples.map(({ duration, compositionOffset }) => {
    const at = microsFromTicks((decodeAt + BigInt(compositionOffset)) as MediaTicks, track.timescale);
    decodeAt += BigInt(duration);
    return at;
  });
};

/** Says when a segment was all here. */
const tellSegment = (releases: ReleaseChannel | undefined, number: number): void => {
  const now = releases?.now();
  if (now !== undefined) releases?.segment(number, now.now);
};

/** Whether the instant of timed content has come, so that a missing key is missed. */
const isDue = (releases: ReleaseChannel, at: Micros): boolean => {
  const now = releases.now();
  return releases.plan !== undefined && now !== undefined && now.now >= shownAt(releases.plan, at);
};

/** Starts watching at once. */
export const createViewer = (options: ViewerOptions): Viewer => {
  const { session } = options;
  const clock = options.clock ?? runtimeClock;
  const fetchMedia: Fetch = options.fetch ?? ((request) => fetch(request));
  const patience = options.patience ?? DEFAULT_PATIENCE;
  const startAt = options.startAt ?? (0 as Micros);
  const cipher = createSampleCipher();
  const known = new Map<string, ContentKey>();
  const used = new Set<string>();
  const stopping = new AbortController();
  const count = { frames: 0, audioSamples: 0, bytes: 0, segments: 0, chunks: 0, missingKeys: 0, implausible: 0, errors: 0, keysUsed: 0 };
  let lastError: string | undefined;
  let decryptedTo: Micros | undefined;
  let latency: { last: number; sum: number; max: number; count: number } | undefined;
  let verdict: ViewerEnd | undefined;
  let startedAt = clock.monotonic();
  let stoodStill = 0;
  /** Tracks that wait for a key now, and since when. */
  let standing = 0;
  let standingSince = 0;
  const stand = (): void => {
    if (standing++ === 0) standingSince = clock.monotonic();
  };
  const goOn = (): void => {
    if (--standing === 0) stoodStill += clock.monotonic() - standingSince;
  };

  const { releases } = session;
  const display = releases === undefined ? undefined : createTimedDisplay({ channel: releases, clock, decodeTime: options.decodeTime ?? DEFAULT_DECODE, ...(options.onFrame === undefined ? {} : { onFrame: options.onFrame }) });

  const conclude = (end: ViewerEnd): void => {
    verdict ??= end;
    known.clear();
    display?.stop();
    stopping.abort();
  };
  const onError = (detail: string): void => {
    count.errors += 1;
    lastError = detail;
  };

  /** Titles: where the picture is. Time spent waiting for keys does not count. */
  const titlePlayhead = (): Micros => (startAt + ((standing > 0 ? standingSince : clock.monotonic()) - startedAt - stoodStill) * 1000 * (options.speed ?? 1)) as Micros;

  /** Resolves when something about the keys may have changed. */
  const nextChange = async (limit: Millis): Promise<void> => {
    const wake = new AbortController();
    const stop = (): void => wake.abort();
    const off = [session.on('renewed', stop), session.on('released', stop), session.on('ended', stop)];
    stopping.signal.addEventListener('abort', stop);
    await sleep(clock, limit, wake.signal);
    stopping.signal.removeEventListener('abort', stop);
    for (const unsubscribe of off) unsubscribe();
  };

  /** Waits for the key of a chunk that starts at `at`; undefined if the viewer gave up. */
  const waitForKey = async (kid: KeyId, at: Micros): Promise<ContentKey | undefined> => {
    let since: number | undefined;
    for (;;) {
      const key = await session.key(kid, at);
      if (key !== undefined || stopping.signal.aborted) {
        if (since !== undefined) goOn();
        return key;
      }
      if (session.end !== undefined) {
        conclude({ kind: 'ended', end: session.end });
        return undefined;
      }
      const due = releases === undefined ? session.kind === 'event' || at <= titlePlayhead() : isDue(releases, at);
      if (due && since === undefined) {
        since = clock.monotonic();
        stand();
        count.missingKeys += 1;
      }
      if (since !== undefined && clock.monotonic() - since >= patience) {
        conclude({ kind: 'keys-missing', kid: encodeHex(kid), text: session.notice ?? NO_KEY_TEXT });
        return undefined;
      }
      session.playhead(session.kind === 'event' ? at : titlePlayhead());
      await nextChange(Math.min(100, patience) as Millis);
    }
  };

  const decrypt = async (chunk: Uint8Array, track: Track, at: Micros): Promise<Uint8Array | undefined> => {
    for (;;) {
      const result = await cipher.decryptFragment(chunk, [track], (kid) => {
        const name = encodeHex(kid);
        const key = known.get(name);
        if (key !== undefined && !used.has(name)) {
          used.add(name);
          count.keysUsed += 1;
        }
        return key;
      });
      if ('clear' in result) return result.clear;
      const key = await waitForKey(result.missing, at);
      if (key === undefined) return undefined;
      known.set(encodeHex(result.missing), key);
      for (const oldest of known.keys()) {
        if (known.size <= MAX_KNOWN_KEYS) break;
        known.delete(oldest);
        used.delete(oldest);
      }
    }
  };

  const take = async (chunk: FedChunk, track: Track): Promise<void> => {
    count.bytes += chunk.bytes.length;
    const run = onlyTrackFragment(parseFragment(chunk.bytes, [track]));
    const at = microsFromTicks(run.baseMediaDecodeTime, track.timescale);
    const end = microsFromTicks((run.baseMediaDecodeTime + durationOf(run)) as MediaTicks, track.timescale);
    if (session.kind === 'title') await pace(at);
    // Timed: the next chunk is read while this one waits for its release.
    if (display !== undefined) return display.add({ track: `${track.kind}${track.id}`, at, end, frames: frameTimes(run, track), decrypt: () => finish(chunk, track, run, at, end) });
    await finish(chunk, track, run, at, end);
  };

  const finish = async (chunk: FedChunk, track: Track, run: TrackFragment, at: Micros, end: Micros): Promise<Uint8Array | undefined> => {
    const clear = await decrypt(chunk.bytes, track, at);
    if (clear === undefined || stopping.signal.aborted) return undefined;
    count.chunks += 1;
    if (track.kind === 'video') count.frames += run.samples.length;
    else count.audioSamples += run.samples.length;
    if (options.inspect !== false) count.implausible += inspectFragment(clear, track).implausible;
    if (track.kind === 'video' || decryptedTo === undefined || !watchesVideo) {
      decryptedTo = Math.max(decryptedTo ?? 0, end) as Micros;
      session.playhead(session.kind === 'event' ? at : titlePlayhead());
      if (session.kind === 'event') {
        const age = (session.now() - at) / 1000;
        latency = { last: age, sum: (latency?.sum ?? 0) + age, max: Math.max(latency?.max ?? 0, age), count: (latency?.count ?? 0) + 1 };
      }
    }
    return clear;
  };

  /** Holds a title's reader back until the playhead is near. */
  const pace = async (at: Micros): Promise<void> => {
    while (!stopping.signal.aborted && at - titlePlayhead() > READ_AHEAD) {
      session.playhead(titlePlayhead());
      await sleep(clock, 100 as Millis, stopping.signal);
    }
  };

  let watchesVideo = true;

  const watchTrack = async (track: MpdTrack, manifest: string): Promise<FeedEnd> => {
    const feed = createTrackFeed({
      session,
      track,
      manifest,
      fetch: fetchMedia,
      clock,
      signal: stopping.signal,
      follow: options.follow ?? 'chunks',
      startNumber: track.startNumber + Math.floor(startAt / track.segmentDuration),
      distance: releases?.plan === undefined ? (0 as Micros) : ((releases.plan.firstRelease + releases.plan.delta) as Micros),
      onSegment(number) {
        count.segments += 1;
        if (track.kind === 'video') tellSegment(releases, number);
      },
      onError,
    });
    const init = await feed.init();
    if ('kind' in init) return init;
    const [description] = init.tracks;
    if (description === undefined) return { kind: 'refused', status: 0, detail: `track ${track.id} has no CMAF header` };
    return feed.run((chunk) => take(chunk, description));
  };

  const loadManifest = async (address: string): Promise<Mpd | ViewerEnd> => {
    for (let tries = 1; ; tries++) {
      try {
        const response = await fetchMedia(new Request(address, { headers: { authorization: `Bearer ${session.mediaToken}` }, signal: stopping.signal }));
        if (response.ok) return parseMpd(await response.text());
        const detail = `manifest answered ${response.status}`;
        await response.body?.cancel();
        if (response.status === 401 || response.status === 403 || tries === 10) return { kind: 'refused', status: response.status, detail };
        onError(detail);
      } catch (error) {
        if (stopping.signal.aborted || tries === 10) return { kind: 'refused', status: 0, detail: error instanceof Error ? error.message : 'manifest could not be read' };
        onError('manifest could not be read');
      }
      await sleep(clock, 500 as Millis, stopping.signal);
    }
  };

  const watch = async (): Promise<ViewerEnd> => {
    const manifest = new URL(`/media/${session.asset}/manifest.mpd`, options.baseUrl).href;
    const mpd = await loadManifest(manifest);
    if ('kind' in mpd && !('tracks' in mpd)) return verdict ?? mpd;
    const chosen = (options.choose ?? lowest)(mpd.tracks.filter((track) => track.init !== undefined));
    watchesVideo = chosen.some((track) => track.kind === 'video');
    startedAt = clock.monotonic();
    const ends = await Promise.all(
      chosen.map(async (track) => {
        const end = await watchTrack(track, manifest).catch((error: unknown): FeedEnd => ({ kind: 'refused', status: 0, detail: error instanceof Error ? error.message : 'track failed' }));
        if (end.kind === 'refused') conclude(session.end === undefined ? end : { kind: 'ended', end: session.end });
        return end;
      }),
    );
    return verdict ?? (ends.every((end) => end.kind === 'finished') ? { kind: 'finished' } : { kind: 'stopped' });
  };

  const unsubscribe = session.on('ended', (end) => conclude(end.code === 'viewer' ? { kind: 'stopped' } : { kind: 'ended', end }));
  const done = watch().finally(() => {
    unsubscribe();
    known.clear();
  });

  return {
    stats: () => ({ ...count, display: display === undefined ? undefined : { ...display.counts }, lastError, decryptedTo, latencyMs: latency === undefined ? undefined : { last: latency.last, mean: latency.sum / latency.count, max: latency.max } }),
    done,
    stop() {
      conclude({ kind: 'stopped' });
      return done;
    },
  };
};
