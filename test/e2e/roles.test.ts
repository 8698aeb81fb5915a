// SPDX-License-Identifier: Apache-2.0
/**
 * The roles apart: key server, licence server and control room in one process, the packager in a second, an edge that also
 * renews in a third, meeting only over HTTP. Then the core process is killed, and viewers go on.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateKeyPair, exportJWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readFallbackClip } from '#adapters/ffmpeg/index.ts';
import { systemClock } from '#adapters/node/clock.ts';
import { createViewer, openDevice, startSession } from '#client/index.ts';
import { assetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { createClipLoop } from '#packager/index.ts';
import type { Log } from '#ports';

const BIN = fileURLToPath(new URL('../../bin/sealcast.js', import.meta.url));
const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

const folder = mkdtempSync(join(tmpdir(), 'sealcast-roles-'));
const children: ChildProcess[] = [];
let output = '';

const up = (name: string, config: object): ChildProcess => {
  const file = join(folder, `${name}.json`);
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, [BIN, 'up', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (output += text.replace(/^/gm, `${name}: `)));
  children.push(child);
  return child;
};

const eventually = async <T>(what: string, attempt: () => Promise<T | undefined>, limit = 20_000): Promise<T> => {
  const end = Date.now() + limit;
  for (;;) {
    const value = await attempt().catch(() => undefined);
    if (value !== undefined) return value;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${limit} ms\n${output.slice(-4000)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
};

const EVENT = assetId('match');
let core = '';
let edge = '';
let packager = '';
let coreProcess: ChildProcess;
let entitlement: () => Promise<string>;
let loop: { stop(): Promise<void> } | undefined;

beforeAll(async () => {
  const [corePort, packagerPort, edgePort] = await Promise.all([freePort(), freePort(), freePort()]);
  [core, packager, edge] = [corePort, packagerPort, edgePort].map((port) => `http://127.0.0.1:${port}`) as [string, string, string];
  const secret = (name: string): string => {
    const path = join(folder, name);
    writeFileSync(path, randomBytes(32).toString('base64url'), { mode: 0o600 });
    return path;
  };
  const kek = secret('kek');
  const packagerCredential = secret('packager-credential');
  const originCredential = secret('origin-credential');
  const pair = await generateKeyPair('ES256', { extractable: true });
  const backend = join(folder, 'backend.json');
  writeFileSync(backend, JSON.stringify(await exportJWK(pair.publicKey)));
  entitlement = async () => {
    const iat = Math.floor(Date.now() / 1000);
    return new SignJWT({ asset: EVENT }).setProtectedHeader({ alg: 'ES256', typ: 'entitlement+jwt', kid: 'backend' }).setIssuer('test').setAudience('sealcast').setSubject('anna').setJti(randomBytes(12).toString('hex')).setIssuedAt(iat).setExpirationTime(iat + 200).sign(pair.privateKey);
  };

  const terms = { levels: 'strict', intervalSeconds: 2, durationSeconds: 6, horizonSeconds: 600 };
  const shared = { licensing: terms, keyEncryptionKey: { file: kek }, packager: { periodSeconds: 2, titlePeriodSeconds: 2, groupPeriods: 1 }, log: { level: 'warn', format: 'json' } };
  const coreData = join(folder, 'core-data');
  mkdirSync(coreData);
  // The edge comes first: it writes the public keys that the licence server enrols.
  up('edge', { ...shared, data: join(folder, 'edge-data'), listen: { port: edgePort }, roles: ['edge', 'renewal'], edge: { id: 'edge-2', originUrl: `${packager}/origin`, bundleUrl: core }, origin: { credentialFile: originCredential } });
  const publicFile = join(folder, 'edge-data', 'edge-2.public.json');
  await eventually('the edge writes its public keys', async () => readFileSync(publicFile, 'utf8'));
  coreProcess = up('core', {
    ...shared,
    data: coreData,
    listen: { port: corePort },
    roles: ['key-server', 'license-server', 'renewal', 'operations'],
    licensing: { ...terms, renewUrls: [`${edge}/v1/renew`, `${core}/v1/renew`] },
    entitlements: { keys: [{ kid: 'backend', alg: 'ES256', jwkFile: backend }] },
    keyServer: { credentials: [{ role: 'packager', sha256: createHash('sha256').update(readFileSync(packagerCredential, 'utf8')).digest('base64url') }] },
    edges: [{ id: 'edge-2', publicFile, zone: 0, renews: true }],
  });
  const token = await eventually('the operator token is printed', async () => /so_[\w-]+/.exec(output)?.[0]);
  const made = await eventually('the event is made', async () => {
    const response = await fetch(`${core}/v1/events`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ asset: EVENT, name: 'Match' }) });
    return response.ok ? ((await response.json()) as { ingest: { credential: string } }) : undefined;
  });
  up('packager', { ...shared, data: coreData, listen: { port: packagerPort }, roles: ['packager'], keyServer: { url: core, credentialFile: packagerCredential }, origin: { credentialFile: originCredential } });
  await eventually('the packager is up', async () => (await fetch(`${packager}/v1/time`)).ok || undefined);
  loop = createClipLoop({ tracks: await readFallbackClip(), asset: EVENT, ingestUrl: `${packager}/ingest/${EVENT}`, credential: made.ingest.credential, send: (request) => fetch(request), clock: systemClock, log: quiet, events: () => undefined, segmentDuration: 2_000_000 as Micros });
}, 60_000);

afterAll(async () => {
  await loop?.stop();
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

describe('roles in processes of their own', () => {
  test('the origin and the key server answer nobody without a credential', async () => {
    expect((await fetch(`${packager}/origin/${EVENT}/manifest.mpd`)).status).toBe(403);
    expect((await fetch(`${core}/v1/keys/${EVENT}`)).status).toBe(401);
    // Before its first bundle the edge answers 503: it could not tell a good token from a bad one.
    const refused = await eventually('the edge has its bundle', async () => ((await fetch(`${edge}/media/${EVENT}/manifest.mpd`)).status !== 503 ? fetch(`${edge}/media/${EVENT}/manifest.mpd`) : undefined));
    expect(refused.status).toBe(401);
    expect((await fetch(`${core}/v1/edges/edge-2/bundle`)).status).toBeGreaterThanOrEqual(401);
  });

  test('B082 a viewer plays across three processes, and goes on renewing at the edge when the core is killed', async () => {
    const device = await openDevice({ name: 'test' });
    const started = await eventually('a session starts', async () => {
      const answer = await startSession({ servers: [core], device, asset: EVENT, entitlement });
      return answer.ok ? answer : undefined;
    });
    const { session } = started;
    const viewer = createViewer({ session, baseUrl: `${edge}/` });
    let renewed = 0;
    session.on('renewed', () => renewed++);
    await eventually('frames are decrypted', async () => (viewer.stats().frames >= 50 ? true : undefined));
    coreProcess.kill('SIGKILL');
    const at = { frames: viewer.stats().frames, renewed };
    await eventually('the viewer goes on without the core', async () => (viewer.stats().frames >= at.frames + 250 && renewed >= at.renewed + 3 ? true : undefined), 40_000);
    expect(session.state).toBe('active');
    expect(viewer.stats().implausible).toBe(0);
    await viewer.stop();
  }, 90_000);
});
