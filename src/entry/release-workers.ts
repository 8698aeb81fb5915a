// SPDX-License-Identifier: Apache-2.0
/**
 * Starts release workers and keeps them in step with the main thread: grants, schedules, clock samples, tokens.
 *
 * docs/guide/timed-release.md. Invariant: a worker that dies is an alert and is started again with what the next grants
 * bring; the others notice nothing.
 */
import { Worker } from 'node:worker_threads';
import type { AssetId } from '#core/ids.ts';
import type { ClockSample } from '#core/release/clock-bound.ts';
import type { HoldReason, StatMessage } from '#core/release/messages.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Released, ReleaseFollower, Taken } from '#edge/release/index.ts';
import type { EventSink, Log } from '#ports';

/** What a worker is started with. */
export type ReleaseWorkerData = {
  readonly worker: number;
  readonly edge: string;
  readonly host: string;
  readonly alone: boolean;
  readonly floor: Micros;
  readonly maxGap: Millis;
  readonly maxConnections: number;
  readonly listen: { readonly host: string; readonly port: number };
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly keys: readonly object[];
  /** Where blocks of past secrets are asked for. */
  readonly past: readonly string[];
};
/** Token keys of the edge bundle. */
export type WorkerTokens = {
  readonly zone: number;
  readonly epochs: readonly { readonly epoch: number; readonly key: Uint8Array; readonly notBefore: Micros; readonly notAfter: Micros }[];
  readonly revoked: readonly (readonly [string, Micros])[];
};
/** Main thread → worker. */
export type ToWorker =
  | { readonly kind: 'taken'; readonly taken: Taken }
  | { readonly kind: 'drop'; readonly event: AssetId }
  | { readonly kind: 'sample'; readonly sample: ClockSample }
  | { readonly kind: 'mode'; readonly singleHost: boolean }
  | { readonly kind: 'tokens'; readonly tokens: WorkerTokens }
  | { readonly kind: 'drain'; readonly spreadMs: number }
  | { readonly kind: 'stop' };
/** Worker → main thread. */
export type FromWorker =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'released'; readonly event: AssetId; readonly released: Released }
  | { readonly kind: 'stat'; readonly event: AssetId; readonly stat: StatMessage }
  | { readonly kind: 'held'; readonly event: AssetId; readonly reason?: HoldReason }
  | { readonly kind: 'count'; readonly what: string }
  | { readonly kind: 'fault'; readonly cause: string }
  | { readonly kind: 'connections'; readonly connections: readonly (readonly [AssetId, number])[] }
  | { readonly kind: 'log'; readonly level: 'warn' | 'error'; readonly message: string; readonly fields?: Record<string, unknown> };

/** What workers report to. */
export type WorkerReports = {
  released(event: AssetId, released: Released, size: number): void;
  stat(event: AssetId, stat: StatMessage): void;
  count(what: string): void;
  unsure(): void;
};

/** Running workers. */
export type ReleaseWorkers = {
  readonly followers: readonly ReleaseFollower[];
  /** The port all of them listen on. */
  readonly port: number;
  tokens(tokens: WorkerTokens): void;
  stop(): Promise<void>;
};

/** `data` without the worker's number; answers when all of them listen. `reports` is asked late: the edge is made after its workers. */
export const startReleaseWorkers = async (options: { count: number; data: Omit<ReleaseWorkerData, 'worker'>; reports: () => WorkerReports | undefined; now: () => Micros; log: Log; events: EventSink }): Promise<ReleaseWorkers> => {
  const { count, log, events } = options;
  let { port } = options.data.listen;
  const connections = Array.from({ length: count }, () => new Map<AssetId, number>());
  const running: Worker[] = [];
  let newest: WorkerTokens | undefined;
  let stopping = false;

  const start = (index: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL(`./release-worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url), { workerData: { ...options.data, listen: { ...options.data.listen, port }, worker: index + 1 } satisfies ReleaseWorkerData });
      running[index] = worker;
      worker.on('message', (message: FromWorker) => {
        switch (message.kind) {
          case 'ready':
            port = message.port;
            if (newest !== undefined) worker.postMessage({ kind: 'tokens', tokens: newest } satisfies ToWorker);
            return resolve();
          case 'released':
            return options.reports()?.released(message.event, message.released, connections[index]?.get(message.event) ?? 0);
          case 'stat':
            return options.reports()?.stat(message.event, message.stat);
          case 'count':
            return options.reports()?.count(message.what);
          case 'connections':
            connections[index] = new Map(message.connections);
            return;
          case 'held':
            return log.warn('a release worker holds', { worker: index + 1, event: message.event, reason: message.reason ?? 'resumed' });
          case 'fault':
            options.reports()?.unsure();
            return log.warn('a release worker is not sure of the time', { worker: index + 1, cause: message.cause });
          case 'log':
            return log[message.level](message.message, { worker: index + 1, ...message.fields });
        }
      });
      worker.once('error', (error: Error) => {
        reject(error);
        log.error('a release worker failed', { worker: index + 1, reason: error.message });
      });
      worker.once('exit', () => {
        connections[index]?.clear();
        if (stopping) return;
        events({ at: options.now(), kind: 'release.worker-lost', severity: 'alert', message: `Release worker ${index + 1} ended and is started again; its clients reconnect.`, data: { worker: index + 1 } });
        setTimeout(() => void (stopping ? undefined : start(index).catch(() => undefined)), 500).unref();
      });
    });
  for (let index = 0; index < count; index++) await start(index);

  const follower = (index: number): ReleaseFollower => {
    const post = (message: ToWorker): void => running[index]?.postMessage(message);
    return {
      take: (taken) => post({ kind: 'taken', taken }),
      drop: (event) => post({ kind: 'drop', event }),
      sample: (sample) => post({ kind: 'sample', sample }),
      mode: (singleHost) => post({ kind: 'mode', singleHost }),
      drain: (spreadMs) => post({ kind: 'drain', spreadMs }),
      connections: (event) => connections[index]?.get(event) ?? 0,
    };
  };
  return {
    followers: Array.from({ length: count }, (_, index) => follower(index)),
    get port() {
      return port;
    },
    tokens(tokens) {
      newest = tokens;
      for (const worker of running) worker.postMessage({ kind: 'tokens', tokens } satisfies ToWorker);
    },
    async stop() {
      stopping = true;
      await Promise.all(
        running.map(
          (worker) =>
            new Promise<void>((resolve) => {
              const end = setTimeout(() => void worker.terminate(), 3000);
              worker.once('exit', () => {
                clearTimeout(end);
                resolve();
              });
              worker.postMessage({ kind: 'stop' } satisfies ToWorker);
            }),
        ),
      );
    },
  };
};
