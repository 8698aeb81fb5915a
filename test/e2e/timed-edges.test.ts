// SPDX-License-Identifier: Apache-2.0
/**
 * A timed event over three platforms as on three hosts: the first with everything and a release worker, a replica key server,
 * and an edge of another operator with its own key. One process, three configurations; everything between them goes over HTTP.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDevice, startSession } from '#client/index.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { type AccountId, assetId } from '#core/ids.ts';
import { decodeRelease, type ReleaseFrame } from '#core/release/frame.ts';
import { SUBPROTOCOL } from '#core/release/messages.ts';
import { sha256 } from '#crypto/hmac.ts';
import { loadConfig } from '#entry/config/index.ts';
import { createDemoIssuer, type DemoIssuer } from '#entry/demo/issuer.ts';
import { type Platform, startPlatform } from '#entry/node.ts';

const EVENT = assetId('final');
const CREDENTIAL = encodeBase64url(new Uint8Array(32).fill(9));
const ORIGIN = encodeBase64url(new Uint8Array(32).fill(8));
let folder: string;
const running: Platform[] = [];
let issuer: DemoIssuer;
let [first, edge2]: (Platform | undefined)[] = [];
let workerUrl = '';
let operator = '';

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
const write = async (name: string, text: string): Promise<string> => {
  await writeFile(join(folder, name), text);
  return join(folder, name);
};
const start = async (yaml: string, issue = false): Promise<Platform> => {
  const platform = await startPlatform({
    config: loadConfig(await write(`${running.length}.yaml`, yaml), { log: { level: 'error' } }),
    ...(issue && {
      extend: async ({ stores, secrets, clock, random }) => {
        const pair = await secrets.keyPair('demo/issuer', 'ES256');
        issuer = createDemoIssuer({ kid: 'test', pair, catalogue: stores.catalogue, clock, random });
        return { demo: issuer.handler, entitlementKeys: [{ kid: 'test', alg: 'ES256' as const, key: pair.publicJwk }] };
      },
    }),
  });
  running.push(platform);
  return platform;
};
/** A first start, for the keys that a platform makes for itself. */
const keysOf = async (yaml: string): Promise<Platform> => {
  const platform = await startPlatform({ config: loadConfig(await write('keys.yaml', yaml), { log: { level: 'error' } }) });
  await platform.stop();
  return platform;
};

const listen = async (url: string, token: string): Promise<{ frames: ReleaseFrame[]; codes: number[]; close: () => void }> => {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/events/${EVENT}/release`, SUBPROTOCOL);
  socket.binaryType = 'arraybuffer';
  const frames: ReleaseFrame[] = [];
  const codes: number[] = [];
  socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (data instanceof ArrayBuffer) frames.push(decodeRelease(new Uint8Array(data)));
  };
  socket.onclose = ({ code }) => codes.push(code);
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onerror = () => reject(new Error(`no connection to ${url}`));
  });
  socket.send(JSON.stringify({ type: 'hello', v: 1, token, event: EVENT }));
  return { frames, codes, close: () => socket.close() };
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sealcast-edges-'));
  for (const name of ['a', 'b', 'c']) await mkdir(join(folder, name));
  const [portA, portB, portC] = await Promise.all([freePort(), freePort(), freePort()]);
  const urls = { a: `http://127.0.0.1:${portA}`, b: `http://127.0.0.1:${portB}`, c: `http://127.0.0.1:${portC}` };
  const credential = await write('credential', CREDENTIAL);
  const origin = await write('origin', ORIGIN);
  const keysA = join(folder, 'keys-1.json');
  const keysB = join(folder, 'keys-2.json');
  const edgeFile = join(folder, 'edge-2.json');
  const common = { a: `data: ${join(folder, 'a')}\nlisten: { port: ${portA} }\nkeyServer: { name: keys-1, credentials: [{ role: key-server, sha256: ${encodeBase64url(sha256(encodeUtf8(CREDENTIAL)))} }] }\n`, b: `data: ${join(folder, 'b')}\nlisten: { port: ${portB} }\nroles: [key-server]\nkeyServer: { name: keys-2, url: '${urls.a}', credentialFile: ${credential} }\n`, c: `data: ${join(folder, 'c')}\nlisten: { port: ${portC} }\nroles: [edge]\norigin: { credentialFile: ${origin} }\nedge: { id: edge-2, originUrl: '${urls.a}/origin', bundleUrl: '${urls.a}' }\n` };
  // Keys are exchanged as operators would: each writes its public ones, the others name the file.
  const fresh = await keysOf(common.a);
  operator = fresh.firstToken ?? '';
  await writeFile(keysA, JSON.stringify(fresh.release.publicKeys));
  await writeFile(keysB, JSON.stringify((await keysOf(common.b)).release.publicKeys));
  await writeFile(edgeFile, JSON.stringify((await keysOf(`${common.c}release: { host: host-3 }\n`)).edgeIdentity));
  const servers = `keyServers: [{ name: keys-1, url: '${urls.a}', publicFile: ${keysA} }, { name: keys-2, url: '${urls.b}', publicFile: ${keysB} }]`;
  first = await start(`${common.a}origin: { credentialFile: ${origin} }\nedges: [{ id: edge-2, publicFile: ${edgeFile} }]\nrelease: { host: host-1, chrony: false, suspendMillis: 20000, workers: 1, workerPort: 0, peers: [{ name: edge-2, url: '${urls.c}' }], ${servers} }\n`, true);
  await start(`${common.b}release: { host: host-2 }\n`);
  edge2 = await start(`${common.c}release: { host: host-3, chrony: false, suspendMillis: 20000, ${servers} }\n`);
  const made = await fetch(`${urls.a}/v1/events`, { method: 'POST', headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' }, body: JSON.stringify({ asset: EVENT, name: 'Final', timed: 'standard' }) });
  expect(made.status).toBe(201);
}, 120_000);

afterAll(async () => {
  for (const platform of [...running].reverse()) await platform.stop();
  await rm(folder, { recursive: true, force: true });
}, 60_000);

test('B162: a worker and an edge on another host release the same secrets; single-host mode is over', async () => {
  let access: { token: string; urls: readonly string[] } | undefined;
  const started = await startSession({
    servers: [first?.url ?? ''], asset: EVENT, device: await openDevice(), attempts: 1, entitlement: async () => issuer.issue('anna' as AccountId, '*'), release: { openSocket: null },
    fetch: async (request) => {
      if (/\/release(?:\/|$)/.test(new URL(request.url).pathname)) return new Response(null, { status: 503 });
      const response = await fetch(request);
      if (new URL(request.url).pathname === '/v1/sessions' && request.method === 'POST') access = ((await response.clone().json()) as { release?: typeof access }).release;
      return response;
    },
  });
  expect(started.ok).toBe(true);
  workerUrl = access?.urls[0] ?? '';
  expect(workerUrl).toMatch(/^http:\/\/localhost:\d+$/);
  expect(workerUrl).not.toBe(first?.url);
  await expect.poll(() => [first, edge2].map((platform) => platform?.release.edge()?.bound().status), { timeout: 60_000 }).toEqual(['sync', 'sync']);
  const [one, two] = [await listen(workerUrl, access?.token ?? ''), await listen(edge2?.url ?? '', access?.token ?? '')];
  await expect.poll(() => Math.min(one.frames.length, two.frames.length), { timeout: 60_000 }).toBeGreaterThan(25);
  const other = new Map(two.frames.map((frame) => [frame.period, frame]));
  const pairs = one.frames.flatMap((frame): [ReleaseFrame, ReleaseFrame][] => (other.has(frame.period) ? [[frame, other.get(frame.period) as ReleaseFrame]] : []));
  expect(pairs.length).toBeGreaterThan(20);
  for (const [a, b] of pairs) expect(a.secret).toEqual(b.secret);
  // How far apart they are in time is for quiet cores (bench) and the fake clock (test/release).
  // Pull at the worker goes through its own gate.
  const newest = one.frames.at(-1)?.period ?? 0;
  expect((await fetch(`${workerUrl}/v1/events/${EVENT}/release/${newest}`)).status).toBe(200);
  expect((await fetch(`${workerUrl}/v1/events/${EVENT}/release/${newest + 60}`)).status).toBe(425);
  one.close();
  two.close();
  if (started.ok) await started.session.stop();
}, 150_000);

test('the control room hears of the edge on the other host: its clock, horizon and clients', async () => {
  const answer = async (): Promise<unknown> => (await fetch(`${first?.url}/v1/operations/releases`, { headers: { authorization: `Bearer ${operator}` } })).json();
  await expect.poll(answer, { timeout: 20_000 }).toMatchObject({ releases: { edge: 'edge-1', others: [{ edge: 'edge-2', status: 'sync', events: [{ event: EVENT }] }] } });
}, 30_000);

test('what the worker released is in the edge\'s log', async () => {
  const logs = await readdir(join(folder, 'a', 'release'));
  const text = await readFile(join(folder, 'a', 'release', logs.filter((name) => name.endsWith('.jsonl')).toSorted().at(-1) ?? ''), 'utf8');
  const releases = text.split('\n').filter((line) => line.includes('"t":"release"')).map((line) => JSON.parse(line) as { worker: number; earliest: number; at: number });
  expect(new Set(releases.map(({ worker }) => worker))).toEqual(new Set([1]));
  expect(releases.filter(({ earliest, at }) => earliest < at)).toEqual([]);
});

test('an edge whose authorisation ends is out within a horizon', async () => {
  const answer = await fetch(`${first?.url}/v1/events/${EVENT}/release-edges`, { method: 'POST', headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' }, body: JSON.stringify({ edges: 'edge-1' }) });
  expect(answer.status).toBe(200);
  await expect.poll(() => edge2?.release.edge()?.intake.books.size, { timeout: 15_000 }).toBe(0);
  expect(first?.release.edge()?.intake.books.size).toBe(1);
}, 30_000);
