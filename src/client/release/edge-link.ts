// SPDX-License-Identifier: Apache-2.0
/**
 * One connection to one edge's release channel: WebSocket, or server-sent events over fetch where there is none.
 *
 * docs/wire/release.md, "Edge → client". A link lives once: whoever holds it opens another after `down`.
 * Invariants: what an edge sends is read strictly, and nonsense ends the link with 4400; `down` comes exactly once; stamps are taken when bytes
 * come, before anything is parsed.
 */
import type { AssetId } from '#core/ids.ts';
import { type ReleaseFrame, decodeRelease, decodeSyncAnswer, encodeSyncRequest } from '#core/release/frame.ts';
import { CLOSE, type ClientCapability, type ClientMessage, type EdgeMessage, SUBPROTOCOL, type StatMessage, encodeClientMessage, parseEdgeMessage } from '#core/release/messages.ts';
import type { CryptoPeriod, Millis } from '#core/time.ts';
import type { Clock } from '#ports';
import type { ClockExchange } from './clock-estimate.ts';

/** What is used of a WebSocket. */
export type Socket = {
  binaryType: string;
  readonly readyState: number;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'open' | 'error', listener: () => void): void;
  addEventListener(type: 'message', listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: 'close', listener: (event: { readonly code: number }) => void): void;
};
/** Opens a WebSocket; throws where that is impossible. */
export type OpenSocket = (url: string, protocol: string) => Socket;

/** Whom a link tells. */
export type LinkHandlers = {
  message(message: EdgeMessage): void;
  release(frame: ReleaseFrame, at: Millis): void;
  exchange(exchange: ClockExchange): void;
  /** The connection is over; `code` as in RFC 6455 and `CLOSE`, 0 if it never stood. */
  down(code: number): void;
};

/** A connection under way or up. */
export type EdgeLink = {
  /** False if this kind of link cannot: ask over HTTP instead. */
  pull(periods: readonly CryptoPeriod[]): boolean;
  sync(): boolean;
  report(stat: StatMessage): boolean;
  renewToken(token: string): void;
  close(code?: number): void;
};

/** What a link connects to, and as whom. */
export type LinkOptions = {
  /** Base URL of the edge. */
  readonly url: string;
  readonly event: AssetId;
  readonly token: string;
  readonly last: CryptoPeriod | undefined;
  readonly caps: readonly ClientCapability[];
  readonly clock: Clock;
};

/** An edge that has not said welcome by then is not there, ms. */
export const CONNECT_TIMEOUT: Millis = 5000 as Millis;
const OPEN = 1;
const NORMAL = 1000;
/** Answers to clock requests that never come are forgotten. */
const MAX_UNANSWERED = 16;

/** Address of an event's release channel at an edge. */
export const releaseAddress = (base: string, event: AssetId, rest = ''): string => new URL(`/v1/events/${event}/release${rest}`, base).href;

/** Connects by WebSocket. */
export const openSocketLink = (options: LinkOptions, openSocket: OpenSocket, handlers: LinkHandlers): EdgeLink => {
  const { clock, event } = options;
  const unanswered = new Map<number, Millis>();
  let seq = 0;
  let over = false;
  let socket: Socket | undefined;

  const end = (code: number): void => {
    if (over) return;
    over = true;
    cancelTimeout();
    handlers.down(code);
  };
  const close = (code = NORMAL): void => {
    try {
      socket?.close(code);
    } catch {
      // A socket that is not open yet may refuse to close with a code.
      socket?.close();
    }
    end(code);
  };
  const cancelTimeout = clock.after(CONNECT_TIMEOUT, () => close(CLOSE.silent));

  const sendText = (message: ClientMessage): boolean => {
    if (over || socket?.readyState !== OPEN) return false;
    socket.send(encodeClientMessage(message));
    return true;
  };

  const take = (data: unknown, at: Millis): void => {
    if (typeof data === 'string') {
      const message = parseEdgeMessage(data);
      if (message.type === 'welcome') cancelTimeout();
      return handlers.message(message);
    }
    const bytes = new Uint8Array(data as ArrayBuffer);
    if (bytes[0] !== 0x11) return handlers.release(decodeRelease(bytes), at);
    const answer = decodeSyncAnswer(bytes);
    const sent = unanswered.get(answer.seq);
    unanswered.delete(answer.seq);
    if (sent !== undefined) handlers.exchange({ sent, received: at, edgeReceived: answer.received, edgeSent: answer.sent, edgeError: answer.error });
  };

  try {
    socket = openSocket(releaseAddress(options.url, event).replace(/^http/, 'ws'), SUBPROTOCOL);
  } catch {
    clock.after(0 as Millis, () => end(0));
    return { pull: () => false, sync: () => false, report: () => false, renewToken: () => undefined, close };
  }
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('open', () => void sendText({ type: 'hello', token: options.token, event, caps: options.caps, ...(options.last === undefined ? {} : { last: options.last }) }));
  socket.addEventListener('message', ({ data }) => {
    const at = clock.monotonic();
    if (over) return;
    try {
      take(data, at);
    } catch {
      close(CLOSE.malformed);
    }
  });
  socket.addEventListener('close', ({ code }) => end(code));
  socket.addEventListener('error', () => undefined);

  return {
    pull: (periods) => sendText({ type: 'pull', periods }),
    sync() {
      if (over || socket?.readyState !== OPEN) return false;
      seq = (seq + 1) >>> 0;
      if (unanswered.size >= MAX_UNANSWERED) unanswered.clear();
      const at = clock.monotonic();
      unanswered.set(seq, at);
      socket.send(encodeSyncRequest({ seq, t1: BigInt(Math.round(at * 1000)) }) as Uint8Array<ArrayBuffer>);
      return true;
    },
    report: sendText,
    renewToken: (token) => void sendText({ type: 'token', token }),
    close,
  };
};
