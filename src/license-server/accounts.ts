// SPDX-License-Identifier: Apache-2.0
/**
 * Where accounts stand: their enforcement level, what an operator set for them, and the events that move them.
 *
 * Recurring renewals, "Adaptability"; checklist B050-B069. The rules are `#core/policy/enforcement.ts`; here they meet the store.
 * Renewals are many and change little, so events are gathered for a moment and taken in together.
 * Invariants: a start sees every event of its account that came before it; every move is told with its inputs (B064).
 */
import type { AccountId, SessionId } from '#core/ids.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import type { EnforcementLevel } from '#core/license/renewal-state.ts';
import { extendHistory } from '#core/policy/account-history.ts';
import type { PolicyOverride } from '#core/policy/decide-terms.ts';
import { type AccountEvent, ENFORCEMENT_DEFAULTS, type EnforcementPolicy, type LevelChange, newAccount, observeAccount, relax } from '#core/policy/enforcement.ts';
import type { Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { AccountState, AccountStore, Clock, EventSink, LiveSession, Log, Metrics } from '#ports';

/** What decisions need to know of an account. */
export type Standing = { readonly level: EnforcementLevel; readonly since: Micros; readonly override?: PolicyOverride; readonly overrideAt?: Micros };

/** Accounts as licences, renewals and operators see them. Accounts are named by the hash that heartbeats carry, except by operators. */
export type Accounts = {
  /** From the store, after all that was observed. */
  standing(account: AccountId): Promise<Standing>;
  /** What this process knows of it already; a renewal does not wait. */
  known(account: AccountId): Standing | undefined;
  /** Takes an event in soon. */
  observe(account: AccountId, event: AccountEvent): void;
  /** A start, as `observe`, and a renewal, whose progress is worked out from the position before: µs of media time, or the time itself for live. */
  started(account: AccountId, event: Extract<AccountEvent, { kind: 'initial' }>): void;
  renewed(account: AccountId, session: SessionId, position: Micros, at: Micros): void;
  /** A new licence of a running session: it is no renewal, though the record counts it like one. */
  relicensed(session: SessionId, at: Micros): void;
  /** What the record knows of an account's sessions: renewals that other processes answered are learned from their newest heartbeats. */
  learn(account: AccountId, live: readonly Pick<LiveSession, 'session' | 'at' | 'startedAt'>[]): void;
  /** An operator's decision, by account id. */
  setLevel(account: AccountId, level: EnforcementLevel, operator: string): Promise<Standing>;
  /** A leak traced to the account, by account id; `evidence` names it. Moves the account to level 3. */
  accuse(account: AccountId, evidence: string): Promise<Standing>;
  /** Undefined removes what was set. */
  setOverride(account: AccountId, override: PolicyOverride | undefined): Promise<Standing>;
  /** Takes in what was observed so far. */
  flush(): Promise<void>;
  close(): void;
};

/** Accounts and positions remembered in this process. */
const REMEMBERED = 100_000;
const FLUSH_AFTER = 1000 as Millis;

const remember = <Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void => {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.size > REMEMBERED ? map.keys() : [];
  if (oldest !== undefined) map.delete(oldest);
};

const CAUSES: Readonly<Record<LevelChange['cause'], string>> = {
  suppression: 'new licences on several devices without renewals',
  restarts: 'playback that went on past licences that were not renewed',
  'late-renewals': 'renewals held back to the end of their licences',
  relaxed: 'nothing suspicious for long enough',
  leak: 'a leak traced to it',
  operator: 'an operator',
};

/** Without a store accounts stay on `level`, and only what this process was told holds. */
export const createAccounts = (options: { store: AccountStore; enforcement: EnforcementPolicy | undefined; level: EnforcementLevel; clock: Clock; log: Log; events: EventSink; metrics: Metrics }): Accounts => {
  const { store, level, clock, log, events, metrics } = options;
  const policy = options.enforcement ?? ENFORCEMENT_DEFAULTS;
  const cache = new Map<AccountId, Standing>();
  const positions = new Map<SessionId, Micros>();
  /** Newest heartbeat of a session that is known here, whatever it was. */
  const heard = new Map<SessionId, Micros>();
  let waiting = new Map<AccountId, AccountEvent[]>();
  let scheduled = false;
  let cancel = (): void => undefined;

  const standingOf = (state: AccountState | undefined, now: Micros): Standing => {
    // An account that nothing happened to is on the service's own level.
    if (state === undefined) return { level, since: now };
    const { account } = relax(state.record, policy, now);
    return { level: account.level, since: account.since, ...(state.override !== undefined && { override: state.override }), ...(state.overrideAt !== undefined && { overrideAt: state.overrideAt }) };
  };
  const fresh = (account: AccountId, at: Micros): AccountState => ({ account, record: { ...newAccount(at), level } });

  const tell = (account: AccountId, { at, from, to, cause, inputs }: LevelChange): void => {
    metrics.count('sealcast_account_level_moves_total', 'Moves of accounts between enforcement levels.', { from: String(from), to: String(to), cause });
    log.info('an account moved to another enforcement level', { account, from, to, cause, ...inputs });
    events({ at, kind: 'account.level', severity: to > from ? 'warning' : 'info', message: `An account moved from level ${from} to ${to}: ${CAUSES[cause]}.`, account, data: { from, to, cause, ...inputs } });
  };

  const takeIn = async (account: AccountId, list: readonly AccountEvent[]): Promise<Standing> => {
    let changes: readonly LevelChange[] = [];
    const state = await store.update(account, (current) => {
      let next = current ?? fresh(account, list[0]?.at ?? clock.now());
      const made: LevelChange[] = [];
      for (const event of list) {
        const step = observeAccount(next.record, event, policy);
        made.push(...step.changes);
        next = { ...next, record: step.account, history: extendHistory(next.history, event, step.changes) };
      }
      changes = made;
      return next;
    });
    for (const change of changes) tell(account, change);
    const standing = standingOf(state, clock.now());
    remember(cache, account, standing);
    return standing;
  };

  const flush = async (): Promise<void> => {
    const batch = waiting;
    waiting = new Map();
    const failed = (await Promise.allSettled([...batch].map(([account, list]) => takeIn(account, list)))).filter(({ status }) => status === 'rejected').length;
    if (failed > 0) log.warn('accounts could not be updated', { accounts: failed });
  };
  const schedule = (): void => {
    if (scheduled) return;
    scheduled = true;
    cancel = clock.after(FLUSH_AFTER, () => {
      scheduled = false;
      void flush();
    });
  };
  const observe = (account: AccountId, event: AccountEvent): void => {
    const list = waiting.get(account);
    // Without levels there is nothing to move.
    if (options.enforcement === undefined) return;
    if (list === undefined) remember(waiting, account, [event]);
    else list.push(event);
    schedule();
  };
  const hashed = (account: AccountId): AccountId => heartbeatAccount(ladderHash, account);

  return {
    async standing(account) {
      const list = waiting.get(account);
      if (list !== undefined) {
        waiting.delete(account);
        return takeIn(account, list);
      }
      const standing = standingOf(await store.get(account), clock.now());
      remember(cache, account, standing);
      return standing;
    },
    known: (account) => cache.get(account),
    observe,
    started(account, event) {
      remember(positions, event.session as SessionId, event.position ?? event.at);
      remember(heard, event.session as SessionId, event.at);
      observe(account, event);
    },
    renewed(account, session, position, at) {
      const before = positions.get(session);
      remember(positions, session, position);
      remember(heard, session, at);
      observe(account, { kind: 'renewal', at, session, ...(before !== undefined && { advanced: Math.max(0, position - before) as Micros }) });
    },
    accuse: (account, evidence) => takeIn(hashed(account), [{ kind: 'leak', at: clock.now(), evidence }]),
    relicensed: (session, at) => remember(heard, session, at),
    learn(account, live) {
      for (const { session, at, startedAt } of live) {
        if (at <= (heard.get(session) ?? startedAt)) continue;
        remember(heard, session, at);
        observe(account, { kind: 'renewal', at, session });
      }
    },
    setLevel: (account, to, operator) => takeIn(hashed(account), [{ kind: 'operator', at: clock.now(), level: to, operator }]),
    async setOverride(account, override) {
      const id = hashed(account);
      const now = clock.now();
      const state = await store.update(id, (current) => {
        const { override: _old, overrideAt: _at, ...rest } = current ?? fresh(id, now);
        return { ...rest, ...(override !== undefined && { override, overrideAt: now }) };
      });
      const standing = standingOf(state, now);
      remember(cache, id, standing);
      return standing;
    },
    flush,
    close: () => cancel(),
  };
};
