// SPDX-License-Identifier: Apache-2.0
/**
 * The release channel as server-sent events: the same prepared bytes to every socket, past node:http's own buffering.
 *
 * WHATWG HTML section 9.2 (event streams). The body ends with the connection, so events need no chunk framing and one
 * buffer serves all. docs/wire/release.md, "SSE".
 * Invariant: after the head nothing but whole events and comments is written.
 */
import type { ServerResponse } from 'node:http';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { ReleaseFraming, ReleaseTransport } from '#ports';

const COMMENT_EVERY = 15_000;

/** Framing of the release channel's messages as events. */
export const eventStreamFraming: ReleaseFraming = {
  text: (type, json) => encodeUtf8(`event: ${type}\ndata: ${json}\n\n`),
  release: (period, frame) => encodeUtf8(`id: ${period}\nevent: rel\ndata: ${encodeBase64url(frame)}\n\n`),
  binary: () => undefined,
};

/** Answers a request with an event stream; `closed` is called once when the client is gone. */
export const acceptEventStream = (answer: ServerResponse, closed: () => void): ReleaseTransport => {
  const { socket } = answer;
  answer.shouldKeepAlive = false;
  answer.useChunkedEncodingByDefault = false;
  answer.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store, no-transform', 'X-Accel-Buffering': 'no', 'Access-Control-Allow-Origin': '*', Connection: 'close' });
  answer.flushHeaders();
  socket?.setNoDelay(true);
  let over = false;
  const comment = setInterval(() => {
    if (socket !== null && socket.writableLength === 0) socket.write(': \n\n');
  }, COMMENT_EVERY);
  comment.unref();
  const end = (): void => {
    if (over) return;
    over = true;
    clearInterval(comment);
    closed();
  };
  answer.on('close', end);
  socket?.on('error', () => socket.destroy());
  return {
    kind: 'sse',
    address: socket?.remoteAddress ?? '',
    get pending() {
      return socket?.writableLength ?? 0;
    },
    raw: (bytes) => {
      if (!over && socket !== null && !socket.destroyed) socket.write(bytes);
    },
    close: () => {
      if (!over) socket?.end();
      end();
    },
  };
};
