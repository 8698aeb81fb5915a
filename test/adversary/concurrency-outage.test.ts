// SPDX-License-Identifier: Apache-2.0
/** The record is a real redis-server that is frozen, killed and started again under running sessions. */
import { afterEach, describe, expect, it } from 'vitest';
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { openRedisConcurrency } from '#adapters/redis/index.ts';
import type { AccountId } from '#core/ids.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { type RedisServer, startRedisServer } from '../contracts/redis-server.ts';
import { createWorld, GROUP, LIVE, makeDevice, manualClock, type ManualClock, type Viewer, type World } from './license-world.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const quiet = { log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }, metrics: { count: () => undefined, gauge: () => undefined, observe: () => undefined } };
/** Two nodes, each with its own connection and breaker; the time budget is the adapter's, in real time. */
const install = async (server: RedisServer): Promise<{ world: World; clock: ManualClock; nodes: ReturnType<World['renewalNode']>[]; records: ReturnType<typeof createGuardedConcurrency>[]; told: string[] }> => {
  const clock = manualClock();
  const told: string[] = [];
  const records = await Promise.all(
    ['a', 'b'].map(async (name) => {
      const store = await openRedisConcurrency({ urls: [server.url], timeout: 400 });
      const record = createGuardedConcurrency({ store, timeBudget: 3_600_000, clock, ...quiet, events: ({ kind }) => void told.push(`${name} ${kind}`) });
      closing.push(() => store.close(), () => record.close());
      return record;
    }),
  );
  const [first] = records as [ReturnType<typeof createGuardedConcurrency>];
  const world = await createWorld({ clock, record: first, policy: { interval: 20_000, duration: 60_000, mode: 'deny-new', limit: 3 } });
  return { world, clock, records, told, nodes: records.map((record) => world.renewalNode({ record })) };
};

describe('fault 4: partition from Redis', () => {
  it.each(['frozen', 'killed'] as const)('B082 B083 B097 B098 B103 %s: every viewer is renewed on any node, and counted again after healing', async (how) => {
    const server = await startRedisServer();
    closing.push(() => server.close());
    const { world, clock, nodes, records, told } = await install(server);
    const viewers: Viewer[] = [];
    for (let index = 0; index < 3; index++) viewers.push(await world.start(await makeDevice(), LIVE));
    const renewAll = async (): Promise<readonly string[]> =>
      Promise.all(
        viewers.map(async (viewer, index) => {
          const { bytes, mac } = viewer.request(Math.floor(clock.now() / GROUP));
          const outcome = await (nodes[index % 2] as (typeof nodes)[number]).answer(bytes);
          return outcome.kind === 'answered' ? viewer.accept(mac, outcome.bytes).act : outcome.code;
        }),
      );
    await clock.advance(20);
    expect(await renewAll()).toEqual(['extend', 'extend', 'extend']);

    let again: RedisServer | undefined;
    if (how === 'frozen') server.freeze();
    else await server.close();
    for (let round = 0; round < 6; round++) {
      await clock.advance(10);
      expect(await renewAll()).toEqual(['extend', 'extend', 'extend']);
    }
    expect(records.map(({ emergency }) => emergency?.cause)).toEqual(['unreachable', 'unreachable']);

    if (how === 'frozen') server.thaw();
    else {
      again = await startRedisServer({ port: server.port });
      closing.push(() => again?.close());
    }
    await expect.poll(async () => {
      await clock.advance(5);
      return records.map(({ emergency }) => emergency === undefined);
    }, { timeout: 20_000, interval: 300 }).toEqual([true, true]);
    expect([...told].sort()).toEqual(['a concurrency.emergency', 'a concurrency.recovered', 'b concurrency.emergency', 'b concurrency.recovered']);
    await Promise.all(viewers.map(() => renewAll()));
    const reader = await openRedisConcurrency({ urls: [server.url], timeout: 5000 });
    closing.push(() => reader.close());
    expect(await reader.counts([{ account: heartbeatAccount(ladderHash, 'account-1' as AccountId) }, { title: LIVE }, 'service'], clock.now())).toEqual([3, 3, 3]);
    expect((await world.post('/v1/sessions', await world.startBody(await makeDevice(), LIVE))).status).toBe(409);
  });
});
