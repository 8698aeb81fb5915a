// SPDX-License-Identifier: Apache-2.0
/**
 * GET /v1/operations/stream: the feed as server-sent events (HTML Standard, section 9.2), read with fetch so that the token stays in a header.
 *
 * Order: `history` once, the ring's lines behind `Last-Event-ID`, then `operational` and `figures` as they come.
 * Invariant: a reader that falls behind is cut off instead of growing a queue; it reconnects with its last id.
 */
import type { Feed, FeedMessage } from '#operations/feed.ts';

/** Messages a slow reader may owe before it is cut off. */
const BACKLOG = 256;
/** Lines replayed to a reader without a last id. */
const REPLAY = 100;

const encoder: TextEncoder = new TextEncoder();
const frame = (event: string, data: unknown, id?: number): Uint8Array =>
  encoder.encode(`event: ${event}\n${id === undefined ? '' : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
const frameOf = (message: FeedMessage): Uint8Array =>
  message.type === 'figures' ? frame('figures', message.figures) : frame('operational', message.line, message.line.id);

/** The open streams of one process. */
export type FeedStreams = {
  readonly open: (request: Request) => Response;
  /** Ends every open stream; readers see a clean end and reconnect elsewhere or later. */
  readonly close: () => void;
  readonly count: () => number;
};

/** Serves `feed` to any number of readers. */
export const createFeedStreams = (feed: Feed): FeedStreams => {
  const ends = new Set<() => void>();
  return {
    count: () => ends.size,
    close() {
      for (const end of ends) end();
    },
    open(request) {
      const lastId = Number(request.headers.get('last-event-id') ?? '');
      let end: () => void = () => undefined;
      const body = new ReadableStream<Uint8Array>(
        {
          start(controller) {
            const send = (bytes: Uint8Array): void => {
              if ((controller.desiredSize ?? 0) <= -BACKLOG) end();
              else controller.enqueue(bytes);
            };
            const unsubscribe = feed.subscribe((message) => send(frameOf(message)));
            end = () => {
              unsubscribe();
              if (!ends.delete(end)) return;
              controller.close();
            };
            ends.add(end);
            request.signal.addEventListener('abort', end, { once: true });
            controller.enqueue(encoder.encode('retry: 2000\n\n'));
            controller.enqueue(frame('history', feed.history()));
            const lines = Number.isSafeInteger(lastId) && lastId > 0 ? feed.lines(lastId) : feed.lines(0).slice(-REPLAY);
            for (const line of lines) controller.enqueue(frame('operational', line, line.id));
          },
          cancel() {
            // The reader is gone: closing a cancelled stream would throw, so only the subscription ends.
            ends.delete(end);
            end();
          },
        },
        { highWaterMark: 16 },
      );
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'X-Accel-Buffering': 'no', 'X-Content-Type-Options': 'nosniff' } });
    },
  };
};
