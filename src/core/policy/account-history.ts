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

/** Starts of one account, and how many of them a limit would have turned away. */
export type LimitReplay = { readonly starts: number; readonly refused: number };

/**
 * "What would this limit have done?": counts the streams of recorded events as the concurrency record does (a stream counts for two
 * renewal intervals, a reload takes its own place) and refuses the starts beyond `limit`, as the mode deny-new would have.
 */
export const replayLimit = (events: readonly AccountEvent[], limit: number): LimitReplay => {
  const live = new Map<string, { readonly device: string; readonly asset: string; readonly lasts: number; until: number }>();
  let [starts, refused] = [0, 0];
  for (const event of events) {
    if (event.kind === 'stop') live.delete(event.session);
    if (event.kind === 'renewal') {
      const stream = live.get(event.session);
      if (stream !== undefined) stream.until = event.at + stream.lasts;
    }
    if (event.kind !== 'initial') continue;
    for (const [session, { device, asset, until }] of live) if (until <= event.at || (device === event.device && asset === event.asset)) live.delete(session);
    starts += 1;
    if (live.size >= limit) refused += 1;
    else {
      const lasts = Math.min(event.duration, 2 * event.interval);
      live.set(event.session, { device: event.device, asset: event.asset, lasts, until: event.at + lasts });
    }
  }
  return { starts, refused };
};
