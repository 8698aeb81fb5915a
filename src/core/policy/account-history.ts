// SPDX-License-Identifier: Apache-2.0
/**
 * What is recorded of an account beside its level: the events that moved it or could have, and the moves with their causes.
 *
 * Recurring renewals, "Adaptability"; checklist B064, B069. Invariant: both lists are bounded, the newest entries stay.
 */
import type { Micros } from '../time.ts';
import { type AccountEvent, type EnforcementPolicy, type Level, type LevelChange, relax, replay } from './enforcement.ts';

/** Oldest first. */
export type AccountHistory = { readonly events: readonly AccountEvent[]; readonly changes: readonly LevelChange[] };

/** Enough for two days of a busy household; a replay covers no more than this. */
const MOST_EVENTS = 128;
const MOST_CHANGES = 32;

/** Takes one event and the moves it caused into the history. */
export const extendHistory = (history: AccountHistory | undefined, event: AccountEvent, changes: readonly LevelChange[]): AccountHistory => ({
  events: [...(history?.events ?? []), event].slice(-MOST_EVENTS),
  changes: [...(history?.changes ?? []), ...changes].slice(-MOST_CHANGES),
});

/** Where recorded events lead under two policies. */
export type WhatIf = { readonly before: Level; readonly after: Level; /** The moves that the changed policy would have made. */ readonly changes: readonly LevelChange[] };

/** "What would this policy have done?": replays one account's events under the policy in force and under a changed one. */
export const whatIf = (events: readonly AccountEvent[], inForce: EnforcementPolicy, changed: EnforcementPolicy, now: Micros): WhatIf => {
  const under = (policy: EnforcementPolicy): { level: Level; changes: readonly LevelChange[] } => {
    const { account, changes } = replay(events, policy);
    if (account === undefined) return { level: 1, changes };
    const rested = relax(account, policy, now);
    return { level: rested.account.level, changes: [...changes, ...rested.changes] };
  };
  const [before, after] = [under(inForce), under(changed)];
  return { before: before.level, after: after.level, changes: after.changes };
};
