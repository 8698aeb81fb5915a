// SPDX-License-Identifier: Apache-2.0
/**
 * The short way for small requests with whole answers: read from the connection, answered on it, no message objects between.
 *
 * RFC 9112. A renewal is 230 bytes in and 200 out; node:http's message objects, headers and streams take several times what it
 * costs to decide it. A connection begins here and stays while everything on it is one complete, plain `POST` to a direct route;
 * the first request that is anything else takes the connection, with all its bytes, to node:http for good.
 * Invariants: what is not understood completely is not answered here; both ways give the same bytes for the same request.
 */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Millis } from '#core/time.ts';
import type { WholeAnswer } from '#ports';

/** A route that takes whole small bodies by `POST` and answers each from its bytes alone. */
export type DirectRoute = {
  /** The whole request target, e.g. `/v1/renew`. */
  readonly path: string;
  /** Longer bodies go the long way, where the handler refuses them. */
  readonly mostBytes: number;
  /** As the handler answers the same body. */
  readonly answer: (body: Uint8Array) => WholeAnswer | Promise<WholeAnswer>;
};

/** What the server that owns the connections provides. */
export type DirectOptions = {
  readonly routes: readonly DirectRoute[];
  /** Gives a connection, with what was read of it put back, to node:http. */
  readonly handOver: (socket: Socket) => void;
  /** What to answer instead of what was thrown. */
  readonly fault: (path: string, error: unknown) => WholeAnswer;
  readonly keepAlive: Millis;
  /** How long a new connection may be silent. */
  readonly firstRequest: Millis;
};

/** Connections that are served the short way. */
export type DirectConnections = {
  take(socket: Socket): void;
  /** Answers what is under way, then closes; idle connections at once. */
  close(): void;
  /** Cuts them all. */
  destroy(): void;
};

const HEAD_END = '\r\n\r\n';
const LONGEST_HEAD = 4096;
const FIELD = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*)$/;
const AUTHORITY = /^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?[ \t]*$/;
/** Fields that change how a message is read or answered. */
const UNUSUAL = new Set(['transfer-encoding', 'expect', 'upgrade', 'trailer', 'te', 'proxy-connection', 'keep-alive', 'http2-settings']);
/** Heads with these are not remembered. */
const PRIVATE = new Set(['cookie', 'authorization', 'proxy-authorization']);
const HEADS_REMEMBERED = 1024;
/** What an answer's field may hold; anything else would let a value end its line. */
const VALUE = /^[\x20-\x7e]*$/;

type Head = { readonly route: DirectRoute; readonly length: number };

/** The head of a plain POST to one of the routes, or undefined. `text` ends with the empty line. */
const parseHead = (text: string, routes: ReadonlyMap<string, DirectRoute>): { readonly head: Head; readonly remember: boolean } | undefined => {
  const lines = text.slice(0, -HEAD_END.length).split('\r\n');
  const route = routes.get(lines[0] ?? '');
  if (route === undefined) return undefined;
  let length: number | undefined;
  let host = false;
  let remember = true;
  for (let at = 1; at < lines.length; at++) {
    const parts = FIELD.exec(lines[at] as string);
    if (parts === null) return undefined;
    const name = (parts[1] as string).toLowerCase();
    const value = parts[2] as string;
    if (UNUSUAL.has(name) || (name === 'connection' && value.trim().toLowerCase() !== 'keep-alive')) return undefined;
    if (name === 'host') {
      if (host || !AUTHORITY.test(value)) return undefined;
      host = true;
    } else if (name === 'content-length') {
      if (length !== undefined || !/^[1-9][0-9]{0,5}$/.test(value)) return undefined;
      length = Number(value);
    } else if (PRIVATE.has(name)) remember = false;
  }
  return host && length !== undefined && length <= route.mostBytes ? { head: { route, length }, remember } : undefined;
};

let dateSecond = 0;
let dateText = '';
/** The `Date` field's text, made once a second. */
const httpDate = (): string => {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) [dateSecond, dateText] = [second, new Date(second * 1000).toUTCString()];
  return dateText;
};

/** An answer as it goes over the wire, as node:http would write it. */
const encode = ({ status, headers, bytes }: WholeAnswer, keepAlive: Millis, closing: boolean): string => {
  let text = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  for (const [name, value] of headers) {
    if (!VALUE.test(value)) throw new TypeError(`the field ${name} of an answer holds characters that it must not`);
    text += `${name}: ${value}\r\n`;
  }
  text += `Date: ${httpDate()}\r\n${closing ? 'Connection: close\r\n\r\n' : `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(keepAlive / 1000)}\r\n\r\n`}`;
  return text + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
};

/** Serves connections; the caller gives it each new one. */
export const createDirectConnections = ({ routes, handOver, fault, keepAlive, firstRequest }: DirectOptions): DirectConnections => {
  const byLine = new Map(routes.map((route) => [`POST ${route.path} HTTP/1.1`, route]));
  const heads = new Map<string, Head>();
  const idle = new Set<Socket>();
  const busy = new Set<Socket>();
  let closing = false;

  const headOf = (text: string): Head | undefined => {
    const known = heads.get(text);
    if (known !== undefined) return known;
    const parsed = parseHead(text, byLine);
    if (parsed?.remember === true) {
      heads.set(text, parsed.head);
      const [oldest] = heads.size > HEADS_REMEMBERED ? heads.keys() : [];
      if (oldest !== undefined) heads.delete(oldest);
    }
    return parsed?.head;
  };

  const take = (socket: Socket): void => {
    /** What came while an answer was in the making: a client that does not wait goes the long way. */
    let early: Buffer[] = [];
    let first = true;
    const forget = (): void => {
      idle.delete(socket);
      busy.delete(socket);
    };
    const leave = (read: readonly Buffer[]): void => {
      forget();
      socket.off('data', onData).off('close', forget).off('error', onError).off('timeout', onTimeout);
      socket.setTimeout(0);
      socket.pause();
      for (const chunk of read.toReversed()) socket.unshift(chunk);
      handOver(socket);
      process.nextTick(() => socket.resume());
    };
    const write = (answer: WholeAnswer): void => {
      if (socket.destroyed) return;
      busy.delete(socket);
      const flushed = socket.write(encode(answer, keepAlive, closing), 'latin1');
      if (closing) return void socket.end();
      idle.add(socket);
      if (early.length > 0) {
        const read = early;
        early = [];
        return leave(read);
      }
      if (!flushed) {
        socket.pause();
        socket.once('drain', () => socket.resume());
      }
    };
    const onData = (chunk: Buffer): void => {
      if (busy.has(socket)) {
        early.push(chunk);
        socket.pause();
        return;
      }
      const end = chunk.length > LONGEST_HEAD + 1024 ? -1 : chunk.indexOf(HEAD_END);
      const head = end < 0 || end > LONGEST_HEAD || closing ? undefined : headOf(chunk.toString('latin1', 0, end + HEAD_END.length));
      const start = end + HEAD_END.length;
      if (head === undefined || chunk.length !== start + head.length) return leave([chunk]);
      idle.delete(socket);
      busy.add(socket);
      if (first) socket.setTimeout(keepAlive);
      first = false;
      const { route } = head;
      const failed = (error: unknown): void => write(fault(route.path, error));
      try {
        const answer = route.answer(chunk.subarray(start));
        if ('then' in answer) answer.then(write).catch(failed);
        else write(answer);
      } catch (error) {
        failed(error);
      }
    };
    const onError = (): void => void socket.destroy();
    const onTimeout = (): void => {
      if (!busy.has(socket)) socket.destroy();
    };
    idle.add(socket);
    socket.setTimeout(firstRequest);
    socket.on('data', onData).on('close', forget).on('error', onError).on('timeout', onTimeout);
  };

  return {
    take,
    close() {
      closing = true;
      for (const socket of idle) socket.end();
    },
    destroy() {
      for (const socket of [...idle, ...busy]) socket.destroy();
    },
  };
};
