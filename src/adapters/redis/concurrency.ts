// SPDX-License-Identifier: Apache-2.0
/**
 * The concurrency record in Redis or Valkey, alone or as a cluster: the choice when more than one process counts.
 *
 * One script call per decision, on one key per account (design section 6). Counts wider than an account are kept beside it in
 * sorted sets by expiry, spread over shards so that a title that everybody watches is no hot key; they may lag by one write.
 * Invariant: a call ends in time: an answer, or `store-unavailable`, which is what turns emergency mode on.
 */
import { Cluster, type ClusterNode, Redis } from 'ioredis';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, AssetId, SessionId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import type { Admission, ConcurrencyStore, CountScope, LiveSession, RenewalCount } from '#ports';
import { USAGE_SCRIPT } from './usage-script.ts';

/** Where the record is. */
export type RedisConcurrencyOptions = {
  /** `redis://` or `rediss://` addresses; more than one, or `cluster: true`, means a cluster. */
  readonly urls: readonly string[];
  readonly cluster?: boolean;
  /** ms for one call, connecting included, 10-10,000; 250 unless told. Renewals wait for it, so keep it short. */
  readonly timeout?: number;
  /** Start of every key; `sealcast` unless told. */
  readonly prefix?: string;
  /** Sessions kept per account, 1-10,000; 200 unless told. A decision's time grows with it. */
  readonly sessionsPerAccount?: number;
};

/** Sorted sets per count. */
const SHARDS = 16;
/** Every so many writes one sorted set loses its expired members; until then they cost memory, never a wrong count. */
const TRIM_EVERY = 64;
/** µs that the expiry of a sorted set is ahead of its members', and how many sets' expiries are remembered. */
const SLACK = 300_000_000;
const MOST_EXPIRIES = 10_000;

type IndexChange = { readonly sid: SessionId; readonly asset: AssetId; readonly collection?: string; readonly score?: string };
type Answer = { readonly result: Record<string, unknown>; readonly index: readonly IndexChange[] | Record<string, never> };
type Described = Record<'at' | 'expiresAt' | 'startedAt', string> & Omit<LiveSession, 'at' | 'expiresAt' | 'startedAt' | 'account'>;
type Operation = 'admit' | 'renew' | 'stop' | 'flag' | 'unflag' | 'writeBack' | 'live';

/** The sandbox's JSON cannot tell an empty list from an empty object. */
const listOf = <T>(value: unknown): readonly T[] => (Array.isArray(value) ? (value as readonly T[]) : []);
const instant = (value: unknown): Micros => Number(value) as Micros;

const liveSession = (account: AccountId, { at, expiresAt, startedAt, ...rest }: Described): LiveSession => ({
  ...rest, account, at: instant(at), expiresAt: instant(expiresAt), startedAt: instant(startedAt),
});

const shardOf = (account: AccountId): number => {
  let sum = 0;
  for (let index = 0; index < account.length; index++) sum = (sum * 31 + account.charCodeAt(index)) % 65_521;
  return sum % SHARDS;
};

const connectionOf = ({ urls, cluster = urls.length > 1 }: RedisConcurrencyOptions, timeout: number): Redis | Cluster => {
  const common = { commandTimeout: timeout, connectTimeout: timeout, maxRetriesPerRequest: 0, enableAutoPipelining: true, enableOfflineQueue: false, lazyConnect: true };
  // It keeps trying to come back while calls fail at once: an outage costs no renewal more than one time budget.
  const retry = (times: number): number => Math.min(1000, 50 * times);
  const [url] = urls;
  if (url === undefined) throw new SealcastError('config-invalid', 'redis: at least one url');
  if (!cluster) return new Redis(url, { ...common, retryStrategy: retry });
  const nodes: ClusterNode[] = urls.map((each) => {
    const { hostname, port } = new URL(each);
    return { host: hostname, port: Number(port === '' ? 6379 : port) };
  });
  const { password, username, protocol } = new URL(url);
  return new Cluster(nodes, {
    clusterRetryStrategy: retry, enableOfflineQueue: false, enableAutoPipelining: true, lazyConnect: true, slotsRefreshTimeout: timeout,
    redisOptions: { ...common, ...(password !== '' && { password: decodeURIComponent(password) }), ...(username !== '' && { username: decodeURIComponent(username) }), ...(protocol === 'rediss:' && { tls: {} }) },
  });
};

/** The record, and the function that closes its connections. */
export type RedisConcurrency = ConcurrencyStore & { close(): Promise<void> };

/** Connects, or starts disconnected and keeps trying: the platform starts without its record, in emergency mode. */
export const openRedisConcurrency = async (options: RedisConcurrencyOptions): Promise<RedisConcurrency> => {
  const { timeout = 250, prefix = 'sealcast', sessionsPerAccount: most = 200 } = options;
  const redis = connectionOf(options, timeout);
  // Every failed call says so itself; without a listener the client would print.
  redis.on('error', () => undefined);
  redis.defineCommand('sealcastUsage', { numberOfKeys: 1, lua: USAGE_SCRIPT });
  const script = redis as unknown as { sealcastUsage(key: string, call: string): Promise<string> };
  let untilTrim = TRIM_EVERY;
  const expiries = new Map<string, number>();

  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SealcastError) throw error;
      throw new SealcastError('store-unavailable', 'the concurrency record cannot be reached', { cause: error });
    }
  };
  const settled = async (work: readonly Promise<unknown>[]): Promise<void> => {
    const failed = (await Promise.allSettled(work)).find((each) => each.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  };
  await redis.connect().catch(() => undefined);

  const accountKey = (account: AccountId): string => `${prefix}:account:{${account}}`;
  const countKey = (kind: 'service' | 'title' | 'collection', name: string, shard: number): string => `${prefix}:count:{${kind}:${name}:${shard}}`;
  const keysOf = (account: AccountId, { asset, collection }: Pick<IndexChange, 'asset' | 'collection'>): readonly string[] => {
    const shard = shardOf(account);
    return [countKey('service', '', shard), ...(asset === '' ? [] : [countKey('title', asset, shard)]), ...(collection === undefined ? [] : [countKey('collection', collection, shard)])];
  };

  /** Takes changes over into the sorted sets. A session that left a title's count is removed before it is put where it is now. */
  const index = async (account: AccountId, changes: readonly IndexChange[], now: Micros): Promise<void> => {
    const work: Promise<unknown>[] = [];
    for (const change of [...changes].sort((a, b) => Number(a.score !== undefined) - Number(b.score !== undefined))) {
      const member = `${account}/${change.sid}`;
      for (const key of keysOf(account, change)) {
        if (change.score === undefined) {
          work.push(redis.zrem(key, member));
          continue;
        }
        work.push(redis.zadd(key, change.score, member));
        // The set outlives its last member by some minutes, so that its expiry need not be written with every heartbeat.
        if ((expiries.get(key) ?? 0) < Number(change.score)) {
          if (expiries.size >= MOST_EXPIRIES) expiries.clear();
          expiries.set(key, Number(change.score) + SLACK);
          const life = Math.ceil((Number(change.score) + 2 * SLACK - now) / 1000);
          work.push(redis.pexpire(key, life, 'NX'), redis.pexpire(key, life, 'GT'));
        }
        if (--untilTrim > 0) continue;
        untilTrim = TRIM_EVERY;
        work.push(redis.zremrangebyscore(key, '-inf', String(now)));
      }
    }
    await settled(work);
  };

  const run = (op: Operation, account: AccountId, now: Micros, call: Record<string, unknown>): Promise<Record<string, unknown>> =>
    guarded(async () => {
      const text = await script.sealcastUsage(accountKey(account), JSON.stringify({ ...call, op, now, most }));
      const { result, index: changes } = JSON.parse(text) as Answer;
      await index(account, listOf<IndexChange>(changes), now);
      return result;
    });

  const liveOf = async (account: AccountId, now: Micros): Promise<readonly LiveSession[]> =>
    listOf<Described>((await run('live', account, now, {}))['live']).map((described) => liveSession(account, described));

  const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
  /** Accounts with a session in this count. */
  const accountsIn = (kind: 'service' | 'title' | 'collection', name: string, now: Micros): Promise<readonly AccountId[]> =>
    guarded(async () => {
      const members = await Promise.all(shards.map((shard) => redis.zrangebyscore(countKey(kind, name, shard), `(${now}`, '+inf')));
      return [...new Set(members.flat().map((member) => member.slice(0, member.lastIndexOf('/')) as AccountId))];
    });
  const countOf = (scope: CountScope, now: Micros): Promise<number> => {
    if (scope !== 'service' && 'account' in scope) return liveOf(scope.account, now).then((live) => live.length);
    const [kind, name] = scope === 'service' ? (['service', ''] as const) : 'title' in scope ? (['title', scope.title] as const) : (['collection', scope.collection] as const);
    return guarded(async () => (await Promise.all(shards.map((shard) => redis.zcount(countKey(kind, name, shard), `(${now}`, '+inf')))).reduce((sum, count) => sum + count, 0));
  };

  return {
    async admit(start) {
      const { account, at } = start.heartbeat;
      const result = await run('admit', account, at, start);
      if (result['granted'] === true) {
        return { granted: true, flagged: listOf(result['flagged']), ended: listOf(result['ended']), over: result['over'] === true, counts: listOf(result['counts']) };
      }
      if (result['because'] === 'bucket') return { granted: false, because: 'bucket', retryAfter: instant(result['retryAfter']) };
      if (result['because'] === 'limit') return { ...(result as Extract<Admission, { because: 'limit' }>), conflicts: listOf<Described>(result['conflicts']).map((described) => liveSession(account, described)) };
      return result as Extract<Admission, { because: 'ended' }>;
    },
    async renew(renewal) {
      const { account, at } = renewal.heartbeat;
      const result = await run('renew', account, at, renewal);
      if (result['kind'] !== 'counted') return result as Exclude<RenewalCount, { kind: 'counted' }>;
      const { retryAfter } = result;
      return { ...(result as Extract<RenewalCount, { kind: 'counted' }>), at: instant(result['at']), ...(retryAfter !== undefined && { retryAfter: instant(retryAfter) }) };
    },
    stop: async (account, session, at) => (await run('stop', account, at, { session }))['changed'] === true,
    flag: async (account, session, flag, at, until) => (await run('flag', account, at, { session, flag, until }))['changed'] === true,
    unflag: async (account, session, at) => (await run('unflag', account, at, { session }))['changed'] === true,
    async live({ account, asset, collection }, now) {
      const owners =
        account !== undefined ? [account] : asset !== undefined ? await accountsIn('title', asset, now) : collection !== undefined ? await accountsIn('collection', collection, now) : await accountsIn('service', '', now);
      const all = (await Promise.all(owners.map((owner) => liveOf(owner, now)))).flat();
      return all.filter((each) => (asset === undefined || each.asset === asset) && (collection === undefined || each.collection === collection)).sort((a, b) => a.startedAt - b.startedAt);
    },
    counts: (scopes, now) => Promise.all(scopes.map((scope) => countOf(scope, now))),
    async writeBack(heartbeats, now) {
      const byAccount = Map.groupBy(heartbeats, ({ account }) => account);
      await settled([...byAccount].map(([account, list]) => run('writeBack', account, now, { heartbeats: list })));
    },
    async close() {
      redis.disconnect();
    },
  };
};
