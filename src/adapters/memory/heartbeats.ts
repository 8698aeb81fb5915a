// SPDX-License-Identifier: Apache-2.0
/**
 * Heartbeats in memory: the default concurrency state of a single process.
 *
 * Invariant: expired heartbeats are never reported, and are forgotten within about one pass of new ones.
 */
import type { SessionId } from '#core/ids.ts';
import type { Heartbeat, HeartbeatStore } from '#ports';

const SWEEP_EVERY_RECORDS = 1024;

/** Heartbeats in memory, found by account in time proportional to that account's sessions. */
export const createMemoryHeartbeats = (): HeartbeatStore => {
  const bySession = new Map<SessionId, Heartbeat>();
  const byAccount = new Map<string, Set<SessionId>>();
  let untilSweep = SWEEP_EVERY_RECORDS;

  const forget = (session: SessionId): void => {
    const known = bySession.get(session);
    if (known === undefined) return;
    bySession.delete(session);
    const siblings = byAccount.get(known.account);
    siblings?.delete(session);
    if (siblings?.size === 0) byAccount.delete(known.account);
  };
  const sweep = (now: number): void => {
    for (const [session, { expiresAt }] of bySession) if (expiresAt <= now) forget(session);
    untilSweep = Math.max(SWEEP_EVERY_RECORDS, bySession.size);
  };

  return {
    async record(heartbeat) {
      const known = bySession.get(heartbeat.session);
      if (known !== undefined && known.account !== heartbeat.account) forget(heartbeat.session);
      bySession.set(heartbeat.session, { ...heartbeat });
      untilSweep -= 1;
      if (untilSweep <= 0) sweep(heartbeat.at);
      if (known?.account === heartbeat.account) return;
      const siblings = byAccount.get(heartbeat.account);
      if (siblings === undefined) byAccount.set(heartbeat.account, new Set([heartbeat.session]));
      else siblings.add(heartbeat.session);
    },
    async live({ account, asset }, now) {
      const candidates = account === undefined ? bySession.keys() : (byAccount.get(account) ?? []);
      const found: Heartbeat[] = [];
      for (const session of candidates) {
        const heartbeat = bySession.get(session);
        if (heartbeat === undefined || heartbeat.expiresAt <= now) continue;
        if (asset === undefined || heartbeat.asset === asset) found.push({ ...heartbeat });
      }
      return found;
    },
    remove: async (session) => forget(session),
  };
};
