// SPDX-License-Identifier: Apache-2.0
/**
 * Which δ the reports of the last hour speak for: long enough for nearly all, short enough to give a racing client little.
 *
 * δ = max(q95 of arrivals + the player's lead, q99 + 20 ms), within 80-200 ms. Reports are a viewer's word: every viewer counts once however much
 * it reports, the slowest 1 % of viewers are left out and no arrival counts for more than 200 ms.
 * Invariant: an advice for the next event's schedule; δ never follows reports while an event runs, because whoever could raise it would gain.
 */
import type { Micros } from '../time.ts';

/** Upper ends, ms, of the steps that a viewer's arrivals are counted by; one more step takes the rest. */
export const REPORT_STEPS: readonly number[] = [5, 10, 15, 20, 25, 30, 40, 50, 65, 80, 100, 120, 150, 200, 300, 500, 1000];
/** Bounds of an advice, ms. */
export const LEAST_DELTA = 80;
export const GREATEST_DELTA = 200;
/** What a player needs between a key and its frame, ms: with MSE and EME, and with WebCodecs. */
export const LEAD = { standard: 80, strict: 35 } as const;
/** Viewers whose reports are too few to speak. */
const LEAST_PERIODS = 20;
const TRIMMED = 0.01;

/** One viewer's reports of the time looked at: the counts of arrivals by step, one list per report. */
export type ViewerReports = readonly (readonly number[])[];

/** The advice, and what it rests on; ms. */
export type DeltaAdvice = { readonly delta: Micros; readonly q95: number; readonly q99: number; readonly viewers: number; readonly trimmed: number };

type Viewer = { readonly shares: readonly number[]; readonly late: number };

const viewerOf = (reports: ViewerReports): Viewer | undefined => {
  const counts = new Array<number>(REPORT_STEPS.length + 1).fill(0);
  for (const steps of reports) for (let step = 0; step < counts.length; step++) counts[step] = (counts[step] as number) + (steps[step] ?? 0);
  const periods = counts.reduce((sum, count) => sum + count, 0);
  if (periods < LEAST_PERIODS) return undefined;
  const shares = counts.map((count) => count / periods);
  // How slow a viewer is: the mean of its arrivals by steps, capped, so that one claim of an hour does not decide who is left out.
  const late = shares.reduce((sum, share, step) => sum + share * Math.min(GREATEST_DELTA, REPORT_STEPS[step] ?? GREATEST_DELTA), 0);
  return { shares, late };
};

/** Arrival, ms, below which `share` of the mixture lies: linear inside a step, capped at 200. */
const quantileOf = (shares: readonly number[], share: number): number => {
  let below = 0;
  for (const [step, mass] of shares.entries()) {
    const low = step === 0 ? 0 : (REPORT_STEPS[step - 1] as number);
    const high = REPORT_STEPS[step] ?? GREATEST_DELTA;
    if (below + mass >= share && mass > 0) return Math.min(GREATEST_DELTA, low + ((share - below) / mass) * (high - low));
    below += mass;
  }
  return GREATEST_DELTA;
};

/** The advice for a lead of `lead` ms; undefined if nobody reported enough. */
export const adviseDelta = (viewers: readonly ViewerReports[], lead: number): DeltaAdvice | undefined => {
  const known = viewers.map(viewerOf).filter((viewer) => viewer !== undefined).sort((a, b) => a.late - b.late);
  const kept = known.slice(0, Math.max(1, Math.floor(known.length * (1 - TRIMMED))));
  if (known.length === 0) return undefined;
  const mixture = new Array<number>(REPORT_STEPS.length + 1).fill(0);
  for (const { shares } of kept) shares.forEach((share, step) => (mixture[step] = (mixture[step] as number) + share / kept.length));
  const q95 = quantileOf(mixture, 0.95);
  const q99 = quantileOf(mixture, 0.99);
  const wanted = Math.max(q95 + lead, q99 + 20);
  return { delta: (Math.round(Math.min(GREATEST_DELTA, Math.max(LEAST_DELTA, wanted))) * 1000) as Micros, q95, q99, viewers: kept.length, trimmed: known.length - kept.length };
};
