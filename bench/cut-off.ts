// SPDX-License-Identifier: Apache-2.0
/**
 * From an accusation to the last byte its sessions get: an edge of its own over the long-poll bundle, and the edge beside the
 * licence server.
 *
 * 200 viewers per edge (in the short form 60, and 24 at the second) fetch the live segment while it grows, with clients that ignore denials and ask on. One after the other
 * is accused at `POST /v1/leaks`; the clock runs from the request to the last byte of media that the accused receives. All
 * three levels of enforcement are among the accounts. Everything is the real platform over HTTP; only the origin is a stand-in
 * that sends segments at the pace of live media.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, Agent, type Server } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDevice, type Session, startSession } from '#client/index.ts';
import { type AccountId, assetId, type DeviceId } from '#core/ids.ts';
import { type Config, loadConfig } from '#entry/config/index.ts';
import { createDemoIssuer, type DemoIssuer } from '#entry/demo/issuer.ts';
import { type Platform, startPlatform } from '#entry/node.ts';
import type { Log } from '#ports';
import { figure, type Figure, median, quantile } from './figures/timing.ts';

const VIEWERS = 200;
/** The short form takes fewer; beside the licence server there is no way over the network to measure, so fewest there. */
const SHORT = { remote: 60, local: 24 } as const;
const SEGMENT_MILLIS = 2000;
const CHUNKS = 20;
const CHUNK = Buffer.alloc(4096, 7);
/** Accusations are this far apart, so that each is a push of its own. */
const APART = 60;
const STUBBORN = 2000;
const ASSET = assetId('match');
const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis));

/** Sends any segment in as many pieces as a live one has, at the pace of live media. */
const startOrigin = async (): Promise<Server> => {
  const server = createServer((request, answer) => {
    if (request.url?.endsWith('.m4s') !== true) return void answer.writeHead(404).end();
    answer.writeHead(200, { 'content-type': 'video/mp4', 'cache-control': 'public, max-age=31536000, immutable', etag: '"1"' });
    let sent = 0;
    const timer = setInterval(() => {
      answer.write(CHUNK);
      if (++sent < CHUNKS) return;
      clearInterval(timer);
      answer.end();
    }, SEGMENT_MILLIS / CHUNKS);
    request.once('close', () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
};

/** A client that ignores what it is told. */
type Viewer = { readonly account: AccountId; readonly number: number; lastByte: number; readonly statuses: Map<string, number>; stop(): void; readonly done: Promise<void> };

const startViewer = (agent: Agent, base: string, session: Session, account: AccountId, number: number): Viewer => {
  let stopped = false;
  const statuses = new Map<string, number>();
  const viewer = { account, number, lastByte: 0, statuses, stop: () => void (stopped = true), done: Promise.resolve() };
  const count = (name: string): void => void statuses.set(name, (statuses.get(name) ?? 0) + 1);
  const ask = (): Promise<void> =>
    new Promise((resolve) => {
      const segment = Math.floor(Date.now() / SEGMENT_MILLIS);
      const over = (): void => resolve();
      const request = httpRequest(`${base}/media/${ASSET}/v360/${segment}.m4s`, { agent, headers: { authorization: `Bearer ${session.mediaToken}` } }, (answer) => {
        count(String(answer.statusCode));
        answer.on('data', () => {
          if (answer.statusCode === 200) viewer.lastByte = performance.now();
        });
        answer.on('end', over).on('error', over).on('close', over);
      });
      request.on('error', () => {
        count('cut');
        over();
      });
      request.end();
    });
  viewer.done = (async () => {
    while (!stopped) {
      const before = statuses.get('200') ?? 0;
      await ask();
      // Denied, it asks on three times a second: 600 requests a second by all of them, which is what a denial must cost little for.
      await pause((statuses.get('200') ?? 0) > before ? 20 : 300);
    }
  })();
  return viewer;
};

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createNetServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

type Installation = { readonly core: Platform; readonly edge: Platform; readonly issuer: DemoIssuer; readonly token: string; close(): Promise<void> };

const install = async (folder: string): Promise<Installation> => {
  const origin = await startOrigin();
  const originUrl = `http://127.0.0.1:${(origin.address() as AddressInfo).port}/origin`;
  const port = await freePort();
  const configOf = (name: string, more: object): Config => loadConfig(undefined, { data: join(folder, name), log: { level: 'error' }, licensing: { levels: 'adaptive' }, ...more } as never);
  const edge = await startPlatform({ config: configOf('edge', { roles: ['edge'], listen: { port: 0 }, edge: { id: 'edge-2', originUrl, bundleUrl: `http://127.0.0.1:${port}` } }), log: quiet });
  const publicFile = join(folder, 'edge-2.public.json');
  await writeFile(publicFile, JSON.stringify(edge.edgeIdentity));
  let issuer: DemoIssuer | undefined;
  const core = await startPlatform({
    config: configOf('core', { roles: ['key-server', 'license-server', 'renewal', 'operations', 'edge'], listen: { port }, edge: { id: 'edge-1', originUrl }, edges: [{ id: 'edge-2', publicFile, zone: 0, renews: false }] }),
    log: quiet,
    async extend({ stores, secrets, clock, random }) {
      const pair = await secrets.keyPair('demo/issuer', 'ES256');
      issuer = createDemoIssuer({ kid: 'bench', pair, catalogue: stores.catalogue, clock, random });
      return { demo: issuer.handler, entitlementKeys: [{ kid: 'bench', alg: 'ES256', key: pair.publicJwk }] };
    },
  });
  const token = core.firstToken ?? '';
  const made = await fetch(`${core.url}/v1/events`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ asset: ASSET, name: 'Match', variants: 3, marked: 'v360' }) });
  if (!made.ok) throw new Error(`the event was not made: ${await made.text()}`);
  // Plans of marked assets are renewed every five seconds; the edge has them with the bundle after that.
  for (let attempt = 0; (edge.roles.edge?.keys()?.markSwitch(ASSET) === undefined || core.roles.edge?.keys()?.markSwitch(ASSET) === undefined) && attempt < 100; attempt++) await pause(200);
  if (issuer === undefined) throw new Error('no issuer');
  return {
    core, edge, issuer, token,
    async close() {
      await edge.stop();
      await core.stop();
      origin.closeAllConnections();
      await new Promise<void>((resolve) => origin.close(() => resolve()));
    },
  };
};

type Outcome = { readonly lastByteMs: readonly number[]; readonly bytesAfterSecond: number; readonly undenied: number; readonly answerMs: readonly number[] };

/** Starts the viewers of one edge, accuses them one by one, waits until the last one has asked in vain for long enough. */
const accuseAll = async ({ core, issuer, token }: Installation, base: string, name: string, count: number): Promise<Outcome> => {
  const agent = new Agent({ keepAlive: true, maxSockets: count * 2 });
  const viewers: Viewer[] = [];
  const start = async (n: number): Promise<void> => {
    const account = `${name}-${n}` as AccountId;
    const device = await openDevice({ name: 'bench' });
    const begin = (): ReturnType<typeof startSession> => startSession({ servers: [core.url], device, asset: ASSET, entitlement: () => issuer.issue(account, ASSET), fetch: (request) => fetch(request) });
    let started = await begin();
    // Starting so many at once is an overload on a busy machine, and the server says so; viewers come back.
    for (let again = 0; !started.ok && started.denial.code === 'overloaded' && again < 60; again++) {
      await pause(500);
      started = await begin();
    }
    if (!started.ok) throw new Error(`no session: ${started.denial.code}`);
    const [record] = await core.stores.sessions.list({ account, limit: 1 });
    const number = await core.stores.viewerNumbers.give({ asset: ASSET, account, device: record?.device as DeviceId });
    if (n < 30) await core.actions?.setLevel?.(account, ((n % 3) + 1) as 1 | 2 | 3, 'bench');
    viewers[n] = startViewer(agent, base, started.session, account, number);
  };
  try {
    for (let first = 0; first < count; first += 8) await Promise.all(Array.from({ length: Math.min(8, count - first) }, (_, n) => start(first + n)));
    return await accuse({ core, token }, viewers);
  } finally {
    for (const viewer of viewers) viewer?.stop();
    agent.destroy();
  }
};

/** Accuses viewers whose pictures run. */
const accuse = async ({ core, token }: Pick<Installation, 'core' | 'token'>, viewers: readonly Viewer[]): Promise<Outcome> => {
  const idling = (): number => viewers.filter(({ lastByte }) => lastByte === 0).length;
  for (let waited = 0; waited < 100 && (waited < 11 || idling() > 0); waited++) await pause(200);
  const idle = idling();
  if (idle > 0) throw new Error(`${idle} viewers got no media: ${JSON.stringify([...(viewers.find(({ lastByte }) => lastByte === 0)?.statuses ?? [])])}`);
  const population = VIEWERS * 4;
  const bound = Math.log(population / 1e-6);
  const accusedAt: number[] = [];
  const answerMs: number[] = [];
  const posts = viewers.map(async ({ number }, index) => {
    await pause(index * APART);
    const began = performance.now();
    accusedAt[index] = began;
    const report = { title: ASSET, verdict: 'accuse', viewer: number, evidence: bound + 3, bound, viewers: population, eps: 1e-6, falseAccusation: 1e-7, observed: 20, erased: 0, errorRates: { symbols: 0.02, erasures: 0 }, coalition: { share: 0, size: 1 }, runnerUp: null };
    const response = await fetch(`${core.url}/v1/leaks`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify({ report }) });
    if (response.status !== 201) throw new Error(`the accusation was not taken: ${await response.text()}`);
    await response.body?.cancel();
    answerMs.push(performance.now() - began);
  });
  await Promise.all(posts);
  await pause(STUBBORN);
  for (const viewer of viewers) viewer.stop();
  await Promise.all(viewers.map(({ done }) => done));
  const lastByteMs = viewers.map(({ lastByte }, index) => Math.max(0, lastByte - (accusedAt[index] ?? 0)));
  return { lastByteMs, bytesAfterSecond: lastByteMs.filter((millis) => millis > 1000).length, undenied: viewers.filter(({ statuses }) => !statuses.has('403')).length, answerMs };
};

export const bench = {
  name: 'cut-off',
  run: async ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
    const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-'));
    const installation = await install(folder);
    try {
      const figures: Figure[] = [];
      for (const [where, base] of [['an edge over the long-poll bundle', installation.edge.url], ['the edge beside the licence server', installation.core.url]] as const) {
        const { lastByteMs, bytesAfterSecond, undenied, answerMs } = await accuseAll(installation, base, where.startsWith('an') ? 'remote' : 'local', full ? VIEWERS : SHORT[where.startsWith('an') ? 'remote' : 'local']);
        const setting = `${where}, ${lastByteMs.length} accusations`;
        const baseline = 'an edge that asks for revocations once a second: 1000 ms, and finishes answers: 2000 ms more';
        figures.push(
          figure(`accusation to last byte, ${setting}, 99th percentile`, quantile(lastByteMs, 0.99), 'ms', baseline, '<=', 1000, 'ms'),
          figure(`accusation to last byte, ${setting}, median`, median(lastByteMs), 'ms', baseline, '<=', 1000, 'ms'),
          figure(`sessions that got media a second after their accusation, ${setting}`, bytesAfterSecond, 'sessions', 'clients that ignore denials', '<=', 0),
          figure(`sessions that were not told \`session-ended\`, ${setting}`, undenied, 'sessions', 'clients that ignore denials', '<=', 0),
        );
        log(`${where}: answers to accusations take ${median(answerMs).toFixed(1)} ms, worst last byte ${Math.max(...lastByteMs).toFixed(0)} ms`);
      }
      return { figures };
    } finally {
      await installation.close();
      await rm(folder, { recursive: true, force: true });
    }
  },
};
