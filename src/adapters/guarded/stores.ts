// SPDX-License-Identifier: Apache-2.0
/**
 * Durable stores whose failures are told: a database that is away, full or read-only is one alert, and one word when it is back.
 *
 * Facts 4.9, faults 3 and 23; checklist B090. Nothing is retried or hidden: each call fails as it would, with its own code.
 * Calls are judged one by one, because a full disk still reads and still takes what is small. Invariant: one alert per outage,
 * whatever fails in it.
 */
import { isSealcastError } from '#core/errors.ts';
import type { Clock, EventSink, Metrics } from '#ports';

/** Failures of one call in a row that are an outage. */
const IN_A_ROW = 3;
/** A call that has not failed for so long, µs, is forgotten once another one succeeds: it may never be made again. */
const FORGET = 3_600_000_000;

/** The same stores, watched. Members that are not objects with methods stay as they are. */
export const watchStores = <Stores extends Readonly<Record<string, unknown>>>(stores: Stores, { clock, events, metrics }: { readonly clock: Clock; readonly events: EventSink; readonly metrics: Metrics }): Stores => {
  const failing = new Map<string, { times: number; last: number }>();
  let down = false;
  const become = (next: boolean, call: string): void => {
    if (next === down) return;
    down = next;
    metrics.gauge('sealcast_store_down', '1 while calls of the database fail.', down ? 1 : 0);
    events({
      at: clock.now(), kind: down ? 'store.down' : 'store.up', severity: down ? 'alert' : 'info', data: { call },
      message: down ? 'The database fails: it is away, full or read-only. Running sessions are renewed; new ones may be refused.' : 'The database works again.',
    });
  };
  const failed = (call: string): void => {
    const times = (failing.get(call)?.times ?? 0) + 1;
    failing.set(call, { times, last: clock.now() });
    if (times >= IN_A_ROW) become(true, call);
  };
  const succeeded = (call: string): void => {
    if (failing.size === 0) return;
    failing.delete(call);
    for (const [other, { last }] of failing) if (clock.now() - last > FORGET) failing.delete(other);
    if (![...failing.values()].some(({ times }) => times >= IN_A_ROW)) become(false, call);
  };
  const watched = (call: string, method: (...args: unknown[]) => unknown): ((...args: unknown[]) => unknown) =>
    (...args) => {
      const outcome = method(...args);
      if (outcome instanceof Promise) outcome.then(() => succeeded(call), (error: unknown) => (isSealcastError(error, 'store-unavailable') ? failed(call) : undefined));
      return outcome;
    };
  const watchedStore = (name: string, store: object): object =>
    Object.fromEntries(Object.entries(store).map(([method, member]) => [method, typeof member === 'function' ? watched(`${name}.${method}`, (...args) => (member as (...all: unknown[]) => unknown).apply(store, args)) : member]));
  return Object.fromEntries(Object.entries(stores).map(([name, store]) => [name, typeof store === 'object' && store !== null ? watchedStore(name, store) : store])) as Stores;
};
