// SPDX-License-Identifier: Apache-2.0
/**
 * What the licence server knows about viewers, in memory: devices, sessions, single-use ids.
 *
 * Invariant: each decision (device cap, session end, single use) is taken without an `await` inside, so it is atomic.
 */
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { DeviceRecord, DeviceStore, SessionRecord, SessionStore, SingleUseStore } from '#ports';

/** Devices in memory. */
export const createMemoryDevices = (): DeviceStore => {
  const devices = new Map<string, DeviceRecord>();
  const ofAccount = (account: string): DeviceRecord[] => [...devices.values()].filter((record) => record.account === account);
  return {
    async register(record, cap) {
      const known = devices.get(record.device);
      if (known !== undefined) return known.account === record.account ? 'exists' : 'taken';
      if (ofAccount(record.account).filter(({ revokedAt }) => revokedAt === undefined).length >= cap) return 'limit';
      devices.set(record.device, structuredClone(record));
      return 'registered';
    },
    get: async (device) => structuredClone(devices.get(device)),
    listByAccount: async (account) => structuredClone(ofAccount(account)),
    async revoke(device, at) {
      const known = devices.get(device);
      if (known === undefined || known.revokedAt !== undefined) return false;
      devices.set(device, { ...known, revokedAt: at });
      return true;
    },
    async setPolicy(device, policy) {
      const known = devices.get(device);
      if (known === undefined) return false;
      const { policy: _before, ...rest } = known;
      devices.set(device, { ...rest, ...(policy !== undefined && { policy: structuredClone(policy) }) });
      return true;
    },
  };
};

/** Sessions in memory. */
export const createMemorySessions = (): SessionStore => {
  const sessions = new Map<string, SessionRecord>();
  // Insertion order breaks ties between sessions started in the same microsecond, as the rowid does in SQL stores.
  const newestFirst = (): SessionRecord[] => [...sessions.values()].reverse().sort((a, b) => b.startedAt - a.startedAt);
  return {
    async create(record) {
      if (sessions.has(record.session)) throw new SealcastError('already-exists', 'a session with this id exists');
      sessions.set(record.session, structuredClone(record));
    },
    get: async (session) => structuredClone(sessions.get(session)),
    async end(session, at, reason) {
      const known = sessions.get(session);
      if (known === undefined || known.endedAt !== undefined) return false;
      sessions.set(session, { ...known, endedAt: at, endReason: reason });
      return true;
    },
    async list({ account, asset, live, limit }) {
      const found = newestFirst()
        .filter((record) => account === undefined || record.account === account)
        .filter((record) => asset === undefined || record.asset === asset)
        .filter((record) => live === undefined || (record.endedAt === undefined) === live)
        .slice(0, limit);
      return structuredClone(found);
    },
    async endedSince(since) {
      return structuredClone([...sessions.values()].filter(({ endedAt }) => endedAt !== undefined && endedAt >= since));
    },
  };
};

const SWEEP_EVERY_CLAIMS = 1024;

/** Ids that may be used once, in memory; expired ids are forgotten. */
export const createMemorySingleUse = (): SingleUseStore => {
  const claimed = new Map<string, Micros>();
  let untilSweep = SWEEP_EVERY_CLAIMS;
  return {
    async claim(id, expiresAt, now) {
      untilSweep -= 1;
      if (untilSweep === 0) {
        untilSweep = Math.max(SWEEP_EVERY_CLAIMS, claimed.size);
        for (const [old, until] of claimed) if (until <= now) claimed.delete(old);
      }
      const until = claimed.get(id);
      if (until !== undefined && until > now) return false;
      claimed.set(id, expiresAt);
      return true;
    },
  };
};
