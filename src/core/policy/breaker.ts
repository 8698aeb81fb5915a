// SPDX-License-Identifier: Apache-2.0
/**
 * The circuit breaker that turns an unreachable concurrency record into emergency mode, as a pure state machine.
 *
 * Recurring renewals, "When a server goes down": the renewal server decides when repeated failures mean an emergency.
 * Invariant: while open, only one probe per `probeEvery` reaches the record, and it closes only after several good probes,
 * so a record that flaps does not make renewals flap with it.
 */
import type { Micros } from '../time.ts';

/** When the breaker opens, probes and closes. Durations in microseconds. */
export type BreakerPolicy = {
  /** Failures in a row that open it. */
  readonly failuresInRow: number;
  /** Share of failed calls within `window` that opens it, once there were `minimumCalls`. */
  readonly failureShare: number;
  readonly window: Micros;
  readonly minimumCalls: number;
  readonly probeEvery: Micros;
  readonly goodProbes: number;
};

/** Five failures in a row, or more than half of at least 20 calls within 10 s; a probe every 5 s, three good ones close it. */
export const BREAKER_DEFAULTS: BreakerPolicy = {
  failuresInRow: 5, failureShare: 0.5, window: 10_000_000 as Micros, minimumCalls: 20, probeEvery: 5_000_000 as Micros, goodProbes: 3,
};

/** Ten slots of a window: enough to see a share, small enough to copy. */
const SLOTS = 10;
type Slot = { readonly index: number; readonly calls: number; readonly failures: number };

/** The breaker's state; `since` and `cause` are what alerts and the control room show. */
export type Breaker =
  | { readonly mode: 'closed'; readonly inRow: number; readonly slots: readonly Slot[] }
  | { readonly mode: 'open'; readonly since: Micros; readonly cause: string; readonly lastProbe: Micros; readonly good: number };

/** A breaker that has seen nothing. */
export const closedBreaker: Breaker = { mode: 'closed', inRow: 0, slots: [] };

/** Whether no call failed within the window: then more good ones need not be told one by one. */
export const isFlawless = (breaker: Breaker): boolean => breaker.mode === 'closed' && breaker.inRow === 0 && breaker.slots.every(({ failures }) => failures === 0);

/** Whether a call may go to the record now: always while closed, one probe per `probeEvery` while open. */
export const mayCall = (breaker: Breaker, policy: BreakerPolicy, now: Micros): boolean =>
  breaker.mode === 'closed' || now - breaker.lastProbe >= policy.probeEvery;

/** Notes that a probe leaves, so that concurrent requests do not send more of them. */
export const probing = (breaker: Breaker, now: Micros): Breaker => (breaker.mode === 'open' ? { ...breaker, lastProbe: now } : breaker);

/** Takes in the outcome of a call (or probe), or of several at once, that ended at `now`. `cause` is a word for the alert, never an error text. */
export const outcome = (breaker: Breaker, policy: BreakerPolicy, now: Micros, ok: boolean, cause = 'unreachable', calls = 1): Breaker => {
  if (breaker.mode === 'open') {
    if (!ok) return { ...breaker, good: 0 };
    return breaker.good + 1 >= policy.goodProbes ? closedBreaker : { ...breaker, good: breaker.good + 1 };
  }
  const width = policy.window / SLOTS;
  const index = Math.floor(now / width);
  const kept = breaker.slots.filter((slot) => slot.index > index - SLOTS && slot.index !== index);
  const current = breaker.slots.find((slot) => slot.index === index) ?? { index, calls: 0, failures: 0 };
  const slots = [...kept, { index, calls: current.calls + calls, failures: current.failures + (ok ? 0 : calls) }];
  const inRow = ok ? 0 : breaker.inRow + calls;
  const all = slots.reduce((sum, slot) => sum + slot.calls, 0);
  const failures = slots.reduce((sum, slot) => sum + slot.failures, 0);
  if (inRow >= policy.failuresInRow || (all >= policy.minimumCalls && failures / all > policy.failureShare)) {
    return { mode: 'open', since: now, cause, lastProbe: now, good: 0 };
  }
  return { mode: 'closed', inRow, slots };
};
