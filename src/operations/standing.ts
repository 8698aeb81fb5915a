// SPDX-License-Identifier: Apache-2.0
/**
 * Where accounts stand, as operators see it, and what a changed policy would have made of them.
 *
 * Checklist B064, B065, B069. Stores know accounts by a hash; operators by their id, where a recent session names it.
 * Invariant: reading changes nothing; a level that has relaxed meanwhile is shown relaxed.
 */
import type { AccountId } from '#core/ids.ts';
import { DEFAULT_POLICY, type PolicyVersion } from '#core/license/decide.ts';
import { heartbeatAccount } from '#core/license/session-id.ts';
import { replayLimit, whatIf } from '#core/policy/account-history.ts';
import { ENFORCEMENT_DEFAULTS, type EnforcementPolicy, type LevelChange, relax } from '#core/policy/enforcement.ts';
import type { Micros } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { AccountState, AccountStore, SessionRecord } from '#ports';
import type { StandingView, WhatIfRequest, WhatIfView } from '#operations/api.ts';

/** The hash under which stores know an account. */
export const hashOf = (account: AccountId): AccountId => heartbeatAccount(ladderHash, account);

/** Hash → id, of the accounts that sessions name. */
export const accountNames = (sessions: readonly SessionRecord[]): ReadonlyMap<string, AccountId> => {
  const ids = new Set(sessions.map(({ account }) => account));
  return new Map([...ids].map((id) => [hashOf(id), id]));
};

/** `state` undefined: nothing happened to the account yet. */
export const standingView = (state: AccountState | undefined, inForce: PolicyVersion | undefined, now: Micros): StandingView => {
  const policy = inForce ?? DEFAULT_POLICY;
  const rested = state === undefined ? undefined : relax(state.record, policy.enforcement ?? ENFORCEMENT_DEFAULTS, now);
  const limit = state?.override?.limit ?? policy.limit;
  const causes = [...(state?.history?.changes ?? []), ...(rested?.changes ?? [])].toReversed();
  return {
    level: rested?.account.level ?? policy.level,
    ...(rested !== undefined && { since: rested.account.since }),
    ...(state?.override !== undefined && { override: state.override }),
    ...(state?.overrideAt !== undefined && { overrideAt: state.overrideAt }),
    causes,
    ...(limit !== undefined && { limit }),
    mode: state?.override?.mode ?? policy.mode ?? 'detection-only',
  };
};

const SECOND = 1_000_000;
const seconds = (value: number | undefined, inForce: Micros): Micros => (value === undefined ? inForce : ((value * SECOND) as Micros));

/** The policy in force with an operator's figures in place of its own. */
export const changedPolicy = (inForce: EnforcementPolicy, asked: WhatIfRequest): EnforcementPolicy => {
  const { suppression, restarts, lateRenewals } = inForce;
  return {
    ...inForce,
    suppression: { licenses: asked.licenses ?? suppression.licenses, devices: asked.devices ?? suppression.devices, window: seconds(asked.windowSeconds, suppression.window) },
    restarts: { titles: asked.restartTitles ?? restarts.titles, window: seconds(asked.restartWindowSeconds, restarts.window) },
    lateRenewals: { share: asked.lateShare ?? lateRenewals.share, times: asked.lateTimes ?? lateRenewals.times, window: seconds(asked.lateWindowSeconds, lateRenewals.window) },
    relaxAfter: seconds(asked.relaxAfterSeconds, inForce.relaxAfter),
  };
};

/** Accounts replayed by one question; the latest moved ones come first. */
const MOST_ACCOUNTS = 10_000;

/** Moves since `since` that the stores know of: what a control room that starts has not seen itself. `account` is the hash. */
export const recordedMoves = async (accounts: Pick<AccountStore, 'list'>, since: Micros): Promise<readonly (LevelChange & { readonly account: AccountId })[]> =>
  (await accounts.list({ limit: MOST_ACCOUNTS }))
    .filter(({ record }) => record.since >= since)
    .flatMap(({ account, history }) => (history?.changes ?? []).filter(({ at }) => at >= since).map((change) => ({ ...change, account })))
    .sort((a, b) => a.at - b.at);

/** Replays what is recorded. */
export const answerWhatIf = async (accounts: Pick<AccountStore, 'list'>, names: ReadonlyMap<string, AccountId>, inForce: EnforcementPolicy, asked: WhatIfRequest, now: Micros): Promise<WhatIfView> => {
  const changed = changedPolicy(inForce, asked);
  const recorded = (await accounts.list({ limit: MOST_ACCOUNTS })).filter(({ history }) => history !== undefined && history.events.length > 0);
  const moved = recorded.flatMap(({ account, history }) => {
    const { before, after, changes } = whatIf(history?.events ?? [], inForce, changed, now);
    return before === after ? [] : [{ account: names.get(account) ?? account, before, after, changes }];
  });
  const { limit } = asked;
  const refused = limit === undefined ? undefined : recorded
    .map(({ account, history }) => ({ account: names.get(account) ?? account, ...replayLimit(history?.events ?? [], limit) }))
    .filter((each) => each.refused > 0)
    .sort((a, b) => b.refused - a.refused);
  return { accounts: recorded.length, events: recorded.reduce((sum, { history }) => sum + (history?.events.length ?? 0), 0), moved, ...(refused !== undefined && { refused }) };
};
