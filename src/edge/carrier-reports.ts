// SPDX-License-Identifier: Apache-2.0
/**
 * What the edge has still to tell about sessions that ended because of a leak.
 *
 * Invariant: each such session that was fetched here is told once per life of the edge, in requests of bounded size; what a
 * failed request held is told again.
 */
import { type EdgeCarrier, MAX_CARRIERS_PER_REQUEST } from '#core/edge-bundle/edge-carriers.ts';
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { SessionId } from '#core/ids.ts';
import type { SessionTraffic } from '#edge/session-traffic.ts';

/** Rows waiting to be told. */
export type CarrierReports = {
  /** Cuts what runs of ended sessions and notes what is to be told of them; answers how many connections were cut. */
  ended(revoked: EdgeBundle['revokedSessions']): number;
  /** The next rows to tell; the same until `told`. */
  next(): readonly EdgeCarrier[];
  /** So many of them arrived. */
  told(count: number): void;
};

/** Rows waiting at most: enough for hundreds of leaks at once. */
const MAX_WAITING = 4096;

/** Reports over the traffic of this edge. */
export const createCarrierReports = (traffic: SessionTraffic): CarrierReports => {
  const waiting: EdgeCarrier[] = [];
  let known = new Set<SessionId>();
  return {
    ended(revoked) {
      let cut = 0;
      const now = new Set<SessionId>();
      for (const { session, reason } of revoked) {
        // The list is the whole current one: what was on the last one is over already.
        now.add(session);
        if (known.has(session) || !traffic.has(session)) continue;
        cut += traffic.cut(session);
        if (reason === 'leak' && waiting.length < MAX_WAITING) waiting.push(...traffic.rowsOf(session));
      }
      known = now;
      return cut;
    },
    next: () => waiting.slice(0, MAX_CARRIERS_PER_REQUEST),
    told: (count) => void waiting.splice(0, count),
  };
};
