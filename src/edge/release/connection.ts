// SPDX-License-Identifier: Apache-2.0
/**
 * One client on the release channel: what it may say, when, and how often.
 *
 * docs/wire/release.md, "Edge → client". States: waiting for `hello` → joined → closed. Nothing a client says reaches the
 * clock or the gate; a flood, an oversized or a malformed message ends the connection with its own code.
 * Invariant: only joined connections are in a room, and a connection is in one room.
 */
import type { AssetId } from '#core/ids.ts';
import { decodeSyncRequest, encodeSyncAnswer, SYNC_REQUEST_LENGTH } from '#core/release/frame.ts';
import { type ClientMessage, CLOSE, type EdgeMessage, encodeEdgeMessage, edgeMessageData, MAX_CLIENT_MESSAGE, parseClientMessage, type StatMessage } from '#core/release/messages.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';
import type { ReleaseClaims } from '#core/token/release-claims.ts';
import type { PreciseTime, ReleaseFraming, ReleaseTransport } from '#ports';
import type { EdgeClock } from './clock-task.ts';
import { createBucket } from './limits.ts';

/** How tokens are checked: claims, or the close code. */
export type TokenCheck = (token: string, event: AssetId) => ReleaseClaims | number;

/** A joined or joining client. */
export type Connection = {
  readonly transport: ReleaseTransport;
  readonly framing: ReleaseFraming;
  readonly event: AssetId;
  readonly alias: number;
  claims: ReleaseClaims | undefined;
  /** Place in its room; -1 outside. */
  index: number;
  /** Releases in a row that could not be written. */
  behind: number;
  closed: boolean;
  /** When it last said something, monotonic. */
  heardAt: Millis;
  send(message: EdgeMessage): void;
  text(text: string): void;
  binary(bytes: Uint8Array): void;
  /** The transport is gone. */
  gone(): void;
  end(code: number, reason: string): void;
};

/** What a connection asks of its host. */
export type ConnectionHost = {
  readonly time: PreciseTime;
  readonly clock: EdgeClock;
  readonly check: TokenCheck;
  /** Takes it into its room; a close code if that is not possible. */
  join(connection: Connection, last: CryptoPeriod | undefined): number | undefined;
  leave(connection: Connection): void;
  pull(connection: Connection, periods: readonly CryptoPeriod[]): void;
  stat(connection: Connection, stat: StatMessage): void;
  count(what: string): void;
};

/** Pulls: periods a second, and in one go. A client that lost 50 periods asks for 50 at once. */
const PULL_RATE = 100;
const PULL_BURST = 500;
const SYNC_RATE = 20;
const SYNC_BURST = 20;
/** Refused requests in a row before the connection is a flood. */
const FLOOD = 50;

/** A connection that has said nothing yet. `binary` frames but SYNC requests are malformed. */
export const createConnection = (host: ConnectionHost, options: { transport: ReleaseTransport; framing: ReleaseFraming; event: AssetId; alias: number }): Connection => {
  const { transport, framing, event } = options;
  const pulls = createBucket(PULL_RATE, PULL_BURST);
  const syncs = createBucket(SYNC_RATE, SYNC_BURST);
  let refused = 0;

  const flood = (): void => {
    refused++;
    if (refused < FLOOD) return;
    host.count('flood');
    connection.end(CLOSE.flood, 'too many requests');
  };

  const take = (message: ClientMessage): void => {
    if (message.type === 'hello') {
      if (connection.claims !== undefined) return connection.end(CLOSE.malformed, 'hello comes once');
      if (message.event !== event) return connection.end(CLOSE.forbidden, 'another event');
      const claims = host.check(message.token, event);
      if (typeof claims === 'number') {
        host.count(claims === CLOSE.token ? 'token' : 'forbidden');
        return connection.end(claims, 'the token was not accepted');
      }
      connection.claims = claims;
      const code = host.join(connection, message.last);
      if (code !== undefined) connection.end(code, 'not taken');
      return;
    }
    if (connection.claims === undefined) return connection.end(CLOSE.malformed, 'hello comes first');
    switch (message.type) {
      case 'pull':
        if (pulls.take(host.time.monotonic(), message.periods.length)) {
          refused = 0;
          host.pull(connection, message.periods);
        } else {
          host.count('pull-limited');
          connection.send({ type: 'err', code: 'rate-limited' });
          flood();
        }
        return;
      case 'token': {
        const claims = host.check(message.token, event);
        // A fresh token for another session would carry one account's place over to another.
        if (typeof claims === 'number' || claims.session !== connection.claims.session) return connection.end(CLOSE.token, 'the token was not accepted');
        connection.claims = claims;
        return;
      }
      case 'stat':
        return host.stat(connection, message);
      case 'bye':
        return connection.end(1000, '');
    }
  };

  const connection: Connection = {
    transport, framing, event, alias: options.alias,
    claims: undefined,
    index: -1,
    behind: 0,
    closed: false,
    heardAt: host.time.monotonic(),
    send(message) {
      if (!connection.closed) transport.raw(framing.text(message.type, transport.kind === 'ws' ? encodeEdgeMessage(message) : JSON.stringify(edgeMessageData(message))));
    },
    text(text) {
      if (connection.closed) return;
      connection.heardAt = host.time.monotonic();
      let message: ClientMessage;
      try {
        message = parseClientMessage(text);
      } catch {
        host.count(text.length > MAX_CLIENT_MESSAGE ? 'oversized' : 'malformed');
        return connection.end(CLOSE.malformed, 'malformed message');
      }
      take(message);
    },
    binary(bytes) {
      if (connection.closed) return;
      const received = host.clock.utc();
      connection.heardAt = host.time.monotonic();
      if (bytes.length !== SYNC_REQUEST_LENGTH) {
        host.count('malformed');
        return connection.end(CLOSE.malformed, 'malformed frame');
      }
      if (!syncs.take(host.time.monotonic())) {
        host.count('sync-limited');
        return flood();
      }
      try {
        const { seq, t1 } = decodeSyncRequest(bytes);
        const { earliest, latest, status } = host.clock.bound();
        const sure = status === 'sync' || status === 'single-host';
        const answer = encodeSyncAnswer({ seq, t1, received, sent: host.clock.utc(), error: (sure ? (latest - earliest) / 2 : 0xff_ffff) as Micros });
        const framed = framing.binary(answer);
        if (framed !== undefined) transport.raw(framed);
      } catch {
        host.count('malformed');
        connection.end(CLOSE.malformed, 'malformed frame');
      }
    },
    gone() {
      if (connection.closed) return;
      connection.closed = true;
      host.leave(connection);
    },
    end(code, reason) {
      if (connection.closed) return;
      connection.closed = true;
      host.leave(connection);
      transport.close(code, reason);
    },
  };
  return connection;
};
