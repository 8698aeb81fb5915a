// SPDX-License-Identifier: Apache-2.0
/**
 * One process as an operator meets it: first start, second address for the control room, refusals at start, audit, drain.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'sealcast-platform-'));
const children = new Set<ChildProcess>();
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

type Running = { readonly child: ChildProcess; readonly url: string; readonly admin: string; readonly token: string | undefined; output(): string; readonly ended: Promise<number | null> };

const up = (...args: string[]): Promise<Running> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [BIN, 'up', '--data', join(folder, 'data'), '--port', '0', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    children.add(child);
    let output = '';
    const ended = new Promise<number | null>((done) => child.once('exit', (code) => done(code)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const url = /is up at (\S+)/.exec(output)?.[1];
      const admin = /control room: (\S+)\/control\n/.exec(output)?.[1];
      // The token's line, if there is one, is written together with these.
      if (url !== undefined && admin !== undefined) setTimeout(() => resolve({ child, url, admin, token: /so_[\w-]+/.exec(output)?.[0], output: () => output, ended }), 200);
    });
    void ended.then((code) => reject(new Error(`ended with ${code}: ${output}`)));
  });

const start = (...args: string[]): { status: number | null; stderr: string } => spawnSync(process.execPath, [BIN, 'up', '--data', join(folder, 'other'), '--port', '0', ...args], { encoding: 'utf8', timeout: 20_000 });

test('first start, control room on its own address, audit, drain, second start', async () => {
  const first = await up('--admin-listen', '127.0.0.1:0');
  const { url, admin, token } = first;
  expect(admin).not.toBe(url);
  expect(token).toMatch(/^so_[\w-]{40,}$/);
  const auth = { authorization: `Bearer ${token}` };
  const status = async (address: string, init: RequestInit = {}): Promise<number> => {
    const response = await fetch(address, init);
    await response.body?.cancel();
    return response.status;
  };

  expect(await status(`${url}/healthz`)).toBe(200);
  expect(await status(`${url}/readyz`)).toBe(200);
  // The operator's side is not on the public address at all, not even with the token.
  for (const path of ['/control', '/metrics', '/v1/events', '/v1/audit']) expect([path, await status(`${url}${path}`, { headers: auth })]).toEqual([path, 404]);
  expect(await status(`${admin}/metrics`)).toBe(401);
  expect(await status(`${admin}/v1/events`, { headers: { authorization: 'Bearer so_wrong' } })).toBe(401);
  const metrics = await (await fetch(`${admin}/metrics`, { headers: auth })).text();
  expect(metrics).toContain('process_cpu_seconds_total');
  // Viewers' paths are not on the control room's address.
  expect(await status(`${admin}/v1/sessions`)).toBe(404);

  const made = await fetch(`${admin}/v1/events`, { method: 'POST', headers: { ...auth, 'content-type': 'application/json' }, body: JSON.stringify({ asset: 'match', name: 'Match' }) });
  expect(made.status).toBe(201);
  const { ingest } = (await made.json()) as { ingest: { credential: string } };
  const audit = await (await fetch(`${admin}/v1/audit`, { headers: auth })).text();
  expect(JSON.parse(audit)).toMatchObject({ verified: true, entries: [{ actor: 'admin', action: 'event.create', target: 'match' }] });
  expect(`${audit}${first.output().replaceAll(token as string, '')}`).not.toContain(ingest.credential);

  // A request that was under way when the signal came is answered, and what it acknowledges is kept.
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      controller.enqueue(new TextEncoder().encode('{"asset":"late",'));
      await new Promise((resolve) => setTimeout(resolve, 300));
      first.child.kill('SIGTERM');
      await new Promise((resolve) => setTimeout(resolve, 700));
      controller.enqueue(new TextEncoder().encode('"name":"Late"}'));
      controller.close();
    },
  });
  const late = await fetch(`${admin}/v1/events`, { method: 'POST', headers: { ...auth, 'content-type': 'application/json' }, body, duplex: 'half' } as RequestInit);
  expect(late.status).toBe(201);
  expect(await first.ended).toBe(0);

  const second = await up();
  expect(second.token).toBeUndefined();
  expect(second.admin).toBe(second.url);
  const events = (await (await fetch(`${second.url}/v1/events`, { headers: auth })).json()) as { events: { asset: string }[] };
  expect(events.events.map(({ asset }) => asset).toSorted()).toEqual(['late', 'match']);
  second.child.kill('SIGTERM');
  expect(await second.ended).toBe(0);
}, 60_000);

test('start is refused with what to do, not half done', () => {
  const exposed = start('--host', '0.0.0.0');
  expect(exposed.status).toBe(3);
  expect(exposed.stderr).toContain('keyEncryptionKey');
  const unknown = start('--prot', '9');
  expect(unknown.status).toBe(2);
  expect(unknown.stderr).toContain('--prot');
  const alone = start('--role', 'edge');
  expect(alone.status).toBe(3);
  expect(alone.stderr).toContain('edge.bundleUrl');
  const role = start('--role', 'edgy');
  expect(role.status).toBe(3);
  const config = join(folder, 'bad.yaml');
  writeFileSync(config, 'listen: { prot: 1 }\n');
  const bad = start('--config', config);
  expect(bad.status).toBe(3);
  expect(bad.stderr).toContain('did you mean `port`');
  const short = join(folder, 'kek');
  writeFileSync(short, 'too short');
  writeFileSync(config, `keyEncryptionKey: { file: ${short} }\n`);
  const key = start('--config', config);
  expect(key.status).toBe(3);
  expect(key.stderr).not.toContain('too short');
}, 60_000);
