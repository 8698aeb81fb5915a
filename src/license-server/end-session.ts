// SPDX-License-Identifier: Apache-2.0
/**
 * Ways a session ends before its time: secure stop by the viewer, the operator, a leak, a revoked device.
 *
 * docs/wire/session.md, "POST /v1/stop"; design section 6 (both gates). Invariant: the end is durable before it is told to
 * anyone, and telling it is harmless to repeat.
 */
import { SealcastError } from '#core/errors.ts';
import { type AccountId, type AssetId, type DeviceId, type SessionId, sessionId } from '#core/ids.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { type EndReason, reasonText } from '#core/license/reasons.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { membersOf } from '#core/license/shape.ts';
import type { Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Es256 } from '#crypto/jose.ts';
import type { Clock, ConcurrencyRecord, DeviceStore, EventSink, HeartbeatStore, SessionRecord, SessionStore } from '#ports';
import type { Accounts } from './accounts.ts';
import { proveStop } from './device-proof.ts';
import type { Revocations } from './revocations.ts';

/** Every way a session ends; each is durable when it resolves. */
export type Endings = {
  /** `by`: the session that was started in its place. */
  endSession(session: SessionId, reason: EndReason, by?: SessionId): Promise<boolean>;
  endAccount(account: AccountId, reason: EndReason): Promise<number>;
  revokeDevice(device: DeviceId): Promise<boolean>;
  /** Body of POST /v1/stop. */
  stop(body: unknown): Promise<{ readonly stopped: true }>;
};

/** Sessions looked at first; an account with more running ones is looked at again, deeper. */
const FIRST_PAGE = 500;

/** `changed` is called after an end was recorded, to wake waiting edges. */
export const createEndings = (options: {
  es256?: Es256 | undefined;
  sessions: SessionStore;
  devices: DeviceStore;
  heartbeats: HeartbeatStore;
  record: ConcurrencyRecord | undefined;
  /** As of an admission. */
  renewsElsewhere: boolean;
  /** When a viewer's own stop frees the place of its session. */
  slotFreedBy: 'stop' | 'expiry';
  /** Whether levels are kept: only then is level 3 a suspicion. */
  adaptive: boolean;
  /** Crypto period of an asset. */
  period: (asset: AssetId) => Promise<Micros>;
  accounts: Accounts;
  revocations: Revocations;
  changed: () => void;
  clock: Clock;
  events: EventSink;
}): Endings => {
  const { es256, sessions, devices, heartbeats, record, renewsElsewhere, slotFreedBy, adaptive, period, accounts, revocations, changed, clock, events } = options;

  const end = async (session: SessionId, reason: EndReason, by?: SessionId): Promise<boolean> => {
    const now = clock.now();
    if (!(await sessions.end(session, now, reason))) return false;
    revocations.addSession(session, now, reason);
    changed();
    const known = await sessions.get(session);
    if (known !== undefined) {
      const account = heartbeatAccount(ladderHash, known.account);
      // A leak ends sessions by itself; the account's level is somebody's decision (`Accounts.accuse`).
      const live = renewsElsewhere ? await record?.live(account) : undefined;
      if (live !== undefined) accounts.learn(account, live);
      accounts.observe(account, { kind: 'stop', at: now, session });
      const free = async (): Promise<void> => {
        await record?.flag(account, session, { reason, ...(by !== undefined && { by }) }, revocations.keptUntil(now));
        await heartbeats.remove(session);
      };
      const wait = reason === 'viewer' ? await placeKept(known, account) : 0;
      if (wait === 0) await free();
      // A process that ends before then leaves the place to the licence's end, which is the later of the two.
      else if (wait < Number.POSITIVE_INFINITY) clock.after(wait as Millis, () => void free().catch(() => undefined));
    } else await heartbeats.remove(session);
    events({ at: now, kind: 'session.ended', severity: reason === 'viewer' ? 'info' : 'warning', message: `A session ended: ${reasonText(reason)}`, session, data: { reason, ...(by !== undefined && { by }) } });
    return true;
  };

  /**
   * How long, ms, a stopped session keeps its place. Keys cannot be handed back: whoever says that he stopped can play what is open.
   * An account that is suspected (level 3) waits for one crypto period, which what it holds outlives by no more than its grant; where
   * the licence's end is what counts, so does everybody. The end of a session is kept by its renewals being refused.
   */
  const placeKept = async (known: SessionRecord, account: AccountId): Promise<number> => {
    if (slotFreedBy === 'expiry') return Number.POSITIVE_INFINITY;
    if (!adaptive || (await accounts.standing(account)).level < 3) return 0;
    return (await period(known.asset)) / 1000;
  };

  const endAll = async (account: AccountId, reason: EndReason, matches: (record: SessionRecord) => boolean): Promise<number> => {
    let ended = 0;
    for (let limit = FIRST_PAGE; ; limit *= 4) {
      const page = await sessions.list({ account, live: true, limit });
      // Sessions whose entitlement is over need no ending: nothing of theirs is good any more.
      const running = page.filter((record) => record.entitledUntil > clock.now() && matches(record));
      const results = await Promise.all(running.map(({ session }) => end(session, reason)));
      ended += results.filter(Boolean).length;
      if (page.length < limit) return ended;
    }
  };

  return {
    endSession: end,
    endAccount: (account, reason) => endAll(account, reason, () => true),

    async revokeDevice(device) {
      const record = await devices.get(device);
      const now = clock.now();
      if (record === undefined || !(await devices.revoke(device, now))) return false;
      revocations.addDevice(device, now);
      changed();
      await endAll(record.account, 'device-revoked', (session) => session.device === device);
      events({ at: now, kind: 'device.revoked', severity: 'warning', message: 'A device was revoked.', account: record.account });
      return true;
    },

    async stop(body) {
      const members = membersOf(body, 'body', 'bad-request', ['sid', 'at', 'proof']);
      const sid = sessionId(members.value('sid'));
      const at = members.integer('at', 0, Number.MAX_SAFE_INTEGER);
      const record = await sessions.get(sid);
      if (record === undefined) throw new SealcastError('not-found', 'no session of this id');
      try {
        await proveStop(parsePublicJwk(record.sign, 'session sign key', 'internal'), { proof: members.text('proof', { most: 4096 }), sid, at }, es256);
      } catch (error) {
        // Someone who knows a session id tries to free its slot or to cut its owner off.
        events({ at: clock.now(), kind: 'session.stop-forged', severity: 'alert', message: 'A stop was not signed by its session\'s device.', asset: record.asset, account: record.account, session: sid });
        throw error;
      }
      await end(sid, 'viewer');
      return { stopped: true };
    },
  };
};
