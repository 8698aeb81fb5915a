// SPDX-License-Identifier: Apache-2.0
/**
 * Edge throughput and latency against a bare node:http server sending the same buffers, in one run.
 *
 * Both servers live in this process, the load in another; rounds alternate, figures are medians of per-round ratios.
 * Requests are byte-identical for both: a segment with a token in the Authorization header, as our client sends it.
 */
import { fork, spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createNetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#adapters/node/clock.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { serve } from '#adapters/node/http-server.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { assetId, sessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { createEdge } from '#edge/edge.ts';
import type { Log, Metrics } from '#ports';
import type { LoadOrder, LoadResult } from './load/http.ts';

export type Figure = { name: string; value: number; unit: string; baseline: string; goal: string; ok: boolean; reason?: string };

const CONNECTIONS = 64;
const SIZES = [
  { label: '64 kB', name: '64k', bytes: 65_536, number: 1 },
  { label: '1 MB', name: '1m', bytes: 1_048_576, number: 2 },
] as const;
/** Requests per second at which latency is compared: busy, not saturated. */
const PACED_RATE = 1000;
const LONG_LIFE = 86_400_000_000;

const log: Log = { debug: () => undefined, info: () => undefined, warn: (message, fields) => console.error(message, fields), error: (message, fields) => console.error(message, fields) };
const metrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

const startEdge = async (bodies: ReadonlyMap<string, Uint8Array>): Promise<{ port: number; token: string; close(): Promise<void> }> => {
  const key = crypto.getRandomValues(new Uint8Array(32));
  const now = systemClock.now();
  const later = (now + LONG_LIFE) as Micros;
  const bundle: EdgeBundle = {
    version: 1,
    issuedAt: now,
    edge: 'bench',
    zone: { index: 0, name: 'bench' },
    epochs: [{ epoch: 1, mediaTokenKey: key, notBefore: 0 as Micros, notAfter: later }],
    revokedSessions: [],
    revokedDevices: [],
    validUntil: later,
  };
  const edge = createEdge({
    origin: async (request) => {
      const body = bodies.get(new URL(request.url).pathname.split('/').at(-1) ?? '');
      return new Response(body as BodyInit, { headers: { 'content-type': 'video/mp4', etag: '"1"', 'cache-control': 'public, max-age=31536000, immutable' } });
    },
    originBase: 'http://origin/origin',
    bundle: async () => bundle,
    clock: systemClock,
    random: { bytes: (length) => crypto.getRandomValues(new Uint8Array(length)) },
    log,
    metrics,
    events: () => undefined,
    respond: bufferedResponse,
  });
  await edge.refresh();
  const server = await serve((request) => edge.handler(request), { host: '127.0.0.1', port: 0, log });
  const session = sessionId('AQAAAQIDBAUGBwgJCgsMDQ4P');
  const token = mintMediaToken({ key, kid: { epoch: 1, zone: 0 }, claims: { session, asset: assetId('bench'), issuedAt: now, expiresAt: later } });
  return {
    port: server.port,
    token,
    close: async () => {
      edge.stop();
      await server.close(0 as Millis);
    },
  };
};

const startBare = (bodies: ReadonlyMap<string, Uint8Array>): Promise<{ port: number; close(): void }> =>
  new Promise((resolve) => {
    const server = createServer((request, answer) => {
      const body = bodies.get((request.url ?? '').split('/').at(-1) ?? '') ?? new Uint8Array();
      answer.writeHead(200, { 'content-type': 'video/mp4', 'content-length': body.length, etag: '"1"', 'cache-control': 'public, max-age=31536000, immutable' });
      answer.end(body);
    });
    server.listen(0, '127.0.0.1', () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      }),
    );
  });

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createNetServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });

/** nginx serving the same files, where it is installed. */
const startNginx = async (bodies: ReadonlyMap<string, Uint8Array>): Promise<{ port: number; close(): Promise<void> } | undefined> => {
  if (spawnSync('nginx', ['-v']).error !== undefined) return undefined;
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-bench-'));
  const port = await freePort();
  for (const [name, body] of bodies) await writeFile(join(folder, name), body);
  await writeFile(
    join(folder, 'nginx.conf'),
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log; events { worker_connections 256; }
     http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p;
     fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
     server { listen 127.0.0.1:${port}; location ~ /([0-9]+\\.m4s)$ { alias ${folder}/$1; } } }`,
  );
  const child = spawn('nginx', ['-c', join(folder, 'nginx.conf')], { stdio: 'ignore' });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  await new Promise((resolve) => setTimeout(resolve, 500));
  return {
    port,
    close: async () => {
      child.kill();
      await gone;
      await rm(folder, { recursive: true, force: true });
    },
  };
};

const startLoad = (): { order(order: LoadOrder): Promise<LoadResult>; close(): void } => {
  const child = fork(fileURLToPath(new URL('./load/http.ts', import.meta.url)), { execPath: process.execPath, execArgv: [] });
  return {
    order: (order) =>
      new Promise((resolve, reject) => {
        child.once('message', (message: { result?: LoadResult; error?: string }) =>
          message.result === undefined ? reject(new Error(message.error ?? 'the load generator failed')) : resolve(message.result),
        );
        child.send(order);
      }),
    close: () => child.kill(),
  };
};

type Measured = LoadResult & { /** Microseconds of this process per request. */ readonly cpu: number };

const run = async (options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const rounds = options.full ? 9 : 3;
  const millis = options.full ? 3000 : 500;
  const warmUp = options.full ? 4000 : 700;
  const bodies = new Map(SIZES.map(({ bytes, number }) => [`${number}.m4s`, new Uint8Array(bytes).fill(number)]));
  const edge = await startEdge(bodies);
  const bare = await startBare(bodies);
  const nginx = await startNginx(bodies);
  const load = startLoad();
  if (nginx === undefined) options.log('nginx is not installed: measured without it');
  const request = (number: number): string =>
    `GET /media/bench/v720/${number}.m4s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer ${edge.token}\r\n\r\n`;
  const measure = async (port: number, number: number, rate = 0, duration = millis): Promise<Measured> => {
    const before = process.cpuUsage();
    const result = await load.order({ port, request: request(number), connections: CONNECTIONS, millis: duration, rate });
    const used = process.cpuUsage(before);
    return { ...result, cpu: (used.user + used.system) / Math.max(1, result.requests) };
  };
  const figures: Figure[] = [];
  const figure = (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason: string): void => {
    figures.push({ name, value: Number(value.toFixed(3)), unit, baseline, goal, ok, ...(!ok && { reason }) });
  };
  try {
    for (const { label, name, number } of SIZES) {
      // Into the cache: what is measured is the path of nearly every request.
      await (await fetch(`http://127.0.0.1:${edge.port}/media/bench/v720/${number}.m4s`, { headers: { authorization: `Bearer ${edge.token}` } })).arrayBuffer();
      // Servers run for days; what the compiler has not seen yet is not what is compared.
      await measure(bare.port, number, 0, warmUp);
      await measure(edge.port, number, 0, warmUp);
      const pairs: { edge: Measured; bare: Measured }[] = [];
      for (let round = 0; round < rounds; round++) {
        // The order alternates too: whoever goes second meets a warmer machine.
        const order = round % 2 === 0 ? (['bare', 'edge'] as const) : (['edge', 'bare'] as const);
        const pair: Partial<Record<'edge' | 'bare', Measured>> = {};
        for (const who of order) pair[who] = await measure(who === 'edge' ? edge.port : bare.port, number);
        pairs.push(pair as { edge: Measured; bare: Measured });
      }
      const perSecond = (one: LoadResult): number => one.requests / one.seconds;
      const megabytes = (one: LoadResult): number => one.bytes / one.seconds / 1e6;
      const requests = median(pairs.map((pair) => perSecond(pair.edge) / perSecond(pair.bare)));
      const throughput = median(pairs.map((pair) => megabytes(pair.edge) / megabytes(pair.bare)));
      const baseline = `bare node:http, ${label}, ${CONNECTIONS} connections: ${median(pairs.map((pair) => perSecond(pair.bare))).toFixed(0)} requests/s, ${median(pairs.map((pair) => megabytes(pair.bare))).toFixed(0)} MB/s`;
      const cpu = median(pairs.map((pair) => pair.edge.cpu / pair.bare.cpu));
      options.log(`${label}: edge ${median(pairs.map((pair) => perSecond(pair.edge))).toFixed(0)} requests/s; ${baseline}; CPU per request ${cpu.toFixed(2)}x`);
      const slow = 'server and load generator share the cores, and the edge adds work per request';
      figure(`requests-${name}`, requests, 'ratio', baseline, '>= 0.8', requests >= 0.8, slow);
      figure(`throughput-${name}`, throughput, 'ratio', baseline, '>= 0.8', throughput >= 0.8, slow);
      figure(`cpu-${name}`, cpu, 'ratio', `server CPU per request of bare node:http: ${median(pairs.map((pair) => pair.bare.cpu)).toFixed(0)} µs`, 'none, for comparison', true, '');
      if (nginx !== undefined) {
        const beside = await measure(nginx.port, number);
        options.log(`${label}: nginx ${perSecond(beside).toFixed(0)} requests/s, ${megabytes(beside).toFixed(0)} MB/s`);
        figure(`requests-${name}-of-nginx`, median(pairs.map((pair) => perSecond(pair.edge))) / perSecond(beside), 'ratio', `nginx, one worker, ${label}`, 'none, for comparison', true, '');
      }
    }
    const added: number[] = [];
    const p99s: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const without = await measure(bare.port, 1, PACED_RATE);
      const within = await measure(edge.port, 1, PACED_RATE);
      added.push(within.p99 - without.p99);
      p99s.push(without.p99);
    }
    const worst = median(added);
    figure('added-latency-p99', worst, 'ms', `bare node:http at ${PACED_RATE} requests/s of 64 kB: p99 ${median(p99s).toFixed(2)} ms`, '< 2 ms', worst < 2, 'the machine was too busy for a steady rate');
  } finally {
    load.close();
    bare.close();
    await edge.close();
    await nginx?.close();
  }
  return { figures };
};

export const bench: { name: 'edge'; run(options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> } = { name: 'edge', run };
