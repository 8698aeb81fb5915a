// SPDX-License-Identifier: Apache-2.0
/**
 * The concurrency record behind a circuit breaker: an outage becomes emergency mode, and ends without anybody's help.
 *
 * Recurring renewals, "When a server goes down"; checklist B097-B105. One breaker per process, shared by the roles in it.
 * Invariants: a call costs no more than its time budget; what is gathered is bounded, written back before the emergency is
 * called over, and told exactly once at its start and once at its end.
 */
import type { SessionId } from '#core/ids.ts';
import { type Breaker, BREAKER_DEFAULTS, type BreakerPolicy, closedBreaker, isFlawless, outcome, probing } from '#core/policy/breaker.ts';
import type { Micros, Millis } from '#core/time.ts';
import type { Clock, ConcurrencyRecord, ConcurrencyStore, EventSink, GatheredHeartbeat, Metrics, SessionFlag, StreamRenewal } from '#ports';

/** What the record is guarded with. */
export type GuardedConcurrencyOptions = {
  readonly store: ConcurrencyStore;
  /** ms that a renewal or start waits for the record; 250 unless told. */
  readonly timeBudget?: number;
  readonly breaker?: Partial<BreakerPolicy>;
  /** Heartbeats gathered, and flags remembered; 100,000 unless told. The oldest are dropped beyond it. */
  readonly most?: number;
  readonly clock: Clock;
  readonly events: EventSink;
  readonly metrics: Metrics;
};

/** The record, and the function that ends its background work. */
export type GuardedConcurrency = ConcurrencyRecord & { close(): void };

const CHUNK = 500;
const GAUGE = 'sealcast_concurrency_emergency';
const GAUGE_HELP = '1 while renewals go on without the concurrency record.';

type PendingFlag = { readonly account: StreamRenewal['heartbeat']['account']; readonly flag: SessionFlag; readonly at: Micros; readonly until: Micros };

/** Keeps the newest `most` entries. */
const remember = <Value>(map: Map<SessionId, Value>, session: SessionId, value: Value, most: number): void => {
  map.delete(session);
  map.set(session, value);
  const [oldest] = map.size > most ? map.keys() : [];
  if (oldest !== undefined) map.delete(oldest);
};

/** Closed, until calls fail. */
export const createGuardedConcurrency = (options: GuardedConcurrencyOptions): GuardedConcurrency => {
  const { store, timeBudget = 250, most = 100_000, clock, events, metrics } = options;
  const policy: BreakerPolicy = { ...BREAKER_DEFAULTS, ...options.breaker };
  const gathered = new Map<SessionId, GatheredHeartbeat>();
  const flags = new Map<SessionId, SessionFlag>();
  const pending = new Map<SessionId, PendingFlag>();
  let breaker: Breaker = closedBreaker;
  let renewals = 0;
  let flushing = false;
  let closed = false;
  let cancelProbe = (): void => undefined;

  /** Calls under way, oldest first. All have the same budget, so the first is due first and one timer serves them all. */
  const underWay = new Map<number, { readonly due: number; readonly expire: () => void }>();
  let calls = 0;
  let cancelTimer: (() => void) | undefined;
  const armTimer = (delay: number): void => {
    cancelTimer = clock.after(Math.max(1, Math.ceil(delay)) as Millis, () => {
      cancelTimer = undefined;
      const now = clock.monotonic();
      for (const [call, { due, expire }] of underWay) {
        if (due > now) {
          if (!closed) armTimer(due - now);
          return;
        }
        underWay.delete(call);
        expire();
      }
    });
  };

  /** Rejects with `timeout` when the budget is over; the call itself may still happen, which is harmless. */
  const timed = <T>(work: () => Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      const call = calls++;
      underWay.set(call, { due: clock.monotonic() + timeBudget, expire: () => reject(new Error('timeout')) });
      if (cancelTimer === undefined) armTimer(timeBudget);
      work().then(
        (result) => {
          underWay.delete(call);
          resolve(result);
        },
        (error: unknown) => {
          underWay.delete(call);
          reject(error);
        },
      );
    });

  const scheduleProbe = (): void => {
    cancelProbe();
    if (!closed) cancelProbe = clock.after((policy.probeEvery / 1000) as Millis, () => void probe());
  };

  const enter = ({ since, cause }: Extract<Breaker, { mode: 'open' }>): void => {
    renewals = 0;
    metrics.gauge(GAUGE, GAUGE_HELP, 1);
    events({ at: since, kind: 'concurrency.emergency', severity: 'alert', message: 'The concurrency record cannot be reached. Every valid licence is renewed, for longer, until it is back.', data: { cause } });
    scheduleProbe();
  };
  const leave = (since: Micros, written: number): void => {
    const now = clock.now();
    metrics.gauge(GAUGE, GAUGE_HELP, 0);
    events({ at: now, kind: 'concurrency.recovered', severity: 'alert', message: `The concurrency record is back; ${renewals} renewals were granted without it.`, data: { renewals, written, seconds: Math.round((now - since) / 1_000_000) } });
  };

  /** Tells the record what happened without it, flags first. False if it went away again; the rest is kept. */
  const flush = async (): Promise<number | undefined> => {
    let written = 0;
    try {
      for (const [session, { account, flag, at, until }] of [...pending]) {
        await timed(() => store.flag(account, session, flag, at, until));
        pending.delete(session);
      }
      while (gathered.size > 0) {
        const chunk = [...gathered.values()].slice(0, CHUNK);
        await timed(() => store.writeBack(chunk, clock.now()));
        for (const heartbeat of chunk) if (gathered.get(heartbeat.session) === heartbeat) gathered.delete(heartbeat.session);
        written += chunk.length;
      }
      return written;
    } catch {
      return undefined;
    }
  };

  /** Good calls that the breaker has not been told of, and when the last of them was: told with the next one that matters. */
  let good = 0;
  let goodAt = 0 as Micros;
  const TELL_AFTER = policy.window / 20;
  const note = (ok: boolean, cause: string): void => {
    // Answers that come after it opened say nothing about now: only probes close it, once all has been written back.
    if (breaker.mode === 'open') return;
    const now = clock.now();
    if (ok && isFlawless(breaker) && now - goodAt < TELL_AFTER) {
      good += 1;
      return;
    }
    if (good > 0) breaker = outcome(breaker, policy, goodAt, true, '', good);
    good = 0;
    goodAt = now;
    breaker = outcome(breaker, policy, now, ok, cause);
    if (breaker.mode === 'open') enter(breaker);
  };

  const probe = async (): Promise<void> => {
    if (closed || breaker.mode !== 'open') return;
    const { since } = breaker;
    breaker = probing(breaker, clock.now());
    const ok = await timed(() => store.counts(['service'], clock.now())).then(() => true, () => false);
    const after = outcome(breaker, policy, clock.now(), ok);
    const written = after.mode === 'closed' ? await flush() : undefined;
    if (after.mode === 'closed' && written !== undefined) {
      breaker = after;
      leave(since, written);
      return;
    }
    breaker = after.mode === 'open' ? after : { ...(breaker as Extract<Breaker, { mode: 'open' }>), good: 0 };
    scheduleProbe();
  };

  /** Single calls that failed while the breaker stayed closed are made up for as soon as one succeeds. */
  const catchUp = (): void => {
    if (flushing || (gathered.size === 0 && pending.size === 0)) return;
    flushing = true;
    void flush().finally(() => {
      flushing = false;
    });
  };

  const call = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    if (breaker.mode === 'open') return undefined;
    try {
      const result = await timed(work);
      note(true, '');
      catchUp();
      return result;
    } catch (error) {
      note(false, error instanceof Error && error.message === 'timeout' ? 'timeout' : 'unreachable');
      return undefined;
    }
  };

  return {
    async admit(start) {
      const admission = await call(() => store.admit(start));
      if (admission?.granted === true) {
        for (const session of admission.flagged) remember(flags, session, { reason: 'concurrency', by: start.heartbeat.session }, most);
        for (const session of admission.ended) remember(flags, session, { reason: 'replaced', by: start.heartbeat.session }, most);
      }
      return admission;
    },
    async renew(renewal) {
      const { heartbeat, level, rightUntil } = renewal;
      const count = await call(() => store.renew(renewal));
      if (count?.kind === 'flagged') remember(flags, heartbeat.session, count.flag, most);
      if (count !== undefined) return count;
      if (breaker.mode === 'open') renewals += 1;
      metrics.count('sealcast_concurrency_renewals_uncounted_total', 'Renewals answered without the concurrency record.');
      remember(gathered, heartbeat.session, { ...heartbeat, level, ...(rightUntil !== undefined && { rightUntil }) }, most);
      return undefined;
    },
    async flag(account, session, flag, until) {
      const at = clock.now();
      remember(flags, session, flag, most);
      gathered.delete(session);
      if ((await call(() => store.flag(account, session, flag, at, until))) === undefined) remember(pending, session, { account, flag, at, until }, most);
    },
    live: (account) => call(() => store.live({ account }, clock.now())),
    gather: (heartbeat) => remember(gathered, heartbeat.session, heartbeat, most),
    knownFlag: (session) => flags.get(session),
    get emergency() {
      return breaker.mode === 'open' ? { since: breaker.since, cause: breaker.cause, renewals } : undefined;
    },
    close() {
      closed = true;
      cancelProbe();
      cancelTimer?.();
    },
  };
};
