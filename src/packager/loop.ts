// SPDX-License-Identifier: Apache-2.0
/**
 * Plays a short CMAF clip as if it were live, over and over, into ingest: the source of a machine without ffmpeg.
 *
 * The clip's length is a whole number of segments and of audio frames, and round n of it starts at UTC n x length, so every
 * restart of the loop lands on the same grid. Only time stamps and `prft` are written anew; samples stay as they are.
 * Invariant: a chunk is sent when its last frame is over, as an encoder would, never earlier.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { durationOf, onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { retimeFragment } from '#core/isobmff/fragment-writer.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { writePrft } from '#core/isobmff/segment-boxes.ts';
import { microsFromTicks, ticksFromMicros } from '#core/time.ts';
import type { MediaTicks, Micros, Millis, Timescale } from '#core/time.ts';
import type { Clock, EventSink, Fetch, Log } from '#ports';
import type { AssetId } from '#core/ids.ts';

/** One track of the clip: its name at ingest (`v720.cmfv`) and its CMAF bytes, header first, media time from 0. */
export type LoopTrack = { readonly name: string; readonly type: 'video/mp4' | 'audio/mp4'; readonly bytes: Uint8Array };

/** A running loop; `stop` waits for its last request. */
export type ClipLoop = { stop(): Promise<void> };

type LoopChunk = { readonly bytes: Uint8Array; readonly start: MediaTicks; readonly end: Micros; readonly sync: boolean };
type Parsed = {
  readonly track: LoopTrack;
  readonly init: Uint8Array;
  readonly id: number;
  readonly timescale: Timescale;
  readonly chunks: readonly LoopChunk[];
  readonly length: bigint;
};

const RETRY = 2_000 as Millis;

const parse = (track: LoopTrack): Parsed => {
  const pieces = createBoxSplitter().push(track.bytes);
  const init = pieces[0]?.kind === 'init' ? pieces[0].bytes : undefined;
  const media = init === undefined ? undefined : parseInit(init).tracks[0];
  if (init === undefined || media === undefined) throw new SealcastError('media-malformed', `the clip's track ${track.name} has no header`);
  let length = 0n;
  const chunks = pieces.slice(1).map(({ bytes }): LoopChunk => {
    const run = onlyTrackFragment(parseFragment(bytes, [media]));
    length = run.baseMediaDecodeTime + durationOf(run);
    return { bytes, start: run.baseMediaDecodeTime, end: microsFromTicks(length as MediaTicks, media.timescale), sync: run.samples[0]?.sync === true };
  });
  return { track, init, id: media.id, timescale: media.timescale, chunks, length };
};

/** Starts at the next segment boundary. Throws `media-malformed` for a clip whose tracks differ in length. */
export const createClipLoop = (options: {
  tracks: readonly LoopTrack[];
  asset: AssetId;
  /** Base address of ingest, e.g. `http://ingest.internal/ingest/match-1`. */
  ingestUrl: string;
  credential: string;
  send: Fetch;
  clock: Clock;
  log: Log;
  events: EventSink;
  segmentDuration: Micros;
}): ClipLoop => {
  const { clock, log, segmentDuration } = options;
  const parsed = options.tracks.map(parse);
  const lengths = new Set(parsed.map(({ length, timescale }) => microsFromTicks(length as MediaTicks, timescale)));
  const [length] = lengths;
  if (length === undefined || lengths.size !== 1 || length % segmentDuration !== 0)
    throw new SealcastError('media-malformed', 'the tracks of a looped clip must be equally long, a whole number of segments');
  const stopping = new AbortController();

  const sleepUntil = (at: number): Promise<void> =>
    new Promise((resolve) => {
      if (stopping.signal.aborted) return resolve();
      const wake = (): void => {
        cancel();
        stopping.signal.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = clock.after(Math.max(0, (at - clock.now()) / 1000) as Millis, wake);
      stopping.signal.addEventListener('abort', wake, { once: true });
    });

  /** Header, then chunk after chunk from `from` on, each when it is due. */
  async function* media(source: Parsed, from: Micros): AsyncGenerator<Uint8Array> {
    yield source.init;
    let sequence = 0;
    for (let round = Math.floor(from / length!); ; round += 1) {
      const base = round * length!;
      const shift = ticksFromMicros(base as Micros, source.timescale);
      for (const chunk of source.chunks) {
        const start = base + microsFromTicks(chunk.start, source.timescale);
        if (start < from) continue;
        await sleepUntil(base + chunk.end);
        if (stopping.signal.aborted) return;
        sequence += 1;
        const prft = writePrft({ trackId: source.id, wallClock: start as Micros, mediaTime: (chunk.start + shift) as MediaTicks });
        yield concatBytes(prft, retimeFragment(chunk.bytes, { sequenceNumber: sequence, shift: () => shift }));
      }
    }
  }

  const push = async (source: Parsed, from: Micros): Promise<void> => {
    const chunks = media(source, from);
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const next = await chunks.next();
          if (next.done === true) controller.close();
          else controller.enqueue(next.value);
        },
        async cancel() {
          await chunks.return(undefined);
        },
      },
      { highWaterMark: 0 },
    );
    const init: RequestInit & { duplex: 'half' } = {
      method: 'PUT',
      headers: { authorization: `Bearer ${options.credential}`, 'content-type': source.track.type },
      body,
      duplex: 'half',
    };
    const response = await options.send(new Request(`${options.ingestUrl}/Streams(${source.track.name})`, init));
    if (response.ok) return;
    const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
    throw new SealcastError('origin-unavailable', `ingest refused the clip: ${problem.code ?? response.status} ${problem.detail ?? ''}`.trim());
  };

  const run = async (source: Parsed): Promise<void> => {
    while (!stopping.signal.aborted) {
      const from = (Math.ceil(clock.now() / segmentDuration) * segmentDuration) as Micros;
      try {
        await push(source, from);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        log.warn('the looped clip starts again', { asset: options.asset, track: source.track.name, reason });
        options.events({ at: clock.now(), kind: 'source.restarted', severity: 'warning', message: `The looped clip starts again: ${reason}`, asset: options.asset });
      }
      if (!stopping.signal.aborted) await sleepUntil(clock.now() + RETRY * 1000);
    }
  };
  const running = parsed.map(run);

  return {
    async stop() {
      stopping.abort();
      await Promise.all(running);
    },
  };
};
