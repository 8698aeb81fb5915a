// SPDX-License-Identifier: Apache-2.0
/**
 * A client that ignores its end: it reads slowly, keeps a growing segment open, asks again and again, at every level.
 *
 * A real edge behind the real HTTP server; its bundles come from a source that the test moves. What is asserted is order: no
 * byte of media arrives after the bundle that ends the session was taken, and nothing of anybody else is touched.
 */
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '#adapters/node/clock.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { type RunningServer, serve } from '#adapters/node/http-server.ts';
import { systemRandom } from '#adapters/node/random.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { EdgeCarrier } from '#core/edge-bundle/edge-carriers.ts';
import { assetId, type SessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { createEdge, type Edge } from '#edge/index.ts';

const KEY = new Uint8Array(32).fill(3);
const ASSET = assetId('match');
const quiet = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
const session = (n: number): SessionId => `AQAAAQIDBAUGBwgJCgsMDQ${String.fromCharCode(65 + n)}P` as SessionId;
const closers: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** An edge whose next bundle comes when the test says so. */
const open = async (options: { body?: Uint8Array; server?: boolean } = {}): Promise<{ edge: Edge; server: RunningServer; end(...sessions: SessionId[]): Promise<void>; carriers: EdgeCarrier[]; token(n: number): string; grow(bytes: number): void }> => {
  const now = systemClock.now();
  let version = 1;
  let revoked: EdgeBundle['revokedSessions'] = [];
  let wake = (): void => undefined;
  const carriers: EdgeCarrier[] = [];
  const growing = new Set<ReadableStreamDefaultController<Uint8Array>>();
  const edge = createEdge({
    origin: async (request) =>
      request.url.endsWith('/1.m4s')
        ? new Response((options.body ?? new Uint8Array(100_000)) as BodyInit, { headers: { 'content-type': 'video/mp4', 'cache-control': 'max-age=31536000, immutable', etag: '"1"' } })
        : new Response(new ReadableStream<Uint8Array>({ start: (controller) => void growing.add(controller) }), { headers: { 'content-type': 'video/mp4', 'cache-control': 'max-age=31536000, immutable' } }),
    originBase: 'http://origin/origin',
    async bundle(request) {
      carriers.push(...(request.carriers ?? []));
      if (request.version === version && request.wait > 0) await new Promise<void>((resolve) => {
        wake = resolve;
        request.signal.addEventListener('abort', () => resolve());
      });
      return request.version === version ? undefined : { version, issuedAt: (now + version) as Micros, edge: 'e', zone: { index: 0, name: 'z' }, epochs: [{ epoch: 1, mediaTokenKey: KEY, notBefore: 0 as Micros, notAfter: (now + 1e12) as Micros }], revokedSessions: revoked, revokedDevices: [], validUntil: (now + 1e12) as Micros };
    },
    clock: systemClock, random: systemRandom, log: quiet, events: () => undefined, metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined },
    respond: bufferedResponse,
  });
  await edge.refresh();
  edge.start();
  const server = await serve((request, peer) => edge.handler(request, options.server === false ? { address: peer.address } : peer), { host: '127.0.0.1', port: 0, log: quiet });
  closers.push(() => edge.stop(), () => server.close(0 as Millis));
  return {
    edge, server, carriers,
    async end(...sessions) {
      version++;
      revoked = [...revoked, ...sessions.map((each) => ({ session: each, until: (now + 1e12) as Micros, reason: 'leak' }))];
      const wanted = version;
      wake();
      for (let turn = 0; edge.keys()?.version !== wanted && turn < 500; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
      expect(edge.keys()?.version).toBe(wanted);
    },
    token: (n) => mintMediaToken({ key: KEY, kid: { epoch: 1, zone: 0 }, claims: { session: session(n), asset: ASSET, issuedAt: now, expiresAt: (now + 1e11) as Micros } }),
    grow(bytes) {
      for (const controller of growing) controller.enqueue(new Uint8Array(bytes));
    },
  };
};

/** A connection that is read only when told to. */
const ask = (port: number, token: string, file: string): Promise<{ socket: Socket; received: () => number; closed: () => boolean; read(): void; hold(): void }> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(`GET /media/${ASSET}/v360/${file} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nUser-Agent: thief/1\r\n\r\n`);
    });
    let received = 0;
    let closed = false;
    socket.on('error', () => undefined);
    socket.on('close', () => (closed = true));
    socket.on('data', (bytes) => {
      received += bytes.length;
      resolve(client);
    });
    const client = { socket, received: () => received, closed: () => closed, read: () => void socket.resume(), hold: () => void socket.pause() };
  });
const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 150));
const status = async (server: RunningServer, token: string, file: string): Promise<string> => {
  const response = await fetch(`${server.url}/media/${ASSET}/v360/${file}`, { headers: { authorization: `Bearer ${token}` } });
  const body = response.ok ? '' : ((await response.json()) as { code: string }).code;
  if (response.ok) await response.body?.cancel();
  return `${response.status} ${body}`.trim();
};

test('B203 a growing segment is cut in the middle, for the one session, and every later request is answered session-ended', async () => {
  const place = await open();
  const [thief, honest] = [place.token(0), place.token(1)];
  const [stolen, watched] = [ask(place.server.port, thief, '2.m4s'), ask(place.server.port, honest, '2.m4s')];
  for (let turn = 0; turn < 50; turn++) {
    place.grow(1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const [bad, good] = [await stolen, await watched];
  await place.end(session(0));
  await settle();
  const [had, before] = [bad.received(), good.received()];
  place.grow(50_000);
  await settle();
  expect([bad.closed(), bad.received() - had]).toEqual([true, 0]);
  expect([good.closed(), good.received() - before >= 50_000]).toEqual([false, true]);
  for (const file of ['1.m4s', '2.m4s', 'init.mp4', 'playlist.m3u8']) expect(await status(place.server, thief, file)).toBe('403 session-ended');
  expect(await status(place.server, honest, '1.m4s')).toBe('200');
  good.socket.destroy();
});

test('B203 a segment from memory that a client reads slowly is taken back, too', async () => {
  const place = await open({ body: new Uint8Array(24 * 1024 * 1024) });
  const first = await ask(place.server.port, place.token(1), '1.m4s');
  first.socket.destroy();
  const slow = await ask(place.server.port, place.token(0), '1.m4s');
  slow.hold();
  await settle();
  await place.end(session(0));
  slow.read();
  await settle();
  expect(slow.closed()).toBe(true);
  expect(slow.received()).toBeLessThan(24 * 1024 * 1024);
});

test('in runtimes whose connections cannot be cut, the answer breaks off with its next byte', async () => {
  const place = await open({ server: false });
  const stolen = ask(place.server.port, place.token(0), '2.m4s');
  for (let turn = 0; turn < 20; turn++) {
    place.grow(1000);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const client = await stolen;
  await place.end(session(0));
  const had = client.received();
  for (let turn = 0; turn < 5; turn++) {
    place.grow(50_000);
    await settle();
  }
  expect(client.received() - had).toBeLessThan(50_000);
  expect(client.closed()).toBe(true);
});

test('B203 the edge tells how the ended session was fetched, in the next request for a bundle', async () => {
  const place = await open();
  await status(place.server, place.token(0), '1.m4s');
  const client = await ask(place.server.port, place.token(0), '1.m4s');
  client.socket.destroy();
  await place.end(session(0));
  for (let turn = 0; place.carriers.length < 2 && turn < 200; turn++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(place.carriers.map(({ session: of, prefix }) => `${of} ${prefix}`)).toEqual([`${session(0)} 127.0.0.0/24`, `${session(0)} 127.0.0.0/24`]);
  expect(new Set(place.carriers.map(({ agent }) => agent)).size).toBe(2);
  expect(place.carriers.every(({ bytes }) => bytes >= 100_000)).toBe(true);
});
