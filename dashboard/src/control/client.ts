// SPDX-License-Identifier: Apache-2.0
/**
 * The operator endpoints from the browser: requests and the live stream, always with the token in the Authorization header.
 *
 * Invariant: the token is never put into an address, a cookie or a log, and lives at most as long as the tab (`sessionStorage`).
 */
import type { FeedLine, Figures } from '../../../src/operations/api.ts';

/** What went wrong, in the words of the server's problem document where there is one. */
export class RequestError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'RequestError';
    this.status = status;
    this.code = code;
  }
}

const errorOf = async (response: Response): Promise<RequestError> => {
  const body = (await response.json().catch(() => ({}))) as { code?: unknown; detail?: unknown; title?: unknown };
  const detail = typeof body.detail === 'string' ? body.detail : typeof body.title === 'string' ? body.title : `The server answered ${response.status}.`;
  return new RequestError(response.status, typeof body.code === 'string' ? body.code : 'unknown', detail);
};

export type OperatorClient = {
  readonly get: <T>(path: string) => Promise<T>;
  readonly post: <T>(path: string, body?: unknown) => Promise<T>;
  readonly put: <T>(path: string, body: unknown) => Promise<T>;
  readonly remove: <T>(path: string) => Promise<T>;
  /** A document to be saved. */
  readonly file: (path: string) => Promise<Blob>;
  readonly stream: (handlers: StreamHandlers) => () => void;
};

export type StreamState = { readonly phase: 'connecting' } | { readonly phase: 'live' } | { readonly phase: 'waiting'; readonly retryAt: number; readonly reason: string };
export type StreamHandlers = {
  readonly state: (state: StreamState) => void;
  readonly history: (figures: readonly Figures[]) => void;
  readonly figures: (figures: Figures) => void;
  readonly line: (line: FeedLine) => void;
  readonly refused: () => void;
};

/** No message for this long means the connection is dead: figures come every second. */
const SILENCE = 8000;

export const createOperatorClient = (token: string): OperatorClient => {
  const headers = { Authorization: `Bearer ${token}` };
  const ask = async (path: string, init: RequestInit): Promise<Response> => {
    let response: Response;
    try {
      response = await fetch(path, { cache: 'no-store', credentials: 'omit', ...init });
    } catch {
      throw new RequestError(0, 'unreachable', 'The server cannot be reached.');
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  };
  const call = async <T>(path: string, init: RequestInit): Promise<T> => (await (await ask(path, init)).json()) as T;

  const listen = async (lastId: string, handlers: StreamHandlers, signal: AbortSignal, onId: (id: string) => void, alive: () => void): Promise<void> => {
    const response = await fetch('/v1/operations/stream', { headers: { ...headers, ...(lastId === '' ? {} : { 'Last-Event-ID': lastId }) }, cache: 'no-store', credentials: 'omit', signal });
    if (!response.ok || response.body === null) throw await errorOf(response);
    handlers.state({ phase: 'live' });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      pending += value;
      for (let end = pending.indexOf('\n\n'); end >= 0; end = pending.indexOf('\n\n')) {
        const block = pending.slice(0, end);
        pending = pending.slice(end + 2);
        const field = (name: string) => block.split('\n').find((text) => text.startsWith(`${name}: `))?.slice(name.length + 2);
        const data = field('data');
        const id = field('id');
        if (id !== undefined) onId(id);
        if (data === undefined) continue;
        const event = field('event');
        if (event === 'figures') handlers.figures(JSON.parse(data) as Figures);
        else if (event === 'operational') handlers.line(JSON.parse(data) as FeedLine);
        else if (event === 'history') handlers.history(JSON.parse(data) as Figures[]);
      }
    }
  };

  return {
    get: (path) => call(path, { headers }),
    put: (path, body) => call(path, { method: 'PUT', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    file: async (path) => (await ask(path, { headers })).blob(),
    remove: (path) => call(path, { method: 'DELETE', headers }),
    post: (path, body) => call(path, { method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body ?? {}) }),
    stream(handlers) {
      let stopped = false;
      let attempt = 0;
      let lastId = '';
      let timer: ReturnType<typeof setTimeout> | undefined;
      let controller = new AbortController();
      const connect = async (): Promise<void> => {
        if (stopped) return;
        handlers.state({ phase: 'connecting' });
        controller = new AbortController();
        let watchdog = setTimeout(() => controller.abort(), SILENCE);
        let reason = 'The server closed the stream.';
        try {
          await listen(lastId, handlers, controller.signal, (id) => (lastId = id), () => {
            attempt = 0;
            clearTimeout(watchdog);
            watchdog = setTimeout(() => controller.abort(), SILENCE);
          });
        } catch (error) {
          if (error instanceof RequestError && (error.status === 401 || error.status === 403)) {
            clearTimeout(watchdog);
            if (!stopped) handlers.refused();
            return;
          }
          reason = error instanceof RequestError ? error.message : 'The connection was lost.';
        }
        clearTimeout(watchdog);
        if (stopped) return;
        const delay = Math.min(1000 * 2 ** attempt++, 10_000);
        handlers.state({ phase: 'waiting', retryAt: Date.now() + delay, reason });
        timer = setTimeout(() => void connect(), delay);
      };
      void connect();
      return () => {
        stopped = true;
        clearTimeout(timer);
        controller.abort();
      };
    },
  };
};

const STORED = 'sealcast-operator-token';
export const storedToken = (): string | null => sessionStorage.getItem(STORED);
export const storeToken = (token: string | null): void => (token === null ? sessionStorage.removeItem(STORED) : sessionStorage.setItem(STORED, token));
