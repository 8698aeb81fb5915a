// SPDX-License-Identifier: Apache-2.0
/**
 * The streams of one account, and every decision about them, in memory.
 *
 * Recurring renewals, "Detecting concurrency"; design section 3 (grant bucket, clones). This is the reference: the Redis
 * adapter's script takes the same steps in the same order, and one contract suite holds both to them.
 * Invariants: a refusal changes nothing; what counts is a function of the record and `now` alone; memory is bounded.
 */
import type { AccountId, AssetId, DeviceId, SessionId } from '#core/ids.ts';
import type { EnforcementLevel } from '#core/license/renewal-state.ts';
import type { Micros } from '#core/time.ts';
import type { Admission, BucketDraw, ConcurrencyMode, GatheredHeartbeat, Heartbeat, RenewalCount, SessionFlag, StreamLimit, StreamRenewal, StreamStart } from '#ports';

/** Requests, and children of one state, that are remembered per session. */
const REMEMBERED = 8;
/** A renewal that was on its way while the page reloaded does not bring the old session back into the count. */
const RELOAD_GRACE = 60_000_000;

/**
 * The states handed out and shown again, by their issue times. An honest client shows a chain: each state it shows was
 * given to it for the one before. Two children of one state both shown, or an older state shown again, are two clients.
 */
type Chain = {
  /** The state shown last, and the one shown before it; 0 before the first. */
  shown: number;
  before: number;
  /** Children of `shown`: a repeated request may have got several. */
  given: number[];
  /** Children of `before` that were given too late for an honest client to use. */
  strays: number[];
};

/** One session of an account. */
export type Stream = {
  readonly session: SessionId;
  device: DeviceId;
  asset: AssetId;
  collection: string | undefined;
  deviceName: string;
  level: EnforcementLevel;
  readonly startedAt: Micros;
  /** Breaks ties between sessions that started in the same microsecond. */
  readonly order: number;
  at: Micros;
  expiresAt: Micros;
  limits: readonly StreamLimit[];
  mode: ConcurrencyMode;
  flag: SessionFlag | undefined;
  /** When a newer session of the same device and title took its place; 0 if none did. */
  replacedAt: number;
  /** Kept until then, so that neither a flag nor a replay is forgotten while an answer could still be used. */
  keepUntil: number;
  chain: Chain;
  requests: { readonly request: string; readonly at: Micros; readonly retryAfter: Micros | undefined }[];
};

/** Everything that is kept of one account. */
export type AccountUsage = { readonly streams: Map<SessionId, Stream>; bucket: { tokens: number; at: number; fullAt: number } | undefined; nextOrder: number };

/** An account that nobody watches with. */
export const newAccountUsage = (): AccountUsage => ({ streams: new Map(), bucket: undefined, nextOrder: 1 });

/** Whether the stream takes a place at `now`. */
export const isCounted = (stream: Stream, now: Micros): boolean => stream.expiresAt > now && stream.flag === undefined && stream.replacedAt === 0;

const oldestFirst = (a: Stream, b: Stream): number => a.startedAt - b.startedAt || a.order - b.order;

/** Counted streams, oldest first. */
export const countedStreams = (usage: AccountUsage, now: Micros): Stream[] => [...usage.streams.values()].filter((stream) => isCounted(stream, now)).sort(oldestFirst);

/** Forgets what can no longer matter; true if nothing is left. */
export const prune = (usage: AccountUsage, now: Micros): boolean => {
  for (const [session, stream] of usage.streams) if (stream.keepUntil <= now) usage.streams.delete(session);
  // A full bucket is the same as none.
  if (usage.bucket !== undefined && usage.bucket.fullAt <= now) usage.bucket = undefined;
  return usage.streams.size === 0 && usage.bucket === undefined;
};

const inScope = (stream: Stream, { scope, key }: StreamLimit): boolean => scope === 'account' || (scope === 'title' ? stream.asset : stream.collection) === key;

const push = <T>(list: T[], item: T): void => {
  list.push(item);
  if (list.length > REMEMBERED) list.shift();
};

/** Takes a state that was shown into the chain; false if it cannot belong to the client that showed the others. */
const follow = (chain: Chain, issued: number, next: number): boolean => {
  if (issued === chain.shown) push(chain.given, next);
  else if (issued === chain.before) push(chain.strays, next);
  // A state newer than all that are known was issued while the record could not be reached.
  else if (chain.given.includes(issued) || (!chain.strays.includes(issued) && issued > Math.max(chain.shown, ...chain.given))) {
    chain.before = chain.shown;
    chain.shown = issued;
    chain.given = [next];
  } else return false;
  return true;
};

/** What a draw would leave; `wait` is set if it does not fit, and Infinity if it never will. */
const draw = (usage: AccountUsage, { capacity, refill, cost }: BucketDraw, now: Micros): { tokens: number; at: number; fullAt: number; wait: number } => {
  const held = usage.bucket ?? { tokens: capacity as number, at: now as number };
  const at = Math.max(held.at, now);
  const tokens = Math.min(capacity, held.tokens + (at - held.at) * refill);
  const wait = cost <= tokens ? 0 : cost > capacity ? Number.POSITIVE_INFINITY : Math.ceil((cost - tokens) / refill);
  const left = wait === 0 ? tokens - cost : tokens;
  return { tokens: left, at, fullAt: at + Math.ceil((capacity - left) / refill), wait };
};

/** A heartbeat, and when the right behind it ends. */
type Beat = Heartbeat & { readonly rightUntil?: Micros };

/** Waits longer than a day are shown as a day. */
const LONGEST_WAIT = 86_400_000_000;
const waitOf = (wait: number): Micros => Math.min(wait, LONGEST_WAIT) as Micros;

const keepUntilOf = ({ at, expiresAt, rightUntil = expiresAt }: Beat): number => {
  const last = Math.max(expiresAt, rightUntil);
  return last + Math.max(0, last - at);
};

/** Makes room for one more stream: those that do not count go first, then the one that expires first. */
const makeRoom = (usage: AccountUsage, limit: number, now: Micros): void => {
  while (usage.streams.size >= limit) {
    const [first] = [...usage.streams.values()].sort((a, b) => Number(isCounted(a, now)) - Number(isCounted(b, now)) || a.keepUntil - b.keepUntil || a.order - b.order);
    if (first === undefined) return;
    usage.streams.delete(first.session);
  }
};

const addStream = (usage: AccountUsage, heartbeat: Beat, level: EnforcementLevel, most: number): Stream => {
  makeRoom(usage, most, heartbeat.at);
  const { session, device, asset, at, expiresAt } = heartbeat;
  const stream: Stream = {
    session, device, asset, collection: undefined, deviceName: '', level,
    startedAt: at, order: usage.nextOrder++, at, expiresAt, limits: [], mode: 'detection-only',
    flag: undefined, replacedAt: 0, keepUntil: keepUntilOf(heartbeat),
    chain: { shown: 0, before: 0, given: [], strays: [] }, requests: [],
  };
  usage.streams.set(session, stream);
  return stream;
};

/** The newest heartbeat is the one that holds; a late one changes nothing. */
const beat = (stream: Stream, heartbeat: Beat, level: EnforcementLevel): void => {
  if (heartbeat.at < stream.at) return;
  stream.at = heartbeat.at;
  stream.expiresAt = heartbeat.expiresAt;
  stream.keepUntil = Math.max(stream.keepUntil, keepUntilOf(heartbeat));
  stream.level = level;
};

const WIDTH = { title: 0, collection: 1, account: 2 } as const;

/** Streams that have to go, oldest first. Narrow scopes first: who leaves a title also leaves its account. */
const overLimits = (running: readonly Stream[], limits: readonly StreamLimit[]): Stream[] => {
  const going = new Set<Stream>();
  for (const limit of [...limits].sort((a, b) => WIDTH[a.scope] - WIDTH[b.scope])) {
    const within = running.filter((stream) => inScope(stream, limit) && !going.has(stream));
    for (const stream of within.slice(0, Math.max(0, within.length + 1 - limit.limit))) going.add(stream);
  }
  return [...going].sort(oldestFirst);
};

/** The limit that is over by most; among equals the first. */
const tightest = (running: readonly Stream[], limits: readonly StreamLimit[]): { limit: StreamLimit; within: Stream[] } | undefined => {
  let worst: { limit: StreamLimit; within: Stream[]; over: number } | undefined;
  for (const limit of limits) {
    const within = running.filter((stream) => inScope(stream, limit));
    const over = within.length + 1 - limit.limit;
    if (over > 0 && (worst === undefined || over > worst.over)) worst = { limit, within, over };
  }
  return worst;
};

/** A start, as decided; `within` are the streams in its way, oldest first. */
export type StartOutcome = Exclude<Admission, { because: 'limit' }> | { readonly granted: false; readonly because: 'limit'; readonly limit: StreamLimit; readonly within: readonly Stream[] };

/** Decides a start and takes it in if it is granted. `most`: streams kept of the account. */
export const admit = (usage: AccountUsage, start: StreamStart, most: number): StartOutcome => {
  const { limits, mode, rightUntil } = start;
  const heartbeat: Beat = { ...start.heartbeat, ...(rightUntil !== undefined && { rightUntil }) };
  const now = heartbeat.at;
  prune(usage, now);
  const known = usage.streams.get(heartbeat.session);
  if (known?.flag !== undefined) return { granted: false, because: 'ended', flag: known.flag };

  const others = countedStreams(usage, now).filter(({ session }) => session !== heartbeat.session);
  const ended = others.filter(({ session }) => start.ends.includes(session));
  const replaced = others.filter((stream) => stream.device === heartbeat.device && stream.asset === heartbeat.asset && !ended.includes(stream));
  const running = others.filter((stream) => !ended.includes(stream) && !replaced.includes(stream));
  const worst = tightest(running, limits);
  // Nobody's leaving makes room under a limit of none.
  const enforced = mode === 'deny-new' || (mode === 'terminate-oldest' && limits.some(({ limit }) => limit < 1));
  if (worst !== undefined && enforced) return { granted: false, because: 'limit', limit: worst.limit, within: worst.within };
  // The same start again, after its answer was lost, is not paid for twice.
  const drawn = start.bucket === undefined || known?.startedAt === now ? undefined : draw(usage, start.bucket, now);
  if (drawn !== undefined && drawn.wait > 0) return { granted: false, because: 'bucket', retryAfter: waitOf(drawn.wait) };

  const going = mode === 'terminate-oldest' ? overLimits(running, limits) : [];
  if (drawn !== undefined) usage.bucket = drawn;
  for (const stream of going) stream.flag = { reason: 'concurrency', by: heartbeat.session };
  for (const stream of ended) stream.flag = { reason: 'replaced', by: heartbeat.session };
  for (const stream of replaced) stream.replacedAt = now;
  const stream = known ?? addStream(usage, heartbeat, start.level, most);
  beat(stream, heartbeat, start.level);
  Object.assign(stream, { device: heartbeat.device, asset: heartbeat.asset, deviceName: start.deviceName, collection: start.collection, limits, mode, replacedAt: 0 });
  push(stream.chain.given, now);
  const after = countedStreams(usage, now);
  return {
    granted: true,
    flagged: going.map(({ session }) => session),
    ended: ended.map(({ session }) => session),
    over: worst !== undefined && mode === 'detection-only',
    counts: limits.map((limit) => after.filter((each) => inScope(each, limit)).length),
  };
};

/** Whether a stream that was out of the count may come back into it. */
const hasRoom = (usage: AccountUsage, stream: Stream, now: Micros): boolean => {
  if (stream.mode === 'detection-only') return true;
  const others = countedStreams(usage, now).filter((other) => other !== stream);
  return stream.limits.every((limit) => others.filter((other) => inScope(other, limit)).length < limit.limit);
};

/** Counts a renewal, unless something speaks against it. */
export const renew = (usage: AccountUsage, renewal: StreamRenewal, most: number): RenewalCount => {
  const { level, issued, request, rightUntil } = renewal;
  const heartbeat: Beat = { ...renewal.heartbeat, ...(rightUntil !== undefined && { rightUntil }) };
  const now = heartbeat.at;
  prune(usage, now);
  const known = usage.streams.get(heartbeat.session);
  if (known?.flag !== undefined) return { kind: 'flagged', flag: known.flag };
  const answered = (at: Micros, duplicate: boolean, retryAfter: Micros | undefined): RenewalCount => ({
    kind: 'counted', at, duplicate, bucket: retryAfter === undefined ? 'ok' : 'short', ...(retryAfter !== undefined && { retryAfter }), count: countedStreams(usage, now).length,
  });
  const before = known?.requests.find((each) => each.request === request);
  if (before !== undefined) return answered(before.at, true, before.retryAfter);
  const lateOfReload = known !== undefined && known.replacedAt > 0 && now - known.replacedAt < RELOAD_GRACE;
  if (known !== undefined && !isCounted(known, now) && !lateOfReload && !hasRoom(usage, known, now)) return { kind: 'readmit', because: 'limit' };
  const stream = known ?? addStream(usage, heartbeat, level, most);
  if (!follow(stream.chain, issued, now)) return { kind: 'readmit', because: 'clone' };
  let retryAfter: Micros | undefined;
  if (renewal.bucket !== undefined) {
    const drawn = draw(usage, renewal.bucket, now);
    usage.bucket = drawn;
    if (drawn.wait > 0) retryAfter = waitOf(drawn.wait);
  }
  beat(stream, heartbeat, level);
  if (!lateOfReload) stream.replacedAt = 0;
  push(stream.requests, { request, at: now, retryAfter });
  return answered(now, false, retryAfter);
};

/** False if the session was flagged before. */
export const flag = (usage: AccountUsage, session: SessionId, reason: SessionFlag, now: Micros, until: Micros, most: number): boolean => {
  prune(usage, now);
  const known = usage.streams.get(session);
  if (known?.flag !== undefined) return false;
  // A session that is not known here may be another region's, or start later: the flag is there first.
  const stream = known ?? addStream(usage, { session, account: '' as AccountId, device: '' as DeviceId, asset: '' as AssetId, at: now, expiresAt: now, kind: 'initial' }, 1, most);
  stream.flag = reason;
  stream.keepUntil = Math.max(stream.keepUntil, until);
  return true;
};

/** False if there was no flag to take back. */
export const unflag = (usage: AccountUsage, session: SessionId, now: Micros): boolean => {
  prune(usage, now);
  const known = usage.streams.get(session);
  if (known?.flag === undefined) return false;
  known.flag = undefined;
  return true;
};

/** A heartbeat that was gathered during an outage. */
export const writeBack = (usage: AccountUsage, heartbeat: GatheredHeartbeat, now: Micros, most: number): void => {
  prune(usage, now);
  if (heartbeat.expiresAt <= now) return;
  const stream = usage.streams.get(heartbeat.session) ?? addStream(usage, heartbeat, heartbeat.level, most);
  if (stream.flag !== undefined) return;
  if (heartbeat.at > stream.replacedAt) stream.replacedAt = 0;
  beat(stream, heartbeat, heartbeat.level);
};
