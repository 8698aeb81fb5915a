// SPDX-License-Identifier: Apache-2.0
/**
 * The release loop of one thread: rooms of events, their clients, and the instant at which each secret leaves.
 *
 * docs/wire/release.md; facts of timing in docs/guide/timed-release.md. The loop sleeps until three milliseconds before the
 * next instant, blocks the thread until the gate opens, writes, and only then lets anything else happen.
 * Invariant: the only way out for a secret is `book.open` with the bound of that moment; a doubt is a `hold`, never a guess.
 */
import type { AssetId } from '#core/ids.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import { createReleaseBook, type ReleaseBook } from '#core/release/book.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { CLOSE, type EdgeMessage, type HoldReason, type StatMessage } from '#core/release/messages.ts';
import { type EdgeInfo, lastReleasedBy } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { ReleaseClaims } from '#core/token/release-claims.ts';
import type { Clock, PreciseTime, Random, ReleaseFraming, ReleaseTransport } from '#ports';
import type { EdgeClock } from './clock-task.ts';
import { type Connection, createConnection, type TokenCheck } from './connection.ts';
import type { Taken } from './grant-intake.ts';
import { createRoom, type Released, type Room } from './room.ts';

/** What a host tells its surroundings; never from between an instant and the end of its writes. */
export type HostEvents = {
  released(event: AssetId, released: Released, size: number): void;
  stat(event: AssetId, stat: StatMessage): void;
  held(event: AssetId, reason: HoldReason | undefined): void;
  count(what: string): void;
};

/** One thread's release loop. */
export type ReleaseHost = {
  /** Follows what the grant intake took. */
  take(taken: Taken): void;
  /** The event is over or not ours any more: its clients are sent away. */
  drop(event: AssetId): void;
  /** Takes a connection; its messages go to what comes back. Undefined: no such event here. */
  accept(event: AssetId, transport: ReleaseTransport, framing: ReleaseFraming): Connection | undefined;
  /** An SSE client, whose token came with the request; a close code if it is not taken. */
  subscribe(event: AssetId, transport: ReleaseTransport, framing: ReleaseFraming, request: { token: string; last?: CryptoPeriod }): Connection | number;
  /** Whether a client with this token would be taken; a close code if not. */
  admits(event: AssetId, token: string): number | undefined;
  info(event: AssetId): EdgeInfo | undefined;
  room(event: AssetId): Room | undefined;
  readonly connections: number;
  /** Sends everybody to other edges within `spreadMs`, then closes them. */
  drain(spreadMs: number): void;
  start(): void;
  stop(): void;
};

/** Woken so long before an instant; timers are late by a millisecond or two, and what is left is waited for exactly. */
const WAKE_BEFORE = 3;
/** More than this left at wake-up: sleep again instead of blocking. */
const MAX_BLOCK = 8;
/** Periods that may be released in one go after a stall; older ones are for pulls. */
const MAX_CATCH_UP = 10;
const RETRY = 20;
const SWEEP_EVERY = 1000;
/** A new event's first secrets have so long to come before clients are told to wait. */
const OPENING = 2000;
/** Past secrets that a worker keeps for pulls. */
const KEEP_PAST: Micros = 600_000_000 as Micros;
const HELLO_WITHIN = 5000;
const SILENT_AFTER = 60_000;
const TOKEN_GRACE: Micros = 30_000_000 as Micros;
/** A hold that lasts so long sends clients to their other edge. */
const DRAIN_AFTER = 2000;

/** `own`: books are fed by `take` and belong to the host (workers); else `bookOf` shares the intake's. */
export const createReleaseHost = (options: {
  edge: string;
  time: PreciseTime;
  clock: EdgeClock;
  timers: Clock;
  random: Random;
  hash: LadderHash;
  worker: number;
  framings: readonly ReleaseFraming[];
  check: TokenCheck;
  isRevoked: (claims: ReleaseClaims) => boolean;
  /** In process the intake's books are used as they are; a worker keeps its own. */
  bookOf?: (event: AssetId) => ReleaseBook | undefined;
  urls: (event: AssetId) => readonly string[];
  /** Cap of connections of this thread. */
  maxConnections: number;
  events: HostEvents;
}): ReleaseHost => {
  const { time, clock, timers, events } = options;
  const rooms = new Map<AssetId, Room & { heldSince?: number; drained?: boolean }>();
  /** Connected and not joined yet. */
  const waiting = new Set<Connection>();
  let running = false;
  let cancelLoop: (() => void) | undefined;
  let cancelSweep: (() => void) | undefined;
  let aliases = 0;
  let draining = false;
  let total = 0;

  const infoOf = (event: AssetId): EdgeInfo | undefined => {
    const room = rooms.get(event);
    return room && { ...room.book.info, edge: options.edge, urls: options.urls(event) };
  };

  const hold = (event: AssetId, room: Room & { heldSince?: number; drained?: boolean }, reason: HoldReason | undefined): void => {
    if (room.held === reason) {
      if (reason !== undefined && room.drained !== true && time.monotonic() - (room.heldSince ?? 0) > DRAIN_AFTER && options.urls(event).length > 1) {
        room.drained = true;
        room.broadcast({ type: 'drain', alt: options.urls(event), spreadMs: 2000 });
      }
      return;
    }
    room.held = reason;
    room.heldSince = time.monotonic();
    room.drained = false;
    room.broadcast(reason === undefined ? { type: 'resume', now: room.book.released } : { type: 'hold', reason });
    events.held(event, reason);
  };

  const connectionHost = {
    time,
    clock,
    check: options.check,
    join(connection: Connection, last: CryptoPeriod | undefined): number | undefined {
      waiting.delete(connection);
      const room = rooms.get(connection.event);
      const info = infoOf(connection.event);
      const { claims } = connection;
      if (room === undefined || info === undefined || claims === undefined) return CLOSE.unknownEvent;
      if (room.accountSize(claims.account) >= claims.connections) {
        events.count('connections');
        return CLOSE.connections;
      }
      const welcome: EdgeMessage = { type: 'welcome', alias: connection.alias, now: room.book.released, info, alt: info.urls, schedules: room.book.schedules(room.cursor, 3) };
      room.join(connection, last, welcome);
      return undefined;
    },
    leave(connection: Connection): void {
      total--;
      waiting.delete(connection);
      rooms.get(connection.event)?.leave(connection);
    },
    pull: (connection: Connection, periods: readonly CryptoPeriod[]) => rooms.get(connection.event)?.pull(connection, periods, clock.bound()),
    stat: (connection: Connection, stat: StatMessage) => events.stat(connection.event, stat),
    count: (what: string) => events.count(what),
  };

  /** Releases what is due in one room; answers how long until it may have something again, in milliseconds. */
  const turn = (event: AssetId, room: Room): number => {
    let bound = clock.bound();
    if (bound.status !== 'sync' && bound.status !== 'single-host') {
      hold(event, room, 'clock');
      return RETRY;
    }
    const { info } = room.book;
    const due = lastReleasedBy(info, bound.earliest);
    if (due - room.cursor >= MAX_CATCH_UP) room.cursor = (due - MAX_CATCH_UP + 1) as CryptoPeriod;
    for (;;) {
      let opening = room.book.open(room.cursor, bound);
      if (!opening.release && opening.because === 'too-early') {
        const left = opening.waitFor / 1000;
        if (left > MAX_BLOCK) return left - WAKE_BEFORE;
        room.prepare();
        // The look catches a suspend or a step while the timer slept; what it finds counts before anything is written.
        clock.look();
        bound = clock.bound();
        const rest = Math.max(0, (releaseInstant(info, room.cursor) - bound.earliest) / 1000);
        // A clock that is not sure any more, or thinks otherwise now, is decided on anew, without waiting.
        if (rest > MAX_BLOCK || (bound.status !== 'sync' && bound.status !== 'single-host')) continue;
        // From here until the last write nothing else runs in this thread.
        time.waitUntil((time.monotonic() + rest) as Millis);
        do {
          bound = clock.bound();
          opening = room.book.open(room.cursor, bound);
        } while (!opening.release && opening.because === 'too-early' && opening.waitFor < 1000);
        if (!opening.release && opening.because === 'too-early') continue;
      }
      if (!opening.release) {
        // Schedules come a moment before the first secrets: that is no suspension yet.
        if (room.book.released < 0 && time.monotonic() - room.openedAt < OPENING) return RETRY;
        hold(event, room, opening.because === 'clock-unsure' || opening.because === 'clock-too-wide' ? 'clock' : 'horizon');
        // A secret that never comes must not stop the ones after it.
        if (opening.because === 'not-granted' && room.book.holds((room.cursor + 1) as CryptoPeriod) && room.cursor < lastReleasedBy(info, bound.earliest)) {
          room.cursor = (room.cursor + 1) as CryptoPeriod;
          continue;
        }
        return RETRY;
      }
      const released = room.release(opening.secret, bound);
      room.cursor = (room.cursor + 1) as CryptoPeriod;
      hold(event, room, undefined);
      events.released(event, released, room.size);
      bound = clock.bound();
    }
  };

  const loop = (): void => {
    cancelLoop = undefined;
    if (!running) return;
    let rest = 1000;
    // Rooms in turns: two events at the same instant take it in order of whose next one is sooner.
    const order = [...rooms].sort(([, a], [, b]) => releaseInstant(a.book.info, a.cursor) - releaseInstant(b.book.info, b.cursor));
    for (const [event, room] of order) rest = Math.min(rest, turn(event, room));
    cancelLoop = timers.after(Math.max(0, rest) as Millis, loop);
  };
  const arm = (): void => {
    if (!running) return;
    cancelLoop?.();
    cancelLoop = timers.after(0 as Millis, loop);
  };

  const sweep = (): void => {
    const now = time.monotonic();
    for (const connection of waiting) if (now - connection.heardAt > HELLO_WITHIN) connection.end(CLOSE.silent, 'no hello');
    const utc = clock.utc();
    for (const room of rooms.values()) {
      if (options.bookOf === undefined) room.book.forget((utc - KEEP_PAST) as Micros);
      for (const connection of [...room.connections]) {
        const { claims, transport } = connection;
        if (claims === undefined) continue;
        if (options.isRevoked(claims)) connection.end(CLOSE.forbidden, 'the session was ended');
        else if (utc > claims.expiresAt + TOKEN_GRACE) connection.end(CLOSE.token, 'the token has expired');
        else if (transport.kind === 'ws' && now - connection.heardAt > SILENT_AFTER) connection.end(CLOSE.silent, 'silent');
      }
    }
    if (running) cancelSweep = timers.after(SWEEP_EVERY as Millis, sweep);
  };

  const open = (book: ReleaseBook): void => {
    const { event } = book.info;
    if (rooms.has(event)) return;
    const room = createRoom({ book, clock, timers, random: options.random, hash: options.hash, worker: options.worker, framings: options.framings, openedAt: time.monotonic() });
    // What was due before this edge began is for pulls; it starts with the next instant.
    room.cursor = (Math.max(-1, lastReleasedBy(book.info, clock.utc())) + 1) as CryptoPeriod;
    rooms.set(event, room);
    arm();
  };

  const refuses = (): number | undefined => {
    if (draining || !running) return 1001;
    if (total < options.maxConnections) return undefined;
    events.count('full');
    return 1013;
  };

  const connect = (event: AssetId, transport: ReleaseTransport, framing: ReleaseFraming): Connection => {
    total++;
    aliases = (aliases + 1) % 65_536;
    return createConnection(connectionHost, { transport, framing, event, alias: aliases });
  };

  return {
    take(taken) {
      if (taken.kind === 'event') {
        const book = options.bookOf?.(taken.info.event) ?? createReleaseBook({ info: taken.info, hash: options.hash });
        return open(book);
      }
      const room = rooms.get(taken.event);
      if (room === undefined) return;
      if (options.bookOf === undefined) {
        if (taken.kind === 'schedule') room.book.addSchedule(taken.schedule, taken.jws);
        else room.book.addSecrets(taken.from, taken.secrets);
      }
      if (taken.kind === 'schedule') room.broadcast({ type: 'sched', schedules: [taken.jws] });
    },
    drop(event) {
      const room = rooms.get(event);
      if (room === undefined) return;
      for (const connection of [...room.connections]) connection.end(CLOSE.unknownEvent, 'the event is over');
      rooms.delete(event);
      if (options.bookOf === undefined) room.book.close();
    },
    accept(event, transport, framing) {
      const code = refuses();
      if (code !== undefined) {
        transport.close(code, 'not now');
        return undefined;
      }
      if (!rooms.has(event)) {
        transport.close(CLOSE.unknownEvent, 'no such event here');
        return undefined;
      }
      const connection = connect(event, transport, framing);
      waiting.add(connection);
      return connection;
    },
    subscribe(event, transport, framing, request) {
      const code = refuses();
      if (code !== undefined) return code;
      if (!rooms.has(event)) return CLOSE.unknownEvent;
      const claims = options.check(request.token, event);
      if (typeof claims === 'number') {
        events.count(claims === CLOSE.token ? 'token' : 'forbidden');
        return claims;
      }
      const connection = connect(event, transport, framing);
      connection.claims = claims;
      const refused = connectionHost.join(connection, request.last);
      if (refused === undefined) return connection;
      connection.closed = true;
      total--;
      return refused;
    },
    admits(event, token) {
      const code = refuses();
      if (code !== undefined) return code;
      const room = rooms.get(event);
      if (room === undefined) return CLOSE.unknownEvent;
      const claims = options.check(token, event);
      if (typeof claims === 'number') {
        events.count(claims === CLOSE.token ? 'token' : 'forbidden');
        return claims;
      }
      return room.accountSize(claims.account) >= claims.connections ? CLOSE.connections : undefined;
    },
    info: infoOf,
    room: (event) => rooms.get(event),
    get connections() {
      return total;
    },
    drain(spreadMs) {
      draining = true;
      for (const [event, room] of rooms) {
        room.broadcast({ type: 'drain', alt: options.urls(event), spreadMs });
        timers.after((spreadMs + 500) as Millis, () => {
          for (const connection of [...room.connections]) connection.end(1001, 'draining');
        });
      }
    },
    start() {
      if (running) return;
      running = true;
      arm();
      sweep();
    },
    stop() {
      running = false;
      cancelLoop?.();
      cancelSweep?.();
      for (const connection of waiting) connection.end(1001, 'stopped');
      for (const room of rooms.values()) for (const connection of [...room.connections]) connection.end(1001, 'stopped');
    },
  };
};
