// SPDX-License-Identifier: Apache-2.0
/**
 * Streams per account, title, collection and service at this moment.
 *
 * Checklist B023-B026. Invariant: a concurrency record that cannot be reached never makes the page fail or wait: then
 * this process counts the heartbeats it heard itself, and says so.
 */
import type { AccountId } from '#core/ids.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, ConcurrencyStore, HeartbeatStore } from '#ports';
import type { ConcurrencyView, StandingView, StreamCount } from '#operations/api.ts';

type Stream = { readonly account: AccountId; readonly asset: string; readonly collection?: string };

const MOST = 100;
/** A record that is slower than this counts as not reachable. */
const PATIENCE = 500 as Millis;

const countBy = (streams: readonly Stream[], idOf: (stream: Stream) => string | undefined): readonly StreamCount[] => {
  const counts = new Map<string, number>();
  for (const stream of streams) {
    const id = idOf(stream);
    if (id !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return [...counts].map(([id, streams]) => ({ id, streams })).sort((a, b) => b.streams - a.streams || a.id.localeCompare(b.id)).slice(0, MOST);
};

/** Resolves with the record's streams, or undefined when it does not answer in time. */
const fromRecord = (record: Pick<ConcurrencyStore, 'live'>, clock: Clock): Promise<readonly Stream[] | undefined> =>
  new Promise((resolve) => {
    const cancel = clock.after(PATIENCE, () => resolve(undefined));
    record.live({}, clock.now()).then(resolve, () => resolve(undefined)).finally(cancel);
  });

/** What counts is read from. */
export type ConcurrencySources = {
  readonly record: Pick<ConcurrencyStore, 'live'> | undefined;
  /** True while the breaker is open: then the record is not even asked. */
  readonly cutOff: () => boolean;
  readonly heartbeats: HeartbeatStore;
  /** Hash → account id, and what holds for it. */
  readonly names: ReadonlyMap<string, AccountId>;
  readonly holds: (account: AccountId) => Promise<Pick<StandingView, 'level' | 'limit'>>;
  readonly clock: Clock;
};

/** Counts now. */
export const concurrencyView = async ({ record, cutOff, heartbeats, names, holds, clock }: ConcurrencySources): Promise<ConcurrencyView> => {
  const at: Micros = clock.now();
  const counted = record === undefined || cutOff() ? undefined : await fromRecord(record, clock);
  const streams: readonly Stream[] = counted ?? (await heartbeats.live({}, at));
  const accounts = await Promise.all(
    countBy(streams, ({ account }) => account).map(async ({ id, streams }) => {
      const { level, limit } = await holds(id as AccountId);
      return { id: names.get(id) ?? id, streams, level, ...(limit !== undefined && { limit }) };
    }),
  );
  return {
    at,
    source: counted === undefined ? 'heartbeats' : 'record',
    service: streams.length,
    accounts,
    titles: countBy(streams, ({ asset }) => asset),
    collections: countBy(streams, ({ collection }) => collection),
  };
};
