// SPDX-License-Identifier: Apache-2.0
/**
 * Timed release at an edge: clock, grants, the release loop, pulls, the log and the figures, as one role part.
 *
 * docs/wire/release.md. Node only by its ports (sockets, blocking waits); the code itself asks no runtime for anything.
 * Invariant: secrets are in memory only; whatever fails ends in `hold` and 503, never in a release.
 */
import type { AssetId } from '#core/ids.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { ClockBound, ClockSample } from '#core/release/clock-bound.ts';
import { HORIZON_ALARM, SECRET_LENGTH } from '#core/release/grant.ts';
import { CLOSE, type HoldReason } from '#core/release/messages.ts';
import { type EdgeReport, encodeEdgeReport } from '#core/release/report.ts';
import type { EdgeInfo } from '#core/release/schedule.ts';
import type { Micros, Millis } from '#core/time.ts';
import { verifyReleaseToken } from '#crypto/release-token.ts';
import type { JwsKey } from '#crypto/jose.ts';
import type { Clock, EventSink, Fetch, Log, Metrics, PreciseTime, Random, ReleaseFraming } from '#ports';
import { type ClockTask, createClockTask, createEdgeClock, type EdgeClock, type TimeSource } from './clock-task.ts';
import type { TokenCheck } from './connection.ts';
import { LEAD } from '#core/release/delta-advice.ts';
import { createFigureBook, type FigureBook, type ReleaseFigures } from './figures.ts';
import { createGrantIntake, type GrantIntake, type Taken, type TrustedKeyServer } from './grant-intake.ts';
import { createGrantLoop } from './grant-loop.ts';
import { createReleaseHost, type HostEvents, type ReleaseHost } from './host.ts';
import { createReleasePull } from './pull.ts';
import { createReleaseLog, type LogSigner } from './release-log.ts';
import { createSegmentTimeline, type SegmentInstants, type SegmentTimeline } from './timeline.ts';

/** Keys that verify release tokens, and who was cut off: what the edge bundle holds. */
export type ReleaseTokenKeys = {
  keyOf(kid: { readonly epoch: number; readonly zone: number }, now: Micros): Uint8Array | undefined;
  isRevoked(session: string, now: Micros): boolean;
};

/** A release worker elsewhere (a thread with sockets of its own), kept in step by messages. */
export type ReleaseFollower = {
  take(taken: Taken): void;
  drop(event: AssetId): void;
  sample(sample: ClockSample): void;
  mode(singleHost: boolean): void;
  drain(spreadMs: number): void;
  /** Clients of an event there. */
  connections(event: AssetId): number;
};

/** How releases stand at an edge, for readiness, metrics and the control room. */
export type ReleaseStanding = {
  readonly event: AssetId;
  readonly info: EdgeInfo;
  readonly connections: number;
  readonly released: number;
  /** How far ahead secrets are held. */
  readonly horizon: Micros;
  readonly held: HoldReason | undefined;
  readonly figures: ReleaseFigures;
  /** Newest first. */
  readonly segments: readonly SegmentInstants[];
};

/** What timed release at an edge is made of. */
export type ReleaseEdgeOptions = {
  readonly edge: string;
  /** Id of this host: edges on other hosts end single-host mode. */
  readonly host: string;
  readonly signKey: JwsKey;
  readonly agreeKey: CryptoKey;
  readonly servers: readonly (TrustedKeyServer & { readonly url: string; readonly fetch: Fetch; readonly jwk: object })[];
  /** Peer edges, for the time. */
  readonly peers: readonly TimeSource[];
  /** Single-host mode is allowed. */
  readonly alone: boolean;
  readonly local?: () => Promise<ClockSample | undefined>;
  readonly tokens: ReleaseTokenKeys;
  readonly framings: readonly ReleaseFraming[];
  readonly time: PreciseTime;
  /** The highest instant persisted before a restart, and where to keep it. */
  readonly floor: Micros;
  readonly keepFloor: (at: Micros) => Promise<void>;
  readonly sign: { readonly kid: string; readonly sign: LogSigner };
  readonly append: (text: string) => Promise<void>;
  readonly mayAskEpoch: (request: Request) => boolean | Promise<boolean>;
  readonly hash: LadderHash;
  readonly timers: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly events: EventSink;
  /** Length of the events' segments. */
  readonly segmentDuration: Micros;
  readonly maxConnections?: number;
  readonly maxGap?: Millis;
  /** Where viewers find this edge's release workers, if not at the event's own addresses. */
  readonly followers?: readonly ReleaseFollower[];
};

/** Timed release at an edge. */
export type ReleaseEdge = {
  readonly host: ReleaseHost;
  readonly clock: EdgeClock;
  readonly intake: GrantIntake;
  /** Where the packager and the media path say what they did when. */
  readonly timeline: Pick<SegmentTimeline, 'packaged' | 'sent'>;
  readonly handler: (request: Request, peer: { readonly address: string }) => Promise<Response>;
  bound(): ClockBound;
  readonly hostId: string;
  standing(): readonly ReleaseStanding[];
  /** False while an event cannot be released. */
  readiness(): { readonly ready: boolean; readonly detail: string };
  /** What workers report. */
  readonly reports: Pick<HostEvents, 'released' | 'stat' | 'count'> & { /** A worker is not sure of the time: sources are asked fast. */ unsure(): void };
  start(): void;
  drain(spreadMs: number): void;
  stop(): Promise<void>;
};

/** Past secrets are kept in memory so long; key servers have the rest. */
const KEEP_PAST: Micros = 600_000_000 as Micros;
const WATCH_EVERY = 250;
/** The log's head goes to the key servers so often: from then on nobody can rewrite what came before. */
const PUBLISH_EVERY = 60_000;
/** Operators see an edge of another host with this delay. */
const REPORT_EVERY = 2000;
const SEGMENTS_SHOWN = 12;
/** Less of the clients held the bytes at the release: an alarm (B168). */
const HELD_TARGET = 0.99;
/** Releases of so much time without one alarm more. */
const ALARM_AGAIN = 30_000;

/** How tokens of release clients are checked against the bundle. Shared with release workers. */
export const createTokenCheck = (tokens: ReleaseTokenKeys, now: () => Micros): TokenCheck => (token, event) => {
  const at = now();
  const verdict = verifyReleaseToken(token, { keyOf: (kid) => tokens.keyOf(kid, at), now: at });
  if (!verdict.ok) return CLOSE.token;
  if (verdict.claims.asset !== event || tokens.isRevoked(verdict.claims.session, at)) return CLOSE.forbidden;
  return verdict.claims;
};

/** Builds the parts; `start` runs them. */
export const createReleaseEdge = (options: ReleaseEdgeOptions): ReleaseEdge => {
  const { edge, time, timers, metrics, events, log, followers = [] } = options;
  const figures = new Map<AssetId, FigureBook>();
  const timeline = createSegmentTimeline(options.segmentDuration);
  const alarms = new Map<string, number>();
  const holding = new Map<AssetId, HoldReason>();
  let highWater = options.floor;
  let keptWater = options.floor;
  let cancelWatch: (() => void) | undefined;
  let publishedAt = 0;
  let reportedAt = 0;
  let publishedHead = '';

  const alarm = (key: string, run: () => void): void => {
    const now = time.monotonic();
    if (now - (alarms.get(key) ?? Number.NEGATIVE_INFINITY) < ALARM_AGAIN) return;
    alarms.set(key, now);
    run();
  };

  const clock: EdgeClock = createEdgeClock({
    time, floor: options.floor,
    ...(options.maxGap !== undefined && { maxGap: options.maxGap }),
    onFault: (cause) => {
      metrics.count('sealcast_release_clock_faults_total', 'Times the clock was not to be relied on, by cause.', { cause });
      releaseLog.note('', clock.utc(), `clock fault: ${cause}`);
      events({ at: timers.now(), kind: 'release.clock-fault', severity: 'alert', message: `The edge is not sure of the time: ${cause}. Nothing is released until it is.`, data: { cause } });
    },
  });
  const releaseLog = createReleaseLog({ edge, kid: options.sign.kid, sign: options.sign.sign, append: options.append, hash: options.hash, now: () => clock.utc(), timers, log });

  const bookOfFigures = (event: AssetId): FigureBook => {
    let book = figures.get(event);
    if (book === undefined) figures.set(event, (book = createFigureBook(intake.book(event)?.info?.mode === 'strict' ? LEAD.strict : LEAD.standard)));
    return book;
  };

  const reports: Pick<HostEvents, 'released' | 'stat' | 'count'> = {
    released(event, { entry, lateness, spread }, size) {
      intake.book(event)?.passed(entry.period);
      // Where workers have the sockets, the main thread's own loop writes to nobody: its figures would be about nothing.
      if (followers.length > 0 && entry.worker === 0 && size === 0) return;
      releaseLog.released(entry);
      timeline.pushed(event, entry.period, entry.first);
      const early = entry.earliest < entry.releaseAt;
      bookOfFigures(event).released({ lateness, spread, sent: entry.sent, skipped: entry.skipped, early });
      if (entry.releaseAt > highWater) highWater = entry.releaseAt;
      metrics.count('sealcast_release_released_total', 'Periods released.', { event });
      metrics.count('sealcast_release_sent_total', 'Release frames written.', { event }, entry.sent);
      if (entry.skipped > 0) metrics.count('sealcast_release_skipped_total', 'Clients that had not taken the last release.', { event }, entry.skipped);
      metrics.observe('sealcast_release_lateness_seconds', 'From the release instant to the first write.', lateness / 1e6, { event });
      metrics.observe('sealcast_release_spread_seconds', 'From the first write of a release to its last.', spread / 1e6, { event });
      // The gate makes this impossible; a count that is not zero is proof of a fault.
      if (early) metrics.count('sealcast_release_early_total', 'Releases before their instant.', { event });
    },
    stat: (event, stat) => bookOfFigures(event).stat(stat, time.monotonic()),
    count: (what) => metrics.count('sealcast_release_clients_refused_total', 'What clients of the release channel were refused for.', { reason: what }),
  };

  const intake = createGrantIntake({
    edge,
    agreeKey: options.agreeKey,
    servers: options.servers,
    bound: () => clock.bound(),
    hash: options.hash,
    metrics,
    events,
    now: () => timers.now(),
    onTaken(taken) {
      if (taken.kind === 'secrets') timeline.granted(taken.event, taken.from, taken.secrets.length / SECRET_LENGTH, clock.utc());
      if (taken.kind === 'schedule') releaseLog.schedule(taken.event, taken.schedule.block, clock.utc(), taken.jws);
      host.take(taken);
      for (const follower of followers) follower.take(taken);
    },
  });

  const check = createTokenCheck(options.tokens, () => clock.utc());
  const host: ReleaseHost = createReleaseHost({
    edge, time, clock, timers, random: options.random, hash: options.hash, worker: 0, framings: options.framings, check,
    isRevoked: (claims) => options.tokens.isRevoked(claims.session, clock.utc()),
    bookOf: (event) => intake.book(event),
    urls: (event) => intake.urls(event),
    maxConnections: options.maxConnections ?? 20_000,
    events: {
      ...reports,
      held(event, reason) {
        if (reason === undefined) holding.delete(event);
        else holding.set(event, reason);
        releaseLog.note(event, clock.utc(), reason === undefined ? 'releases go on' : `hold: ${reason}`);
        metrics.count('sealcast_release_holds_total', 'Times releases were suspended, by reason.', { event, reason: reason ?? 'resumed' });
        if (reason !== undefined) alarm(`hold/${event}/${reason}`, () => events({ at: timers.now(), kind: 'release.held', severity: 'alert', message: `Releases of ${event} are suspended (${reason}).`, asset: event, data: { reason } }));
        else events({ at: timers.now(), kind: 'release.resumed', severity: 'info', message: `Releases of ${event} go on.`, asset: event });
      },
    },
  });

  const grants = createGrantLoop({
    edge, signKey: options.signKey, servers: options.servers, intake, clock: timers, random: options.random, log, metrics,
    onRefused: (event, server, status) => alarm(`refused/${event}/${server}`, () => events({ at: timers.now(), kind: 'release.key-server-refused', severity: 'alert', message: `Key server ${server} answered ${status} for ${event}.`, asset: event, data: { server, status } })),
    onEvents(listed, hosts) {
      clockTask.hosts(hosts);
      for (const event of [...intake.books.keys()]) {
        if (listed(event)) continue;
        host.drop(event);
        for (const follower of followers) follower.drop(event);
        intake.drop(event);
        figures.delete(event);
        timeline.drop(event);
        holding.delete(event);
      }
    },
  });

  const clockTask: ClockTask = createClockTask({
    clock, host: options.host, sources: [...options.servers.map(({ name, url, fetch }) => ({ name, url, fetch })), ...options.peers], alone: options.alone, timers, time, log, metrics,
    ...(options.local !== undefined && { local: options.local }),
    onSample: (sample) => followers.forEach((follower) => follower.sample(sample)),
    onMode: (single) => followers.forEach((follower) => follower.mode(single)),
  });

  const standing = (): readonly ReleaseStanding[] => {
    const now = clock.utc();
    return [...intake.books].flatMap(([event, book]) => {
      const info = host.info(event);
      if (info === undefined) return [];
      const connections = (host.room(event)?.size ?? 0) + followers.reduce((sum, follower) => sum + follower.connections(event), 0);
      return [{ event, info, connections, released: book.released, horizon: book.horizon(now), held: holding.get(event), figures: bookOfFigures(event).figures(time.monotonic()), segments: timeline.view(info, bookOfFigures(event).segments(), now, SEGMENTS_SHOWN) }];
    });
  };

  const summary = (): EdgeReport => {
    const { earliest, latest, status } = clock.bound();
    return {
      status,
      ...(latest !== Number.MAX_SAFE_INTEGER && { error: Math.ceil((latest - earliest) / 2) }),
      events: standing().slice(0, 256).map(({ event, connections, released, horizon, held, figures: { latenessP99, spreadP95, onTime, held: bytesHeld } }) => ({
        event, connections, released, horizon: Math.max(0, Math.round(horizon)),
        ...(held !== undefined && { held }), ...(latenessP99 !== undefined && { latenessP99 }), ...(spreadP95 !== undefined && { spreadP95: Math.max(0, spreadP95) }), ...(onTime !== undefined && { onTime }), ...(bytesHeld !== undefined && { bytesHeld }),
      })),
    };
  };

  const watch = (): void => {
    const now = clock.utc();
    for (const [event, book] of intake.books) {
      const horizon = book.horizon(now);
      metrics.gauge('sealcast_release_horizon_seconds', 'How far ahead release secrets are held.', horizon / 1e6, { event });
      metrics.gauge('sealcast_release_connections', 'Clients on the release channel.', host.room(event)?.size ?? 0, { event });
      if (horizon < HORIZON_ALARM && clock.bound().latest !== Number.MAX_SAFE_INTEGER && book.released >= 0) {
        alarm(`horizon/${event}`, () => events({ at: timers.now(), kind: 'release.horizon-short', severity: 'alert', message: `Release secrets of ${event} reach only ${(horizon / 1e6).toFixed(1)} s ahead: no key server answers.`, asset: event, data: { seconds: horizon / 1e6 } }));
      }
      const { held, reports: told } = bookOfFigures(event).figures(time.monotonic());
      if (held !== undefined) {
        metrics.gauge('sealcast_release_held_share', 'Share of reported periods whose bytes clients held at the release.', held, { event });
        if (held < HELD_TARGET && told >= 3) alarm(`held/${event}`, () => events({ at: timers.now(), kind: 'release.bytes-late', severity: 'alert', message: `Only ${(held * 100).toFixed(1)} % of what is released of ${event} is with the clients in time.`, asset: event, data: { share: held, reports: told } }));
      }
      timeline.view(book.info, [], now, 0);
      book.forget((now - KEEP_PAST) as Micros);
    }
    if (highWater - keptWater >= 1_000_000) {
      keptWater = highWater;
      options.keepFloor(highWater).catch((error: unknown) => log.error('the high-water mark could not be kept', { reason: error instanceof Error ? error.message : String(error) }));
    }
    if (time.monotonic() - reportedAt > REPORT_EVERY) {
      reportedAt = time.monotonic();
      void grants.report(encodeEdgeReport(summary()));
    }
    if (time.monotonic() - publishedAt > PUBLISH_EVERY && releaseLog.head !== undefined && releaseLog.head.head !== publishedHead) {
      publishedAt = time.monotonic();
      publishedHead = releaseLog.head.head;
      void grants.publish(releaseLog.head.jws);
    }
    cancelWatch = timers.after(WATCH_EVERY as Millis, watch);
  };

  return {
    host, clock, intake, timeline,
    hostId: options.host,
    bound: () => clock.bound(),
    handler: createReleasePull({
      clock,
      book: (event) => intake.book(event),
      info: (event) => host.info(event),
      released: (event) => intake.book(event)?.released ?? -1,
      keys: () => options.servers.map(({ jwk }) => jwk),
      past: options.servers,
      mayAskEpoch: options.mayAskEpoch,
      monotonic: () => time.monotonic(),
      metrics,
    }),
    standing,
    readiness() {
      const held = [...holding];
      if (held.length > 0) return { ready: false, detail: held.map(([event, reason]) => `${event}: ${reason}`).join(', ') };
      const { status } = clock.bound();
      return intake.books.size > 0 && status !== 'sync' && status !== 'single-host' ? { ready: false, detail: `clock: ${status}` } : { ready: true, detail: `clock: ${status}` };
    },
    reports: { ...reports, unsure: () => clockTask.hurry() },
    start() {
      clockTask.start();
      grants.start();
      host.start();
      releaseLog.start();
      watch();
    },
    drain: (spreadMs) => {
      host.drain(spreadMs);
      for (const follower of followers) follower.drain(spreadMs);
    },
    async stop() {
      grants.stop();
      host.stop();
      clockTask.stop();
      cancelWatch?.();
      await releaseLog.stop();
      if (highWater > keptWater) await options.keepFloor(highWater).catch(() => undefined);
      intake.close();
    },
  };
};
