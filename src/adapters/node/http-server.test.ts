// SPDX-License-Identifier: Apache-2.0
import { connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { incomingRequest } from '#adapters/node/http-request.ts';
import { bufferedResponse, rawAnswer } from '#adapters/node/http-response.ts';
import { type RunningServer, serve, type ServeOptions, type ServerHandler } from '#adapters/node/http-server.ts';
import type { Millis } from '#core/time.ts';

const logged: string[] = [];
const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (message: string, fields?: unknown) => void logged.push(`${message} ${JSON.stringify(fields)}`) };
let running: RunningServer | undefined;
const start = async (handler: ServerHandler, options: Partial<ServeOptions> = {}): Promise<RunningServer> => {
  running = await serve(handler, { host: '127.0.0.1', port: 0, log, ...options });
  return running;
};
afterEach(async () => {
  await running?.close(0 as Millis);
  running = undefined;
  logged.length = 0;
});

/** A connection on which a test sees and says every byte. */
const raw = async (server: RunningServer): Promise<{ socket: Socket; say(text: string): void; until(mark: string): Promise<string>; closed: Promise<string> }> => {
  const socket = connect(server.port, '127.0.0.1');
  let heard = '';
  const wake: (() => void)[] = [];
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    heard += text;
    for (const resolve of wake.splice(0)) resolve();
  });
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(heard)));
  await new Promise<void>((resolve) => socket.on('connect', resolve));
  return {
    socket,
    say: (text) => void socket.write(text),
    until: async (mark) => {
      while (!heard.includes(mark)) await new Promise<void>((resolve) => wake.push(resolve));
      return heard;
    },
    closed,
  };
};

describe('requests', () => {
  it('arrive as the platform would have made them', async () => {
    const server = await start(async (request, peer) => {
      expect(request).toBeInstanceOf(Request);
      const clone = request.clone();
      return Response.json({
        method: request.method,
        url: request.url,
        one: request.headers.get('X-One'),
        absent: request.headers.get('x-absent'),
        has: request.headers.has('x-one'),
        all: [...request.headers].filter(([name]) => name.startsWith('x-')),
        copied: new Headers(request.headers).get('x-two'),
        body: await request.text(),
        clone: [clone.url, await clone.text()],
        peer: peer.address,
      });
    });
    const answer = await fetch(`${server.url}/a/b?c=d%20e`, { method: 'PUT', headers: { 'x-one': '1', 'x-two': '2', 'x-forwarded-host': 'evil', 'x-forwarded-proto': 'https', 'x-forwarded-for': '9.9.9.9' }, body: 'hello' });
    const url = `${server.url}/a/b?c=d%20e`;
    expect(await answer.json()).toEqual({
      method: 'PUT',
      url,
      one: '1',
      absent: null,
      has: true,
      all: [['x-forwarded-for', '9.9.9.9'], ['x-forwarded-host', 'evil'], ['x-forwarded-proto', 'https'], ['x-one', '1'], ['x-two', '2']],
      copied: '2',
      body: 'hello',
      clone: [url, 'hello'],
      peer: '127.0.0.1',
    });
  });
  it('have a body that can be read while it is sent, and answered before it ends', async () => {
    const read = Promise.withResolvers<string>();
    const server = await start(async (request) => {
      const reader = (request.body as ReadableStream<Uint8Array>).getReader();
      read.resolve(new TextDecoder().decode((await reader.read()).value));
      let rest = '';
      for (let next = await reader.read(); !next.done; next = await reader.read()) rest += new TextDecoder().decode(next.value);
      return new Response(rest);
    });
    const client = await raw(server);
    client.say('POST /ingest HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n');
    expect(await read.promise).toBe('first');
    client.say('6\r\nsecond\r\n0\r\n\r\n');
    expect(await client.until('second')).toContain('200 OK');
  });
  it('that break off fail the body and abort the signal', async () => {
    const seen = Promise.withResolvers<{ error: unknown; aborted: boolean }>();
    const begun = Promise.withResolvers<void>();
    const server = await start(async (request) => {
      const { signal } = request;
      begun.resolve();
      const error: unknown = await request.text().catch((reason: unknown) => reason);
      seen.resolve({ error, aborted: signal.aborted });
      return new Response();
    });
    const client = await raw(server);
    client.say('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart');
    await begun.promise;
    client.socket.destroy();
    const { error } = await seen.promise;
    expect(error).toBeInstanceOf(Error);
  });
  it('that break off while they are taken whole reject', async () => {
    const seen = Promise.withResolvers<unknown>();
    const begun = Promise.withResolvers<void>();
    const server = await start(async (request) => {
      const bytes = request.bytes();
      begun.resolve();
      seen.resolve(await bytes.catch((reason: unknown) => reason));
      return new Response();
    });
    const client = await raw(server);
    client.say('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\npart');
    await begun.promise;
    client.socket.destroy();
    expect(await seen.promise).toBeInstanceOf(Error);
  });
  it('with Expect: 100-continue are told to go on when the handler reads, not before', async () => {
    const gate = Promise.withResolvers<void>();
    const server = await start(async (request) => {
      if (request.url.endsWith('/refuse')) return new Response('no', { status: 412 });
      await gate.promise;
      return new Response(await request.text());
    });
    const reading = await raw(server);
    reading.say('PUT /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n');
    const refused = await raw(server);
    refused.say('PUT /refuse HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n');
    const answer = await refused.closed;
    expect(answer).toMatch(/^HTTP\/1\.1 412 /);
    expect(answer).toMatch(/connection: close/i);
    gate.resolve();
    expect(await reading.until('\r\n\r\n')).toMatch(/^HTTP\/1\.1 100 Continue/);
    reading.say('body');
    expect(await reading.until('body')).toContain('200 OK');
  });
  it.each<[string, string, number]>([
    ['an address that is too long', `GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 414],
    ['fields that are too large', `GET / HTTP/1.1\r\nHost: x\r\nX-Big: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['a Host that is none', 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n', 400],
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['a target that is no path', 'GET foo HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['OPTIONS of everything', 'OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['TRACE', 'TRACE / HTTP/1.1\r\nHost: x\r\n\r\n', 405],
    ['a request line that is none', 'nonsense\r\n\r\n', 400],
    ['raw bytes in the target', 'GET /\u00ff HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ])('%s never reaches the handler', async (_name, request, status) => {
    let handled = 0;
    const server = await start(() => {
      handled += 1;
      return new Response();
    });
    const client = await raw(server);
    client.socket.write(Buffer.from(request, 'latin1'));
    expect(await client.until('\r\n\r\n')).toContain(`HTTP/1.1 ${status}`);
    expect(handled).toBe(0);
  });
  it('in absolute form keep only path and query', async () => {
    const server = await start((request) => new Response(request.url));
    const client = await raw(server);
    client.say('GET http://elsewhere.example/p?q=1 HTTP/1.1\r\nHost: here.example:81\r\n\r\n');
    expect(await client.until('q=1')).toContain('http://here.example:81/p?q=1');
  });
});

describe('answers', () => {
  it('of a handler that fails are one 500 problem, and the server lives on', async () => {
    let turn = 0;
    const server = await start(() => {
      if (turn++ === 0) throw new Error('secret detail');
      return new Response('fine');
    });
    const failed = await fetch(server.url);
    expect([failed.status, failed.headers.get('content-type')]).toEqual([500, 'application/problem+json']);
    expect(await failed.text()).not.toContain('secret detail');
    expect(logged.join()).toContain('secret detail');
    expect(await (await fetch(server.url)).text()).toBe('fine');
  });
  it('stream with backpressure: a client that does not read stops the source', async () => {
    let pulled = 0;
    const server = await start(() => new Response(new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(new Uint8Array((pulled += 1) && 65_536)) })));
    const client = await raw(server);
    client.socket.pause();
    client.say('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    let before = -1;
    // Kernel buffers fill first; then the count has to stand still.
    for (let still = 0; still < 20; still = pulled === before && pulled > 0 ? still + 1 : 0) {
      before = pulled;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(pulled * 65_536).toBeLessThan(64 * 1024 * 1024);
  });
  it('that nobody waits for any more cancel their source', async () => {
    const cancelled = Promise.withResolvers<void>();
    const server = await start(() => new Response(new ReadableStream<Uint8Array>({ start: (controller) => controller.enqueue(new Uint8Array(10)), cancel: () => cancelled.resolve() })));
    const client = await raw(server);
    client.say('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await client.until('\r\n\r\n');
    client.socket.destroy();
    await cancelled.promise;
  });
  it('whose source fails break the connection', async () => {
    const server = await start(() => {
      let turn = 0;
      return new Response(
        new ReadableStream<Uint8Array>({
          pull: (controller) => (turn++ === 0 ? controller.enqueue(new Uint8Array(10)) : controller.error(new Error('gone'))),
        }),
      );
    });
    await expect(fetch(server.url).then((response) => response.arrayBuffer())).rejects.toThrow();
  });
  it('send the fields of a stream that has nothing yet', async () => {
    const server = await start(() => new Response(new ReadableStream<Uint8Array>({}), { headers: { 'x-early': 'yes' } }));
    const client = await raw(server);
    client.say('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(await client.until('\r\n\r\n')).toMatch(/x-early: yes/i);
  });
  it('keep each cookie apart', async () => {
    const server = await start(() => {
      const headers = new Headers();
      headers.append('set-cookie', 'a=1');
      headers.append('set-cookie', 'b=2');
      return new Response('x', { headers });
    });
    expect((await fetch(server.url)).headers.getSetCookie()).toEqual(['a=1', 'b=2']);
  });
  it('from a buffer equal what the standard would send, also after somebody touched them', async () => {
    const make = (): Response => bufferedResponse(new TextEncoder().encode('hello'), { status: 206, headers: [['content-type', 'text/plain'], ['content-length', '5']] });
    const server = await start((request) => {
      const response = make();
      if (request.url.endsWith('/touched')) response.headers.set('x-more', '1');
      return response;
    });
    for (const path of ['/', '/touched']) {
      const answer = await fetch(server.url + path);
      expect([answer.status, answer.headers.get('content-type'), answer.headers.get('content-length'), await answer.text()]).toEqual([206, 'text/plain', '5', 'hello']);
      expect(answer.headers.get('x-more')).toBe(path === '/' ? null : '1');
    }
    const response = make();
    expect(response).toBeInstanceOf(Response);
    expect(rawAnswer(response)?.bytes.length).toBe(5);
    expect([response.status, response.ok, response.bodyUsed, await response.clone().text(), await response.text(), response.bodyUsed]).toEqual([206, true, false, 'hello', 'hello', true]);
    expect(rawAnswer(response)).toBeUndefined();
    expect(rawAnswer(new Response('x'))).toBeUndefined();
  });
});

describe('closing', () => {
  it('lets a running answer finish, takes no new connection, and is idempotent', async () => {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const server = await start(async () => {
      begun.resolve();
      await gate.promise;
      return new Response('done');
    });
    const asking = fetch(server.url);
    await begun.promise;
    const closing = server.close();
    expect(server.close()).toBe(closing);
    await expect(fetch(server.url)).rejects.toThrow();
    gate.resolve();
    const answer = await asking;
    expect([await answer.text(), answer.headers.get('connection')]).toEqual(['done', 'close']);
    await closing;
  });
  it('ends what does not finish in time', async () => {
    const begun = Promise.withResolvers<void>();
    const server = await start(() => {
      begun.resolve();
      return new Promise<Response>(() => undefined);
    });
    const asking = fetch(server.url);
    asking.catch(() => undefined);
    await begun.promise;
    await server.close(10 as Millis);
    await expect(asking).rejects.toThrow();
  });
});

describe('upgrades', () => {
  const ask = 'GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  it('go to the hook', async () => {
    const server = await start(() => new Response(), {
      onUpgrade: (request, socket) => {
        socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n${request.url ?? ''}`);
        return true;
      },
    });
    const client = await raw(server);
    client.say(ask);
    expect(await client.closed).toMatch(/^HTTP\/1\.1 101 [\s\S]*\/ws$/);
  });
  it('without a taker are refused', async () => {
    for (const options of [{}, { onUpgrade: () => false }]) {
      const server = await start(() => new Response(), options);
      const client = await raw(server);
      client.say(ask);
      expect(await client.closed).toMatch(/^HTTP\/1\.1 404 /);
      await server.close(0 as Millis);
    }
  });
});

describe('a request before anybody needs the real one', () => {
  const posted = (): { request: Request; asked: string[] } => {
    const asked: string[] = [];
    const request = incomingRequest({
      method: 'POST',
      url: 'http://x/y',
      rawHeaders: ['A', '1', 'a', '2', 'B', '3'],
      fields: { a: '1, 2', b: '3' },
      signal: undefined,
      body: {
        stream: () => {
          asked.push('stream');
          return new Response('"text"').body as ReadableStream<Uint8Array>;
        },
        whole: async () => {
          asked.push('whole');
          return new TextEncoder().encode('"text"');
        },
      },
    });
    return { request, asked };
  };
  it('makes the real one once, with body and fields', async () => {
    const { request, asked } = posted();
    expect([request.headers.get('A'), request.headers.get('b'), request.headers.get('c')]).toEqual(['1, 2', '3', null]);
    expect(asked).toEqual([]);
    const clone = request.clone();
    expect([request.bodyUsed, await request.text(), request.bodyUsed]).toEqual([false, '"text"', true]);
    expect(await clone.json()).toBe('text');
    request.headers.forEach((value, name) => expect({ a: '1, 2', b: '3' }[name]).toBe(value));
    expect(asked).toEqual(['stream']);
  });
  it.each<[string, (request: Request) => Promise<unknown>, unknown]>([
    ['bytes', (request) => request.bytes(), new TextEncoder().encode('"text"')],
    ['arrayBuffer', async (request) => new TextDecoder().decode(await request.arrayBuffer()), '"text"'],
    ['text', (request) => request.text(), '"text"'],
    ['json', (request) => request.json(), 'text'],
  ])('gives the whole body by %s without making it, and only once', async (_name, take, expected) => {
    const { request, asked } = posted();
    expect([request.bodyUsed, await take(request), request.bodyUsed]).toEqual([false, expected, true]);
    expect(asked).toEqual(['whole']);
    await expect(take(request)).rejects.toThrow(TypeError);
    await expect(request.blob()).rejects.toThrow(TypeError);
    expect(() => request.clone()).toThrow(TypeError);
    expect([request.bodyUsed, request.body?.locked ?? false]).toEqual([true, true]);
    expect(asked).toEqual(['whole']);
  });
  it('has an empty body where there is none', async () => {
    const request = incomingRequest({ method: 'GET', url: 'http://x/y', rawHeaders: [], fields: {}, signal: undefined, body: undefined });
    expect([await request.bytes(), request.bodyUsed]).toEqual([new Uint8Array(0), false]);
  });
});
