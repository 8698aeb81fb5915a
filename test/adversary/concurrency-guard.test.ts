// SPDX-License-Identifier: Apache-2.0
/** The circuit breaker around the concurrency record: outages, what is gathered meanwhile, and what is told. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createGuardedConcurrency, type GuardedConcurrency } from '#adapters/guarded/concurrency.ts';
import { createMemoryConcurrency } from '#adapters/memory/concurrency.ts';
import type { Micros } from '#core/time.ts';
import type { ConcurrencyStore, Heartbeat, Metrics, OperationalEvent, StreamRenewal, StreamStart } from '#ports';
import { account, asset, device, session } from '../contracts/values.ts';
import { manualClock, type ManualClock, settle, START } from './license-world.ts';

type Fault = 'none' | 'refused' | 'silent';
let clock: ManualClock;
let store: ConcurrencyStore;
let record: GuardedConcurrency;
let fault: Fault;
let calls: number;
let told: OperationalEvent[];
let counted: string[];

const metrics: Metrics = { count: (name) => void counted.push(name), gauge: (name, _help, value) => void counted.push(`${name}=${value}`), observe: () => undefined };

beforeEach(() => {
  clock = manualClock();
  store = createMemoryConcurrency();
  [fault, calls, told, counted] = ['none', 0, [], []];
  const faulty = new Proxy(store, {
    get: (target, name: keyof ConcurrencyStore) => (...args: never[]) => {
      calls += 1;
      if (fault === 'refused') return Promise.reject(new Error('ECONNREFUSED'));
      if (fault === 'silent') return new Promise(() => undefined);
      return (target[name] as (...values: never[]) => Promise<unknown>)(...args);
    },
  });
  record = createGuardedConcurrency({ store: faulty, clock, metrics, events: (event) => void told.push(event), most: 1000 });
});

const beat = (number: number, kind: Heartbeat['kind']): Heartbeat => ({ session: session(number), account: account('ann'), device: device(number), asset: asset('final'), at: clock.now(), expiresAt: (clock.now() + 300_000_000) as Micros, kind });
const start = (number: number, change: Partial<StreamStart> = {}): StreamStart => ({ heartbeat: beat(number, 'initial'), deviceName: 'TV', level: 1, limits: [{ scope: 'account', key: '', limit: 3 }], mode: 'terminate-oldest', ends: [], ...change });
const renewal = (number: number): StreamRenewal => ({ heartbeat: beat(number, 'renewal'), level: 1, issued: START, request: `${number}-${clock.now()}` });
const fail = async (times: number): Promise<void> => {
  fault = 'refused';
  for (let time = 0; time < times; time++) expect(await record.renew(renewal(1))).toBeUndefined();
};
/** Lets probes come round. */
const pass = async (seconds: number): Promise<void> => {
  for (let second = 0; second < seconds; second++) await clock.advance(1);
  await settle();
};

describe('emergency mode', () => {
  it('B097 B099 is entered at the fifth failure in a row: one alert and one gauge, with cause and start', async () => {
    await fail(4);
    expect([record.emergency, told]).toEqual([undefined, []]);
    await fail(3);
    expect(record.emergency).toEqual({ since: START, cause: 'unreachable', renewals: 3 });
    expect(told).toEqual([expect.objectContaining({ at: START, kind: 'concurrency.emergency', severity: 'alert', data: { cause: 'unreachable' } })]);
    expect(counted.filter((name) => name.startsWith('sealcast_concurrency_emergenc'))).toEqual(['sealcast_concurrency_emergency=1']);
  });

  it('B095 B097 a record that does not answer costs one time budget a call, and none once it is known', async () => {
    fault = 'silent';
    for (let time = 0; time < 5; time++) {
      const waiting = record.renew(renewal(1));
      await clock.advance(0.25);
      expect(await waiting).toBeUndefined();
    }
    expect(record.emergency).toMatchObject({ cause: 'timeout' });
    const before = calls;
    for (let number = 0; number < 100; number++) expect(await record.renew(renewal(number))).toBeUndefined();
    expect(calls).toBe(before);
  });

  it('B099 B103 probes every 5 s, ends after three good ones, and writes everything back first', async () => {
    await record.admit(start(1));
    await fail(5);
    for (const number of [2, 3, 4]) await record.renew(renewal(number));
    await pass(60);
    expect(record.emergency).toMatchObject({ since: START });
    fault = 'none';
    await clock.advance(1);
    expect(await record.renew(renewal(2))).toBeUndefined();
    await pass(16);
    expect(record.emergency).toBeUndefined();
    expect((await store.live({ account: account('ann') }, clock.now())).map((live) => live.session).sort()).toEqual([1, 2, 3, 4].map(session));
    expect(told.map(({ kind, severity, data }) => [kind, severity, data])).toEqual([
      ['concurrency.emergency', 'alert', { cause: 'unreachable' }],
      ['concurrency.recovered', 'alert', { renewals: 5, written: 4, seconds: expect.any(Number) as number }],
    ]);
    expect(counted.at(-1)).toBe('sealcast_concurrency_emergency=0');
    expect(await record.renew({ ...renewal(2), issued: clock.now() })).toMatchObject({ kind: 'counted', count: 4 });
  });

  it('a record that flaps does not make emergency mode flap', async () => {
    await fail(5);
    for (let round = 0; round < 10; round++) {
      fault = 'none';
      await pass(9);
      fault = 'refused';
      await pass(6);
    }
    expect(told).toHaveLength(1);
  });

  it('B101 flags that this process knows hold without the record, and reach it afterwards', async () => {
    for (const number of [1, 2, 3]) await record.admit(start(number));
    await clock.advance(1);
    expect(await record.admit(start(4))).toMatchObject({ granted: true, flagged: [session(1)] });
    await record.flag(account('ann'), session(2), { reason: 'operator' }, (clock.now() + 900_000_000) as Micros);
    await fail(5);
    await record.renew(renewal(3));
    await record.flag(account('ann'), session(3), { reason: 'leak' }, (clock.now() + 900_000_000) as Micros);
    expect([1, 2, 3, 4].map((number) => record.knownFlag(session(number))?.reason)).toEqual(['concurrency', 'operator', 'leak', undefined]);
    fault = 'none';
    await pass(20);
    expect(await store.renew({ ...renewal(3), issued: START })).toEqual({ kind: 'flagged', flag: { reason: 'leak' } });
    expect((await store.live({ account: account('ann') }, clock.now())).map((live) => live.session)).toEqual([session(4)]);
  });

  it('B103 one failed call is made up for at the next good one, without an emergency', async () => {
    await record.admit(start(1));
    fault = 'refused';
    expect(await record.renew(renewal(7))).toBeUndefined();
    fault = 'none';
    await record.admit(start(2));
    await settle();
    expect((await store.live({ account: account('ann') }, clock.now())).map((live) => live.session).sort()).toEqual([1, 2, 7].map(session));
    expect(told).toEqual([]);
  });

  it('gathers a bounded number of heartbeats', async () => {
    await fail(5);
    for (let number = 0; number < 3000; number++) await record.renew(renewal(number));
    fault = 'none';
    await pass(20);
    expect(told.at(-1)).toMatchObject({ kind: 'concurrency.recovered', data: { written: 1000 } });
  });

  it('stops probing when it is closed', async () => {
    await fail(5);
    record.close();
    const before = calls;
    await pass(60);
    expect([calls, clock.pending]).toEqual([before, 0]);
  });
});
