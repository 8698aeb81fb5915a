// SPDX-License-Identifier: Apache-2.0
/**
 * Between node:http messages and Web-standard ones: requests as they arrive, responses with backpressure.
 *
 * RFC 9110, RFC 9112. X-Forwarded-* and Forwarded are data like any other header: nothing here believes them.
 * Invariant: a body is never buffered whole; a slow peer slows its source, a gone peer cancels it.
 */
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { incomingRequest } from '#adapters/node/http-request.ts';
import { rawAnswer } from '#adapters/node/http-response.ts';

/** What an address may hold; spaces and control characters never get past node:http. */
const TARGET = /^[\x21-\x7e]*$/;
const AUTHORITY = /^(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?$/;
const BODYLESS = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE']);
/** fetch forbids making such requests. */
const FORBIDDEN_METHODS = new Set(['CONNECT', 'TRACE', 'TRACK']);

/** A request that is answered before it reaches a handler. */
export type Refused = { readonly status: 400 | 405 | 414; readonly detail: string };

const targetUrl = (message: IncomingMessage, scheme: string, maxUrl: number): string | Refused => {
  const target = message.url ?? '/';
  if (target.length > maxUrl) return { status: 414, detail: `the address is longer than ${maxUrl} characters` };
  // Absolute form (RFC 9112 section 3.2.2): clients of proxies send it; only path and query count here.
  const origin = target.startsWith('/') ? '' : /^https?:\/\/[^/?#]*/i.exec(target)?.[0];
  if (origin === undefined) return { status: 400, detail: 'the request target must be a path' };
  const host = message.headers.host;
  if (host === undefined || !AUTHORITY.test(host)) return { status: 400, detail: 'the Host field must name a host' };
  if (!TARGET.test(target)) return { status: 400, detail: 'the request target holds characters that must be escaped' };
  const path = target.slice(origin.length);
  return `${scheme}://${host}${path.startsWith('/') ? path : `/${path}`}`;
};

/** Calls `first` when the stream is asked for data the first time: then, not before, the client may be told to go on. */
const bodyOf = (message: IncomingMessage, first: (() => void) | undefined): ReadableStream<Uint8Array> => {
  const source = Readable.toWeb(message) as unknown as ReadableStream<Uint8Array>;
  if (first === undefined) return source;
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        if (reader === undefined) {
          first();
          reader = source.getReader();
        }
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => (reader ?? source.getReader()).cancel(reason),
    },
    { highWaterMark: 0 },
  );
};

/** All of a body in one array of its own. Rejects if the client goes away before its end. */
const wholeOf = (message: IncomingMessage, first: (() => void) | undefined): Promise<Uint8Array<ArrayBuffer>> =>
  new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let length = 0;
    let ended = false;
    first?.();
    message.on('data', (chunk: Uint8Array) => {
      chunks.push(chunk);
      length += chunk.length;
    });
    message.once('end', () => {
      const whole = new Uint8Array(length);
      let at = 0;
      for (const chunk of chunks) {
        whole.set(chunk, at);
        at += chunk.length;
      }
      ended = true;
      resolve(whole);
    });
    message.once('error', reject);
    message.once('close', () => {
      if (!ended) reject(new Error('the client went away'));
    });
  });

/**
 * The Web-standard request of a node:http one, or why there is none. `signal` aborts when the client goes away.
 * `goOn` tells a client that sent `Expect: 100-continue` to send its body.
 */
export const toRequest = (
  message: IncomingMessage,
  options: { scheme: 'http' | 'https'; maxUrl: number; signal: (() => AbortSignal) | undefined; goOn: (() => void) | undefined },
): Request | Refused => {
  const method = message.method ?? 'GET';
  if (FORBIDDEN_METHODS.has(method)) return { status: 405, detail: 'this method is not served' };
  const url = targetUrl(message, options.scheme, options.maxUrl);
  if (typeof url !== 'string') return url;
  const { rawHeaders } = message;
  const hasBody = !BODYLESS.has(method) || message.headers['transfer-encoding'] !== undefined || Number(message.headers['content-length'] ?? 0) > 0;
  return incomingRequest({
    method,
    url,
    rawHeaders,
    fields: message.headers,
    signal: options.signal,
    // A body of GET cannot be represented; node:http drains it and it is ignored.
    body: hasBody && method !== 'GET' && method !== 'HEAD' ? { stream: () => bodyOf(message, options.goOn), whole: () => wholeOf(message, options.goOn) } : undefined,
  });
};

const headerFields = (headers: Headers): OutgoingHttpHeaders => {
  const fields: OutgoingHttpHeaders = {};
  for (const [name, value] of headers) if (name !== 'set-cookie') fields[name] = value;
  const cookies = headers.getSetCookie();
  if (cookies.length > 0) fields['set-cookie'] = cookies;
  return fields;
};

const drained = (answer: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const over = (): void => {
      answer.off('drain', over);
      answer.off('close', over);
      resolve();
    };
    answer.on('drain', over);
    answer.on('close', over);
  });

const pump = async (body: ReadableStream<Uint8Array>, answer: ServerResponse): Promise<void> => {
  const reader = body.getReader();
  const gone = (): void => void reader.cancel(new Error('the client went away')).catch(() => undefined);
  answer.on('close', gone);
  answer.on('error', () => answer.destroy());
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (answer.destroyed) return;
      if (done) break;
      if (!answer.write(value)) await drained(answer);
    }
    answer.off('close', gone);
    answer.end();
  } catch {
    // The status is out already: only a broken connection tells the client that this is not the whole.
    answer.destroy();
  }
};

/** Bodies up to this go out as text, byte for byte: node:http then sends them in one buffer with the head, by one system call. */
const ONE_WRITE = 16_384;

/** Writes a response. Throws only what `writeHead` throws for a malformed one; later faults end the connection. */
export const writeResponse = (response: Response, answer: ServerResponse, closing: boolean): void => {
  if (closing) answer.shouldKeepAlive = false;
  const raw = rawAnswer(response);
  if (raw !== undefined) {
    answer.writeHead(raw.status, raw.headers.flat());
    // `finish`: the last byte was handed to the system. A connection that breaks before says nothing, and the buffer is not used again.
    if (raw.bytes.length > ONE_WRITE) answer.end(raw.bytes, raw.done);
    else answer.end(Buffer.from(raw.bytes.buffer, raw.bytes.byteOffset, raw.bytes.length).toString('latin1'), 'latin1', raw.done);
    return;
  }
  answer.writeHead(response.status, headerFields(response.headers));
  if (response.body === null || answer.req.method === 'HEAD') {
    answer.end();
    response.body?.cancel().catch(() => undefined);
    return;
  }
  // Headers of a stream that has nothing yet must not wait for its first chunk; one that has shares a packet with it.
  setImmediate(() => {
    if (!answer.destroyed && !answer.writableEnded) answer.flushHeaders();
  });
  void pump(response.body as ReadableStream<Uint8Array>, answer);
};
