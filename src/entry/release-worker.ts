// SPDX-License-Identifier: Apache-2.0
/**
 * A release worker: one thread with its own sockets, its own clock and its own release loop, and nothing else to do.
 *
 * docs/guide/timed-release.md. Started by `release-workers.ts`, which feeds it with what the main thread took from key
 * servers; workers of one process share a port (SO_REUSEPORT). It decides every release by its own bound of the time.
 * Invariant: a worker that hears nothing more goes on to the end of what it holds and stops there.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '#adapters/node/clock.ts';
import { eventStreamFraming } from '#adapters/node/event-stream.ts';
import { serve } from '#adapters/node/http-server.ts';
import { nodeLadderHash } from '#adapters/node/ladder-hash.ts';
import { createPreciseTime } from '#adapters/node/precise-time.ts';
import { systemRandom } from '#adapters/node/random.ts';
import { webSocketFraming } from '#adapters/node/web-socket.ts';
import type { AssetId } from '#core/ids.ts';
import { createClockTask, createEdgeClock, createReleaseHost, createReleasePull, createTokenCheck, type ReleaseHost } from '#edge/release/index.ts';
import type { Log, Metrics } from '#ports';
import { createReleaseSockets } from './release-sockets.ts';
import type { FromWorker, ReleaseWorkerData, ToWorker, WorkerTokens } from './release-workers.ts';

const port = parentPort;
if (port === null) throw new Error('a release worker runs in a worker thread');
const data = workerData as ReleaseWorkerData;
const tell = (message: FromWorker): void => port.postMessage(message);

const silent = (): void => undefined;
const log: Log = { debug: silent, info: silent, warn: (message, fields) => tell({ kind: 'log', level: 'warn', message, ...(fields && { fields }) }), error: (message, fields) => tell({ kind: 'log', level: 'error', message, ...(fields && { fields }) }) };
const metrics: Metrics = { count: silent, gauge: silent, observe: silent };

const time = createPreciseTime();
const clock = createEdgeClock({ time, floor: data.floor, maxGap: data.maxGap, onFault: (cause) => tell({ kind: 'fault', cause }) });
const clockTask = createClockTask({ clock, host: data.host, sources: [], alone: data.alone, timers: systemClock, time, log, metrics });

let tokens: WorkerTokens = { zone: -1, epochs: [], revoked: [] };
let revoked: ReadonlyMap<string, number> = new Map();
const keys = {
  keyOf: (kid: { epoch: number; zone: number }, now: number) => tokens.epochs.find(({ epoch, notBefore, notAfter }) => kid.zone === tokens.zone && kid.epoch === epoch && now >= notBefore && now < notAfter)?.key,
  isRevoked: (session: string, now: number) => now < (revoked.get(session) ?? 0),
};
const addresses = new Map<AssetId, readonly string[]>();

const host: ReleaseHost = createReleaseHost({
  edge: data.edge, time, clock, timers: systemClock, random: systemRandom, hash: nodeLadderHash, worker: data.worker, framings: [webSocketFraming, eventStreamFraming],
  check: createTokenCheck(keys, () => clock.utc()),
  isRevoked: ({ session }) => keys.isRevoked(session, clock.utc()),
  urls: (event) => addresses.get(event) ?? [],
  maxConnections: data.maxConnections,
  events: {
    released: (event, released) => tell({ kind: 'released', event, released }),
    stat: (event, stat) => tell({ kind: 'stat', event, stat }),
    held: (event, reason) => tell({ kind: 'held', event, ...(reason !== undefined && { reason }) }),
    count: (what) => tell({ kind: 'count', what }),
  },
});
const sockets = createReleaseSockets(() => host);
const pull = createReleasePull({
  clock,
  book: (event) => host.room(event)?.book,
  info: (event) => host.info(event),
  released: (event) => host.room(event)?.book.released ?? -1,
  keys: () => data.keys,
  past: data.past.map((url) => ({ url, fetch: (request: Request) => fetch(request) })),
  mayAskEpoch: () => false,
  monotonic: () => time.monotonic(),
  metrics,
});

const server = await serve(pull, { host: data.listen.host, port: data.listen.port, reusePort: true, log, ...(data.tls && { tls: data.tls }), onUpgrade: sockets.upgrade, onStream: sockets.stream });
clockTask.start();
host.start();

const report = setInterval(() => tell({ kind: 'connections', connections: [...addresses.keys()].map((event): [AssetId, number] => [event, host.room(event)?.size ?? 0]) }), 1000);

port.on('message', (message: ToWorker) => {
  switch (message.kind) {
    case 'taken':
      if (message.taken.kind === 'event') addresses.set(message.taken.info.event, message.taken.urls);
      return host.take(message.taken);
    case 'drop':
      addresses.delete(message.event);
      return host.drop(message.event);
    case 'sample':
      return clock.sample(message.sample);
    case 'mode':
      return clockTask.hosts(message.singleHost ? [data.host] : [data.host, 'another']);
    case 'tokens':
      tokens = message.tokens;
      revoked = new Map(message.tokens.revoked);
      return;
    case 'drain':
      return host.drain(message.spreadMs);
    case 'stop':
      clearInterval(report);
      host.stop();
      clockTask.stop();
      void server.close(0 as never).then(() => port.close());
  }
});
tell({ kind: 'ready', port: server.port });
