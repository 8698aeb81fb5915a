// SPDX-License-Identifier: Apache-2.0
/**
 * The release loop of an edge in a process of its own: real sockets, framing, connections, gate and order; secrets come from a seed.
 *
 * Started by `sealcast bench`: arguments are the period (µs) and, for TLS, the files of certificate and key. Tells its port, measures on demand.
 */
import { readFileSync } from 'node:fs';
import { systemClock } from '#adapters/node/clock.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { eventStreamFraming } from '#adapters/node/event-stream.ts';
import { webSocketFraming } from '#adapters/node/web-socket.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { AssetId, SessionId } from '#core/ids.ts';
import { releaseCommitment } from '#core/keys/ladder.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { firstOfBlock, periodsPerBlock, type ReleaseInfo } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import { createClockTask, createEdgeClock, createReleaseHost } from '#edge/release/index.ts';
import { createReleaseSockets } from '#entry/release-sockets.ts';

/** What the child answers to `{ rounds }`. Microseconds. */
export type FanOutResult = { readonly connections: number; readonly rounds: number; readonly cpuMicros: number; readonly lateness: readonly number[]; readonly loop: readonly number[]; readonly skipped: number; readonly early: number };
/** Event and path that clients ask for. */
export const FANOUT_EVENT = 'bench';

if (process.send !== undefined && process.argv[2] !== undefined && process.argv[1]?.endsWith('server.ts') === true) {
  const period = Number(process.argv[2]) as Micros;
  const [cert, key] = [process.argv[3], process.argv[4]];
  const time = createPreciseTime();
  const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: (message: string, fields?: object) => console.error(message, fields) };
  const metrics = { count: () => undefined, gauge: () => undefined, observe: () => undefined };
  const clock = createEdgeClock({ time, floor: 0 as Micros, maxGap: 60_000 as Millis });
  const task = createClockTask({ clock, host: 'bench', sources: [], alone: true, timers: systemClock, time, log: silent, metrics });
  const info: ReleaseInfo = { event: FANOUT_EVENT as AssetId, version: 1, mode: 'standard', firstRelease: 0 as Micros, period, delta: 150_000 as Micros, fallbackDelta: 150_000 as Micros, perBlock: periodsPerBlock(period) };
  const secretOf = (of: CryptoPeriod): Uint8Array => nodeLadderHash.sha256(encodeUtf8(`fan-out ${of}`)).subarray(0, 16);
  let measuring: { left: number; cpu: NodeJS.CpuUsage; rounds: number; lateness: number[]; loop: number[]; skipped: number; early: number } | undefined;
  const host = createReleaseHost({
    edge: 'bench', time, clock, timers: systemClock, random: systemRandom, hash: nodeLadderHash, worker: 0, framings: [webSocketFraming, eventStreamFraming],
    check: (token) => ({ session: 'A'.repeat(24) as SessionId, asset: FANOUT_EVENT as AssetId, account: token, connections: 1_000_000, issuedAt: 0 as Micros, expiresAt: Number.MAX_SAFE_INTEGER as Micros }),
    isRevoked: () => false, urls: () => ['/'], maxConnections: 30_000,
    events: {
      released(_event, { entry, lateness, spread }, size) {
        if (measuring === undefined) return;
        measuring.lateness.push(lateness);
        measuring.loop.push(spread);
        measuring.skipped += entry.skipped;
        if (entry.earliest < entry.releaseAt) measuring.early++;
        if (--measuring.left > 0) return;
        const used = process.cpuUsage(measuring.cpu);
        const { rounds, lateness: late, loop, skipped, early } = measuring;
        measuring = undefined;
        process.send?.({ result: { connections: size, rounds, cpuMicros: used.user + used.system, lateness: late, loop, skipped, early } satisfies FanOutResult });
      },
      stat: () => undefined, held: () => undefined, count: () => undefined,
    },
  });
  const sockets = createReleaseSockets(() => host);
  const server = await serve(async () => new Response(null, { status: 404 }), { host: '127.0.0.1', port: 0, log: silent, onUpgrade: sockets.upgrade, onStream: sockets.stream, ...(cert !== undefined && key !== undefined && { tls: { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') } }) });
  task.start();
  host.start();
  host.take({ kind: 'event', info, urls: ['/'] });
  let block = Math.floor(Number(time.system().utc) / period / info.perBlock);
  /** A block of ten seconds ahead, as key servers give it. */
  const feed = (): void => {
    while (releaseInstant(info, firstOfBlock(block, info.perBlock)) < time.system().utc + 12_000_000) {
      const from = firstOfBlock(block, info.perBlock);
      const [commitments, secrets] = [new Uint8Array(info.perBlock * 32), new Uint8Array(info.perBlock * 16)];
      for (let at = 0; at < info.perBlock; at++) {
        const each = (from + at) as CryptoPeriod;
        commitments.set(releaseCommitment(nodeLadderHash, { eventId: info.event, version: 1, period: each, releaseAt: releaseInstant(info, each) }, secretOf(each)), at * 32);
        secrets.set(secretOf(each), at * 16);
      }
      host.take({ kind: 'schedule', event: info.event, schedule: { event: info.event, version: 1, mode: 'standard', firstRelease: info.firstRelease, period, delta: info.delta, block, from, commitments }, jws: 'e30.e30.e30' });
      host.take({ kind: 'secrets', event: info.event, from, secrets });
      block++;
    }
  };
  feed();
  setInterval(feed, 1000);
  process.on('message', ({ rounds }: { rounds: number }) => {
    measuring = { left: rounds, rounds, cpu: process.cpuUsage(), lateness: [], loop: [], skipped: 0, early: 0 };
  });
  process.on('disconnect', () => process.exit(0));
  process.send({ port: server.port });
}
