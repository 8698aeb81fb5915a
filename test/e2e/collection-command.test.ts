// SPDX-License-Identifier: Apache-2.0
/** `sealcast collection`, `usage report` and `title add --collection` against a running platform, and its shared leaf through the edge. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDevice, startSession } from '#client/index.ts';
import type { AccountId, AssetId, DeviceId } from '#core/ids.ts';
import { parseLeaf } from '#core/subscription/leaf.ts';
import type { Micros } from '#core/time.ts';
import { makeClip } from './ingest-clip.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { loadConfig } from '#entry/config/index.ts';
import { type Platform, startPlatform } from '#entry/node.ts';
import { importSigningKey, makeKeyPair, signJws } from '#crypto/jose.ts';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
let folder = '';
let platform: Platform;
let token = '';
let backend: Awaited<ReturnType<typeof makeKeyPair>>;

/** Exit code, and what was printed. */
const run = (...args: string[]): Promise<{ code: number; out: string; err: string }> =>
  new Promise((resolve) => {
    execFile(process.execPath, [BIN, ...args, '--url', platform.url], { env: { ...process.env, SEALCAST_OPERATOR_TOKEN: token } }, (error, out, err) => resolve({ code: error === null ? 0 : Number(error.code), out, err }));
  });

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sealcast-collection-'));
  backend = await makeKeyPair('sign');
  const config = loadConfig(undefined, { data: folder, listen: { host: '127.0.0.1', port: 0 }, log: { level: 'error', format: 'json' } });
  platform = await startPlatform({ config, extend: async () => ({ demo: async () => new Response(null, { status: 404 }), entitlementKeys: [{ kid: 'shop', alg: 'ES256', key: backend.publicJwk as unknown as JsonWebKey }] }) });
  token = platform.firstToken ?? '';
}, 60_000);
afterAll(async () => {
  await platform?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('a title joins a shared collection when it is added; B121: its leaf comes from the edge', async () => {
  const { video } = await makeClip();
  const file = join(folder, 'pilot.mp4');
  writeFileSync(file, concatBytes(video.init, ...video.chunks));
  const added = await run('title', 'add', file, '--collection', 'series', '--scope', 'shared', '--published', '2026-11-01', '--owner', 'Northlight', '--json');
  expect([added.code, (JSON.parse(added.out) as { title: { state: string } }).title.state]).toEqual([0, 'ready']);
  const listed = await run('collection', 'list', 'series', '--json');
  expect((JSON.parse(listed.out) as { titles: unknown[] }).titles).toEqual([{ collection: 'series', asset: 'pilot', published: Date.UTC(2026, 10, 1) * 1000, scope: 'shared', actions: ['play', 'download'], owner: 'Northlight' }]);
  const key = await importSigningKey(backend.privateJwk);
  const now = Math.floor(Date.now() / 1000);
  const started = await startSession({ servers: [platform.url], asset: 'pilot' as AssetId, device: await openDevice({ name: 'tv' }), entitlement: () => signJws({ iss: 'https://shop.example', aud: 'sealcast', sub: 'ann', jti: crypto.randomUUID(), iat: now, exp: now + 120, assets: ['pilot'] }, { typ: 'entitlement+jwt', key, kid: 'shop' }) });
  if (!started.ok) throw new Error(started.denial.detail);
  const leafAt = (headers: Record<string, string>): Promise<Response> => fetch(`${platform.url}/media/pilot/leaf.json`, { headers });
  const leaf = await leafAt({ authorization: `Bearer ${started.session.mediaToken}` });
  expect(parseLeaf(await leaf.text())).toMatchObject({ title: 'pilot', wraps: [{ collection: 'series', scope: 'shared' }] });
  expect((await leafAt({})).status).toBe(401);
  await started.session.stop();
}, 120_000);

test('collections are changed and listed; what is wrong is said with an exit code', async () => {
  expect(await run('collection', 'add', 'films', 'pilot', '--actions', 'play')).toMatchObject({ code: 0, out: expect.stringContaining('account  play') });
  expect((await run('collection', 'list')).out.split('\n').filter(Boolean).map((line) => line.split(/ +/)[0])).toEqual(['films', 'series']);
  expect(await run('collection', 'remove', 'films', 'pilot')).toMatchObject({ code: 0 });
  expect(await run('collection', 'remove', 'films', 'pilot')).toMatchObject({ code: 1 });
  expect(await run('collection', 'add', 'films', 'nothing')).toMatchObject({ code: 1, err: expect.stringContaining('not-found') });
  expect(await run('collection', 'add', 'films', 'pilot', '--published', 'yesterday')).toMatchObject({ code: 2 });
  expect(await run('title', 'add', '/x.mp4', '--owner', 'nobody')).toMatchObject({ code: 2 });
  expect(await run('event', 'create', 'cup', '--bundle', 'tv', '--timed', 'standard')).toMatchObject({ code: 2 });
}, 120_000);

test('B138: usage report by owner, within dates', async () => {
  const device = 'd'.repeat(43) as DeviceId;
  const at = (day: number): Micros => (Date.UTC(2026, 9, day) * 1000) as Micros;
  const play = (seq: number, started: Micros) => ({ device, chain: 1, seq, hash: new Uint8Array(32), text: '{}', account: 'ann' as AccountId, title: 'pilot' as AssetId, owner: 'Northlight', action: 'play', plan: 'p', started, played: 3_600_000_000 as Micros, offline: seq === 2, counted: true, uncertain: false, receivedAt: started }) as const;
  await platform.stores.usage.append({ device, chain: 1, seq: 2, head: new Uint8Array(32), account: 'ann' as AccountId, updatedAt: at(9) }, undefined, [play(1, at(5)), play(2, at(7))]);
  expect((await run('usage', 'report', '--by', 'owner')).out).toMatch(/^owner +plays.*\nNorthlight +2 +1 +0 +0 +2\.00\n$/);
  expect(JSON.parse((await run('usage', 'report', '--by', 'title', '--from', '2026-10-06', '--to', '2026-10-08', '--json')).out)).toMatchObject({ by: 'title', rows: [{ key: 'pilot', plays: 1, offlinePlays: 1 }] });
  expect(await run('usage', 'report', '--from', '2026-10-08', '--to', '2026-10-06')).toMatchObject({ code: 2 });
}, 60_000);
