// SPDX-License-Identifier: Apache-2.0
/**
 * Fault 15 over real sockets: of five licence and five renewal addresses four are dead, in every way an address can be, and the
 * viewer's licence is short. The platform is the whole one in one process; the frames are what the headless client decrypts.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDevice } from '#client/device.ts';
import { startSession } from '#client/start-session.ts';
import { accountId, assetId } from '#core/ids.ts';
import type { Millis } from '#core/time.ts';
import { loadConfig } from '#entry/config/index.ts';
import { createDemoIssuer, type DemoIssuer } from '#entry/demo/issuer.ts';
import { type Platform, startPlatform } from '#entry/node.ts';

const EVENT = assetId('match');
/** Two seconds are spare for five addresses. */
const INTERVAL = 2;
const DURATION = 4;

let folder: string;
let platform: Platform;
let issuer: DemoIssuer;
const sockets = new Set<Socket>();
const servers: Server[] = [];

const head = (status: string, length: number): string => `HTTP/1.1 ${status}\r\nContent-Type: text/html\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: ${length}\r\n\r\n`;
/** What a dead address does with a connection. */
const DEATHS: Readonly<Record<string, (socket: Socket) => void>> = {
  'reset by the peer': (socket) => socket.once('data', () => socket.resetAndDestroy()),
  'answered 503': (socket) => socket.on('data', () => socket.write(head('503 Service Unavailable', 0))),
  'a black hole': (socket) => socket.resume(),
  'a slow drip': (socket) =>
    socket.once('data', () => {
      socket.write(head('200 OK', 10_000));
      const timer = setInterval(() => socket.write('.'), 100);
      socket.once('close', () => clearInterval(timer));
    }),
  'a captive portal with a bare 403': (socket) => socket.on('data', () => socket.write(`${head('403 Forbidden', 9)}pay first`)),
};

const listen = (behave: (socket: Socket) => void): Promise<string> =>
  new Promise((resolve) => {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => sockets.delete(socket));
      behave(socket);
    });
    servers.push(server);
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as { port: number }).port}`));
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-addresses-'));
  const config = loadConfig(undefined, {
    data: folder,
    listen: { host: '127.0.0.1', port: 0 },
    roles: ['key-server', 'license-server', 'renewal'],
    licensing: { levels: 'strict', intervalSeconds: INTERVAL, durationSeconds: DURATION, horizonSeconds: 600 },
    packager: { periodSeconds: 1, groupPeriods: 1 },
    log: { level: 'error', format: 'json' },
  });
  let made: DemoIssuer | undefined;
  platform = await startPlatform({
    config,
    async extend({ stores, secrets, clock, random }) {
      made = createDemoIssuer({ kid: 'test', pair: await secrets.keyPair('test/issuer', 'ES256'), catalogue: stores.catalogue, clock, random });
      return { demo: (request) => (made as DemoIssuer).handler(request), entitlementKeys: [{ kid: made.kid, alg: 'ES256', key: made.publicJwk as JsonWebKey }] };
    },
  });
  issuer = made as DemoIssuer;
  await platform.actions?.createEvent({ asset: EVENT, name: 'Match', scheme: 'cenc', clearKey: 'off' });
}, 60_000);

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const server of servers) server.close();
  await platform?.stop();
  await rm(folder, { recursive: true, force: true });
});

test.concurrent.each(Object.keys(DEATHS))('fault 15, B091 B092 B094 B095: four of five dead (%s): the session starts and every renewal comes before expiry', async (death) => {
  const deadOnes = await Promise.all(Array.from({ length: 4 }, () => listen(DEATHS[death] as (socket: Socket) => void)));
  const started = await startSession({
    servers: [...deadOnes, platform.url],
    renewalServers: [platform.url],
    asset: EVENT,
    entitlement: () => issuer.issue(accountId('viewer'), EVENT),
    device: await openDevice({ name: death }),
    timeout: 400 as Millis,
    // The service names itself for renewals; a proxy's view of the world puts dead addresses in front of it.
    fetch: async (request) => {
      const response = await fetch(request);
      if (!response.ok || !/\/v1\/(sessions|licenses)$/.test(request.url) || request.method !== 'POST') return response;
      const body = (await response.json()) as Record<string, unknown>;
      return new Response(JSON.stringify({ ...body, renew: { urls: deadOnes.map((url) => `${url}/v1/renew`) } }), response);
    },
  });
  if (!started.ok) throw new Error(started.denial.detail);
  const { session } = started;
  let renewed = 0;
  let lowest = Number.POSITIVE_INFINITY;
  const look = setInterval(() => (lowest = Math.min(lowest, session.expiresAt - session.now())), 25);
  session.on('renewed', () => renewed++);
  await expect.poll(() => renewed, { timeout: 20_000 }).toBeGreaterThanOrEqual(3);
  clearInterval(look);
  expect(session.state).toBe('active');
  expect(lowest).toBeGreaterThan(0);
  expect(await session.stop()).toBe(true);
}, 40_000);
