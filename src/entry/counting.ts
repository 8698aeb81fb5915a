// SPDX-License-Identifier: Apache-2.0
/**
 * The concurrency record of this process, behind its breaker, and how busy the process is: one of each for all roles in it.
 *
 * Invariant: without an address the record is in memory, and begins with the heartbeats that the journal kept.
 */
import { createGuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { createMemoryConcurrency } from '#adapters/memory/index.ts';
import { createOverloadWatch } from '#adapters/node/overload.ts';
import { openRedisConcurrency } from '#adapters/redis/index.ts';
import type { Clock, ConcurrencyRecord, ConcurrencyStore, EventSink, HeartbeatStore, Metrics } from '#ports';
import type { Config } from './config/index.ts';

/** What counts. */
export type Counting = {
  readonly store: ConcurrencyStore;
  readonly record: ConcurrencyRecord;
  readonly load: () => { readonly factor: number; readonly sheds: boolean };
  close(): Promise<void>;
};

const openRecord = async ({ concurrency: { recordUrls, recordTimeoutMillis } }: Config, heartbeats: HeartbeatStore, clock: Clock): Promise<{ store: ConcurrencyStore; close: () => Promise<void> }> => {
  if (recordUrls.length > 0) {
    const store = await openRedisConcurrency({ urls: recordUrls, timeout: recordTimeoutMillis });
    return { store, close: () => store.close() };
  }
  const store = createMemoryConcurrency();
  const now = clock.now();
  await store.writeBack((await heartbeats.live({}, now)).map((heartbeat) => ({ ...heartbeat, level: 1 as const })), now);
  return { store, close: async () => undefined };
};

/** Opens the configured record; one that cannot be reached is found by itself later. `wrap`: for demos that cut it off. */
export const openCounting = async (options: { config: Config; heartbeats: HeartbeatStore; clock: Clock; events: EventSink; metrics: Metrics; wrap?: (store: ConcurrencyStore) => ConcurrencyStore }): Promise<Counting> => {
  const { config, heartbeats, clock, events, metrics, wrap = (store) => store } = options;
  const { store: opened, close } = await openRecord(config, heartbeats, clock);
  const store = wrap(opened);
  const record = createGuardedConcurrency({ store, timeBudget: config.concurrency.recordTimeoutMillis, clock, events, metrics });
  // Beside a packager the load is not made by renewals, and fewer of them would not end it.
  const overload = config.roles.includes('packager') ? undefined : createOverloadWatch({ clock, events, metrics });
  return {
    store,
    record,
    load: overload?.load ?? (() => ({ factor: 1, sheds: false })),
    async close() {
      record.close();
      overload?.close();
      await close();
    },
  };
};
