// SPDX-License-Identifier: Apache-2.0
/**
 * The one decision whether a release secret may leave an edge: for push, pull and SSE alike.
 *
 * `earliest >= T_p` is commit-wait: even the slowest correct clock agrees that T_p has come, so edges with different
 * errors are late by at most twice their bound and never early.
 * Invariant: fails closed. Every reason to doubt is a refusal; there is no override.
 */
import type { CryptoPeriod, Micros } from '../time.ts';
import type { ClockBound } from './clock-bound.ts';

/** An edge whose error bound is wider than this stops releasing: its lateness would unsettle the 200 ms budget. */
export const MAX_ERROR: Micros = 10_000 as Micros;

/** When period p of an event is released: T_p = T0 + p * P, exact integers, unchanged after the first grant. */
export type ReleaseSchedule = { readonly firstRelease: Micros; readonly period: Micros; readonly version: number };

/** T_p in microseconds UTC. */
export const releaseInstant = (schedule: ReleaseSchedule, period: CryptoPeriod): Micros => (schedule.firstRelease + period * schedule.period) as Micros;

/** Why a secret stays. Only `too-early` passes by itself. */
export type GateRefusal = 'clock-unsure' | 'clock-too-wide' | 'too-early' | 'not-granted' | 'commit-unverified';
/** The gate's answer. */
export type GateDecision = { readonly release: true } | { readonly release: false; readonly because: GateRefusal; readonly waitFor: Micros };

/** All that the decision depends on. */
export type GateInput = {
  readonly bound: ClockBound;
  readonly schedule: ReleaseSchedule;
  readonly period: CryptoPeriod;
  /** A grant with this period's secret is held and unexpired. */
  readonly granted: boolean;
  /** The secret's hash equals the signed commitment. */
  readonly committed: boolean;
};

/** May the secret of `period` leave now? `waitFor` is how long `earliest` still has to advance (0 if waiting cannot help). */
export const mayRelease = (input: GateInput): GateDecision => {
  const refuse = (because: GateRefusal, waitFor = 0): GateDecision => ({ release: false, because, waitFor: waitFor as Micros });
  const { bound } = input;
  if (bound.status !== 'sync' && bound.status !== 'single-host') return refuse('clock-unsure');
  if ((bound.latest - bound.earliest) / 2 > MAX_ERROR) return refuse('clock-too-wide');
  const at = releaseInstant(input.schedule, input.period);
  if (bound.earliest < at) return refuse('too-early', at - bound.earliest);
  if (!input.granted) return refuse('not-granted');
  if (!input.committed) return refuse('commit-unverified');
  return { release: true };
};
