// SPDX-License-Identifier: Apache-2.0
/**
 * The clients of one event at one release worker, and the write of one secret to all of them.
 *
 * docs/wire/release.md. The order of writing is a fresh permutation per period from CSPRNG bytes that go into the audit log:
 * whoever connected first, or often, gains nothing that lasts. One buffer is written to all.
 * Invariant: `release` writes only what the gate gave it; a client that does not take what it gets is skipped, then closed.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { LadderHash } from '#core/keys/ladder.ts';
import type { ReleaseEntry } from '#core/release/audit.ts';
import type { ReleaseBook } from '#core/release/book.ts';
import type { ClockBound } from '#core/release/clock-bound.ts';
import { encodeRelease, REPLAY } from '#core/release/frame.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { CLOSE, edgeMessageData, type EdgeMessage, encodeEdgeMessage, type HoldReason, MAX_PULL } from '#core/release/messages.ts';
import { permutation } from '#core/release/permutation.ts';
import { lastReleasedBy } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { Clock, Random, ReleaseFraming } from '#ports';
import type { EdgeClock } from './clock-task.ts';
import type { Connection } from './connection.ts';

/** Releases in a row that a client may miss because it does not read. */
const MAX_BEHIND = 5;
/** Clients that get a long message at a time: a schedule for everybody must not stand in the way of a release. */
const SLICE = 100;
const SLICE_EVERY = 5;

/** What one release was. */
export type Released = { readonly entry: ReleaseEntry; readonly lateness: Micros; readonly spread: Micros };

/** One event's clients here. */
export type Room = {
  readonly book: ReleaseBook;
  /** Next period to release. */
  cursor: CryptoPeriod;
  /** When the room was made, monotonic. */
  readonly openedAt: Millis;
  /** Why nothing is released at the moment. */
  held: HoldReason | undefined;
  readonly size: number;
  readonly connections: readonly Connection[];
  /** Connections of an account, for its cap. */
  accountSize(account: string): number;
  join(connection: Connection, last: CryptoPeriod | undefined, welcome: EdgeMessage): void;
  leave(connection: Connection): void;
  /** Prepares the next release: everything that need not wait for the instant. */
  prepare(): void;
  /** Writes `secret` of the cursor's period to everybody. `bound` is what the gate decided on. */
  release(secret: Uint8Array, bound: ClockBound): Released;
  /** Answers a pull through the same gate. */
  pull(connection: Connection, periods: readonly CryptoPeriod[], bound: ClockBound): void;
  broadcast(message: EdgeMessage): void;
};

/** An empty room. `worker` names this release worker in the log. */
export const createRoom = (options: { book: ReleaseBook; clock: EdgeClock; timers: Clock; random: Random; hash: Pick<LadderHash, 'sha256'>; worker: number; framings: readonly ReleaseFraming[]; openedAt: Millis }): Room => {
  const { book, clock, timers, random } = options;
  const { info } = book;
  const connections: Connection[] = [];
  const accounts = new Map<string, number>();
  let order: Uint32Array<ArrayBufferLike> = new Uint32Array(1024);
  let seed: Uint8Array = new Uint8Array(16);
  let prepared: Uint32Array<ArrayBufferLike> = order.subarray(0, 0);

  const frameOf = (period: CryptoPeriod, secret: Uint8Array, bound: ClockBound, now: Micros, flags: number): Uint8Array =>
    encodeRelease({ flags, alias: 0, period, releaseAt: releaseInstant(info, period), lateness: Math.max(0, now - releaseInstant(info, period)) as Micros, error: ((bound.latest - bound.earliest) / 2) as Micros, secret });

  const replay = (connection: Connection, period: CryptoPeriod, bound: ClockBound): boolean => {
    const opening = book.open(period, bound);
    if (!opening.release) return false;
    connection.transport.raw(connection.framing.release(period, frameOf(period, opening.secret, bound, clock.utc(), REPLAY)));
    return true;
  };

  const room: Room = {
    book,
    cursor: 0 as CryptoPeriod,
    openedAt: options.openedAt,
    held: undefined,
    get size() {
      return connections.length;
    },
    connections,
    accountSize: (account) => accounts.get(account) ?? 0,
    join(connection, last, welcome) {
      connection.index = connections.length;
      connections.push(connection);
      const account = connection.claims?.account ?? '';
      accounts.set(account, (accounts.get(account) ?? 0) + 1);
      connection.send(welcome);
      const bound = clock.bound();
      const now = book.released;
      const from = last === undefined || now - last > MAX_PULL ? now : last + 1;
      for (let period = Math.max(0, from); period <= now; period++) replay(connection, period as CryptoPeriod, bound);
      if (room.held !== undefined) connection.send({ type: 'hold', reason: room.held });
    },
    leave(connection) {
      const { index } = connection;
      if (index < 0) return;
      const moved = connections.pop();
      if (moved !== undefined && moved !== connection) {
        connections[index] = moved;
        moved.index = index;
      }
      connection.index = -1;
      const account = connection.claims?.account ?? '';
      const left = (accounts.get(account) ?? 1) - 1;
      if (left > 0) accounts.set(account, left);
      else accounts.delete(account);
    },
    prepare() {
      if (order.length < connections.length) order = new Uint32Array(connections.length * 2);
      seed = random.bytes(16);
      prepared = permutation(seed, connections.length, order);
    },
    release(secret, bound) {
      const period = room.cursor;
      // Somebody joined or left since: the order has to be one of exactly these.
      if (prepared.length !== connections.length) room.prepare();
      const first = clock.utc();
      const frame = frameOf(period, secret, bound, first, 0);
      const framed = new Map<ReleaseFraming, Uint8Array>();
      for (const framing of options.framings) framed.set(framing, framing.release(period, frame));
      const here = prepared;
      let sent = 0;
      let skipped = 0;
      const slow: Connection[] = [];
      for (let at = 0; at < here.length; at++) {
        const connection = connections[here[at] as number] as Connection;
        const { transport } = connection;
        if (transport.pending > 0) {
          skipped++;
          if (++connection.behind >= MAX_BEHIND) slow.push(connection);
          continue;
        }
        connection.behind = 0;
        transport.raw(framed.get(connection.framing) as Uint8Array);
        sent++;
      }
      const last = clock.utc();
      book.passed(period);
      for (const connection of slow) connection.end(CLOSE.slow, 'reads too slowly');
      const releaseAt = releaseInstant(info, period);
      const { state } = clock;
      return {
        lateness: Math.max(0, first - releaseAt) as Micros,
        spread: (last - first) as Micros,
        entry: {
          event: info.event, version: info.version, period, releaseAt, earliest: bound.earliest, latest: bound.latest, first, last, sent, skipped, status: bound.status,
          sources: bound.status === 'single-host' ? ['host'] : state.samples.map(({ source }) => source),
          seed: encodeBase64url(seed), secretHash: encodeBase64url(options.hash.sha256(secret)), worker: options.worker,
        },
      };
    },
    pull(connection, periods, bound) {
      const due = lastReleasedBy(info, bound.earliest);
      for (const period of periods) {
        if (replay(connection, period, bound)) continue;
        const because = book.open(period, bound);
        const code = !because.release && because.because === 'too-early' ? 'too-early' : period <= due ? 'gone' : 'unknown';
        connection.send({ type: 'err', code, period });
      }
    },
    broadcast(message) {
      const all = [...connections];
      // One text for all of them: a schedule has kilobytes, and there may be thousands of clients.
      const framed = new Map<ReleaseFraming, Uint8Array>();
      const bytesFor = ({ framing, transport }: Connection): Uint8Array => {
        let bytes = framed.get(framing);
        if (bytes === undefined) framed.set(framing, (bytes = framing.text(message.type, transport.kind === 'ws' ? encodeEdgeMessage(message) : JSON.stringify(edgeMessageData(message)))));
        return bytes;
      };
      const slice = (from: number): void => {
        for (const connection of all.slice(from, from + SLICE)) if (connection.index >= 0) connection.transport.raw(bytesFor(connection));
        if (from + SLICE < all.length) timers.after(SLICE_EVERY as Millis, () => slice(from + SLICE));
      };
      slice(0);
    },
  };
  return room;
};
