// SPDX-License-Identifier: Apache-2.0
/**
 * What per-viewer variants cost at an edge: throughput against plain serving in one run, token verification, symbols.
 *
 * One edge serves both: the same bodies, the same tokens of 200 viewers, one asset with variants and one without. Rounds
 * alternate, figures are medians of per-round ratios. Verification is timed in this process over whole sessions (each
 * token is verified once and remembered), symbols over viewers and positions that were never asked for before.
 */
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#adapters/node/clock.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { serve } from '#adapters/node/http-server.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import { assetId, sessionId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import { encodeViewerId, openViewerId } from '#core/token/viewer-id.ts';
import { createAlignedBook, epochAt, markKeys, type Position, startSchedule, viewerNumber } from '#core/watermark/index.ts';
import { importEs256Private } from '#crypto/ecdsa.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { makeKeyPair } from '#crypto/jose.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { mintAccessToken } from '#crypto/wm-token.ts';
import { createAuthorizer } from '#edge/authorize.ts';
import { createEdge } from '#edge/edge.ts';
import { createKeyRing } from '#edge/key-ring.ts';
import type { Log, Metrics } from '#ports';
import type { Figure } from './edge.ts';
import type { LoadOrder, LoadResult } from './load/http.ts';

const CONNECTIONS = 64;
const VIEWERS = 200;
const SEGMENTS = 8;
const ALPHABET = 5;
const POPULATION = 1_000_000_000;
const LONG_LIFE = 86_400_000_000;
const SIZES = [
  { label: '64 kB', name: '64k', bytes: 65_536 },
  { label: '1 MB', name: '1m', bytes: 1_048_576 },
] as const;
/** Requests of a session of ten minutes: two-second segments of video and audio. */
const SESSION_REQUESTS = 600;

const log: Log = { debug: () => undefined, info: () => undefined, warn: (message, fields) => console.error(message, fields), error: (message, fields) => console.error(message, fields) };
const metrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
const randomBytes = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

const KEY = randomBytes(32);
const VIEWER_KEY = randomBytes(32);
const SECRET = randomBytes(32);
const SESSION = sessionId('AQAAAQIDBAUGBwgJCgsMDQ4P');
const schedule = startSchedule({ alphabet: ALPHABET, viewers: POPULATION });
const keys = markKeys(hmacSha256, SECRET);
const now = systemClock.now();
const later = (now + LONG_LIFE) as Micros;

const bundleOf = async (): Promise<{ bundle: EdgeBundle; privateJwk: JsonWebKey }> => {
  const { publicJwk, privateJwk } = await makeKeyPair('sign');
  const bundle: EdgeBundle = {
    version: 1,
    issuedAt: now,
    edge: 'bench',
    zone: { index: 0, name: 'bench' },
    epochs: [{ epoch: 1, mediaTokenKey: KEY, notBefore: 0 as Micros, notAfter: later }],
    revokedSessions: [],
    revokedDevices: [],
    tokenKeys: [
      { format: 'cwt', kid: 'h', alg: 'HS256', key: KEY },
      { format: 'cwt', kid: 'e', alg: 'ES256', key: publicJwk },
    ],
    marks: [
      {
        asset: assetId('marked'),
        sequencing: true,
        representations: ['v720'],
        names: 'letters',
        pace: 'number',
        alphabet: ALPHABET,
        book: 'aligned',
        schedule,
        keys: [{ epoch: 0, key: keys(0) }],
        viewerKeys: [{ version: 1, key: VIEWER_KEY }],
      },
    ],
    validUntil: later,
  };
  return { bundle, privateJwk };
};

const ownToken = (viewer: number, asset: string): string =>
  mintMediaToken({
    key: KEY,
    kid: { epoch: 1, zone: 0 },
    claims: { session: SESSION, asset: assetId(asset), issuedAt: now, expiresAt: later, mark: { version: 1, vendor: 0, patternLength: 32_768, id: encodeViewerId(hmacSha256, VIEWER_KEY, viewer), keyVersion: 1 } },
  });

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

/** Requests per second of switched over plain serving, per size. */
const throughput = async (bundle: EdgeBundle, bytes: number, options: { rounds: number; millis: number }): Promise<{ ratio: number; plain: number }> => {
  const body = new Uint8Array(bytes).fill(7);
  const edge = createEdge({
    origin: async () => new Response(body as BodyInit, { headers: { 'content-type': 'video/mp4', etag: '"1"', 'cache-control': 'public, max-age=31536000, immutable' } }),
    originBase: 'http://origin/origin',
    bundle: async () => bundle,
    clock: systemClock,
    random: { bytes: randomBytes },
    log,
    metrics,
    events: () => undefined,
    respond: bufferedResponse,
  });
  await edge.refresh();
  // Every variant into the cache: what is measured is the path of nearly every request.
  for (const asset of ['plain', 'marked']) {
    for (let index = 0; index < VIEWERS * SEGMENTS; index++) {
      const request = new Request(`http://bench/media/${asset}/v720/${index % SEGMENTS}.m4s`, { headers: { authorization: `Bearer ${ownToken(16 + (index % VIEWERS), asset)}` } });
      await (await edge.handler(request)).arrayBuffer();
    }
  }
  const server = await serve((request) => edge.handler(request), { host: '127.0.0.1', port: 0, log });
  const load = startLoad();
  const requests = (asset: string): string[] =>
    Array.from(
      { length: VIEWERS * SEGMENTS },
      (_, index) => `GET /media/${asset}/v720/${index % SEGMENTS}.m4s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer ${ownToken(16 + (index % VIEWERS), asset)}\r\n\r\n`,
    );
  const sent = { plain: requests('plain'), marked: requests('marked') };
  const measure = async (which: keyof typeof sent, millis: number): Promise<number> => {
    const result = await load.order({ port: server.port, request: sent[which], connections: CONNECTIONS, millis, rate: 0 });
    return result.requests / result.seconds;
  };
  try {
    await measure('plain', options.millis);
    await measure('marked', options.millis);
    const pairs: { plain: number; marked: number }[] = [];
    for (let round = 0; round < options.rounds; round++) {
      const order = round % 2 === 0 ? (['plain', 'marked'] as const) : (['marked', 'plain'] as const);
      const pair = { plain: 0, marked: 0 };
      for (const which of order) pair[which] = await measure(which, options.millis);
      pairs.push(pair);
    }
    return { ratio: median(pairs.map(({ plain, marked }) => marked / plain)), plain: median(pairs.map(({ plain }) => plain)) };
  } finally {
    load.close();
    edge.stop();
    await server.close(0 as Millis);
  }
};

/** Microseconds per request of sessions that each bring a token of their own. */
const verification = async (bundle: EdgeBundle, sessions: number, mint: (viewer: number) => string | Promise<string>): Promise<number> => {
  const ring = createKeyRing(bundle);
  const tokens: string[] = [];
  for (let viewer = 0; viewer < sessions; viewer++) tokens.push(await mint(viewer));
  const authorizer = createAuthorizer({ remembered: 100_000 });
  const address = (): never => {
    throw new Error('these tokens have no address rules');
  };
  const asset = assetId('marked');
  const started = performance.now();
  for (let round = 0; round < SESSION_REQUESTS; round++) {
    for (const token of tokens) {
      const verdict = authorizer.authorize({ token, asset, keys: ring, now, address });
      const { ok } = verdict instanceof Promise ? await verdict : verdict;
      if (!ok) throw new Error('a good token was refused');
    }
  }
  return ((performance.now() - started) * 1000) / (SESSION_REQUESTS * sessions);
};

const run = async (options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const { bundle, privateJwk } = await bundleOf();
  const figures: Figure[] = [];
  const figure = (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason = ''): void => {
    figures.push({ name, value: Number(value.toFixed(3)), unit, baseline, goal, ok, ...(!ok && { reason }) });
    options.log(`${name}: ${value.toFixed(3)} ${unit} (${baseline})`);
  };
  for (const { label, name, bytes } of SIZES) {
    const { ratio, plain } = await throughput(bundle, bytes, { rounds: options.full ? 9 : 3, millis: options.full ? 3000 : bytes > 500_000 ? 200 : 400 });
    figure(`requests-${name}`, ratio, 'ratio', `the same edge without variants, ${label}, ${VIEWERS} viewers, ${CONNECTIONS} connections: ${plain.toFixed(0)} requests/s`, '>= 0.9', ratio >= 0.9, 'server and load generator share the cores');
  }

  const sessions = options.full ? 2000 : 100;
  const claims = { exp: Math.floor(later / 1e6), iat: Math.floor(now / 1e6), wmver: 1, wmvnd: 0, wmpatlen: 256, wmpattern: new Uint8Array(32) };
  const es256 = { alg: 'ES256' as const, key: await importEs256Private(privateJwk) };
  const kinds: [string, (viewer: number) => string | Promise<string>][] = [
    ['own', (viewer) => ownToken(viewer, 'marked')],
    ['cwt-hmac', (viewer) => mintAccessToken({ format: 'cwt', secret: { alg: 'HS256', key: KEY }, kid: 'h', claims: { ...claims, sub: `v${viewer}` } })],
    ['cwt-es256', (viewer) => mintAccessToken({ format: 'cwt', secret: es256, kid: 'e', claims: { ...claims, sub: `v${viewer}` } })],
  ];
  for (const [kind, mint] of kinds) {
    await verification(bundle, 50, mint);
    const micros = median([await verification(bundle, sessions, mint), await verification(bundle, sessions, mint), await verification(bundle, sessions, mint)]);
    figure(`token-${kind}`, micros, 'µs', `per request, ${sessions} sessions of ${SESSION_REQUESTS} requests, first verification included`, '<= 10', micros <= 10);
  }

  const calls = options.full ? 200_000 : 20_000;
  const epochs = 32;
  const book = createAlignedBook({ alphabet: ALPHABET, schedule, keys });
  const length = epochAt(schedule, 0).length;
  const asked = Array.from({ length: calls }, () => ({ viewer: viewerNumber(16 + Math.floor(Math.random() * POPULATION)), at: Math.floor(Math.random() * epochs * length) as Position }));
  const symbols = (): number => {
    const started = performance.now();
    let sum = 0;
    for (const { viewer, at } of asked) sum += book.symbol(viewer, at);
    return sum < 0 ? 0 : ((performance.now() - started) * 1000) / calls;
  };
  symbols();
  const symbol = median([symbols(), symbols(), symbols()]);
  figure('symbol', symbol, 'µs', `viewers and positions at random, ${POPULATION} viewers, m = ${ALPHABET}, ${epochs} epochs, nothing remembered per viewer`, '<= 10', symbol <= 10);

  const ids = Array.from({ length: 5000 }, (_, viewer) => encodeViewerId(hmacSha256, VIEWER_KEY, viewer));
  const opening = (): number => {
    const started = performance.now();
    for (const id of ids) if (openViewerId(hmacSha256, VIEWER_KEY, id) === undefined) throw new Error('an id did not open');
    return ((performance.now() - started) * 1000) / ids.length;
  };
  opening();
  figure('viewer-id', median([opening(), opening(), opening()]), 'µs', 'once per session', 'none, for comparison', true);
  return { figures };
};

export const bench: { name: 'switching'; run(options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> } = { name: 'switching', run };
