// SPDX-License-Identifier: Apache-2.0
/** The concurrency record in a real redis-server, against the same contract and reference, and what only a network can do. */
import { Redis } from 'ioredis';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openRedisConcurrency, type RedisConcurrency, type RedisConcurrencyOptions } from '#adapters/redis/index.ts';
import { account, asset, at } from './values.ts';
import { concurrencyStoreContract, renewalOf, startOf } from './concurrency-store-contract.ts';
import { concurrencyStoreModel } from './concurrency-store-model.ts';
import { formCluster, type RedisServer, startRedisServer } from './redis-server.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedisServer();
});
afterAll(() => server.close());

let stores = 0;
const opened: RedisConcurrency[] = [];
/** Every store has its own keys, so that each test starts empty. */
const open = async (options: Partial<RedisConcurrencyOptions> = {}): Promise<RedisConcurrency> => {
  const store = await openRedisConcurrency({ urls: [server.url], timeout: 5000, prefix: `test-${stores++}`, ...options });
  opened.push(store);
  return store;
};
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
});

describe('concurrency in Redis', () => concurrencyStoreContract(() => open()));
describe('concurrency in Redis, by model', () => {
  let shared: Promise<RedisConcurrency> | undefined;
  concurrencyStoreModel(() => (shared ??= open()), 60);
});

describe('concurrency in Redis, over a network', () => {
  it('fault 19, B048: many processes share one record: 5 connections, 1,000 starts, exactly 3 granted', async () => {
    const prefix = `shared-${stores++}`;
    const nodes = await Promise.all(Array.from({ length: 5 }, () => open({ prefix })));
    const admissions = await Promise.all(Array.from({ length: 1000 }, (_, number) => (nodes[number % 5] as RedisConcurrency).admit(startOf(number))));
    expect(admissions.filter(({ granted }) => granted)).toHaveLength(3);
    expect(await (nodes[4] as RedisConcurrency).counts([{ account: account('ann') }, { title: asset('final') }, 'service'], at(1))).toEqual([3, 3, 3]);
  });

  it('B097 a server that stops answering is store-unavailable within the time budget, and the record is there again afterwards', async () => {
    const own = await startRedisServer();
    const store = await openRedisConcurrency({ urls: [own.url], timeout: 100 });
    try {
      await store.admit(startOf(1));
      own.freeze();
      for (const call of [store.renew(renewalOf(1, 10, 0)), store.counts(['service'], at(1)), store.live({}, at(1)), store.stop(account('ann'), startOf(1).heartbeat.session, at(1))]) {
        await expect(call).rejects.toMatchObject({ code: 'store-unavailable' });
      }
      own.thaw();
      // What timed out may have happened: repeating it is harmless.
      await expect.poll(() => store.renew(renewalOf(1, 10, 0)).then(({ kind }) => kind).catch(() => 'down'), { timeout: 5000 }).toMatch(/counted|flagged/);
    } finally {
      own.thaw();
      await own.close();
      await store.close();
    }
  });

  it('B097 a killed server is store-unavailable at once; a new one at its address is found again', async () => {
    const own = await startRedisServer();
    const store = await openRedisConcurrency({ urls: [own.url], timeout: 100 });
    await store.admit(startOf(1));
    await own.close();
    await expect(store.renew(renewalOf(1, 10, 0))).rejects.toMatchObject({ code: 'store-unavailable', message: 'the concurrency record cannot be reached' });
    const next = await startRedisServer({ port: own.port });
    try {
      await expect.poll(() => store.renew(renewalOf(1, 20, 0)).then(({ kind }) => kind).catch(() => 'down'), { timeout: 10_000 }).toBe('counted');
    } finally {
      await store.close();
      await next.close();
    }
  });

  it('B052 starts without its server', async () => {
    const store = await openRedisConcurrency({ urls: ['redis://127.0.0.1:1'], timeout: 100 });
    await expect(store.admit(startOf(1))).rejects.toMatchObject({ code: 'store-unavailable' });
    await store.close();
  });

  it('runs on a cluster: one account is one slot, and counts span all', async () => {
    const nodes = await Promise.all([0, 1, 2].map(() => startRedisServer({ extra: ['--cluster-enabled', 'yes'] })));
    await formCluster(nodes);
    const store = await openRedisConcurrency({ urls: nodes.map(({ url }) => url), timeout: 5000 });
    try {
      const accounts = Array.from({ length: 30 }, (_, index) => account(`household-${index}`));
      for (const owner of accounts) {
        const admissions = await Promise.all([1, 2, 3, 4].map((number) => store.admit(startOf(number, { heartbeat: { account: owner } }))));
        expect(admissions.filter(({ granted }) => granted)).toHaveLength(3);
      }
      expect(await store.counts(['service', { title: asset('final') }], at(1))).toEqual([90, 90]);
    } finally {
      await store.close();
      await Promise.all(nodes.map((node) => node.close()));
    }
  });

  it('leaves nothing behind: every key expires by itself', async () => {
    const prefix = `keys-${stores++}`;
    const store = await open({ prefix });
    await store.admit(startOf(1, { collection: 'league', bucket: { capacity: 900_000_000 as never, refill: 3, cost: 90_000_000 as never } }));
    await store.renew(renewalOf(1, 10, 0));
    const client = new Redis(server.url);
    try {
      const keys = await client.keys(`${prefix}:*`);
      expect(keys).toHaveLength(4);
      for (const key of keys) {
        const life = await client.pttl(key);
        expect(life).toBeGreaterThan(0);
        expect(life).toBeLessThanOrEqual(1_000_000);
      }
    } finally {
      client.disconnect();
    }
  });
});
