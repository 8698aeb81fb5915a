// SPDX-License-Identifier: Apache-2.0
/**
 * The release channel as server-sent events over fetch: for runtimes and networks without WebSocket.
 *
 * docs/wire/release.md, "SSE". EventSource cannot send a token in a header, so the stream is read from fetch (WHATWG HTML, section 9.2.6).
 * Invariant: a line is bounded; what is not one of the channel's events ends the link as nonsense.
 */
import { decodeBase64url } from '#core/bytes/base64url.ts';
import { decodeRelease } from '#core/release/frame.ts';
import { CLOSE, MAX_EDGE_MESSAGE, parseEdgeMessage } from '#core/release/messages.ts';
import type { Fetch } from '#ports';
import { CONNECT_TIMEOUT, type EdgeLink, type LinkHandlers, type LinkOptions, releaseAddress } from './edge-link.ts';

/** One event of a stream. */
export type StreamEvent = { readonly event: string; readonly data: string };

/** Cuts a stream into events; feed it text as it comes. Throws RangeError for a line that is longer than any message. */
export const createEventSplitter = (): ((text: string) => StreamEvent[]) => {
  let rest = '';
  let event = '';
  let data: string[] = [];
  return (text) => {
    const found: StreamEvent[] = [];
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    if (rest.length > 2 * MAX_EDGE_MESSAGE || data.length > 64) throw new RangeError('event stream: a line without end');
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) found.push({ event: event === '' ? 'message' : event, data: data.join('\n') });
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      const [field, value] = colon === -1 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
      if (field === 'event') event = value;
      else if (field === 'data') data.push(value);
    }
    return found;
  };
};

const codeOf = (status: number): number => ({ 401: CLOSE.token, 403: CLOSE.forbidden, 404: CLOSE.unknownEvent, 409: CLOSE.connections, 429: CLOSE.flood })[status] ?? 0;

/** Connects by server-sent events: secrets and schedules come, nothing can be sent. */
export const openStreamLink = (options: LinkOptions, fetch: Fetch, handlers: LinkHandlers): EdgeLink => {
  const { clock, event, last } = options;
  const controller = new AbortController();
  let over = false;
  const end = (code: number): void => {
    if (over) return;
    over = true;
    cancelTimeout();
    controller.abort();
    handlers.down(code);
  };
  const cancelTimeout = clock.after(CONNECT_TIMEOUT, () => end(CLOSE.silent));

  const run = async (): Promise<void> => {
    const headers = { accept: 'text/event-stream', authorization: `Bearer ${options.token}`, ...(last === undefined ? {} : { 'last-event-id': String(last) }) };
    const response = await fetch(new Request(releaseAddress(options.url, event), { headers, signal: controller.signal, cache: 'no-store' }));
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      return end(codeOf(response.status));
    }
    const split = createEventSplitter();
    const decoder = new TextDecoder();
    for await (const bytes of response.body) {
      const at = clock.monotonic();
      for (const { event: name, data } of split(decoder.decode(bytes, { stream: true }))) {
        if (over) return;
        if (name === 'rel') handlers.release(decodeRelease(decodeBase64url(data)), at);
        else {
          const message = parseEdgeMessage(data, name);
          if (message.type === 'welcome') cancelTimeout();
          handlers.message(message);
        }
      }
    }
    end(1006);
  };
  run().catch((error: unknown) => end(error instanceof Error && 'code' in error && error.code === 'bad-request' ? CLOSE.malformed : 1006));

  return { pull: () => false, sync: () => false, report: () => false, renewToken: () => undefined, close: (code = 1000) => end(code) };
};
