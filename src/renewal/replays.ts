// SPDX-License-Identifier: Apache-2.0
/**
 * Remembers the last request of every session, so that a repeated one is answered again but counted once.
 *
 * Rights do not depend on this memory: they are a pure function of request, state and time. Invariant: bounded memory.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import type { SessionId } from '#core/ids.ts';

/** The last request of every session. */
export type Replays = {
  /** False if this request's MAC was the session's last one. */
  isNew(session: SessionId, mac: Uint8Array): boolean;
};

/** `limit`: sessions remembered; the one that was quiet longest is forgotten first. */
export const createReplays = (limit: number = 100_000): Replays => {
  const last = new Map<SessionId, Uint8Array>();
  return {
    isNew(session, mac) {
      const before = last.get(session);
      const replayed = before !== undefined && equalBytes(before, mac);
      last.delete(session);
      // Copied: the MAC is a view of the request's buffer.
      last.set(session, replayed ? before : mac.slice());
      const [oldest] = last.size > limit ? last.keys() : [];
      if (oldest !== undefined) last.delete(oldest);
      return !replayed;
    },
  };
};
