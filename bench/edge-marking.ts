// SPDX-License-Identifier: Apache-2.0
/**
 * What marks inside the bitstream cost at an edge, in Node and in workerd, and what one copy saves against two.
 *
 * Segments are of two seconds with 512 places, as the profiler makes them; media is random, as ciphertext is. Throughput: one
 * edge, the same bytes, the same 200 tokens, one asset marked and one not; rounds alternate, figures are medians of per-round
 * ratios. Delivery: the same 200 viewers watch the same segments unmarked, marked in one copy, and as A/B variants, each at an
 * edge of its own; bytes are counted at the origin.
 */
import { fork } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:http';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { rolldown } from 'rolldown';
import { systemClock } from '#adapters/node/clock.ts';
import { bufferedResponse } from '#adapters/node/http-response.ts';
import { serve } from '#adapters/node/http-server.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { type AssetId, assetId, sessionId } from '#core/ids.ts';
import { writeBox } from '#core/isobmff/box.ts';
import { applySwitches, boxEpochMessage, marksOf, type MarkSite, slotsOf, switchesOf } from '#core/mark/index.ts';
import type { Micros, Millis } from '#core/time.ts';
import { encodeViewerId } from '#core/token/viewer-id.ts';
import { epochAt, markKeys, type Position } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import { createMarkBoxSealer } from '#crypto/mark-box.ts';
import { mintMediaToken } from '#crypto/media-token.ts';
import { createEdge, type Edge } from '#edge/index.ts';
import type { Log, Metrics } from '#ports';
import { EDGE_ID, EPOCH, MEDIA_TOKEN_KEY, startBundleServer, ZONE } from '../test/runtimes/edge-environment.ts';
import type { Figure } from './edge.ts';
import type { LoadOrder, LoadResult } from './load/http.ts';

const CONNECTIONS = 32;
const VIEWERS = 200;
const SEGMENTS = 8;
const SLOTS = slotsOf(2_000_000);
/** As many as the profiler takes: 16 of each polarity group, and not more than one per cent of the bytes. */
const placesIn = (size: number): number => Math.min(32 * SLOTS, Math.floor((size * 0.01 - 80) / 5));
/** The segment of facts: 259 kB in two seconds, about 1 Mb/s; and one of 4 Mb/s. */
const SIZES = [
  { label: '259 kB', name: '259k', bytes: 259_000 },
  { label: '1 MB', name: '1m', bytes: 1_048_576 },
] as const;
const PACED_RATE = 200;
const LONG_LIFE = 86_400_000_000;

const log: Log = { debug: () => undefined, info: () => undefined, warn: (message, fields) => console.error(message, fields), error: (message, fields) => console.error(message, fields) };
const metrics: Metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const noise = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, Math.min(length, at + 65_536)));
  return bytes;
};

const VIEWER_KEY = noise(32);
const SECRET = noise(32);
const schedule = [{ from: 0 as Position, length: 48 }];
const secrets = markKeys(hmacSha256, SECRET);
const MARKED = assetId('marked');
const PLAIN = assetId('plain');
const AB = assetId('ab');
const common = { sequencing: true, representations: ['v720'], names: 'letters', pace: 'number', alphabet: 2, book: 'aligned', schedule, viewerKeys: [{ version: 1, key: VIEWER_KEY }] } as const;
const epochs = (positions: number): MarkPlan['keys'] => Array.from({ length: epochAt(schedule, positions).epoch + 1 }, (_, epoch) => ({ epoch, key: secrets(epoch) }));
const plans: readonly MarkPlan[] = [
  { ...common, asset: MARKED, keys: epochs(SEGMENTS * SLOTS), inBand: { slots: SLOTS, boxKeys: [{ epoch: 0, key: hmacSha256(SECRET, boxEpochMessage(0)) }] } },
  { ...common, asset: AB, keys: epochs(SEGMENTS) },
];
const tokenOf = (viewer: number, asset: AssetId): string => {
  const now = systemClock.now();
  return mintMediaToken({
    key: MEDIA_TOKEN_KEY,
    kid: { epoch: EPOCH, zone: ZONE },
    claims: { session: sessionId('BwMAAQIDBAUGBwgJCgsMDQ4P'), asset, issuedAt: now, expiresAt: (now + LONG_LIFE) as Micros, mark: { version: 1, vendor: 0, patternLength: 32_768, id: encodeViewerId(hmacSha256, VIEWER_KEY, viewer), keyVersion: 1 } },
  });
};

/** Places spread over `size` bytes, masks of 1-3 bytes. */
const placesOf = (size: number): readonly MarkSite[] =>
  Array.from({ length: placesIn(size) }, (_, i) => ({ offset: 2000 + i * Math.floor((size - 3000) / placesIn(size)), slot: (i >> 1) % SLOTS, group: (i & 1) as 0 | 1, mask: noise((i % 3) + 1).map((byte) => byte | 1) }));
/** A segment in one chunk, with and without its box. */
const segmentOf = async (number: number, bytes: number): Promise<{ plain: Uint8Array; boxed: Uint8Array }> => {
  const parts = [writeBox('moof', noise(1200)), writeBox('mdat', noise(bytes - 1216))];
  const sealer = createMarkBoxSealer({ asset: MARKED, representation: 'v720', packagerStart: 1 });
  const box = await sealer.seal(number, { slots: SLOTS, size: bytes, sites: marksOf(placesOf(bytes)) }, parts, hmacSha256(SECRET, boxEpochMessage(0)), noise(12));
  return { plain: concatBytes(...parts), boxed: concatBytes(box, ...parts) };
};

const bundle = (): EdgeBundle => {
  const now = systemClock.now();
  const later = (now + LONG_LIFE) as Micros;
  return { version: 1, issuedAt: now, edge: EDGE_ID, zone: { index: ZONE, name: 'bench' }, epochs: [{ epoch: EPOCH, mediaTokenKey: MEDIA_TOKEN_KEY, notBefore: 0 as Micros, notAfter: later }], revokedSessions: [], revokedDevices: [], marks: plans, validUntil: later };
};
const answerOf = (body: Uint8Array): Response => new Response(body as BodyInit, { headers: { 'content-type': 'video/mp4', etag: '"1"', 'content-length': String(body.length), 'cache-control': 'public, max-age=31536000, immutable' } });
const edgeOf = async (origin: (path: string) => Uint8Array | undefined, counting: Metrics = metrics): Promise<Edge> => {
  const edge = createEdge({
    origin: async (request) => {
      const body = origin(new URL(request.url).pathname.replace('/origin/', ''));
      return body === undefined ? new Response(null, { status: 404 }) : answerOf(body);
    },
    originBase: 'http://origin/origin', bundle: async () => bundle(), clock: systemClock, random: { bytes: noise }, log, metrics: counting, events: () => undefined, respond: bufferedResponse,
  });
  await edge.refresh();
  return edge;
};

/** CPU time of this process, all threads: other programs on the machine hardly change it. */
const cpuMicros = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

/** Microseconds per segment: a copy into a buffer that is used again, as the edge does in Node, and what marking adds to it. */
const perSegment = (bytes: number, calls: number): { copy: number; added: number } => {
  const body = noise(bytes);
  const copy = new Uint8Array(bytes);
  const sites = marksOf(placesOf(bytes));
  const switches = switchesOf(SLOTS, (slot) => slot & 1);
  let sink = 0;
  const time = (mark: boolean): number => {
    const began = cpuMicros();
    for (let call = 0; call < calls; call++) {
      copy.set(body);
      if (mark) applySwitches(copy, sites, switchesOf(SLOTS, (slot) => (slot + call) & 1, switches));
      sink ^= copy[call % bytes] as number;
    }
    return (cpuMicros() - began) / calls;
  };
  time(true);
  time(false);
  const rounds = Array.from({ length: 9 }, (_, round) => (round % 2 === 0 ? [time(false), time(true)] : [time(true), time(false)].reverse()) as [number, number]);
  return { copy: median(rounds.map(([copy]) => copy)) + (sink < 0 ? 1 : 0), added: median(rounds.map(([copy, marked]) => marked - copy)) };
};

const startLoad = (): { order(order: LoadOrder): Promise<LoadResult>; close(): void } => {
  const child = fork(fileURLToPath(new URL('./load/http.ts', import.meta.url)), { execPath: process.execPath, execArgv: [] });
  return {
    order: (order) =>
      new Promise((resolve, reject) => {
        child.once('message', (message: { result?: LoadResult; error?: string }) => (message.result === undefined ? reject(new Error(message.error ?? 'the load generator failed')) : resolve(message.result)));
        child.send(order);
      }),
    close: () => child.kill(),
  };
};
const requestsOf = (asset: AssetId): string[] =>
  Array.from({ length: VIEWERS * SEGMENTS }, (_, index) => `GET /media/${asset}/v720/${index % SEGMENTS}.m4s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer ${tokenOf(16 + Math.floor(index / SEGMENTS), asset)}\r\n\r\n`);

type Ratio = { readonly ratio: number; /** Server CPU per marked request over that per unmarked one; of use where the server is this process. */ readonly cpu: number; readonly plainCpu: number; readonly plain: number; readonly addedP99: number; readonly others: readonly number[] };
/** Requests a second of marked over unmarked at the same server; `others`: requests a second of further ports. */
const compare = async (port: number, options: { rounds: number; millis: number }, others: readonly number[] = []): Promise<Ratio> => {
  const load = startLoad();
  const sent = { plain: requestsOf(PLAIN), marked: requestsOf(MARKED) };
  const measure = (which: keyof typeof sent, millis: number, rate = 0, at = port): Promise<LoadResult> => load.order({ port: at, request: sent[which], connections: CONNECTIONS, millis, rate });
  const perSecond = ({ requests, seconds }: LoadResult): number => requests / seconds;
  try {
    await measure('plain', options.millis);
    await measure('marked', options.millis);
    const pairs: { plain: number; marked: number }[] = [];
    const cpus: { plain: number; marked: number }[] = [];
    const added: number[] = [];
    for (let round = 0; round < options.rounds; round++) {
      const pair = { plain: 0, marked: 0 };
      const cpu = { plain: 0, marked: 0 };
      for (const which of round % 2 === 0 ? (['plain', 'marked'] as const) : (['marked', 'plain'] as const)) {
        const before = cpuMicros();
        const result = await measure(which, options.millis);
        pair[which] = perSecond(result);
        cpu[which] = (cpuMicros() - before) / Math.max(1, result.requests);
      }
      pairs.push(pair);
      cpus.push(cpu);
      const without = await measure('plain', options.millis, PACED_RATE);
      added.push((await measure('marked', options.millis, PACED_RATE)).p99 - without.p99);
    }
    const beside: number[] = [];
    for (const at of others) beside.push(perSecond(await measure('plain', options.millis, 0, at)));
    return { cpu: median(cpus.map(({ plain, marked }) => marked / plain)), plainCpu: median(cpus.map(({ plain }) => plain)), ratio: median(pairs.map(({ plain, marked }) => marked / plain)), plain: median(pairs.map(({ plain }) => plain)), addedP99: median(added), others: beside };
  } finally {
    load.close();
  }
};

type Segments = readonly { readonly plain: Uint8Array; readonly boxed: Uint8Array }[];
const bodyAt = (segments: Segments) => (path: string): Uint8Array | undefined => {
  const number = Number(/(\d+)\.m4s$/.exec(path)?.[1]);
  const found = segments[number];
  return path.startsWith('marked/') ? found?.boxed : found?.plain;
};

const inNode = async (segments: Segments, options: { rounds: number; millis: number }): Promise<Ratio> => {
  const edge = await edgeOf(bodyAt(segments));
  const server = await serve((request) => edge.handler(request), { host: '127.0.0.1', port: 0, log });
  try {
    return await compare(server.port, options);
  } finally {
    edge.stop();
    await server.close(0 as Millis);
  }
};

/** The worker's own module, as it is deployed, and one that only passes the origin's answer on. */
const inWorkerd = async (segments: Segments, options: { rounds: number; millis: number }): Promise<Ratio> => {
  const bundles = await startBundleServer();
  bundles.update({ marks: plans });
  const at = bodyAt(segments);
  const origin = createServer((request, answer) => {
    const body = at((request.url ?? '').replace(/^\/(?:origin|media)\//, ''));
    if (body === undefined) return void answer.writeHead(404).end();
    answer.writeHead(200, { 'content-type': 'video/mp4', etag: '"1"', 'content-length': body.length, 'cache-control': 'public, max-age=31536000, immutable' }).end(body);
  });
  await new Promise<void>((resolve) => origin.listen(0, '127.0.0.1', resolve));
  const { port } = origin.address() as AddressInfo;
  const made = await rolldown({ input: fileURLToPath(new URL('../src/entry/worker-edge.ts', import.meta.url)), platform: 'browser', logLevel: 'silent' });
  const { output } = await made.generate({ format: 'esm' });
  await made.close();
  const start = async (script: string): Promise<Miniflare> => {
    const worker = new Miniflare({
      modules: true, script, compatibilityDate: '2025-09-01', unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
      bindings: { ORIGIN_URL: `http://127.0.0.1:${port}/origin`, BUNDLE_URL: bundles.url, EDGE_ID, EDGE_SIGN_KEY: JSON.stringify(bundles.signKey), EDGE_AGREE_KEY: JSON.stringify(bundles.agreeKey) },
      handleRuntimeStdio: (stdout: Readable, stderr: Readable) => {
        stdout.resume();
        stderr.resume();
      },
    });
    await worker.ready;
    return worker;
  };
  const edge = await start(output[0].code);
  const through = await start(`export default { fetch: (request) => fetch('http://127.0.0.1:${port}' + new URL(request.url).pathname) };`);
  try {
    const portOf = async (worker: Miniflare): Promise<number> => Number((await worker.unsafeGetDirectURL()).port);
    // The first request fetches the bundle.
    await (await fetch(`http://127.0.0.1:${await portOf(edge)}/media/${MARKED}/v720/0.m4s`, { headers: { authorization: `Bearer ${tokenOf(16, MARKED)}` } })).arrayBuffer();
    return await compare(await portOf(edge), options, [await portOf(through)]);
  } finally {
    await edge.dispose();
    await through.dispose();
    await bundles.close();
    origin.close();
    origin.closeAllConnections();
  }
};

type Delivered = { readonly stored: number; readonly fetched: number; readonly hits: number };
/** 200 viewers watch all segments once, in step, at one edge. */
const deliver = async (asset: AssetId, objects: ReadonlyMap<string, Uint8Array>): Promise<Delivered> => {
  let fetched = 0;
  let trips = 0;
  const edge = await edgeOf((path) => {
    const body = objects.get(path);
    trips += 1;
    fetched += body?.length ?? 0;
    return body;
  });
  for (let number = 0; number < SEGMENTS; number++) {
    const answers = await Promise.all(Array.from({ length: VIEWERS }, (_, viewer) => edge.handler(new Request(`http://edge/media/${asset}/v720/${number}.m4s`, { headers: { authorization: `Bearer ${tokenOf(16 + viewer, asset)}` } }))));
    for (const answer of answers) {
      if (answer.status !== 200) throw new Error(`a viewer of ${asset} was answered ${answer.status}`);
      await answer.arrayBuffer();
    }
  }
  edge.stop();
  return { stored: [...objects.values()].reduce((sum, body) => sum + body.length, 0), fetched, hits: 1 - trips / (VIEWERS * SEGMENTS) };
};

const run = async (options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const figures: Figure[] = [];
  const figure = (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason = ''): void => {
    figures.push({ name, value: Number(value.toPrecision(4)), unit, baseline, goal, ok, ...(!ok && { reason }) });
    options.log(`${name}: ${value.toPrecision(4)} ${unit} (${baseline})`);
  };
  const shape = { rounds: options.full ? 9 : 2, millis: options.full ? 2000 : 250 };
  for (const { label, name, bytes } of SIZES) {
    const { copy, added } = perSegment(bytes, options.full ? 3000 : 150);
    figure(`marking-${name}`, added, 'µs a segment', `over a copy of ${label} into a used buffer, which takes ${copy.toFixed(1)} µs; ${placesIn(bytes)} places, CPU time, symbols of a viewer included`, '<= 50', added <= 50, 'the machine was busy');
  }
  for (const { label, name, bytes } of options.full ? SIZES : SIZES.slice(0, 1)) {
    const segments: { plain: Uint8Array; boxed: Uint8Array }[] = [];
    for (let number = 0; number < SEGMENTS; number++) segments.push(await segmentOf(number, bytes));
    const node = await inNode(segments, shape);
    figure(`node-${name}`, node.ratio, 'ratio', `unmarked ${label} from the same edge: ${node.plain.toFixed(0)} requests/s, ${VIEWERS} viewers, ${CONNECTIONS} connections`, '>= 0.9', node.ratio >= 0.9, 'server and load generator share the cores');
    figure(`node-${name}-cpu`, node.cpu, 'ratio', `server CPU of an unmarked answer: ${node.plainCpu.toFixed(0)} µs`, 'none, for comparison', true);
    figure(`node-${name}-p99`, node.addedP99, 'ms', `added to the p99 of unmarked ${label} at ${PACED_RATE} requests/s (B198)`, '<= 5', node.addedP99 <= 5, 'the machine was too busy for a steady rate');
    const worker = await inWorkerd(segments, shape);
    figure(`workerd-${name}`, worker.ratio, 'ratio', `unmarked ${label} from the same isolate's cached bytes: ${worker.plain.toFixed(0)} requests/s`, '>= 0.8', worker.ratio >= 0.8, 'server and load generator share the cores');
    figure(`workerd-${name}-of-pass-through`, (worker.ratio * worker.plain) / (worker.others[0] ?? Number.NaN), 'ratio', `a worker that passes the origin's answer on: ${(worker.others[0] ?? 0).toFixed(0)} requests/s`, 'none, for comparison', true);
  }
  const segments = await Promise.all(Array.from({ length: SEGMENTS }, (_, number) => segmentOf(number, SIZES[0].bytes)));
  const at = (asset: AssetId, name: (number: number) => string, pick: (segment: Segments[number]) => Uint8Array): readonly (readonly [string, Uint8Array])[] => segments.map((segment, number) => [`${asset}/v720/${name(number)}.m4s`, pick(segment)]);
  const unmarked = await deliver(PLAIN, new Map(at(PLAIN, String, ({ plain }) => plain)));
  const inBand = await deliver(MARKED, new Map(at(MARKED, String, ({ boxed }) => boxed)));
  const variants = await deliver(AB, new Map(['a', 'b'].flatMap((variant) => at(AB, (number) => `${variant}/${number}`, ({ plain }) => plain))));
  const against = `unmarked, ${VIEWERS} viewers, ${SEGMENTS} segments of ${SIZES[0].label}`;
  figure('storage', inBand.stored / unmarked.stored, 'ratio', against, '<= 1.01', inBand.stored <= unmarked.stored * 1.01);
  figure('storage-ab', variants.stored / unmarked.stored, 'ratio', `the same, as A/B variants`, 'none, for comparison', true);
  figure('origin-bytes', inBand.fetched / unmarked.fetched, 'ratio', against, '<= 1.01', inBand.fetched <= unmarked.fetched * 1.01);
  figure('origin-bytes-ab', variants.fetched / unmarked.fetched, 'ratio', 'the same, as A/B variants', 'none, for comparison', true);
  figure('hit-ratio', inBand.hits - unmarked.hits, 'difference', `${against}: ${unmarked.hits.toFixed(4)}; A/B ${variants.hits.toFixed(4)}`, '0', inBand.hits === unmarked.hits);
  figure('symbols-per-segment', SLOTS, 'bits', 'A/B: 1', '> 1', SLOTS > 1);
  return { figures };
};

export const bench: { name: 'edge-marking'; run(options: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> } = { name: 'edge-marking', run };
