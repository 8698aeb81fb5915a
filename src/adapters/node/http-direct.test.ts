// SPDX-License-Identifier: Apache-2.0
/** The short way answers what the long way answers, byte for byte, and takes nothing that it does not understand completely. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import fc from 'fast-check';
import { generate } from 'selfsigned';
import { afterEach, describe, expect, it } from 'vitest';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { type RunningServer, serve } from '#adapters/node/http-server.ts';
import type { Millis } from '#core/time.ts';
import type { Log, WholeAnswer } from '#ports';

const PATH = '/v1/renew';
const faults: string[] = [];
const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (message) => void faults.push(message) };

/** Answers with the body turned round; a body of zeros is refused, one of ones is a fault, and some answers come later. */
const answerOf = (body: Uint8Array): WholeAnswer | Promise<WholeAnswer> => {
  if (body.length > 0 && body.every((byte) => byte === 0x31)) throw new Error('ones');
  const bad = body.every((byte) => byte === 0x30);
  const bytes = bad ? new TextEncoder().encode('{"code":"renewal-invalid"}') : body.toReversed();
  const answer: WholeAnswer = { status: bad ? 403 : 200, headers: [['Access-Control-Allow-Origin', '*'], ['Content-Type', bad ? 'application/problem+json' : 'application/octet-stream'], ['Content-Length', String(bytes.length)]], bytes };
  return (body[0] ?? 0) % 2 === 0 ? answer : new Promise((resolve) => setImmediate(() => resolve(answer)));
};

let direct = 0;
const handler = async (request: Request): Promise<Response> => {
  if (new URL(request.url).pathname !== PATH || request.method !== 'POST') return bufferedResponse(new TextEncoder().encode('elsewhere'), { status: 404, headers: [['Content-Length', '9']] });
  const { status, headers, bytes } = await answerOf(new Uint8Array(await request.arrayBuffer()));
  return bufferedResponse(bytes, { status, headers: headers.map(([name, value]): [string, string] => [name, value]) });
};
const routes = [{ path: PATH, mostBytes: 256, answer: (body: Uint8Array) => { direct += 1; return answerOf(body); } }];

const open: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
  faults.length = 0;
  direct = 0;
});
const start = async (short: boolean, keepAlive?: number): Promise<RunningServer> => {
  const server = await serve(handler, { host: '127.0.0.1', port: 0, log, ...(short && { direct: routes }), ...(keepAlive !== undefined && { keepAlive: keepAlive as Millis }) });
  open.push(() => server.close(0 as Millis));
  return server;
};
const dial = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket));
    socket.on('error', reject);
    open.push(() => void socket.destroy());
  });
/** All that comes until `count` answers with a Content-Length are complete, or the connection ends. */
const receive = (socket: Socket, count: number): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    const complete = (): boolean => {
      let at = 0;
      for (let seen = 0; seen < count; seen++) {
        const end = text.indexOf('\r\n\r\n', at);
        const length = /content-length: ([0-9]+)/i.exec(text.slice(at, end))?.[1];
        if (end < 0 || length === undefined) return false;
        at = end + 4 + Number(length);
      }
      return text.length >= at;
    };
    const done = (): void => {
      socket.off('data', more).off('end', done);
      resolve(text.replaceAll(/^Date: .*$/gm, 'Date: -'));
    };
    const more = (data: Buffer): void => {
      text += data.toString('latin1');
      if (complete()) done();
    };
    socket.on('data', more).on('end', done);
  });
const request = (body: Uint8Array | string, fields: readonly string[] = [], line = `POST ${PATH} HTTP/1.1`): Buffer =>
  Buffer.concat([Buffer.from([line, 'Host: tv.example', ...fields, `Content-Length: ${body.length}`, '', ''].join('\r\n')), Buffer.from(body)]);
const exchange = async (server: RunningServer, sent: readonly Buffer[], answers = 1): Promise<string> => {
  const socket = await dial(server.port);
  const got = receive(socket, answers);
  for (const part of sent) {
    socket.write(part);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const text = await got;
  socket.destroy();
  return text;
};

describe('the short way', () => {
  it('gives the same bytes as node:http for good and bad bodies, at once and later', async () => {
    const [short, long] = [await start(true), await start(false)];
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 256 }), async (body) => {
        const sent = [request(body, ['Content-Type: application/octet-stream'])];
        expect(await exchange(short, sent)).toBe(await exchange(long, sent));
      }),
      { numRuns: 25 },
    );
    const before = direct;
    const refused = [request('000')];
    expect(await exchange(short, refused)).toBe(await exchange(long, refused));
    expect(direct).toBe(before + 1);
  });

  it('keeps the connection, and every further request on it is short as well', async () => {
    const { port } = await start(true);
    const socket = await dial(port);
    for (const body of ['ab', 'bcd', 'cdef', 'ab']) {
      const got = receive(socket, 1);
      socket.write(request(body));
      expect(await got).toMatch(new RegExp(`Keep-Alive: timeout=65\r\n\r\n${[...body].reverse().join('')}$`));
    }
    expect(direct).toBe(4);
  });

  it.each([
    ['another path', request('abc', [], 'POST /v1/renew?x HTTP/1.1')],
    ['another method', Buffer.from('GET /v1/renew HTTP/1.1\r\nHost: tv.example\r\n\r\n')],
    ['a body too long for it', request('x'.repeat(257))],
    ['HTTP/1.0', request('abc', [], `POST ${PATH} HTTP/1.0`)],
    ['a chunked body', Buffer.from(`POST ${PATH} HTTP/1.1\r\nHost: tv.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`)],
    ['a length and chunks', Buffer.from(`POST ${PATH} HTTP/1.1\r\nHost: tv.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`)],
    ['two lengths', request('abc', ['Content-Length: 4'])],
    ['a length with a sign', Buffer.from(`POST ${PATH} HTTP/1.1\r\nHost: tv.example\r\nContent-Length: +3\r\n\r\nabc`)],
    ['no host', Buffer.from(`POST ${PATH} HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc`)],
    ['two hosts', request('abc', ['Host: other.example'])],
    ['a folded field', request('abc', ['X-One: a', ' b'])],
    ['a space before the colon', request('abc', ['X-One : a'])],
    ['a bare line feed', Buffer.from(`POST ${PATH} HTTP/1.1\nHost: tv.example\nContent-Length: 3\n\nabc`)],
    ['a wish to close', request('abc', ['Connection: close'])],
    ['nonsense', Buffer.from('\u0016\u0003\u0001\u0002\u0000')],
  ])('leaves %s to node:http', async (_name, bytes) => {
    const [short, long] = [await start(true), await start(false)];
    const answers = [await exchange(short, [bytes]), await exchange(long, [bytes])];
    expect(answers[0]).toBe(answers[1]);
    expect(direct).toBe(0);
  });

  it('a request in pieces, and two in one piece, are answered in order', async () => {
    const [short, long] = [await start(true), await start(false)];
    const whole = request('abcdef');
    const cut = [whole.subarray(0, 30), whole.subarray(30, whole.length - 2), whole.subarray(whole.length - 2)];
    expect(await exchange(short, cut)).toBe(await exchange(long, cut));
    const both = [Buffer.concat([request('abc'), request('uvw')])];
    expect(await exchange(short, both, 2)).toBe(await exchange(long, both, 2));
    expect(direct).toBe(0);
  });

  it('a client that does not wait for its answer gets both, in order, and goes on the long way', async () => {
    const { port } = await start(true);
    const socket = await dial(port);
    const got = receive(socket, 2);
    // `a` is odd: its answer comes a turn later.
    socket.write(request('abc'));
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(request('uvw'));
    expect((await got).match(/cba|wvu/g)).toEqual(['cba', 'wvu']);
  });

  it('any cut of a request gives the same answer', async () => {
    const { port } = await start(true);
    const whole = request('bcdefg', ['User-Agent: x', 'Origin: https://tv.example']);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: whole.length - 1 }), async (at) => {
        const socket = await dial(port);
        const got = receive(socket, 1);
        socket.write(whole.subarray(0, at));
        await new Promise((resolve) => setTimeout(resolve, 2));
        socket.write(whole.subarray(at));
        expect(await got).toMatch(/gfedcb$/);
        socket.destroy();
      }),
      { numRuns: 20 },
    );
  });

  it('a fault is one 500 and one log line, and the connection goes on', async () => {
    const { port } = await start(true);
    const socket = await dial(port);
    const got = receive(socket, 1);
    socket.write(request('111'));
    expect(await got).toMatch(/^HTTP\/1\.1 500 .*"code":"internal"/s);
    expect(faults).toEqual(['handler fault']);
    const next = receive(socket, 1);
    socket.write(request('bcd'));
    expect(await next).toMatch(/dcb$/);
  });

  it('closes idle connections, cuts all of them on demand, and drops one that is silent for too long', async () => {
    const server = await start(true, 50);
    const silent = await dial(server.port);
    const got = receive(silent, 1);
    silent.write(request('bcd'));
    await got;
    await new Promise((resolve) => silent.once('close', resolve));
    const cut = await dial(server.port);
    await new Promise((resolve) => setTimeout(resolve, 5));
    server.disconnect();
    await new Promise((resolve) => cut.once('close', resolve));
    const idle = await dial(server.port);
    await new Promise((resolve) => setTimeout(resolve, 5));
    const gone = new Promise((resolve) => idle.once('close', resolve));
    idle.resume();
    await server.close(1000 as Millis);
    await gone;
  });

  it('works the same under TLS', async () => {
    const made = await generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec' });
    const tls = { key: made.private, cert: made.cert };
    const server = await serve(handler, { host: '127.0.0.1', port: 0, log, tls, direct: routes });
    open.push(() => server.close(0 as Millis));
    const socket = await new Promise<Socket>((resolve) => {
      const dialled = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false }, () => resolve(dialled));
      open.push(() => void dialled.destroy());
    });
    for (const [bytes, end] of [[request('bcd'), 'dcb'], [request('xyz', ['TE: trailers']), 'zyx'], [request('bcd'), 'dcb']] as const) {
      const got = receive(socket, 1);
      socket.write(bytes);
      expect(await got).toMatch(new RegExp(`${end}$`));
    }
    expect(direct).toBe(1);
  });
});
