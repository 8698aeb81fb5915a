// SPDX-License-Identifier: Apache-2.0
/**
 * What this edge knows of each session for some minutes: from where it was fetched and how much, and which answers run.
 *
 * Design section 5: {address prefix, agent digest, bytes} per session are evidence of a shared token; a session that is ended
 * loses the answers that are still being written, too, so that a client that reads slowly gets no more than one that asks again.
 * Invariant: memory is bounded in sessions, rows and minutes; a full address or agent text is kept for no longer than a row is
 * being compared with it, and never leaves this file.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { SessionId } from '#core/ids.ts';
import { addressPrefix } from '#core/policy/shared-token.ts';
import type { Micros } from '#core/time.ts';
import { sha256 } from '#crypto/hmac.ts';
import type { Carrier } from '#ports';

/** An answer that is being written; a runtime's server has one per request. */
export type OpenAnswer = {
  /** True once everything was handed to the network, or the client is gone. */
  readonly done: boolean;
  /** Ends the connection at once; what was not sent is lost. */
  cut(): void;
};

/** One way a session was fetched. */
type Row = { readonly address: string; readonly userAgent: string; readonly prefix: string; readonly agent: string; bytes: number; readonly from: Micros; to: Micros };
type Traffic = { readonly rows: Row[]; last: Row | undefined; open: OpenAnswer[]; seen: Micros };

/** Sessions and what became of them. */
export type SessionTraffic = {
  /** A request of a session that may go on. Called before its bytes are looked for. */
  opened(session: SessionId, address: string, userAgent: string, answer: OpenAnswer | undefined, now: Micros): void;
  /** Bytes of an answer to the session's latest request. */
  sent(session: SessionId, bytes: number): void;
  /** Cuts what runs of a session; answers how many connections that were. */
  cut(session: SessionId): number;
  has(session: SessionId): boolean;
  /** For evidence; without the edge's name. */
  rowsOf(session: SessionId): readonly Omit<Carrier, 'edge'>[];
  /** Forgets what is older than the minutes kept; called about once a second. */
  sweep(now: Micros): void;
  readonly size: number;
};

const KEPT = 600_000_000;
/** About 60 MB when full. */
const MAX_SESSIONS = 200_000;
/** Ways of one session told apart; more than this is a sign anyway. */
const MAX_ROWS = 16;
const MAX_OPEN = 64;
/** Sessions looked at per sweep, oldest first. */
const SWEEP = 2000;

const digest = (userAgent: string): string => (userAgent === '' ? '' : encodeHex(sha256(encodeUtf8(userAgent)).subarray(0, 8)));

/** Empty; nothing is stored anywhere else. */
export const createSessionTraffic = (): SessionTraffic => {
  // Insertion order is order of last use, roughly: a session moves to the end when it is a minute older.
  const sessions = new Map<SessionId, Traffic>();
  /** Sessions with answers that may still be written: finished ones are let go of soon, a server's answer is not small. */
  const writing = new Set<SessionId>();
  const MINUTE = 60_000_000;

  const rowFor = (traffic: Traffic, address: string, userAgent: string, now: Micros): Row => {
    const { last } = traffic;
    if (last !== undefined && last.address === address && last.userAgent === userAgent) return last;
    const [prefix, agent] = [addressPrefix(address), digest(userAgent)];
    const known = traffic.rows.find((row) => row.prefix === prefix && row.agent === agent);
    const row = known ?? { address, userAgent, prefix, agent, bytes: 0, from: now, to: now };
    if (known === undefined) {
      if (traffic.rows.length >= MAX_ROWS) traffic.rows.sort((a, b) => b.bytes - a.bytes).pop();
      traffic.rows.push(row);
    }
    return row;
  };

  return {
    opened(session, address, userAgent, answer, now) {
      let traffic = sessions.get(session);
      if (traffic === undefined) {
        traffic = { rows: [], last: undefined, open: [], seen: now };
        sessions.set(session, traffic);
        const [oldest] = sessions.size > MAX_SESSIONS ? sessions.keys() : [];
        if (oldest !== undefined) sessions.delete(oldest);
      } else if (now - traffic.seen > MINUTE) {
        sessions.delete(session);
        sessions.set(session, traffic);
        traffic.seen = now;
      }
      const row = rowFor(traffic, address, userAgent, now);
      row.to = now;
      traffic.last = row;
      if (answer === undefined) return;
      writing.add(session);
      // Nearly every client has one connection, whose last answer is written by now.
      if (traffic.open.length === 1 && traffic.open[0]?.done === true) {
        traffic.open[0] = answer;
        return;
      }
      if (traffic.open.length > 0) traffic.open = traffic.open.filter(({ done }) => !done);
      // A client with so many unread answers at once is not playing.
      if (traffic.open.length >= MAX_OPEN) traffic.open.shift()?.cut();
      traffic.open.push(answer);
    },
    sent(session, bytes) {
      const row = sessions.get(session)?.last;
      if (row !== undefined) row.bytes += bytes;
    },
    cut(session) {
      const traffic = sessions.get(session);
      if (traffic === undefined) return 0;
      const running = traffic.open.filter(({ done }) => !done);
      traffic.open = [];
      for (const answer of running) answer.cut();
      return running.length;
    },
    has: (session) => sessions.has(session),
    rowsOf: (session) => (sessions.get(session)?.rows ?? []).map(({ prefix, agent, bytes, from, to }) => ({ session, prefix, agent, bytes, from, to })),
    sweep(now) {
      for (const session of writing) {
        const traffic = sessions.get(session);
        if (traffic !== undefined) traffic.open = traffic.open.filter(({ done }) => !done);
        if (traffic === undefined || traffic.open.length === 0) writing.delete(session);
      }
      let looked = 0;
      for (const [session, { seen }] of sessions) {
        if (looked++ >= SWEEP || now - seen < KEPT) return;
        sessions.delete(session);
      }
    },
    get size() {
      return sessions.size;
    },
  };
};
