// SPDX-License-Identifier: Apache-2.0
/**
 * A small player without EME: appends media that was decrypted with WebCrypto (Media Source Extensions).
 *
 * For browsers without Clear Key, and the default for timed events: a browser that decrypts by EME wants half a second of sound ahead before it plays on, and
 * a timed event has 150 ms; decrypted media it plays with a fifth of a second.
 * Invariants: all buffers exist before the first append; when the session ends, what lies ahead of the playhead is taken out again.
 */
import type { Micros } from '#core/time.ts';
import { type AppendQueue, createAppendQueue } from './append-queue.ts';
import { type ClearChunks, type ClearChunksOptions, openClearChunks } from './clear-chunks.ts';

/** What it plays and where. */
export type DecryptingOptions = ClearChunksOptions & { readonly video: HTMLMediaElement };

/** A running one. */
export type DecryptingPlayer = {
  /** Resolves with the first appended picture; rejects if nothing can be played. */
  readonly loaded: Promise<void>;
  destroy(): Promise<void>;
};

/** Clear media ahead of the playhead, s; and behind it, for seeks back. */
const AHEAD = 30;
const BEHIND = 120;
const TICK_MILLIS = 250;
const EVERY_TRIM = 40;
/** End of what an event may be seeked in, s: no event is so late. */
const FAR = 1e11;

const errorOf = (error: unknown): Error => (error instanceof Error ? error : new Error('playback failed'));

/** Starts at once. */
export const startDecrypting = (options: DecryptingOptions): DecryptingPlayer => {
  const { video, session } = options;
  const queues: AppendQueue[] = [];
  let chunks: ClearChunks | undefined;
  let begun = false;
  let over = false;
  let started: () => void = () => undefined;
  let failed: (error: Error) => void = () => undefined;
  const first = new Promise<void>((resolve, reject) => {
    started = resolve;
    failed = reject;
  });
  const source = new MediaSource();
  const objectUrl = URL.createObjectURL(source);

  /** Whether the playhead is on the timeline already: an event's is far from zero. */
  const placed = (): boolean => begun && (session.kind === 'title' || video.currentTime > 1);
  const room = async (at: Micros): Promise<void> => {
    // Before the first seek to the event's own time the playhead stands at zero.
    while (!over && placed() && at / 1e6 - video.currentTime > AHEAD) await new Promise((resolve) => setTimeout(resolve, TICK_MILLIS));
  };
  const place = (): void => {
    const to = session.kind === 'event' ? chunks?.dueNow() : options.startAt;
    if (to !== undefined) video.currentTime = to / 1e6;
  };

  const run = async (): Promise<void> => {
    const open = new Promise<void>((resolve) => source.addEventListener('sourceopen', () => resolve(), { once: true }));
    video.src = objectUrl;
    const media = await openClearChunks(options);
    if (over) return media.stop();
    chunks = media;
    await open;
    source.duration = media.duration === undefined ? Number.POSITIVE_INFINITY : media.duration / 1e6;
    // Without it a seek is cut to what is buffered at that moment: to zero, if that is nothing.
    if (media.duration === undefined) source.setLiveSeekableRange(0, FAR);
    // All buffers before the first media: a browser takes no further ones afterwards.
    queues.push(...media.tracks.map(({ track }) => createAppendQueue(source.addSourceBuffer(`${track.kind}/mp4; codecs="${track.codecs}"`), () => video.currentTime)));
    await Promise.all(media.tracks.map(async ({ header }, index) => queues[index]?.append(header)));
    void first.then(() => {
      place();
      begun = true;
    });
    await media.run(async (index, chunk) => {
      await queues[index]?.append(chunk.bytes);
      if (media.tracks[index]?.track.kind === 'video' || media.tracks.length === 1) started();
    }, room);
    if (session.kind === 'title' && source.readyState === 'open') source.endOfStream();
  };

  let ticks = 0;
  const tick = setInterval(() => {
    if (begun && !placed()) place();
    if (placed() && !video.ended) session.playhead(Math.round(video.currentTime * 1e6) as Micros);
    ticks += 1;
    if (ticks % EVERY_TRIM === 0) for (const queue of queues) void queue.remove(0, video.currentTime - BEHIND).catch(() => undefined);
  }, TICK_MILLIS);
  const offEnded = session.on('ended', () => {
    chunks?.stop();
    for (const queue of queues) void queue.remove(video.currentTime, Number.POSITIVE_INFINITY).finally(() => queue.stop()).catch(() => undefined);
  });
  run().catch((error: unknown) => failed(errorOf(error)));
  // Whoever does not wait for it must not see an unhandled rejection.
  first.catch(() => undefined);

  return {
    loaded: first,
    async destroy() {
      over = true;
      chunks?.stop();
      clearInterval(tick);
      offEnded();
      for (const queue of queues) queue.stop();
      video.removeAttribute('src');
      video.load();
      URL.revokeObjectURL(objectUrl);
    },
  };
};
