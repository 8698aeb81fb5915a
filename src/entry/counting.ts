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
import type { NodeMetrics } from '#adapters/node/metrics.ts';
import type { Clock, ConcurrencyRecord, ConcurrencyStore, EventSink, HeartbeatStore } from '#ports';
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

/** CPU time of one request, ms; about what BENCHMARKS.md has (`renewal-cpu`, `initial-cpu`). A slower machine is overloaded earlier, but not by less of its own. */
const COST = { renewal: 0.1, start: 1 } as const;

/** Parts of a core that renewals and starts ask for, from what was counted since the last call. Starts turned away count: they are why. */
export const licensingShare = (metrics: NodeMetrics): ((millis: number) => number) => {
  const asked = (): number =>
    COST.renewal * metrics.total('sealcast_renewals_total') +
    COST.start * ['sealcast_sessions_started_total', 'sealcast_sessions_refused_total', 'sealcast_sessions_turned_away_total', 'sealcast_relicenses_total'].reduce((sum, name) => sum + metrics.total(name), 0);
  let before = asked();
  return (millis) => {
    const now = asked();
    const share = (now - before) / millis;
    before = now;
    return share;
  };
};

/** Opens the configured record; one that cannot be reached is found by itself later. `wrap`: for demos that cut it off. */
export const openCounting = async (options: { config: Config; heartbeats: HeartbeatStore; clock: Clock; events: EventSink; metrics: NodeMetrics; wrap?: (store: ConcurrencyStore) => ConcurrencyStore }): Promise<Counting> => {
  const { config, heartbeats, clock, events, metrics, wrap = (store) => store } = options;
  const { store: opened, close } = await openRecord(config, heartbeats, clock);
  const store = wrap(opened);
  const record = createGuardedConcurrency({ store, timeBudget: config.concurrency.recordTimeoutMillis, clock, events, metrics });
  // Beside a packager most of the load is its own, and fewer renewals would not end that.
  const overload = createOverloadWatch({ clock, events, metrics, ...(config.roles.includes('packager') && { licensingShare: licensingShare(metrics) }) });
  return {
    store,
    record,
    load: overload.load,
    async close() {
      record.close();
      overload.close();
      await close();
    },
  };
};
