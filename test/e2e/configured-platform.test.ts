// SPDX-License-Identifier: Apache-2.0
/**
 * A platform from its configuration file, as an operator runs it: limits of collections, the back end that is asked, overrides of
 * devices and titles, and alerts that reach every place once and survive a restart.
 */
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDevice, registerDevice, startSession, type StartedSession } from '#client/index.ts';
import { type AccountId, type AssetId, assetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { loadConfig } from '#entry/config/index.ts';
import { type Platform, startPlatform } from '#entry/node.ts';
import type { ConcurrencyStore, Log } from '#ports';

const SECRET = Buffer.alloc(32, 7);
type Posted = { readonly path: string; readonly body: Record<string, unknown>; readonly text: string; readonly headers: IncomingMessage['headers'] };
let folder: string;
let platform: Platform;
let cut = false;
let hookAnswers = 204;
const posted: Posted[] = [];
const lines: { readonly level: string; readonly message: string; readonly fields: Record<string, unknown> }[] = [];
const log: Log = Object.fromEntries((['debug', 'info', 'warn', 'error'] as const).map((level) => [level, (message: string, fields: Record<string, unknown> = {}) => void lines.push({ level, message, fields })])) as unknown as Log;

/** The operator's own systems: who may watch, and where alerts go. */
const backendAnswer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  const body = JSON.parse(text) as Record<string, unknown>;
  posted.push({ path: request.url ?? '', body, text, headers: request.headers });
  if (request.url === '/hook') {
    response.writeHead(hookAnswers).end();
    return;
  }
  const account = /^token-of-(.+)$/.exec(String(body['token']))?.[1];
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify({ id: body['id'], ...(account === undefined ? { allowed: false, reason: 'not-subscribed' } : { allowed: true, account }) }));
};
const backend = createServer((request, response) => void backendAnswer(request, response));

const cutOff = (store: ConcurrencyStore): ConcurrencyStore =>
  new Proxy(store, { get: (target, name) => (typeof target[name as keyof ConcurrencyStore] === 'function' ? (...args: never[]) => (cut ? Promise.reject(new Error('cut')) : (target[name as keyof ConcurrencyStore] as (...all: never[]) => unknown).apply(target, args)) : undefined) });

const open = async (): Promise<void> => {
  platform = await startPlatform({ config: loadConfig(join(folder, 'sealcast.yaml')), log, wrapRecord: cutOff });
};
const call = async (method: string, path: string, body?: unknown): Promise<{ status: number; body: Record<string, unknown> }> => {
  const response = await fetch(`${platform.url}${path}`, { method, headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) }, ...(body !== undefined && { body: JSON.stringify(body) }) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};
let token = '';
const device = await openDevice({ name: 'TV' });
const start = async (account: string, asset: AssetId, on = device): Promise<StartedSession> => startSession({ servers: [platform.url], asset, device: on, entitlement: async () => `token-of-${account}`, attempts: 1 });
const [CUP, DERBY, NEWS] = ['cup', 'derby', 'news'].map((name) => assetId(name)) as [AssetId, AssetId, AssetId];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-configured-'));
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(backend.address() as { port: number }).port}`;
  await writeFile(join(folder, 'callback.secret'), SECRET.toString('base64url'));
  await writeFile(join(folder, 'hook.secret'), `whsec_${SECRET.toString('base64')}\n`);
  await writeFile(
    join(folder, 'sealcast.yaml'),
    `data: ${join(folder, 'data')}
listen: { port: 0 }
packager: { periodSeconds: 2, groupPeriods: 3 }
licensing: { horizonSeconds: 600 }
concurrency:
  mode: deny-new
  limit: 5
  collections: [{ name: sport, limit: 1 }]
  emergencyFactor: 2
entitlements:
  callback: { url: ${base}/may-watch, secretFile: ${join(folder, 'callback.secret')}, timeoutMillis: 5000 }
webhooks: [{ url: ${base}/hook, secretFile: ${join(folder, 'hook.secret')} }]
`,
  );
  await open();
  token = platform.firstToken ?? '';
  for (const asset of [CUP, DERBY, NEWS]) expect((await call('POST', '/v1/events', { asset, name: asset })).status).toBe(201);
}, 60_000);

afterAll(async () => {
  await platform?.stop();
  backend.close();
  backend.closeAllConnections();
  await rm(folder, { recursive: true, force: true });
});

test('B032 B102 the back end named in the file says who may watch, and the limit of a collection holds across its events', async () => {
  for (const asset of [CUP, DERBY]) expect(await call('PUT', `/v1/events/${asset}/licensing`, { collection: 'sport', note: 'league deal' })).toMatchObject({ status: 200, body: { asset, collection: 'sport' } });
  const nobody = await startSession({ servers: [platform.url], asset: CUP, device, entitlement: async () => 'some-other-token', attempts: 1 });
  expect(nobody).toMatchObject({ ok: false, denial: { code: 'entitlement-invalid', extra: { reason: 'not-subscribed' } } });

  const first = await start('ann', CUP);
  const second = await start('ann', DERBY);
  const third = await start('ann', NEWS);
  const other = await start('bob', DERBY, await openDevice({ name: 'Tablet' }));
  expect(second).toMatchObject({ ok: false, denial: { code: 'concurrency-limit', limit: 1, extra: { scope: 'collection' }, conflicts: [{ asset: CUP, deviceName: 'TV' }] } });
  expect([first.ok, third.ok, other.ok]).toEqual([true, true, true]);
  // Out of the collection again: the limit is the account's.
  expect((await call('PUT', `/v1/events/${DERBY}/licensing`, {})).body).not.toHaveProperty('collection');
  const fourth = await start('ann', DERBY);
  expect(fourth.ok).toBe(true);
  for (const each of [first, third, fourth, other]) if (each.ok) await each.session.stop();

  const asked = posted.filter(({ path }) => path === '/may-watch');
  const [, t, id, mac] = /^t=(\d+),id=([\w-]+),v1=([\w-]+)$/.exec(String(asked[0]?.headers['sealcast-signature'])) ?? [];
  expect(mac).toBe(createHmac('sha256', SECRET.toString('base64url')).update(`${id}.${t}.${asked[0]?.text}`).digest('base64url'));
  expect(JSON.stringify(lines)).not.toContain('token-of-');
});

test('B045 B070 a device and an event have terms and limits of their own, audited, and lose them again', async () => {
  const tablet = await openDevice({ name: 'Shop window' });
  const registered = await registerDevice({ servers: [platform.url], device: tablet, entitlement: async () => 'token-of-cid' });
  if (!registered.ok) throw new Error(registered.denial.detail);
  const policy = { interval: 20_000, duration: 45_000, limit: 1, mode: 'deny-new' };
  expect(await call('PUT', `/v1/devices/${registered.device}/policy`, { ...policy, note: 'public place' })).toMatchObject({ status: 200, body: { device: { name: 'Shop window', policy } } });
  const first = await start('cid', NEWS, tablet);
  expect(await start('cid', CUP, tablet)).toMatchObject({ ok: false, denial: { code: 'concurrency-limit', limit: 1, extra: { scope: 'account' } } });
  if (!first.ok) throw new Error(first.denial.detail);
  // One term from now, not the 15 min that a live event has otherwise.
  expect(first.session.expiresAt - first.session.now()).toBeLessThanOrEqual(60e6);
  await first.session.stop();
  expect((await call('DELETE', `/v1/devices/${registered.device}/policy`)).body).toMatchObject({ device: { name: 'Shop window' } });
  await call('PUT', `/v1/events/${NEWS}/licensing`, { policy: { interval: 10_000, duration: 30_000 } });
  const again = await start('cid', NEWS, tablet);
  if (!again.ok) throw new Error(again.denial.detail);
  expect(again.session.expiresAt - again.session.now()).toBeLessThanOrEqual(45e6);
  await again.session.stop();
  await call('PUT', `/v1/events/${NEWS}/licensing`, {});
  const { body } = await call('GET', '/v1/audit');
  const done = (body['entries'] as { action: string; target: string; detail: Record<string, unknown> }[]).filter(({ action }) => action.endsWith('.policy') || action.endsWith('.licensing'));
  expect(done.map(({ action, detail }) => [action, detail])).toEqual([
    ['event.licensing', { removed: true, note: '' }],
    ['event.licensing', { interval: 10_000, duration: 30_000, note: '' }],
    ['device.policy', { account: 'cid', removed: true }],
    ['device.policy', { account: 'cid', ...policy, note: 'public place' }],
    ['event.licensing', { removed: true, note: '' }],
    ['event.licensing', { collection: 'sport', note: 'league deal' }],
    ['event.licensing', { collection: 'sport', note: 'league deal' }],
  ]);
});

test('B099 B100 an emergency is one metric, one log line, one line in the control room and one signed POST, and its terms are the configured ones', async () => {
  const began = posted.length;
  cut = true;
  const asked = platform.counting.record;
  const heartbeat = { session: 's'.repeat(24) as never, account: 'a' as AccountId, device: 'd'.repeat(43) as never, asset: NEWS, at: Date.now() * 1000 as Micros, expiresAt: (Date.now() + 60_000) * 1000 as Micros, kind: 'renewal' as const };
  for (let call = 0; call < 5; call++) await asked.renew({ heartbeat, level: 1, issued: heartbeat.at, request: String(call) });
  await expect.poll(() => posted.filter(({ path }) => path === '/hook').length, { timeout: 5000 }).toBe(1);
  expect(platform.roles.licenseServer?.policy).toMatchObject({ emergencyFactor: 2, emergencyCap: 1_800_000 });

  const [hook] = posted.slice(began).filter(({ path }) => path === '/hook');
  expect(hook?.body).toMatchObject({ type: 'concurrency.emergency', severity: 'alert', data: { cause: 'unreachable' } });
  const signed = [hook?.headers['webhook-id'], hook?.headers['webhook-timestamp'], hook?.text].join('.');
  expect(hook?.headers['webhook-signature']).toBe(`v1,${createHmac('sha256', SECRET).update(signed).digest('base64')}`);
  const { message } = (hook as NonNullable<typeof hook>).body as { message: string };
  expect(lines.filter((line) => line.message === message)).toEqual([{ level: 'error', message, fields: { alert: 'concurrency.emergency', cause: 'unreachable' } }]);
  expect((await call('GET', '/v1/operations/state')).body).toMatchObject({ emergency: { cause: 'unreachable' }, lastAlert: { kind: 'concurrency.emergency' } });
  const metrics = await platform.metrics.render();
  expect(metrics.body.split('\n').filter((line) => line.includes('concurrency.emergency'))).toEqual(['sealcast_alerts_total{kind="concurrency.emergency"} 1']);
  const response = await fetch(`${platform.url}/v1/operations/stream`, { headers: { authorization: `Bearer ${token}` } });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let stream = '';
  while (!stream.includes('event: figures')) stream += (await reader?.read())?.value ?? '';
  await reader?.cancel();
  expect(stream.split('\n').filter((line) => line.startsWith('data: ') && line.includes('"concurrency.emergency"'))).toHaveLength(1);
});

test('an alert that nobody took before a restart is posted after it, with the same id', async () => {
  hookAnswers = 503;
  cut = false;
  const tries = (): Posted[] => posted.filter(({ path, body }) => path === '/hook' && body['type'] === 'concurrency.recovered');
  // Three good probes, five seconds apart.
  await expect.poll(() => tries().length, { timeout: 30_000 }).toBeGreaterThan(0);
  await platform.stop();
  const before = tries();
  hookAnswers = 204;
  await open();
  await expect.poll(() => tries().length, { timeout: 10_000 }).toBe(before.length + 1);
  expect(new Set(tries().map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  await platform.stop();
  await open();
  expect(tries()).toHaveLength(before.length + 1);
}, 60_000);
