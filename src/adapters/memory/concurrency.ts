// SPDX-License-Identifier: Apache-2.0
/**
 * The concurrency record in memory: the default of a single process, and the reference for the other adapters.
 *
 * Invariant: each decision is taken without an `await` inside, so it is atomic; an account that nobody watches with any
 * more is forgotten within about one pass of new heartbeats.
 */
import type { AccountId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { ConcurrencyStore, CountScope, LiveSession } from '#ports';
import { type AccountUsage, admit, countedStreams, flag, isCounted, newAccountUsage, prune, renew, type Stream, unflag, writeBack } from './account-usage.ts';

/** Options of the record. */
export type MemoryConcurrencyOptions = {
  /** Sessions kept per account, 1-10,000; 200 unless told. Beyond it those that no longer count are forgotten first. */
  readonly sessionsPerAccount?: number;
};

const SWEEP_EVERY_WRITES = 1024;

const liveSession = (account: AccountId, { session, device, asset, at, expiresAt, deviceName, collection, level, startedAt }: Stream): LiveSession => ({
  session, account, device, asset, at, expiresAt, deviceName, ...(collection !== undefined && { collection }), level, startedAt,
});

const matches = (stream: Stream, scope: Exclude<CountScope, { account: AccountId }>): boolean =>
  scope === 'service' || ('title' in scope ? stream.asset === scope.title : stream.collection === scope.collection);

/** An empty record; nothing survives the process. */
export const createMemoryConcurrency = (options: MemoryConcurrencyOptions = {}): ConcurrencyStore => {
  const { sessionsPerAccount: most = 200 } = options;
  const accounts = new Map<AccountId, AccountUsage>();
  let untilSweep = SWEEP_EVERY_WRITES;

  const sweep = (now: Micros): void => {
    for (const [account, usage] of accounts) if (prune(usage, now)) accounts.delete(account);
    untilSweep = Math.max(SWEEP_EVERY_WRITES, accounts.size);
  };
  /** The account's usage, for a write at `now`. */
  const usageOf = (account: AccountId, now: Micros): AccountUsage => {
    if (--untilSweep <= 0) sweep(now);
    const known = accounts.get(account);
    if (known !== undefined) return known;
    const usage = newAccountUsage();
    accounts.set(account, usage);
    return usage;
  };

  return {
    async admit(start) {
      const { account, at } = start.heartbeat;
      const outcome = admit(usageOf(account, at), start, most);
      if (outcome.granted || outcome.because !== 'limit') return outcome;
      const { limit, within } = outcome;
      return { granted: false, because: 'limit', limit, conflicts: within.map((stream) => liveSession(account, stream)) };
    },
    renew: async (renewal) => renew(usageOf(renewal.heartbeat.account, renewal.heartbeat.at), renewal, most),
    async stop(account, session, at) {
      const stream = accounts.get(account)?.streams.get(session);
      if (stream === undefined) return false;
      const counted = isCounted(stream, at);
      stream.flag ??= { reason: 'viewer' };
      return counted;
    },
    flag: async (account, session, reason, at, until) => flag(usageOf(account, at), session, reason, at, until, most),
    unflag: async (account, session, at) => unflag(usageOf(account, at), session, at),
    async live({ account, asset, collection }, now) {
      const found: LiveSession[] = [];
      for (const [owner, usage] of account === undefined ? accounts : [[account, accounts.get(account)] as const]) {
        for (const stream of usage?.streams.values() ?? []) {
          if (isCounted(stream, now) && (asset === undefined || stream.asset === asset) && (collection === undefined || stream.collection === collection)) found.push(liveSession(owner, stream));
        }
      }
      return found.sort((a, b) => a.startedAt - b.startedAt);
    },
    async counts(scopes, now) {
      const counts = scopes.map((scope) => (scope !== 'service' && 'account' in scope ? countedStreams(accounts.get(scope.account) ?? newAccountUsage(), now).length : 0));
      const wide = scopes.flatMap((scope, index) => (scope === 'service' || !('account' in scope) ? [{ scope, index }] : []));
      if (wide.length === 0) return counts;
      for (const { streams } of accounts.values()) {
        for (const stream of streams.values()) {
          if (isCounted(stream, now)) for (const { scope, index } of wide) if (matches(stream, scope)) counts[index] = (counts[index] ?? 0) + 1;
        }
      }
      return counts;
    },
    async writeBack(heartbeats, now) {
      for (const heartbeat of heartbeats) writeBack(usageOf(heartbeat.account, now), heartbeat, now, most);
    },
  };
};
