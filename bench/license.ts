// SPDX-License-Identifier: Apache-2.0
/**
 * Renewals and initial licences over HTTP, beside a bare JSON server on node:http and the licence's cryptography alone.
 *
 * Servers live in this process, load in others; rounds alternate, figures are medians of per-round ratios. Every renewal
 * of the load is a request of its own of a session that its node has never seen, so that nothing is answered as a repetition or
 * from a memory; the concurrency record, the heartbeat journal and the overload watch work as in `sealcast up`.
 */
import type { Figure } from './edge.ts';
import { capacityTable } from './licensing/capacity.ts';
import { startBare, type BareServer, jsonOf } from './licensing/bare-server.ts';
import { createCryptoOnly, createRenewalCryptoOnly } from './licensing/crypto-only.ts';
import { runCrowd } from './licensing/crowd.ts';
import { measureHerd } from './licensing/herd.ts';
import { type Installation, SCHEDULE, startInstallation } from './licensing/installation.ts';
import { measureOverload } from './licensing/overload.ts';
import { answerSizes, renewalPool } from './licensing/renewals.ts';
import { type BenchDevice, createStarter, makeDevice, post } from './licensing/starts.ts';
import type { LoadMessage, LoadOrder, LoadResult } from './load/http.ts';
import { type LoadProcess, startLoad } from './load/start.ts';
import { parseLicenseClaims, parseSealedLicense, type SealedTicket } from '#core/license/license-claims.ts';
import { groupLength } from '#core/time.ts';
import { openSealed } from '#crypto/jose.ts';

const CONNECTIONS = 64;
const DEVICES = 64;

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** `cpu`: µs of this process per request, all threads. */
type Measured = LoadResult & { readonly cpu: number; readonly perSecond: number };
type Load = LoadProcess<LoadMessage, LoadResult>;
type Pair = { readonly ours: Measured; readonly bare: Measured };
type Options = { readonly full: boolean; log(line: string): void };
type Judge = (name: string, value: number, unit: string, baseline: string, goal: string, ok: boolean, reason: string) => void;

const measured = async (load: Load, order: Omit<LoadOrder, 'connections'>): Promise<Measured> => {
  const before = process.cpuUsage();
  const result = await load.order({ connections: CONNECTIONS, ...order });
  const used = process.cpuUsage(before);
  return { ...result, cpu: (used.user + used.system) / Math.max(1, result.requests), perSecond: result.requests / result.seconds };
};

/** µs of this process per call. */
const cpuOf = (run: () => void, times: number): number => {
  const before = process.cpuUsage();
  for (let n = 0; n < times; n++) run();
  const used = process.cpuUsage(before);
  return (used.user + used.system) / times;
};

/** µs of this process per renewal without HTTP. */
const cpuOfDecisions = async (installation: Installation, sessions: number): Promise<number> => {
  const { requests, bodyBytes } = renewalPool(installation, sessions);
  const bodies = requests.map((request) => request.subarray(request.length - bodyBytes));
  const before = process.cpuUsage();
  for (let at = 0; at < bodies.length; at += CONNECTIONS) await Promise.all(bodies.slice(at, at + CONNECTIONS).map(async (body) => installation.renewal.direct(body)));
  const used = process.cpuUsage(before);
  return (used.user + used.system) / bodies.length;
};

/** Per-round pairs, whoever goes first alternating. */
const rounds = async (count: number, ours: () => Promise<Measured>, bare: () => Promise<Measured>): Promise<readonly Pair[]> => {
  const pairs: Pair[] = [];
  for (let round = 0; round < count; round++) {
    if (round % 2 === 0) {
      const first = await bare();
      pairs.push({ bare: first, ours: await ours() });
    } else {
      const first = await ours();
      pairs.push({ ours: first, bare: await bare() });
    }
  }
  return pairs;
};
const middle = (pairs: readonly Pair[], of: (pair: Pair) => number): number => median(pairs.map(of));

const measureRenewals = async (installation: Installation, bare: BareServer, load: Load, { full, log }: Options, judge: Judge): Promise<{ cpu: number; perSecond: number }> => {
  const [count, millis, warmUp] = full ? [9, 2000, 3] : [3, 400, 1];
  const sizes = await answerSizes(installation);
  judge('renewal-request', sizes.request, 'B', 'an asset id of 40 characters, the longest', '<= 256 B', sizes.request <= 256, 'the state grew');
  judge('renewal-answer-level-3', sizes.answers[3], 'B', 'largest of 512, at every place of the unlock tree, groups of 30 s', '<= 256 B', sizes.answers[3] <= 256, 'more nodes than planned');
  judge('renewal-answer-levels-1-2', Math.max(sizes.answers[1], sizes.answers[2]), 'B', 'largest of 1,024, half of them after a missed renewal', '<= 512 B', Math.max(sizes.answers[1], sizes.answers[2]) <= 512, 'more nodes than planned');

  // Each round has sessions of its own: no node ever sees a request twice.
  const sessions = full ? 12_000 : 1_500;
  const fresh = async (): Promise<number> => {
    const { requests, bodyBytes } = renewalPool(installation, sessions);
    await load.order({ pool: requests });
    return bodyBytes;
  };
  const bodyBytes = await fresh();
  const request = post('/v1/renew', 'application/json', Buffer.from(jsonOf(bodyBytes))).toString();
  bare.answerBytes = sizes.typicalAnswer;
  const ours = async (): Promise<Measured> => {
    await fresh();
    return measured(load, { port: installation.port, millis: 0, rate: 0, once: true });
  };
  const plain = (duration = millis): Promise<Measured> => measured(load, { port: bare.port, request, millis: duration, rate: 0 });
  for (let warm = 0; warm < warmUp; warm++) {
    await plain();
    await ours();
  }
  const pairs = await rounds(count, ours, plain);
  const perSecond = middle(pairs, (pair) => pair.ours.perSecond);
  const cpu = middle(pairs, (pair) => pair.ours.cpu);
  const bareCpu = middle(pairs, (pair) => pair.bare.cpu);
  const rates = middle(pairs, (pair) => pair.ours.perSecond / pair.bare.perSecond);
  const ofBare = middle(pairs, (pair) => pair.bare.cpu / pair.ours.cpu);
  const baseline = `bare node:http JSON server, ${CONNECTIONS} connections, bodies of ${bodyBytes} and ${sizes.typicalAnswer} B: ${middle(pairs, (pair) => pair.bare.perSecond).toFixed(0)} requests/s, ${bareCpu.toFixed(0)} µs CPU each`;
  log(`renewals: ${perSecond.toFixed(0)}/s, ${cpu.toFixed(0)} µs CPU each; ${baseline}`);
  const hashes = cpuOf(createRenewalCryptoOnly(6), full ? 20_000 : 1_000);
  const alone = await cpuOfDecisions(installation, full ? 20_000 : 1_000);
  const breakdown = `of ${cpu.toFixed(0)} µs, ${hashes.toFixed(0)} are about 20 keyed hashes that a node without session state makes for every renewal, ${Math.max(0, alone - hashes).toFixed(0)} the rest of the decision, record, journal and media token, ${Math.max(0, cpu - alone).toFixed(0)} HTTP; a whole bare request is ${bareCpu.toFixed(0)} µs`;
  judge('renewals-of-bare', rates, 'ratio', baseline, '>= 0.7', rates >= 0.7, breakdown);
  judge('renewals-of-bare-per-core', ofBare, 'ratio', `CPU time per request, journal writes on other threads included; ${baseline}`, '>= 0.7', ofBare >= 0.7, breakdown);
  judge('renewals-of-bound', (bareCpu + hashes) / cpu, 'ratio', `1 / (1/bare + 1/crypto-only) per core: bare ${bareCpu.toFixed(0)} µs, keyed hashes alone ${hashes.toFixed(0)} µs`, 'none, for comparison', true, '');
  judge('renewals', perSecond, '1/s', 'one process, absolute; every session is new to it', 'none, for comparison', true, '');
  judge('renewal-cpu', cpu, 'µs', `without HTTP ${alone.toFixed(0)} µs, keyed hashes ${hashes.toFixed(0)} µs; bare: ${bareCpu.toFixed(0)} µs`, 'none, for comparison', true, '');
  const half: Measured[] = [];
  for (let round = 0; round < Math.ceil(count / 2); round++) {
    await fresh();
    half.push(await measured(load, { port: installation.port, millis: Math.min(millis, (1.9 * sessions * 2000) / perSecond), rate: perSecond / 2 }));
  }
  const p99 = median(half.map((one) => one.p99));
  judge('renewal-p99', p99, 'ms', `half load, ${(perSecond / 2).toFixed(0)} renewals/s`, '<= 10 ms', p99 <= 10, 'the machine was too busy for a steady rate: server, load and other work share its cores (load average above)');
  return { cpu, perSecond };
};

type Starts = { readonly cpu: number; readonly perSecond: number };

const measureStarts = async (installation: Installation, bare: BareServer, load: Load, { full, log }: Options, judge: Judge, byTicket: boolean): Promise<Starts> => {
  const [count, starts] = full ? [7, 500] : [3, 80];
  const starter = await createStarter(installation.url, installation.backend);
  const devices: readonly BenchDevice[] = await Promise.all(Array.from({ length: DEVICES }, makeDevice));
  const [first] = devices;
  if (first === undefined) throw new Error('no devices');
  /** The account and the ticket of each device, from one start in full. */
  const tickets = byTicket ? await Promise.all(devices.map(async (device, index) => ({ account: `ticketed-${index}`, ticket: await ticketOf(installation, await starter.body(device, { account: `ticketed-${index}` }), device) }))) : [];
  const body = (index: number): Promise<string> => starter.body(devices[index % DEVICES] as BenchDevice, tickets[index % DEVICES]);
  const sample = await body(0);
  const answer = await (await fetch(`${installation.url}/v1/sessions`, { method: 'POST', body: sample })).text();
  const { license } = JSON.parse(answer) as { license: string };
  const { horizon } = JSON.parse(Buffer.from(license.split('.')[1] ?? '', 'base64url').toString()) as { horizon: [number, number] };
  const groups = horizon[1] - horizon[0];

  const request = post('/v1/sessions', 'application/json', Buffer.from(jsonOf(Buffer.byteLength(sample)))).toString();
  bare.answerBytes = answer.length;
  const ours = async (): Promise<Measured> => {
    const pool: Uint8Array[] = [];
    for (let index = 0; index < starts; index++) pool.push(post('/v1/sessions', 'application/json', Buffer.from(await body(index))));
    await load.order({ pool });
    return measured(load, { port: installation.port, millis: 0, rate: 0, once: true });
  };
  const plain = (): Promise<Measured> => measured(load, { port: bare.port, request, millis: full ? 2000 : 300, rate: 0 });
  const issue = createCryptoOnly({ groups, opened: Math.ceil(600 / (groupLength(SCHEDULE) / 1e6)), bytes: license.length, ticket: byTicket });
  const crypto: number[] = [];
  const alone = (): void => void crypto.push(cpuOf(issue, full ? 400 : 50));
  await plain();
  // Compiling is CPU time too, and not what a running server does.
  for (let warm = 0; warm < (full ? 3 : 2); warm++) await ours();
  alone();
  crypto.length = 0;
  const pairs = await rounds(
    count,
    async () => {
      alone();
      return ours();
    },
    plain,
  );
  const ratios = pairs.map((pair, index) => (pair.bare.cpu + (crypto[index] as number)) / pair.ours.cpu);
  const ratio = median(ratios);
  const cpu = middle(pairs, (pair) => pair.ours.cpu);
  const perSecond = middle(pairs, (pair) => pair.ours.perSecond);
  const bareCpu = middle(pairs, (pair) => pair.bare.cpu);
  const proof = byTicket ? 'device ticket' : 'full device proof';
  const baseline = `1 / (1/bare + 1/crypto-only) per core, ${proof}, ${groups} grant keys, licence of ${license.length} B: bare ${(1e6 / bareCpu).toFixed(0)}/s, crypto-only ${(1e6 / median(crypto)).toFixed(0)}/s, ours ${(1e6 / cpu).toFixed(0)}/s`;
  log(`initial licences, ${proof}: ${perSecond.toFixed(0)}/s over HTTP, ${cpu.toFixed(0)} µs CPU each; ${baseline}`);
  const name = byTicket ? 'initial-by-ticket' : 'initial';
  const reason = `${(cpu - bareCpu - median(crypto)).toFixed(0)} µs go to parsing, checking, deciding, storing and to encoding the licence three times over (sealed, signed, answered)`;
  judge(`${name}-of-bound`, ratio, 'ratio', baseline, '>= 0.75', ratio >= 0.75, reason);
  judge(name, perSecond, '1/s', `one process, over HTTP, absolute; stores in memory; ${proof}`, 'none, for comparison', true, '');
  judge(`${name}-cpu`, cpu, 'µs', `bare ${bareCpu.toFixed(0)} µs, crypto-only ${median(crypto).toFixed(0)} µs`, 'none, for comparison', true, '');
  return { cpu, perSecond };
};

/** The ticket that the answer to a start in full brings. */
const ticketOf = async ({ url }: Installation, body: string, device: BenchDevice): Promise<SealedTicket> => {
  const { license } = (await (await fetch(`${url}/v1/sessions`, { method: 'POST', body })).json()) as { license: string };
  const claims = parseLicenseClaims(JSON.parse(Buffer.from(license.split('.')[1] ?? '', 'base64url').toString()));
  const { ticket } = parseSealedLicense((await openSealed(claims.sealed, device.agreeKey)) ?? '', claims.horizon);
  if (ticket === undefined) throw new Error('a start with a full proof brought no ticket');
  return ticket;
};

const run = async (options: Options): Promise<{ figures: Figure[]; appendix: string }> => {
  const figures: Figure[] = [];
  const judge: Judge = (name, value, unit, baseline, goal, ok, reason) => {
    figures.push({ name, value: Number(value.toFixed(3)), unit, baseline, goal, ok, ...(!ok && { reason }) });
  };
  const installation = await startInstallation();
  const bare = await startBare();
  const load = startLoad<LoadMessage, LoadResult>('http.ts');
  try {
    const renewal = await measureRenewals(installation, bare, load, options, judge);
    const initial = await measureStarts(installation, bare, load, options, judge, false);
    const ticketed = await measureStarts(installation, bare, load, options, judge, true);
    const share = renewal.cpu / initial.cpu;
    judge('renewal-cpu-of-initial', share, 'ratio', `an initial licence: ${initial.cpu.toFixed(0)} µs CPU, by ticket ${ticketed.cpu.toFixed(0)} µs`, '<= 0.25', share <= 0.25, 'renewals are not light enough');
    measureHerd(options.full, judge);
    await runCrowd(options, judge);
    // The short form of this one is a test of its own: test/adversary/overload.test.ts.
    if (options.full) await measureOverload(options.log, judge);
    return { figures, appendix: capacityTable({ renewals: 1e6 / renewal.cpu, initials: 1e6 / initial.cpu, ticketed: 1e6 / ticketed.cpu }) };
  } finally {
    load.close();
    bare.close();
    await installation.close();
  }
};

export const bench: { name: 'license'; run(options: Options): Promise<{ figures: Figure[]; appendix: string }> } = { name: 'license', run };
