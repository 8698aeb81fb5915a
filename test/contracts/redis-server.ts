// SPDX-License-Identifier: Apache-2.0
/** A real redis-server for one test file: its own port and folder, nothing kept, killed at the end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { requireTool } from '#adapters/node/setup.ts';

export type RedisServer = {
  readonly url: string;
  readonly port: number;
  /** The process stops answering while its connections stay open, and comes back. */
  freeze(): void;
  thaw(): void;
  close(): Promise<void>;
};

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))));
    });
  });

/** Starts it and waits until it answers. `extra`: further options of redis-server. */
export const startRedisServer = async (options: { readonly port?: number; readonly extra?: readonly string[] } = {}): Promise<RedisServer> => {
  const program = await requireTool('redis-server');
  const port = options.port ?? (await freePort());
  const folder = mkdtempSync(join(tmpdir(), 'sealcast-redis-'));
  const child: ChildProcess = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder, '--daemonize', 'no', ...(options.extra ?? [])], { stdio: 'ignore' });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const url = `redis://127.0.0.1:${port}`;
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null });
  client.on('error', () => undefined);
  for (let tries = 0; ; tries++) {
    if (child.exitCode !== null) throw new Error(`redis-server ended with exit code ${child.exitCode}`);
    const answered = await client.connect().then(() => client.ping()).catch(() => undefined);
    if (answered === 'PONG') break;
    if (tries > 200) throw new Error('redis-server does not answer');
    await wait(50);
  }
  client.disconnect();
  return {
    url,
    port,
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    async close() {
      child.kill('SIGKILL');
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

/** Makes one cluster of servers started with `--cluster-enabled yes`, each with a share of the slots. */
export const formCluster = async (nodes: readonly RedisServer[]): Promise<void> => {
  const clients = nodes.map(({ url }) => new Redis(url));
  try {
    const share = Math.ceil(16_384 / nodes.length);
    for (const [index, client] of clients.entries()) {
      await client.cluster('ADDSLOTSRANGE', index * share, Math.min(16_383, (index + 1) * share - 1));
      for (const { port } of nodes) await client.call('CLUSTER', 'MEET', '127.0.0.1', String(port));
    }
    for (const client of clients) {
      for (let tries = 0; !String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'); tries++) {
        if (tries > 200) throw new Error('the cluster does not come together');
        await wait(50);
      }
    }
  } finally {
    for (const client of clients) client.disconnect();
  }
};
