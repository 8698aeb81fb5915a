// SPDX-License-Identifier: Apache-2.0
/**
 * Serves a Web-standard handler over HTTP/1.1 or HTTPS with node:http, and stops without dropping answers.
 *
 * RFC 9112. Request bodies reach the handler while they arrive (an ingest request may never end), `Expect: 100-continue` is
 * answered when the handler begins to read. Whole bodies in memory go to the socket as they are (`http-response.ts`).
 * Invariant: a handler's fault is one 500 and one log line, never a crash; limits hold before the handler sees a request.
 */
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { ERRORS, problemOf, SealcastError } from '#core/errors.ts';
import type { Millis } from '#core/time.ts';
import type { Log } from '#ports';
import { createDirectConnections, type DirectConnections, type DirectRoute } from '#adapters/node/http-direct.ts';
import { toRequest, writeResponse } from '#adapters/node/http-message.ts';

/** A role's handler, or the router over several. `peer.address` is the socket's, whatever X-Forwarded-For says. */
export type ServerHandler = (request: Request, peer: Peer) => Response | Promise<Response>;
/** Who asks, and the answer that is being written. */
export type Peer = { readonly address: string; readonly open: OpenAnswer };
/** An answer while it is written. */
export type OpenAnswer = {
  /** True once all of it was handed to the network, or the client is gone. */
  readonly done: boolean;
  /** Ends the connection at once; what the client has not received is lost. */
  cut(): void;
};

/** Where to listen and what to accept. */
export type ServeOptions = {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  /** PEM texts; with them the server speaks HTTPS only. */
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly log: Log;
  /** Longest request line target in characters; longer answers 414. Default 8,192. */
  readonly maxUrl?: number;
  /** All header fields of a request together; larger answers 431. Default 16,384. */
  readonly maxHeaderBytes?: number;
  /** How long an idle connection is kept. Default 65 s: longer than load balancers keep theirs. */
  readonly keepAlive?: Millis;
  /** Routes with a short way of their own; `handler` answers them too, with the same bytes. */
  readonly direct?: readonly DirectRoute[];
  /** Several threads or processes listen on this port; the kernel spreads connections (SO_REUSEPORT, Linux). */
  readonly reusePort?: boolean;
  /** Takes a request that is answered on the socket (an event stream); false leaves it to the handler. */
  readonly onStream?: (request: IncomingMessage, answer: ServerResponse) => boolean;
  /** Takes an upgrade request (WebSocket); false refuses it, which closes the connection with 404. */
  readonly onUpgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => boolean;
};

/** A server that listens. */
export type RunningServer = {
  readonly port: number;
  /** `http://host:port`, for messages and tests. */
  readonly url: string;
  /** Stops accepting, lets running answers finish for at most `limit`, then closes every connection. Idempotent. */
  close(limit?: Millis): Promise<void>;
  /** Bytes written to connections since the start, headers (and TLS records) included. */
  sentBytes(): number;
  /** Cuts every connection at once and goes on listening, as a network fault would. */
  disconnect(): void;
};

const DEFAULT_DRAIN = 10_000 as Millis;

const problem = (error: unknown, status: number): Response => {
  const document = { ...problemOf(error), status };
  return new Response(JSON.stringify(document), { status, headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' } });
};

/** One per request: a class, because it is made for each of them. */
class AnswerInWriting implements OpenAnswer {
  readonly #answer: ServerResponse;
  constructor(answer: ServerResponse) {
    this.#answer = answer;
  }
  get done(): boolean {
    return this.#answer.writableFinished || this.#answer.destroyed;
  }
  cut(): void {
    const { socket } = this.#answer;
    if (socket === null || socket.destroyed) return;
    try {
      // A reset takes back what waits in the kernel, too.
      socket.resetAndDestroy();
    } catch {
      socket.destroy();
    }
  }
}

/** Aborts when the client goes away before it has its answer. */
const abortedWith = (message: IncomingMessage, answer: ServerResponse): AbortSignal => {
  const abort = new AbortController();
  const gone = (): void => {
    if (!answer.writableEnded) abort.abort(new Error('the client went away'));
  };
  if (message.socket.destroyed) gone();
  else answer.once('close', gone);
  return abort.signal;
};

/** Starts listening; rejects if the address cannot be had. */
export const serve = async (handler: ServerHandler, options: ServeOptions): Promise<RunningServer> => {
  const { log, tls, maxUrl = 8192 } = options;
  const scheme = tls === undefined ? 'http' : 'https';
  let closing: Promise<void> | undefined;

  const fault = (message: IncomingMessage, error: unknown): Response => {
    log.error('handler fault', { method: message.method, reason: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    return problem(error, ERRORS[problemOf(error).code].status);
  };

  const serveOne = (expectsContinue: boolean) => (message: IncomingMessage, answer: ServerResponse): void => {
    if (options.onStream !== undefined && closing === undefined && options.onStream(message, answer)) return;
    const goOn = expectsContinue ? (): void => answer.writeContinue() : undefined;
    const signal = message.method === 'GET' || message.method === 'HEAD' ? undefined : (): AbortSignal => abortedWith(message, answer);
    const write = (response: Response): void => {
      // A client still waiting for 100 Continue must not send a body that nobody reads.
      writeResponse(response, answer, closing !== undefined || (expectsContinue && !message.readableDidRead));
    };
    const request = toRequest(message, { scheme, maxUrl, signal, goOn });
    if ('status' in request) return write(problem(new SealcastError('bad-request', request.detail), request.status));
    // Settled promises and plain answers take the same short way; a fault is answered once and logged once.
    new Promise<Response>((resolve) => resolve(handler(request, { address: message.socket.remoteAddress ?? '', open: new AnswerInWriting(answer) })))
      .catch((error: unknown) => fault(message, error))
      .then(write)
      .catch((error: unknown) => {
        log.error('response fault', { reason: error instanceof Error ? error.message : String(error) });
        answer.destroy();
      });
  };

  const settings = {
    maxHeaderSize: options.maxHeaderBytes ?? 16_384,
    keepAliveTimeout: options.keepAlive ?? 65_000,
    // Headers have to come promptly; bodies may take for ever, live ingest does.
    headersTimeout: 20_000,
    requestTimeout: 0,
    noDelay: true,
  };
  const server: Server = tls === undefined ? createHttp(settings) : createHttps({ ...settings, key: tls.key, cert: tls.cert });
  const connections = new Set<Socket>();
  let closedBytes = 0;
  server.on('connection', (socket: Socket) => {
    connections.add(socket);
    socket.once('close', () => {
      closedBytes += socket.bytesWritten;
      connections.delete(socket);
    });
  });
  server.on('request', serveOne(false));
  server.on('checkContinue', serveOne(true));
  server.on('upgrade', (message: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (closing === undefined && options.onUpgrade?.(message, socket, head) === true) return;
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });

  const takeDirectly = (routes: readonly DirectRoute[]): DirectConnections => {
    // node:http keeps its own way of taking a connection as a listener; connections reach it when the short way is not theirs.
    const event = tls === undefined ? 'connection' : 'secureConnection';
    const listeners = server.listeners(event);
    const [ownWay] = listeners;
    const direct = createDirectConnections({
      routes,
      handOver: (socket) => void ownWay?.call(server, socket),
      fault: (path, error) => {
        log.error('handler fault', { method: 'POST', path, reason: error instanceof Error ? (error.stack ?? error.message) : String(error) });
        const bytes = new TextEncoder().encode(JSON.stringify(problemOf(error)));
        return { status: problemOf(error).status, headers: [['content-type', 'application/problem+json'], ['cache-control', 'no-store'], ['content-length', String(bytes.length)]], bytes };
      },
      keepAlive: settings.keepAliveTimeout as Millis,
      firstRequest: settings.headersTimeout as Millis,
    });
    server.off(event, ownWay as () => void);
    server.on(event, direct.take);
    return direct;
  };
  const direct = options.direct === undefined || options.direct.length === 0 ? undefined : takeDirectly(options.direct);

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port: options.port, host: options.host, ...(options.reusePort === true && { reusePort: true }) }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error) => log.error('server fault', { reason: error.message }));
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;

  const shutDown = (limit: Millis): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => {
        server.closeAllConnections();
        direct?.destroy();
      }, limit);
      server.close(() => {
        clearTimeout(timer);
        resolve();
      });
      server.closeIdleConnections();
      direct?.close();
    });
  const disconnect = (): void => {
    server.closeAllConnections();
    direct?.destroy();
  };

  return { port, url: `${scheme}://${host}:${port}`, close: (limit = DEFAULT_DRAIN) => (closing ??= shutDown(limit)), disconnect, sentBytes: () => [...connections].reduce((sum, socket) => sum + socket.bytesWritten, closedBytes) };
};
