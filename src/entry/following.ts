// SPDX-License-Identifier: Apache-2.0
/**
 * Follows a published copy until the verdict: takes the stream down, looks at its newest part every few seconds.
 *
 * docs/guide/tracing.md, "A copy on air". Invariant: whatever ends it, no child process and no file is left behind.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { captureStream } from '#adapters/ffmpeg/index.ts';
import { readBroadcast } from '#adapters/http/broadcast.ts';
import { systemClock } from '#adapters/node/clock.ts';
import type { AssetId } from '#core/ids.ts';
import type { FollowState } from '#tracer/index.ts';
import type { LocalTracing } from './tracing.ts';

/** What to follow, and for how long. */
export type FollowOptions = {
  readonly tracing: Pick<LocalTracing, 'tracer'>;
  readonly asset: AssetId;
  readonly address: string;
  readonly eps: number;
  readonly viewers: () => Promise<number>;
  /** Longest, in seconds. */
  readonly limit: number;
  readonly source?: string;
  readonly onLook?: (look: FollowLook) => void;
  readonly signal?: AbortSignal;
};
/** Where it stands after a look. */
export type FollowLook = FollowState & { /** Since the start. */ readonly seconds: number };
/** How it ended. `ended`: the stream did, with the reason if it was a fault. */
export type Followed = FollowLook & { readonly ended?: string };

const PIECE_SECONDS = 2;
/** Pieces on disk at most: as far as looks may fall behind. */
const KEPT = 60;
/** Pieces before the new ones that are looked at again: the segment that was cut by the last look is in them. */
const OVERLAP = 4;
const LEAST_PIECES = 3;
const PAUSE_MILLIS = 500;

/** Resolves with the verdict, or with what there was when stream, limit or `signal` ended it. */
export const followCopy = async (options: FollowOptions): Promise<Followed> => {
  const { tracing, asset, address, eps, viewers, limit, source, onLook, signal } = options;
  const began = systemClock.monotonic();
  const seconds = (): number => (systemClock.monotonic() - began) / 1000;
  const follower = await tracing.tracer.follow({ asset, eps, viewers, ...(source !== undefined && { source }) });
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-follow-'));
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  signal?.addEventListener('abort', stop, { once: true });
  const capture = captureStream({ source: readBroadcast({ address, fetch: (request) => fetch(request), clock: systemClock, signal: stopping.signal }), folder, pieceSeconds: PIECE_SECONDS, kept: KEPT });
  let over: { reason: string | undefined } | undefined;
  void capture.done.then((reason) => (over = { reason }));
  let state: FollowState = { report: undefined, observation: undefined, growth: [] };
  try {
    let rest = 0;
    for (let looked = 0; ; ) {
      const last = over;
      const pieces = await capture.pieces();
      if (pieces > looked && pieces >= LEAST_PIECES && (seconds() >= rest || last !== undefined)) {
        const began = seconds();
        const file = await capture.newest(pieces - looked + OVERLAP);
        looked = pieces;
        if (file !== undefined) {
          state = await follower.look(file);
          onLook?.({ ...state, seconds: seconds() });
        }
        if (state.report?.verdict === 'accuse') return { ...state, seconds: seconds() };
        // On a busy machine looks get rarer, not slower: at most half of the time is spent on them.
        rest = 2 * seconds() - began;
        continue;
      }
      if (last !== undefined) return { ...state, seconds: seconds(), ended: last.reason ?? 'the stream ended' };
      if (stopping.signal.aborted || seconds() > limit) return { ...state, seconds: seconds() };
      await new Promise<void>((resolve) => setTimeout(resolve, PAUSE_MILLIS));
    }
  } finally {
    signal?.removeEventListener('abort', stop);
    stop();
    await capture.stop();
    await rm(folder, { recursive: true, force: true });
  }
};
