// SPDX-License-Identifier: Apache-2.0
/**
 * How often a session of level 2 may move its anchor while the concurrency record cannot be reached.
 *
 * Design section 3: three times. The state carries the count from node to node; what one node has seen counts too, so that
 * rolling a state back wins nothing here. Invariant: bounded memory; the same request is the same move.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { SessionId } from '#core/ids.ts';

/** Moves without the record, at level 2. */
export const UNCOUNTED_MOVES = 3;
/** When to ask again for a move that was not served, ms. */
export const RETRY_MOVE = 10_000;
const REMEMBERED = 100_000;

/** Moves that were served without the record. */
export type UncountedMoves = {
  /** Moves of the session with this one; undefined if there are none left. `spent`: what its state says. */
  take(session: SessionId, request: Uint8Array, spent: number): number | undefined;
  /** The record knows the session's moves again. */
  forget(session: SessionId): void;
};

/** Remembers the sessions that moved last. */
export const createUncountedMoves = (limit: number = REMEMBERED): UncountedMoves => {
  const taken = new Map<SessionId, Map<string, number>>();
  return {
    take(session, request, spent) {
      const requests = taken.get(session) ?? new Map<string, number>();
      const id = encodeBase64url(request);
      const before = requests.get(id);
      if (before !== undefined) return before;
      const now = Math.max(spent, ...requests.values()) + 1;
      if (now > UNCOUNTED_MOVES) return undefined;
      requests.set(id, now);
      taken.delete(session);
      taken.set(session, requests);
      const [oldest] = taken.size > limit ? taken.keys() : [];
      if (oldest !== undefined) taken.delete(oldest);
      return now;
    },
    forget: (session) => void taken.delete(session),
  };
};
