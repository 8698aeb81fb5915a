// SPDX-License-Identifier: Apache-2.0
/**
 * Timed release measured end to end: lateness against C, racers, screens behind slow networks, the death of an edge, an outage of the key servers,
 * a soak of the key path, and the offline proof.
 *
 * Edges are processes with clocks skewed inside their bounds, clients are the real ones with a pretended decoder, networks a relay with the bundled mix.
 * The short form has few clients and no long outage; `--full` is the issue's. Baselines of the same run where there are any, else the stated rule.
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { systemClock } from '#adapters/node/clock.ts';
import { auditFiles } from '#cli/auditing.ts';
import { ACCOUNTS, runCourse } from '#client/race/course.ts';
import { createPeriodKeys } from '#client/release/period-keys.ts';
import { releaseInstant } from '#core/release/gate.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { type Figure, figure, median, quantile } from './figures/timing.ts';
import { mayRealTime, measure, openWorkshop, type Quantiles, referenceSleep } from './fanout/harness.ts';
import { displays, inTime, millis, nextPeriod, past, perSecond, seat, type Seat, sleep } from './release/crowd.ts';
import { type Edges, startEdges } from './release/edges.ts';
import { makeEventFiles } from './release/event-log.ts';
import { lightSockets } from './release/light-socket.ts';
import { type Path, type Retransmission, startRelay } from './release/relay.ts';

type Run = { readonly full: boolean; readonly figures: Figure[]; log(line: string): void };
type Class = Path & { readonly name: string; readonly share: number };
const MIX = JSON.parse(readFileSync(new URL('release/mix.json', import.meta.url), 'utf8')) as { classes: Class[]; retransmission: Retransmission; decode: { baseMs: number; jitterMs: number; vsyncMs: number } };
const CLOCK_ERROR = 200 as Micros;

/** Repeatable numbers in [0, 1). */
const seeded = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
};

const proof = async ({ full, figures }: Run): Promise<void> => {
  const seconds = full ? 3600 : 240;
  const folder = await mkdtemp(join(tmpdir(), 'sealcast-proof-'));
  try {
    const made = await makeEventFiles(seconds);
    const names = ['log', 'keys'].map((name) => join(folder, name));
    await writeFile(names[0] as string, made.log);
    await writeFile(names[1] as string, JSON.stringify({ keys: made.keys }));
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const began = performance.now();
      const { ok, releases } = await auditFiles(names);
      if (!ok || releases !== made.releases) throw new Error('a good log was not proven');
      times.push((performance.now() - began) / 1000);
    }
    figures.push(figure('audit verify, per hour of event at P = 100 ms', (Math.min(...times) * 3600) / seconds, 's', `${made.releases} releases, ${(made.log.length / 1e6).toFixed(1)} MB`, '<', 1, 's'));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

const lateness = async ({ full, figures, log }: Run): Promise<void> => {
  const shop = await openWorkshop();
  try {
    if (shop.reference === undefined) return log(`${shop.why}: lateness is not compared with C`);
    const [period, rounds] = full ? [50_000, 1000] : [50_000, 60];
    const modes: { name: string; prefix: string[]; realTime: boolean }[] = [{ name: 'no privileges', prefix: [], realTime: false }];
    if (mayRealTime()) modes.push({ name: 'real-time priority', prefix: ['chrt', '-f', '6'], realTime: true });
    for (const { name, prefix, realTime } of modes) {
      // At the same time, so that both meet the same machine.
      const [ours, theirs] = await Promise.all([measure(shop, { who: 'ours', count: 1, period, rounds, tls: false, realTime, steadyMillis: 1000 }), referenceSleep(shop, period, rounds, prefix)]);
      const beside = theirs as Quantiles;
      log(`${name}: ours p50 ${ours.lateness.p50} p99 ${ours.lateness.p99} µs, C p50 ${beside.p50} p99 ${beside.p99} µs`);
      if (realTime) figures.push(figure('release lateness p99, real-time priority', ours.lateness.p99 / 1000, 'ms', `C clock_nanosleep likewise: p99 ${beside.p99 / 1000} ms`, '<=', 1, 'ms'));
      else figures.push(figure('release lateness p99, no privileges, to C', ours.lateness.p99 / beside.p99, 'ratio', `C clock_nanosleep in the same run: p99 ${beside.p99 / 1000} ms (ours ${ours.lateness.p99 / 1000} ms)`, '<=', 1.5));
      figures.push(figure(`early releases, ${name}`, ours.early, 'releases', 'never before T', '<=', 0));
    }
  } finally {
    shop.close();
  }
};

const race = async ({ full, figures, log }: Run, edges: Edges): Promise<void> => {
  const urls = edges.edges.slice(0, 2).map(({ url }) => url);
  const result = await runCourse({ event: edges.info.event, urls, token: (account) => edges.token(`racer-${account % ACCOUNTS}`), openSocket: lightSockets(), fetch: (request) => fetch(request), utc: edges.utc, error: CLOCK_ERROR, timers: systemClock, seconds: full ? 60 : 4 });
  const { info, best, tricks } = result;
  const bound = (info.period + info.delta) / 1000;
  figures.push(
    figure('racers: secrets before T', best.early, 'secrets', `${best.periods} periods, ${tricks.length} tricks, two edges skewed against each other`, '<=', 0),
    figure('racers: A_max of any period', millis(best.worst), 'ms', `P + δ = ${bound} ms; first frame ${millis(best.first)} ms, mean ${millis(best.mean)} ms`, '<=', bound + CLOCK_ERROR / 1000, 'ms'),
  );
  const epsilon = Math.max(...edges.edges.map(({ standing }) => standing?.error ?? 0));
  for (const { name, gain, connections } of tricks) {
    const limit = (2 * epsilon + 1000 / (connections + 1)) / 1000;
    log(`racer ${name}: gain median ${millis(gain.median)} ms [${millis(gain.low)}, ${millis(gain.high)}], ${connections} connections`);
    figures.push(figure(`racer that has or does "${name}": gain`, millis(gain.median), 'ms', `95 % interval ${millis(gain.low)} to ${millis(gain.high)}; 2ε + loop/(k+1), ε ${millis(epsilon)} ms, k ${connections}`, '<', Number(limit.toFixed(2)), 'ms'));
  }
};

/** 20 clients over the mix's networks, at two of three edges each. */
const screens = async ({ full, figures, log }: Run, edges: Edges): Promise<void> => {
  const random = seeded(20);
  const count = 20;
  const relays: { close(): void }[] = [];
  const seats: Seat[] = [];
  try {
    for (let nth = 0; nth < count; nth++) {
      // The classes in proportion: the middle of each client's slice of the distribution.
      let left = (nth + 0.5) / count;
      const path = MIX.classes.find(({ share }) => (left -= share) < 0) ?? (MIX.classes[0] as Class);
      const ports = new Map<number, number>();
      for (const { port } of edges.edges) {
        const relay = await startRelay(port, path, MIX.retransmission, random);
        relays.push(relay);
        ports.set(port, relay.port);
      }
      const urls = [0, 1].map((at) => edges.edges[(nth + at) % edges.edges.length]?.url ?? '');
      seats.push(seat(edges, edges.channel(`screen-${nth}`, urls, lightSockets((host, port) => ({ host, port: ports.get(port) ?? port })))));
    }
    // The first exchanges of time, and the joins, are over.
    await sleep(full ? 8000 : 2500);
    const first = nextPeriod(edges);
    const periods = (full ? 60 : 4) * perSecond(edges);
    await past(edges, (first + periods) as CryptoPeriod);
    const shown = displays(edges, seats, first, periods, MIX.decode, 200_000, random);
    log(`screens: spread of a period p50 ${millis(quantile(shown.spreads, 0.5))} p99 ${millis(quantile(shown.spreads, 0.99))} ms, ${(100 * shown.late).toFixed(2)} % of secrets too late for W`);
    figures.push(figure('20 clients behind delay and loss: displays inside 200 ms', 100 * shown.inside, '%', `mix of bench/release/mix.json, ${periods} periods, three edges; spread p50 ${millis(quantile(shown.spreads, 0.5))} ms`, '>=', 99.5, '%'));
  } finally {
    for (const { channel } of seats) channel.stop();
    for (const relay of relays) relay.close();
  }
};

/** Release instants of the edges, seen by one direct client each. */
const together = async ({ full, figures }: Run, edges: Edges): Promise<void> => {
  const seats = edges.edges.map(({ url, name }) => seat(edges, edges.channel(`direct-${name}`, [url])));
  await sleep(1500);
  const first = nextPeriod(edges);
  const periods = (full ? 60 : 3) * perSecond(edges);
  await past(edges, (first + periods) as CryptoPeriod);
  const apart: number[] = [];
  let early = 0;
  for (let period = first; period < first + periods; period = (period + 1) as CryptoPeriod) {
    const at = seats.map(({ arrived }) => arrived.get(period)).filter((each) => each !== undefined);
    if (at.length === seats.length) apart.push(Math.max(...at) - Math.min(...at));
    early += at.filter((each) => each < releaseInstant(edges.info, period) - CLOCK_ERROR).length;
  }
  for (const { channel } of seats) channel.stop();
  const errors = edges.edges.map(({ standing }) => millis(standing?.error ?? Number.NaN));
  figures.push(
    figure('release instants of three edges, clocks skewed by ±5 ms: apart, p95', apart.length === 0 ? 1e6 : millis(quantile(apart, 0.95)), 'ms', `${apart.length} periods; median ${millis(median(apart))} ms; stated bounds ±${errors.join(', ')} ms`, '<=', 20, 'ms'),
    figure('releases before T by this host\'s clock, skewed edges', early, 'releases', `${apart.length} periods x ${seats.length} edges`, '<=', 0),
  );
};

/** Kill -9 of an edge under two-edge clients. */
const death = async ({ figures, log }: Run, edges: Edges, count: number): Promise<void> => {
  const urls = edges.edges.map(({ url }) => url);
  const seats: Seat[] = [];
  for (let nth = 0; nth < count; nth++) {
    // Each on two of three.
    const own = [nth % urls.length, (nth + 1) % urls.length].map((at) => urls[at] as string);
    seats.push(seat(edges, edges.channel(`crowd-${Math.floor(nth / 2)}`, own)));
    if (nth % 20 === 19) await sleep(30);
  }
  // Joins are work of their own: what is measured is a crowd that stands. At most half a minute, whatever it is then.
  let steady = 0;
  for (const began = performance.now(); steady < 0.995 && performance.now() - began < 30_000; ) {
    const from = nextPeriod(edges);
    await past(edges, (from + 10) as CryptoPeriod);
    steady = inTime(edges, seats, from, 10);
  }
  const pulledBefore = seats.reduce((sum, { pulled }) => sum + pulled, 0);
  const first = nextPeriod(edges);
  edges.edges.at(-1)?.kill();
  await past(edges, (first + 50) as CryptoPeriod);
  const share = inTime(edges, seats, first, 50);
  const pulled = seats.reduce((sum, each) => sum + each.pulled, 0) - pulledBefore;
  for (const { channel } of seats) channel.stop();
  const period = edges.info.period / 1000;
  log(`edge killed under ${count} clients at P = ${period} ms: ${(100 * share).toFixed(2)} % in time (before: ${(100 * steady).toFixed(2)} %), ${pulled} pulls`);
  figures.push(
    figure(`edge killed under ${count} two-edge clients, P = ${period} ms: secrets by T + δ`, 100 * share, '%', `50 periods after; before it ${(100 * steady).toFixed(2)} %`, '>=', 99, '%'),
    // Every secret is written twice; a pull is one answer more.
    figure(`edge killed under ${count} clients: answers of the edges left, to what is pushed in steady state`, (count * 50 * 2 * (2 / 3) + pulled) / (count * 50 * 2), 'ratio', `${pulled} pulls in 50 periods`, '<=', 2),
  );
};

const outage = async ({ figures, log }: Run, edges: Edges, seconds: number): Promise<void> => {
  const [first, second] = edges.edges;
  const one = seat(edges, edges.channel('outage', [first?.url ?? '', second?.url ?? '']));
  await sleep(2500);
  const begin = nextPeriod(edges);
  edges.cut(true);
  await sleep(seconds * 1000);
  edges.cut(false);
  const back = edges.utc();
  const early = (): number => [...one.arrived].filter(([period, at]) => at < releaseInstant(edges.info, period) - CLOCK_ERROR).length;
  if (seconds < 10) {
    const periods = Math.round((seconds * 1_000_000) / edges.info.period);
    await past(edges, (begin + periods) as CryptoPeriod);
    figures.push(figure(`key servers gone for ${seconds} s: secrets by T + δ`, 100 * inTime(edges, [one], begin, periods), '%', 'the horizon of 10 s', '>=', 99, '%'));
  } else {
    const fresh = (): number => Math.min(...[...one.arrived.values()].filter((at) => at > back), Number.POSITIVE_INFINITY);
    const stalled = [...one.arrived.values()].filter((at) => at <= back);
    for (let waited = 0; !Number.isFinite(fresh()) && waited < 10_000; waited += 50) await sleep(50);
    const silence = (back - Math.max(...stalled)) / 1e6;
    log(`key servers gone for ${seconds} s: silence of ${silence.toFixed(1)} s, then releases ${millis(fresh() - back)} ms after their return`);
    figures.push(figure(`key servers gone for ${seconds} s: stalled before their return`, silence, 's', `${seconds} s less a horizon of 10 s`, '>=', seconds - 12, 's'), figure(`key servers gone for ${seconds} s: releases again after their return`, Number.isFinite(fresh()) ? (fresh() - back) / 1e6 : 1e6, 's', 'both key servers', '<=', 2, 's'));
  }
  figures.push(figure(`early releases around an outage of ${seconds} s`, early(), 'secrets', 'fails closed', '<=', 0));
  one.channel.stop();
};

/** The key path of a client for long: secret → content key → decrypted fragment. */
const soak = async ({ full, figures }: Run, edges: Edges): Promise<void> => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const { info } = edges;
  const channel = edges.channel('soak', [edges.edges[0]?.url ?? '', edges.edges[1]?.url ?? '']);
  const keys = createPeriodKeys({
    binding: { asset: info.event, mode: 'timed', scheme: 'cenc', gen: 0 }, salt: new Uint8Array(32), schedule: { period: info.period, periodsPerGroup: 60 } as never, keyGroups: ['video' as never],
    grantOf: async () => new Uint8Array(32).fill(7), secretOf: (period) => channel.secret(period),
  });
  const fragment = new Uint8Array(20_000);
  const times: number[] = [];
  const heaps: number[] = [];
  channel.on('released', ({ from, to, way }) => {
    if (way === 'block' || to - from !== 1) return;
    const began = performance.now();
    void (async () => {
      const [opened] = await keys.between((from * info.period) as Micros, ((from + 1) * info.period) as Micros);
      if (opened === undefined) throw new Error('a released period has a key');
      const key = await crypto.subtle.importKey('raw', opened.key as BufferSource, 'AES-CTR', false, ['decrypt']);
      await crypto.subtle.decrypt({ name: 'AES-CTR', counter: new Uint8Array(16), length: 64 }, key, fragment);
      times.push(performance.now() - began);
    })();
  });
  const seconds = full ? 1800 : 4;
  await sleep(full ? 10_000 : 1500);
  times.length = 0;
  for (let at = 0; at < 10; at++) {
    await sleep((seconds * 1000) / 10);
    collect();
    heaps.push(process.memoryUsage().heapUsed);
  }
  channel.stop();
  const third = Math.floor(times.length / 3);
  const [begin, end] = [times.slice(0, third), times.slice(-third)];
  figures.push(
    figure('key to decrypted fragment p99, last third of the soak', quantile(end, 0.99), 'ms', `first third: ${quantile(begin, 0.99).toFixed(2)} ms; ${times.length} keys in ${seconds} s`, '<=', 2, 'ms'),
    figure('heap, last third of the soak to the first', median(heaps.slice(-3)) / median(heaps.slice(0, 3)), 'ratio', `${(median(heaps.slice(0, 3)) / 1e6).toFixed(1)} MB after collection`, '<=', 1.1),
  );
};

const withEdges = async (period: number, work: (edges: Edges) => Promise<void>): Promise<void> => {
  // Asymmetries of 10 ms move a clock by 5 ms.
  const edges = await startEdges({ skews: [0, 10, -10], period: period as Micros });
  try {
    await edges.ready();
    await work(edges);
  } finally {
    await edges.close();
  }
};

const run = async ({ full, log }: { full: boolean; log(line: string): void }): Promise<{ figures: Figure[] }> => {
  const figures: Figure[] = [];
  const self: Run = { full, figures, log };
  await proof(self);
  await lateness(self);
  await withEdges(100_000, async (edges) => {
    if (full) {
      await together(self, edges);
      await race(self, edges);
      await screens(self, edges);
      await outage(self, edges, 8);
      await outage(self, edges, 30);
      await soak(self, edges);
      await death(self, edges, 1000);
    } else {
      // Beside each other, to be short.
      await Promise.all([together(self, edges), race(self, edges), screens(self, edges), soak(self, edges)]);
      await death(self, edges, 30);
    }
  });
  if (full) await withEdges(1_000_000, (edges) => death(self, edges, 5000));
  for (const each of figures) if (!Number.isFinite(each.value)) Object.assign(each, { value: -1, ok: false, reason: 'nothing was measured' });
  return { figures };
};

export const bench: { name: 'release'; run: typeof run } = { name: 'release', run };
