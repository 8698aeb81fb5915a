// SPDX-License-Identifier: Apache-2.0
/**
 * WebSocket connections of the release channel on raw sockets: handshake, framing, and nothing between a frame and the wire.
 *
 * RFC 6455, server side, one subprotocol, no extensions (permessage-deflate is never agreed). `core/websocket/frames.ts` reads
 * and writes the frames.
 * Invariant: nothing a client sends throws or is kept beyond one message; Nagle is off; a socket that errs is destroyed.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { createFrameReader, encodeClose, encodeFrame, OPCODE, WS_CLOSE } from '#core/websocket/frames.ts';
import type { ReleaseFraming, ReleaseTransport } from '#ports';

/** RFC 6455 section 1.3. */
const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const KEY = /^[A-Za-z0-9+/]{22}==$/;
/** The peer has so long to answer a close. */
const CLOSE_WITHIN = 2000;

/** What happens on a connection. */
export type WebSocketEvents = { text(text: string): void; binary(bytes: Uint8Array): void; closed(): void };

/** Framing of the release channel's messages over WebSocket. */
export const webSocketFraming: ReleaseFraming = {
  text: (_type, json) => encodeFrame(OPCODE.text, encodeUtf8(json)),
  release: (_period, frame) => encodeFrame(OPCODE.binary, frame),
  binary: (frame) => encodeFrame(OPCODE.binary, frame),
};

const header = (message: IncomingMessage, name: string): string => {
  const value = message.headers[name];
  return typeof value === 'string' ? value : '';
};
const lists = (value: string, item: string): boolean => value.split(',').some((each) => each.trim().toLowerCase() === item);

/** Whether an upgrade request asks for a WebSocket with this subprotocol, as RFC 6455 section 4.2.1 wants it. */
export const isWebSocketRequest = (message: IncomingMessage, protocol: string): boolean =>
  message.method === 'GET' &&
  lists(header(message, 'upgrade'), 'websocket') &&
  lists(header(message, 'connection'), 'upgrade') &&
  header(message, 'sec-websocket-version') === '13' &&
  KEY.test(header(message, 'sec-websocket-key')) &&
  lists(header(message, 'sec-websocket-protocol'), protocol);

/**
 * Answers the handshake of a request that `isWebSocketRequest` and gives the connection; `limit` is the longest message.
 * Events begin once `listen` is called on the answer.
 */
export const acceptWebSocket = (message: IncomingMessage, duplex: Duplex, head: Uint8Array, options: { protocol: string; limit: number }): { readonly transport: ReleaseTransport; listen(events: WebSocketEvents): void } => {
  const socket = duplex as Socket;
  const accept = createHash('sha1').update(header(message, 'sec-websocket-key') + GUID).digest('base64');
  socket.setNoDelay?.(true);
  socket.setTimeout?.(0);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: ${options.protocol}\r\n\r\n`);
  let closing = false;

  const close = (code: number, reason: string): void => {
    if (closing) return;
    closing = true;
    // A peer that reads nothing would keep the frame waiting for ever.
    if (socket.writableLength > 0) {
      socket.destroy();
      return;
    }
    socket.end(encodeClose(code, reason));
    const timer = setTimeout(() => socket.destroy(), CLOSE_WITHIN);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  };

  return {
    transport: {
      kind: 'ws',
      address: message.socket.remoteAddress ?? '',
      get pending() {
        return socket.writableLength;
      },
      raw: (bytes) => {
        if (!closing && !socket.destroyed) socket.write(bytes);
      },
      close,
    },
    listen(events) {
      const decoder = new TextDecoder('utf-8', { fatal: true });
      const fail = (code: number): void => {
        close(code, 'protocol error');
        events.closed();
      };
      const reader = createFrameReader({
        limit: options.limit,
        fail,
        message(opcode, payload) {
          if (closing) return;
          if (opcode === OPCODE.binary) return events.binary(payload);
          if (opcode === OPCODE.ping) return void socket.write(encodeFrame(OPCODE.pong, payload));
          if (opcode === OPCODE.close) {
            close(1000, '');
            return events.closed();
          }
          if (opcode !== OPCODE.text) return;
          let text: string;
          try {
            text = decoder.decode(payload);
          } catch {
            return fail(WS_CLOSE.invalid);
          }
          events.text(text);
        },
      });
      socket.on('data', (bytes: Uint8Array) => reader.push(bytes));
      socket.on('error', () => socket.destroy());
      socket.on('end', () => socket.end());
      socket.on('close', () => events.closed());
      if (head.length > 0) reader.push(head);
    },
  };
};
