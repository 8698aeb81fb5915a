// SPDX-License-Identifier: Apache-2.0
/**
 * Ended sessions and revoked devices, in memory, for renewals and edge bundles.
 *
 * A session stays listed while something it holds may still be good: media tokens and renewal state last two terms, given by
 * whoever had not heard of the end yet; then they are over by themselves. The durable truth is the session store, from which other servers' ends are read.
 * Invariant: once listed, an entry is not dropped before its `until`.
 */
import type { RevokedDevice, RevokedSession } from '#core/edge-bundle/edge-bundle.ts';
import type { DeviceId, SessionId } from '#core/ids.ts';
import { type EndReason, isEndReason } from '#core/license/reasons.ts';
import type { Micros } from '#core/time.ts';
import type { SessionStore } from '#ports';

/** Who may not go on, and until when that has to be said. */
export type Revocations = {
  addSession(session: SessionId, at: Micros, reason: EndReason): void;
  addDevice(device: DeviceId, at: Micros): void;
  reason(session: SessionId, device: DeviceId): EndReason | undefined;
  /** Until when an end at `at` has to be known. */
  keptUntil(at: Micros): Micros;
  sessions(now: Micros): readonly RevokedSession[];
  devices(now: Micros): readonly RevokedDevice[];
  /** Reads what ended since the last look, in this process or another. */
  refresh(now: Micros): Promise<void>;
  /** Rises with every entry that comes or goes. */
  readonly revision: number;
};

/** Clocks of servers differ: looks overlap by this much. */
const OVERLAP = 60_000_000;

/** `keep`: how long after its end a session stays listed. */
export const createRevocations = (options: { store: SessionStore; keep: Micros }): Revocations => {
  const { store, keep } = options;
  const sessions = new Map<SessionId, RevokedSession & { readonly reason: EndReason }>();
  const devices = new Map<DeviceId, RevokedDevice>();
  let seenUntil: Micros | undefined;
  let revision = 0;

  const prune = <Id>(entries: Map<Id, { readonly until: Micros }>, now: Micros): void => {
    for (const [id, { until }] of entries) {
      if (until > now) continue;
      entries.delete(id);
      revision++;
    }
  };
  const revocations: Revocations = {
    addSession(session, at, reason) {
      if (sessions.has(session)) return;
      sessions.set(session, { session, until: (at + keep) as Micros, reason });
      revision++;
    },
    addDevice(device, at) {
      devices.set(device, { device, until: (at + keep) as Micros });
      revision++;
    },
    reason: (session, device) => (sessions.size === 0 ? undefined : sessions.get(session)?.reason) ?? (devices.size > 0 && devices.has(device) ? 'device-revoked' : undefined),
    keptUntil: (at) => (at + keep) as Micros,
    sessions: (now) => [...sessions.values()].filter(({ until }) => until > now),
    devices: (now) => [...devices.values()].filter(({ until }) => until > now),
    async refresh(now) {
      const since = (seenUntil === undefined ? now - keep : seenUntil - OVERLAP) as Micros;
      for (const { session, endedAt, endReason } of await store.endedSince(since)) {
        if (endedAt !== undefined && endedAt + keep > now) revocations.addSession(session, endedAt, isEndReason(endReason) ? endReason : 'operator');
      }
      seenUntil = now;
      prune(sessions, now);
      prune(devices, now);
    },
    get revision() {
      return revision;
    },
  };
  return revocations;
};
