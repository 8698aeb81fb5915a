// SPDX-License-Identifier: Apache-2.0
/**
 * Random histories of one account against a reference that is too simple to be wrong: a list of sessions, filtered anew for
 * every question. Chains of states and the order of writes have their own tests in the contract.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { Admission, ConcurrencyMode, ConcurrencyStore, RenewalCount, SessionFlag, StreamLimit, StreamStart } from '#ports';
import { account, asset, at, device, session } from './values.ts';

const TERM = 300_000_000;
const GRACE = 60_000_000;
const TITLES = [asset('final'), asset('movie')] as const;

type Known = { sid: SessionId; device: string; title: string; started: number; order: number; expires: number; keep: number; flag?: SessionFlag; replaced?: number; limits: readonly StreamLimit[]; mode: ConcurrencyMode };

/** The reference. `now` only grows. */
const createNaive = () => {
  let known: Known[] = [];
  let tokens: { left: number; at: number } | undefined;
  let order = 0;
  const forget = (now: number): void => void (known = known.filter((each) => each.keep > now));
  const counting = (now: number): Known[] => known.filter((each) => each.expires > now && each.flag === undefined && each.replaced === undefined).sort((a, b) => a.started - b.started || a.order - b.order);
  const of = (list: readonly Known[], { scope, key }: StreamLimit): Known[] => list.filter((each) => scope === 'account' || each.title === key);
  const take = (cost: number, capacity: number, refill: number, now: number): boolean => {
    const left = tokens === undefined ? capacity : Math.min(capacity, tokens.left + (now - tokens.at) * refill);
    tokens = { left: cost <= left ? left - cost : left, at: now };
    return cost <= left;
  };
  return {
    counting,
    admit(start: StreamStart): Partial<Admission> {
      const { heartbeat, limits, mode, ends, bucket } = start;
      const now = heartbeat.at;
      forget(now);
      const own = known.find((each) => each.sid === heartbeat.session);
      if (own?.flag !== undefined) return { granted: false, because: 'ended', flag: own.flag };
      const others = counting(now).filter((each) => each !== own);
      const ended = others.filter((each) => ends.includes(each.sid));
      const replaced = others.filter((each) => !ended.includes(each) && each.device === heartbeat.device && each.title === heartbeat.asset);
      let staying = others.filter((each) => !ended.includes(each) && !replaced.includes(each));
      const excess = (list: readonly Known[], limit: StreamLimit): number => of(list, limit).length + 1 - limit.limit;
      const over = limits.some((limit) => excess(staying, limit) > 0);
      if (over && mode === 'deny-new') return { granted: false, because: 'limit' };
      if (bucket !== undefined && own?.started !== now) {
        const before = tokens;
        if (!take(bucket.cost, bucket.capacity, bucket.refill, now)) {
          tokens = before;
          return { granted: false, because: 'bucket' };
        }
      }
      const flagged: Known[] = [];
      if (mode === 'terminate-oldest') {
        for (const scope of ['title', 'account'] as const) {
          for (const limit of limits.filter((each) => each.scope === scope)) {
            while (excess(staying, limit) > 0) {
              const [oldest] = of(staying, limit);
              if (oldest === undefined) break;
              flagged.push(oldest);
              staying = staying.filter((each) => each !== oldest);
            }
          }
        }
      }
      for (const each of flagged) each.flag = { reason: 'concurrency', by: heartbeat.session };
      for (const each of ended) each.flag = { reason: 'replaced', by: heartbeat.session };
      for (const each of replaced) each.replaced = now;
      const fresh: Known = { sid: heartbeat.session, device: heartbeat.device, title: heartbeat.asset, started: own?.started ?? now, order: own?.order ?? order++, expires: heartbeat.expiresAt, keep: 2 * heartbeat.expiresAt - now, limits, mode };
      known = [...known.filter((each) => each !== own), { ...fresh, keep: Math.max(fresh.keep, own?.keep ?? 0) }];
      const sids = (list: readonly Known[]): SessionId[] => list.map((each) => each.sid).sort();
      return { granted: true, flagged: sids(flagged), ended: sids(ended), over: over && mode === 'detection-only', counts: limits.map((limit) => of(counting(now), limit).length) };
    },
    renew(sid: SessionId, title: string, on: string, now: number): Partial<RenewalCount> {
      forget(now);
      const own = known.find((each) => each.sid === sid);
      if (own?.flag !== undefined) return { kind: 'flagged', flag: own.flag };
      if (own === undefined) {
        known.push({ sid, device: on, title, started: now, order: order++, expires: now + TERM, keep: now + 2 * TERM, limits: [], mode: 'detection-only' });
        return { kind: 'counted', count: counting(now).length };
      }
      const others = counting(now).filter((each) => each !== own);
      const reloading = own.replaced !== undefined && now - own.replaced < GRACE;
      const out = own.replaced !== undefined || own.expires <= now;
      if (out && !reloading && own.mode !== 'detection-only' && own.limits.some((limit) => of(others, limit).length >= limit.limit)) return { kind: 'readmit', because: 'limit' };
      own.expires = now + TERM;
      own.keep = now + 2 * TERM;
      if (!reloading) delete own.replaced;
      return { kind: 'counted', count: counting(now).length };
    },
    flag(sid: SessionId, reason: SessionFlag, now: number, until: number): void {
      forget(now);
      const own = known.find((each) => each.sid === sid);
      if (own === undefined) known.push({ sid, device: '', title: '', started: now, order: order++, expires: now, keep: Math.max(now, until), flag: reason, limits: [], mode: 'detection-only' });
      else if (own.flag === undefined) Object.assign(own, { flag: reason, keep: Math.max(own.keep, until) });
    },
    stop(sid: SessionId): void {
      const own = known.find((each) => each.sid === sid);
      if (own !== undefined && own.flag === undefined) own.flag = { reason: 'viewer' };
    },
  };
};

type Step =
  | { readonly do: 'wait'; readonly seconds: number }
  | { readonly do: 'start'; readonly number: number; readonly mode: ConcurrencyMode; readonly limit: number; readonly titleLimit: number | undefined; readonly ends: readonly number[]; readonly cost: number | undefined }
  | { readonly do: 'renew' | 'stop' | 'flag'; readonly number: number };

const number = fc.nat({ max: 9 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), seconds: fc.oneof(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 200, max: 700 })) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('start' as const), number,
      mode: fc.constantFrom<ConcurrencyMode>('deny-new', 'terminate-oldest', 'detection-only'),
      limit: fc.integer({ min: 1, max: 4 }), titleLimit: fc.option(fc.integer({ min: 1, max: 2 }), { nil: undefined }),
      ends: fc.array(number, { maxLength: 2 }), cost: fc.option(fc.integer({ min: 0, max: 700 }), { nil: undefined }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('renew' as const), number }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('stop' as const, 'flag' as const), number }) },
);

/** Sessions 0-9 on four devices and two titles, so that reloads happen. */
const deviceOf = (value: number) => device(value % 4);
const titleOf = (value: number) => TITLES[value % 3 === 0 ? 1 : 0];

/** `runs` histories of up to 60 steps. */
export const concurrencyStoreModel = (open: () => Promise<ConcurrencyStore>, runs: number): void => {
  it('B022 B024 B041 B042 B048 agrees with the naive reference over random histories', async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
        const store = await open();
        const naive = createNaive();
        const owner = account(`model-${run++}`);
        let second = 0;
        for (const [index, each] of steps.entries()) {
          // Two things never happen in the same microsecond here; the contract's races do that.
          const now = (at(second) + index) as Micros;
          if (each.do === 'wait') second += each.seconds;
          else if (each.do === 'start') {
            const start: StreamStart = {
              heartbeat: { session: session(each.number), account: owner, device: deviceOf(each.number), asset: titleOf(each.number), at: now, expiresAt: (now + TERM) as Micros, kind: 'initial' },
              deviceName: 'TV', level: 1, mode: each.mode, ends: each.ends.filter((end) => end !== each.number).map(session),
              limits: [{ scope: 'account', key: '', limit: each.limit }, ...(each.titleLimit === undefined ? [] : [{ scope: 'title' as const, key: titleOf(each.number), limit: each.titleLimit }])],
              ...(each.cost !== undefined && { bucket: { capacity: 900_000_000 as Micros, refill: 3, cost: (each.cost * 1_000_000) as Micros } }),
            };
            const admission = await store.admit(start);
            const sorted = admission.granted ? { ...admission, flagged: [...admission.flagged].sort(), ended: [...admission.ended].sort() } : admission;
            expect(sorted).toMatchObject(naive.admit(start));
          } else if (each.do === 'renew') {
            const result = await store.renew({
              heartbeat: { session: session(each.number), account: owner, device: deviceOf(each.number), asset: titleOf(each.number), at: now, expiresAt: (now + TERM) as Micros, kind: 'renewal' },
              level: 1, issued: (now - 1) as Micros, request: `r${index}`,
            });
            expect(result).toMatchObject(naive.renew(session(each.number), titleOf(each.number), deviceOf(each.number), now));
          } else if (each.do === 'stop') {
            await store.stop(owner, session(each.number), now);
            naive.stop(session(each.number));
          } else {
            const until = (now + 2 * TERM) as Micros;
            await store.flag(owner, session(each.number), { reason: 'operator' }, now, until);
            naive.flag(session(each.number), { reason: 'operator' }, now, until);
          }
          const expected = naive.counting(now);
          expect((await store.live({ account: owner }, now)).map((live) => live.session)).toEqual(expected.map(({ sid }) => sid));
        }
        const end = at(second + 1);
        const live = naive.counting(end);
        expect(await store.counts([{ account: owner }], end)).toEqual([live.length]);
        expect((await store.live({ asset: TITLES[0] }, end)).filter((each) => each.account === owner)).toHaveLength(live.filter(({ title }) => title === TITLES[0]).length);
      }),
      { seed: 20_260_727, numRuns: runs },
    );
  });
};
