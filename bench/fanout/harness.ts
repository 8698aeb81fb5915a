// SPDX-License-Identifier: Apache-2.0
/**
 * Builds the C reference, starts servers and the client harness, and measures one cell of the fan-out table.
 *
 * Invariant: whatever it starts ends with `close`; a missing compiler is an answer, not a fault.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { loadTls } from '#entry/tls.ts';
import { FANOUT_EVENT, type FanOutResult } from './server.ts';

/** What the C programs print about values of many rounds, microseconds. */
export type Quantiles = { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number };
/** One server under a number of clients. Microseconds. */
export type Cell = { readonly connections: number; readonly rounds: number; /** Server CPU per connection and release. */ readonly cpu: number; readonly lateness: Quantiles; readonly loop: Quantiles; /** First send to last receipt. */ readonly spread: Quantiles | null; readonly incomplete: number; readonly skipped: number; readonly early: number };
/** A place for the built reference and a certificate. */
export type Workshop = { readonly reference: string | undefined; readonly tls: boolean; readonly why: string; readonly cert: string; readonly key: string; close(): void };

const SOURCE = fileURLToPath(new URL('reference.c', import.meta.url));
const SERVER = fileURLToPath(new URL('server.ts', import.meta.url));

const quantiles = (values: readonly number[]): Quantiles => {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: sorted.at(-1) ?? Number.NaN };
};

/** Builds with TLS where OpenSSL's headers are, without it where they are not, and not at all without a compiler. */
export const openWorkshop = async (): Promise<Workshop> => {
  const folder = mkdtempSync(join(tmpdir(), 'sealcast-fanout-'));
  const built = join(folder, 'reference');
  const build = (...more: string[]): boolean => spawnSync('cc', ['-O2', SOURCE, '-o', built, ...more], { stdio: 'ignore' }).status === 0;
  const tls = build('-DWITH_TLS', '-lssl', '-lcrypto');
  const plain = tls || build();
  const files = await loadTls({ mode: 'auto' }, folder);
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  writeFileSync(cert, files?.cert ?? '');
  writeFileSync(key, files?.key ?? '', { mode: 0o600 });
  return { reference: plain ? built : undefined, tls, why: plain ? (tls ? 'C with OpenSSL' : 'C without TLS: no OpenSSL headers') : 'no C compiler (cc) here', cert, key, close: () => rmSync(folder, { recursive: true, force: true }) };
};

/** Whether this user may run with real-time priority. */
export const mayRealTime = (): boolean => {
  try {
    execFileSync('chrt', ['-f', '5', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

/** More files than the soft limit allows, where the hard one lets us. */
const withFiles = (command: readonly string[]): string[] => ['-c', 'ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"', 'sh', ...command];
const lines = (child: ChildProcess): { next(): Promise<Record<string, never>> } => {
  const queue: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  let over = false;
  if (child.stdout === null) throw new TypeError('the child has no output');
  createInterface({ input: child.stdout }).on('line', (line) => (waiting.shift() ?? ((each: string) => void queue.push(each)))(line)).on('close', () => {
    over = true;
    for (const each of waiting) each('');
  });
  return {
    async next() {
      const line = queue.shift() ?? (over ? '' : await new Promise<string>((resolve) => waiting.push(resolve)));
      if (line === '') throw new Error('a process of the fan-out bench ended early');
      return JSON.parse(line) as Record<string, never>;
    },
  };
};

/** A server with `count` clients of the C harness for `rounds` releases of `period` µs. `who`: ours or the reference. */
export const measure = async (shop: Workshop, options: { who: 'ours' | 'reference'; count: number; period: number; rounds: number; tls: boolean; realTime?: boolean; steadyMillis?: number }): Promise<Cell> => {
  const { who, count, period, rounds, tls, realTime = false } = options;
  if (shop.reference === undefined) throw new Error(shop.why);
  const prefix = realTime ? ['chrt', '-f', '6'] : [];
  const files = tls ? [shop.cert, shop.key] : [];
  const server = who === 'ours'
    ? spawn('sh', withFiles([...prefix, process.execPath, SERVER, String(period), ...files]), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    : spawn('sh', withFiles([...prefix, shop.reference, 'server', '0', String(period), String(rounds), ...files]), { stdio: ['pipe', 'pipe', 'inherit'] });
  let client: ChildProcess | undefined;
  try {
    const out = who === 'reference' ? lines(server) : undefined;
    const message = <Message>(): Promise<Message> => new Promise((resolve, reject) => {
      server.once('message', (value) => resolve(value as Message));
      server.once('exit', () => reject(new Error('the server of the fan-out bench ended')));
    });
    const { port } = out === undefined ? await message<{ port: number }>() : ((await out.next()) as unknown as { port: number });
    const hello = JSON.stringify({ type: 'hello', v: 1, token: 'x'.repeat(100), event: FANOUT_EVENT });
    const seconds = (rounds * period) / 1e6 + 0.5;
    client = spawn('sh', withFiles([...(realTime ? ['chrt', '-f', '5'] : []), shop.reference, 'client', String(port), String(count), `/v1/events/${FANOUT_EVENT}/release`, hello, String(seconds), ...(tls ? ['tls'] : [])]), { stdio: ['pipe', 'pipe', 'inherit'] });
    const told = lines(client);
    await told.next();
    // Welcomes and schedules are out, the compiler has seen the loop.
    await new Promise((resolve) => setTimeout(resolve, options.steadyMillis ?? 1500));
    const served = out === undefined ? message<{ result: FanOutResult }>() : out.next();
    if (out === undefined) server.send({ rounds });
    else server.stdin?.write('start\n');
    client.stdin?.write('start\n');
    const seen = (await told.next()) as unknown as { connections: number; incomplete: number; spread: Quantiles | null };
    const answer = await served;
    const side = out === undefined ? (answer as { result: FanOutResult }).result : (answer as unknown as { connections: number; rounds: number; cpuMicros: number; lateness: Quantiles; loop: Quantiles });
    const list = (value: Quantiles | readonly number[]): Quantiles => ('p50' in value ? value : quantiles(value));
    return { connections: seen.connections, rounds: side.rounds, cpu: side.cpuMicros / (side.rounds * count), lateness: list(side.lateness), loop: list(side.loop), spread: seen.spread, incomplete: seen.incomplete, skipped: 'skipped' in side ? side.skipped : 0, early: 'early' in side ? side.early : 0 };
  } finally {
    client?.kill();
    server.kill();
  }
};

/** Lateness of C `clock_nanosleep` at absolute instants on this machine now; undefined without a compiler. */
export const referenceSleep = (shop: Workshop, period: number, rounds: number, prefix: readonly string[] = []): Promise<Quantiles | undefined> => {
  if (shop.reference === undefined) return Promise.resolve(undefined);
  const child = spawn('sh', ['-c', 'exec "$@"', 'sh', ...prefix, shop.reference, 'sleep', String(period), String(rounds)], { stdio: ['ignore', 'pipe', 'inherit'] });
  return lines(child).next().then((value) => (value as unknown as { lateness: Quantiles }).lateness);
};
