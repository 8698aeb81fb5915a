// SPDX-License-Identifier: Apache-2.0
/**
 * Fetches one track's segments in order and cuts them into CMAF chunks as the bytes come.
 *
 * docs/wire/media.md. For events a request for the segment being made is answered as its chunks appear, so one request after
 * the other follows the live edge; a viewer that fell behind jumps back to it.
 * Invariant: the media token of the moment goes with every request; after a refusal the token is renewed once, then the refusal
 * stands. Memory is bounded by one chunk.
 */
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { type InitSegment, parseInit } from '#core/isobmff/init.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, Fetch } from '#ports';
import { sleep } from './clock.ts';
import type { MpdTrack } from './mpd.ts';
import type { Session } from './session-types.ts';

/** One CMAF chunk as it came; `segmentStart` is its segment's nominal media time. */
export type FedChunk = { readonly bytes: Uint8Array; readonly segment: number; readonly segmentStart: Micros };

/** One track of one session, and whom to tell what happened to its requests. */
export type FeedOptions = {
  readonly session: Session;
  readonly track: MpdTrack;
  /** Address of the manifest, which the track's addresses are relative to. */
  readonly manifest: string;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** `chunks`: ask for the segment being made. `segments`: only for finished ones. */
  readonly follow: 'chunks' | 'segments';
  /** Titles: first segment. */
  readonly startNumber: number;
  /** Events: how far behind the camera the viewer is; the first segment is that far back. Default 0. */
  readonly distance?: Micros;
  /** A segment was read to its end. */
  readonly onSegment: (number: number) => void;
  readonly onError: (detail: string) => void;
};

/** Why there is no further chunk. */
export type FeedEnd = { readonly kind: 'finished' } | { readonly kind: 'refused'; readonly status: number; readonly detail: string } | { readonly kind: 'stopped' };

/** Reads one track once. */
export type TrackFeed = {
  /** The CMAF header, asked for once. */
  init(): Promise<InitSegment | FeedEnd>;
  /** Hands on chunks until there are no more; waits for `take` before it reads on. */
  run(take: (chunk: FedChunk) => Promise<void>): Promise<FeedEnd>;
};

/** A live segment that cannot be had for so many tries in a row means that the event is over or the source is gone. */
const MAX_MISSES = 8;
const RETRY_PAUSE = 300 as Millis;
/** Segments behind the live edge at which a viewer jumps forward. */
const MAX_BEHIND = 3;

type Fetched = { readonly ok: true; readonly response: Response } | { readonly ok: false; readonly status: number; readonly detail: string };

/** A feed that has not asked for anything yet. */
export const createTrackFeed = (options: FeedOptions): TrackFeed => {
  const { session, track, clock, signal } = options;
  const STOPPED: FeedEnd = { kind: 'stopped' };

  const get = async (address: string): Promise<Fetched> => {
    const url = new URL(address, options.manifest);
    const ask = (): Promise<Response> => options.fetch(new Request(url, { headers: { authorization: `Bearer ${session.mediaToken}` }, signal }));
    try {
      let response = await ask();
      if (response.status === 401 || response.status === 403) {
        await response.body?.cancel();
        if (await session.renew()) response = await ask();
      }
      if (response.ok) return { ok: true, response };
      await response.body?.cancel();
      return { ok: false, status: response.status, detail: `${url.pathname.split('/').slice(-2).join('/')} answered ${response.status}` };
    } catch {
      return { ok: false, status: 0, detail: `${url.pathname.split('/').slice(-2).join('/')} could not be fetched` };
    }
  };

  const refused = (fetched: { status: number; detail: string }): FeedEnd | undefined =>
    fetched.status === 401 || fetched.status === 403 ? { kind: 'refused', status: fetched.status, detail: fetched.detail } : undefined;

  const liveNumber = (): number => Math.floor(session.now() / track.segmentDuration) - (options.follow === 'segments' ? 1 : 0);

  const read = async (response: Response, segment: number, take: (chunk: FedChunk) => Promise<void>): Promise<void> => {
    const splitter = createBoxSplitter();
    const segmentStart = ((segment - (session.kind === 'event' ? 0 : track.startNumber)) * track.segmentDuration) as Micros;
    for await (const bytes of response.body ?? []) {
      for (const piece of splitter.push(bytes)) if (piece.kind === 'chunk') await take({ bytes: piece.bytes, segment, segmentStart });
      if (signal.aborted) return;
    }
    splitter.end();
  };

  return {
    async init() {
      const fetched = await get(track.init ?? '');
      if (fetched.ok) return parseInit(new Uint8Array(await fetched.response.arrayBuffer()));
      return signal.aborted ? STOPPED : { kind: 'refused', status: fetched.status, detail: fetched.detail };
    },
    async run(take) {
      const behind = Math.ceil((options.distance ?? 0) / track.segmentDuration);
      let number = session.kind === 'event' ? Math.min(liveNumber(), Math.floor((session.now() - (options.distance ?? 0)) / track.segmentDuration)) : options.startNumber;
      let misses = 0;
      while (!signal.aborted) {
        if (track.endNumber !== undefined && number >= track.endNumber) return { kind: 'finished' };
        if (session.kind === 'event') {
          if (liveNumber() - number > MAX_BEHIND + behind) number = liveNumber();
          // A finished segment is there a little after its end; the one being made may be asked for at once.
          const early = options.follow === 'segments' ? (number + 1) * track.segmentDuration + 100_000 - session.now() : 0;
          if (early > 0) await sleep(clock, (early / 1000) as Millis, signal);
        }
        const fetched = await get(track.segment(number));
        if (signal.aborted) break;
        const final = fetched.ok ? undefined : refused(fetched);
        if (final !== undefined) return final;
        try {
          if (!fetched.ok) throw new Error(fetched.detail);
          await read(fetched.response, number, take);
          if (signal.aborted) break;
          options.onSegment(number);
          misses = 0;
          number += 1;
        } catch (error) {
          if (signal.aborted) break;
          options.onError(error instanceof Error ? error.message : 'segment could not be read');
          misses += 1;
          if (misses > MAX_MISSES) return { kind: 'finished' };
          await sleep(clock, RETRY_PAUSE, signal);
          // Of an event, what was missed is gone; a title's segment is asked for again.
          if (session.kind === 'event') number = Math.max(number + 1, liveNumber() - behind);
        }
      }
      return STOPPED;
    },
  };
};
