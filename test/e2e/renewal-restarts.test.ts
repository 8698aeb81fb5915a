// SPDX-License-Identifier: Apache-2.0
/**
 * Faults 1 and 2 with real processes: a renewal node killed with kill -9 between request and answer, and every process restarted
 * in turn while sessions run. Licence server in one process, two edges that renew in two more.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDevice } from '#client/device.ts';
import type { Session } from '#client/session-types.ts';
import { startSession } from '#client/start-session.ts';
import { assetId } from '#core/ids.ts';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
const EVENT = assetId('match');
const SESSIONS = 10;
const NAMES = ['core', 'edge-1', 'edge-2'] as const;
type Name = (typeof NAMES)[number];

const folder = mkdtempSync(join(tmpdir(), 'sealcast-restarts-'));
const processes = new Map<Name, ChildProcess>();
const ports = new Map<Name, number>();
const urlOf = (name: Name): string => `http://127.0.0.1:${ports.get(name)}`;
let output = '';
let entitlement: (account: string) => Promise<string>;

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

const up = (name: Name): void => {
  const child = spawn(process.execPath, [BIN, 'up', '--config', join(folder, `${name}.json`)], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (output += text.replace(/^/gm, `${name}: `)));
  processes.set(name, child);
};
const down = async (name: Name, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
  const child = processes.get(name);
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
};
const eventually = async <T>(what: string, attempt: () => Promise<T | undefined>, limit = 25_000): Promise<T> => {
  const end = Date.now() + limit;
  for (;;) {
    const value = await attempt().catch(() => undefined);
    if (value !== undefined) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${limit} ms\n${output.slice(-4000)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};
/** A process answers a renewal that is none with our own refusal once it has its keys. */
const answers = (name: Name): Promise<true> =>
  eventually(`${name} answers`, async () => ((await fetch(`${urlOf(name)}/v1/renew`, { method: 'POST', body: new Uint8Array(40) })).status === 403 ? true : undefined));

beforeAll(async () => {
  for (const name of NAMES) ports.set(name, await freePort());
  const kek = join(folder, 'kek');
  writeFileSync(kek, randomBytes(32).toString('base64url'), { mode: 0o600 });
  const originCredential = join(folder, 'origin');
  writeFileSync(originCredential, randomBytes(32).toString('base64url'), { mode: 0o600 });
  const pair = await generateKeyPair('ES256', { extractable: true });
  const backend = join(folder, 'backend.json');
  writeFileSync(backend, JSON.stringify(await exportJWK(pair.publicKey)));
  entitlement = async (account) => {
    const iat = Math.floor(Date.now() / 1000);
    return new SignJWT({ asset: EVENT }).setProtectedHeader({ alg: 'ES256', typ: 'entitlement+jwt', kid: 'backend' }).setIssuer('test').setAudience('sealcast').setSubject(account).setJti(randomBytes(12).toString('hex')).setIssuedAt(iat).setExpirationTime(iat + 200).sign(pair.privateKey);
  };
  const terms = { levels: 'strict', intervalSeconds: 2, durationSeconds: 12, horizonSeconds: 600 };
  const shared = { licensing: terms, keyEncryptionKey: { file: kek }, packager: { periodSeconds: 2, groupPeriods: 1 }, log: { level: 'warn', format: 'json' } };
  const configure = (name: Name, config: object): void => {
    mkdirSync(join(folder, `${name}-data`), { recursive: true });
    writeFileSync(join(folder, `${name}.json`), JSON.stringify({ ...shared, data: join(folder, `${name}-data`), listen: { host: '127.0.0.1', port: ports.get(name) }, ...config }));
  };
  const edges = ['edge-1', 'edge-2'] as const;
  for (const id of edges) {
    configure(id, { roles: ['edge', 'renewal'], edge: { id, originUrl: `${urlOf('core')}/origin`, bundleUrl: urlOf('core') }, origin: { credentialFile: originCredential } });
    up(id);
  }
  const publicOf = (id: string): string => join(folder, `${id}-data`, `${id}.public.json`);
  for (const id of edges) await eventually(`${id} writes its public keys`, async () => readFileSync(publicOf(id), 'utf8'));
  configure('core', {
    roles: ['key-server', 'license-server', 'renewal', 'operations'],
    entitlements: { keys: [{ kid: 'backend', alg: 'ES256', jwkFile: backend }] },
    edges: edges.map((id) => ({ id, publicFile: publicOf(id), zone: 0, renews: true })),
  });
  up('core');
  const token = await eventually('the operator token is printed', async () => /so_[\w-]+/.exec(output)?.[0]);
  await eventually('the event is made', async () => ((await fetch(`${urlOf('core')}/v1/events`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ asset: EVENT, name: 'Match' }) })).ok ? true : undefined));
  for (const name of NAMES) await answers(name);
}, 60_000);

afterAll(async () => {
  for (const name of NAMES) await down(name, 'SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const watch = async (account: string, renewUrls: readonly string[]): Promise<Session> => {
  const started = await startSession({
    servers: [urlOf('core')],
    asset: EVENT,
    entitlement: () => entitlement(account),
    device: await openDevice({ name: account }),
    // The order of addresses is this test's, not the configuration's.
    fetch: async (request) => {
      const response = await fetch(request);
      if (request.method !== 'POST' || !/\/v1\/(sessions|licenses)$/.test(request.url) || !response.ok) return response;
      return new Response(JSON.stringify({ ...((await response.json()) as object), renew: { urls: renewUrls.map((url) => `${url}/v1/renew`) } }), response);
    },
  });
  if (!started.ok) throw new Error(`${started.denial.code} ${started.denial.detail}`);
  return started.session;
};

test('fault 1, B082 B086: a node killed with kill -9 between request and answer costs nobody a frame', async () => {
  let request = 0;
  const sockets = new Set<Socket>();
  // Between client and node: the second request goes in, its answer never comes out, and the node is gone.
  const proxy: Server = createServer((client) => {
    const upstream = connect(ports.get('edge-1') ?? 0, '127.0.0.1');
    for (const socket of [client, upstream]) sockets.add(socket.on('error', () => undefined));
    client.on('data', (data) => {
      request += 1;
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (request < 2) return void client.write(data);
      void down('edge-1', 'SIGKILL').then(() => client.resetAndDestroy());
    });
    upstream.on('close', () => client.destroy());
  });
  const url = await new Promise<string>((resolve) => proxy.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(proxy.address() as { port: number }).port}`)));
  const session = await watch('killed', [url, urlOf('edge-2')]);
  const log: string[] = [];
  for (const name of ['renewed', 'degraded', 'expired', 'ended'] as const) session.on(name, () => log.push(name));
  await expect.poll(() => log.filter((name) => name === 'renewed').length, { timeout: 20_000 }).toBeGreaterThanOrEqual(4);
  expect(request).toBeGreaterThanOrEqual(2);
  expect(processes.get('edge-1')?.signalCode).toBe('SIGKILL');
  expect(log).toEqual(log.map(() => 'renewed'));
  expect(await session.stop()).toBe(true);
  for (const socket of sockets) socket.destroy();
  proxy.close();
  up('edge-1');
  await answers('edge-1');
}, 60_000);

test('fault 2, B012 B082: all processes restarted one after the other: no playback fails, no session is lost', async () => {
  const sessions = await Promise.all(Array.from({ length: SESSIONS }, (_, i) => watch(`account-${i}`, [...NAMES.slice(i % 3), ...NAMES.slice(0, i % 3)].map(urlOf))));
  const wrong: string[] = [];
  let renewed = 0;
  for (const session of sessions) {
    session.on('renewed', () => renewed++);
    session.on('expired', () => wrong.push('expired'));
    session.on('ended', ({ code }) => code === 'viewer' || wrong.push(code));
  }
  let lowest = Number.POSITIVE_INFINITY;
  const look = setInterval(() => (lowest = Math.min(lowest, ...sessions.map((session) => session.expiresAt - session.now()))), 50);
  for (const name of NAMES) {
    const before = renewed;
    await down(name, 'SIGTERM');
    await expect.poll(() => renewed, { timeout: 20_000 }).toBeGreaterThan(before + SESSIONS / 2);
    up(name);
    await answers(name);
  }
  const after = renewed;
  await expect.poll(() => renewed, { timeout: 20_000 }).toBeGreaterThan(after + SESSIONS);
  clearInterval(look);
  expect(wrong).toEqual([]);
  expect(lowest).toBeGreaterThan(0);
  expect(sessions.map(({ state }) => state)).toEqual(sessions.map(() => 'active'));
  expect(await Promise.all(sessions.map((session) => session.stop()))).toEqual(sessions.map(() => true));
}, 90_000);
