// SPDX-License-Identifier: Apache-2.0
/**
 * The sockets of the release channel: WebSocket upgrades and event streams, handed to a release loop.
 *
 * docs/wire/release.md. The same in the main thread and in release workers.
 * Invariant: a request that is not exactly of the release channel is left alone.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptEventStream, eventStreamFraming } from '#adapters/node/event-stream.ts';
import { acceptWebSocket, isWebSocketRequest, webSocketFraming } from '#adapters/node/web-socket.ts';
import { type ErrorCode, problemOf, SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { CLOSE, MAX_CLIENT_MESSAGE, SUBPROTOCOL } from '#core/release/messages.ts';
import type { CryptoPeriod } from '#core/time.ts';
import { releaseEvent, type ReleaseHost } from '#edge/release/index.ts';

/** Takes what belongs to the release channel; false for anything else. */
export type ReleaseSockets = {
  readonly upgrade: (message: IncomingMessage, socket: Duplex, head: Uint8Array) => boolean;
  readonly stream: (message: IncomingMessage, answer: ServerResponse) => boolean;
};

const REFUSALS: ReadonlyMap<number, ErrorCode> = new Map([[CLOSE.token, 'token-invalid'], [CLOSE.forbidden, 'forbidden'], [CLOSE.unknownEvent, 'not-found'], [CLOSE.connections, 'rate-limited']]);

/** The event of a release channel's address. */
const eventOf = (message: IncomingMessage): AssetId | undefined => {
  const path = (message.url ?? '').split('?', 1)[0] ?? '';
  return path.endsWith('/release') ? releaseEvent(path) : undefined;
};

const refuse = (answer: ServerResponse, close: number): true => {
  const problem = problemOf(new SealcastError(REFUSALS.get(close) ?? 'shutting-down', 'the event stream was refused', { extra: { close } }));
  answer.writeHead(problem.status, { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store', 'Access-Control-Allow-Origin': '*' });
  answer.end(JSON.stringify(problem));
  return true;
};

/** `host` is asked at every request: it may not run yet. */
export const createReleaseSockets = (host: () => ReleaseHost | undefined): ReleaseSockets => ({
  upgrade(message, socket, head) {
    const here = host();
    const event = eventOf(message);
    if (here === undefined || event === undefined || !isWebSocketRequest(message, SUBPROTOCOL)) return false;
    const { transport, listen } = acceptWebSocket(message, socket, head, { protocol: SUBPROTOCOL, limit: MAX_CLIENT_MESSAGE });
    const connection = here.accept(event, transport, webSocketFraming);
    if (connection !== undefined) listen({ text: (text) => connection.text(text), binary: (bytes) => connection.binary(bytes), closed: () => connection.gone() });
    return true;
  },
  stream(message, answer) {
    const here = host();
    const event = eventOf(message);
    if (here === undefined || event === undefined || message.method !== 'GET' || !/^text\/event-stream\b/.test(message.headers.accept ?? '')) return false;
    const token = /^Bearer ([A-Za-z0-9_.-]{1,2048})$/.exec(message.headers.authorization ?? '')?.[1];
    if (token === undefined) return refuse(answer, CLOSE.token);
    const code = here.admits(event, token);
    if (code !== undefined) return refuse(answer, code);
    const last = message.headers['last-event-id'];
    const taken: { connection?: ReturnType<ReleaseHost['subscribe']> } = {};
    const transport = acceptEventStream(answer, () => {
      if (typeof taken.connection === 'object') taken.connection.gone();
    });
    const connection = here.subscribe(event, transport, eventStreamFraming, { token, ...(typeof last === 'string' && /^[0-9]{1,15}$/.test(last) && { last: Number(last) as CryptoPeriod }) });
    taken.connection = connection;
    if (typeof connection === 'number') transport.close(connection, '');
    return true;
  },
});
