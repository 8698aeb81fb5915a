// SPDX-License-Identifier: Apache-2.0
/**
 * What an operator sees of an event's releases at one edge: lateness, spread, horizon, who was on time.
 *
 * Client reports are hostile input: they are trimmed and shown, and decide nothing here.
 * Invariant: a bounded window; a figure without data is absent, not zero.
 */
import { type DeltaAdvice, LEAD, REPORT_STEPS, adviseDelta } from '#core/release/delta-advice.ts';
import type { StatMessage } from '#core/release/messages.ts';
import type { Micros, Millis } from '#core/time.ts';

/** One event's figures over the last window; microseconds. */
export type ReleaseFigures = {
  readonly releases: number;
  readonly early: number;
  readonly latenessP50?: number;
  readonly latenessP99?: number;
  readonly latenessMax?: number;
  /** First to last write of a release. */
  readonly spreadP50?: number;
  readonly spreadP95?: number;
  readonly sent: number;
  readonly skipped: number;
  /** Clients that reported. */
  readonly reports: number;
  /** Share of reported periods shown in time, 0-1. */
  readonly onTime?: number;
  /** Share of reported periods whose bytes were held at T_p, 0-1. */
  readonly held?: number;
  readonly displayP50?: number;
  readonly displayP95?: number;
  readonly arrivalP99?: number;
  /** Arrivals of the last hour's reports, counted by the steps of `delta-advice.ts`; `bench release-sim --mix` takes it as `recorded`. */
  readonly steps?: readonly number[];
  /** What δ they speak for, for the next event; microseconds and ms. */
  readonly advice?: DeltaAdvice;
};

/** When the bytes of a segment reached clients, from their reports. */
export type SegmentArrival = { readonly segment: number; readonly first: Micros; readonly last: Micros; readonly clients: number };

/** Collects for one event. */
export type FigureBook = {
  released(release: { readonly lateness: Micros; readonly spread: Micros; readonly sent: number; readonly skipped: number; readonly early: boolean }): void;
  stat(stat: StatMessage, now: Millis): void;
  figures(now: Millis): ReleaseFigures;
  /** Of the last segments reported, newest first. */
  segments(): readonly SegmentArrival[];
};

const KEEP_RELEASES = 600;
const KEEP_REPORTS = 4096;
const REPORT_LIFETIME = 20_000;
/** Arrivals are kept so long, for the advice on δ. */
const ARRIVALS_LIFETIME = 3_600_000;
const KEEP_SEGMENTS = 30;
/** The best and worst hundredth of reports are left out. */
const TRIM = 0.01;

/** The value below which a share `q` of sorted `values` lies. */
const quantile = (values: readonly number[], q: number): number => values[Math.min(values.length - 1, Math.floor(values.length * q))] as number;
const sorted = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);
const trimmed = (values: readonly number[]): number[] => {
  const all = sorted(values);
  const cut = Math.floor(all.length * TRIM);
  return all.slice(cut, all.length - cut);
};
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Empty. `lead` is what players of the event need between a key and its frame, ms. */
export const createFigureBook = (lead: number = LEAD.standard): FigureBook => {
  const lateness: number[] = [];
  const spread: number[] = [];
  const reports: { readonly at: Millis; readonly stat: StatMessage }[] = [];
  const arrivals: { readonly at: Millis; readonly steps: readonly number[] }[] = [];
  let advice: { readonly at: Millis; readonly value: DeltaAdvice | undefined } | undefined;
  const segments = new Map<number, { first: number; last: number; clients: number }>();
  let releases = 0;
  let early = 0;
  let sent = 0;
  let skipped = 0;
  const push = (list: number[], value: number): void => {
    list.push(value);
    if (list.length > KEEP_RELEASES) list.shift();
  };
  return {
    released(release) {
      releases++;
      if (release.early) early++;
      sent += release.sent;
      skipped += release.skipped;
      push(lateness, release.lateness);
      push(spread, release.spread);
    },
    stat(stat, now) {
      reports.push({ at: now, stat });
      if (reports.length > KEEP_REPORTS) reports.shift();
      if (stat.steps !== undefined) arrivals.push({ at: now, steps: stat.steps });
      if (arrivals.length > KEEP_REPORTS) arrivals.shift();
      for (const { segment, at } of stat.segments ?? []) {
        const known = segments.get(segment);
        if (known === undefined) segments.set(segment, { first: at, last: at, clients: 1 });
        else segments.set(segment, { first: Math.min(known.first, at), last: Math.max(known.last, at), clients: known.clients + 1 });
      }
      while (segments.size > KEEP_SEGMENTS) segments.delete(Math.min(...segments.keys()));
    },
    figures(now) {
      while (reports.length > 0 && now - (reports[0]?.at ?? now) > REPORT_LIFETIME) reports.shift();
      while (arrivals.length > 0 && now - (arrivals[0]?.at ?? now) > ARRIVALS_LIFETIME) arrivals.shift();
      // Thousands of reports are summed up once in ten seconds, not at every look.
      if (advice === undefined || now - advice.at > 10_000) advice = { at: now, value: adviseDelta(arrivals.map(({ steps }) => [steps]), lead) };
      const late = sorted(lateness);
      const wide = sorted(spread);
      const stats = reports.map(({ stat }) => stat);
      const shares = trimmed(stats.filter(({ n }) => n > 0).map(({ n, late: missed, skipped: left }) => Math.max(0, 1 - (missed + left) / n)));
      const held = trimmed(stats.flatMap((stat) => stat.held ?? []));
      const display = trimmed(stats.flatMap(({ display: value }) => value?.p50 ?? []));
      const displayHigh = trimmed(stats.flatMap(({ display: value }) => value?.high ?? []));
      const arrival = trimmed(stats.flatMap(({ arrival: value }) => value?.high ?? []));
      return {
        releases, early, sent, skipped, reports: stats.length,
        ...(late.length > 0 && { latenessP50: quantile(late, 0.5), latenessP99: quantile(late, 0.99), latenessMax: late.at(-1) as number }),
        ...(wide.length > 0 && { spreadP50: quantile(wide, 0.5), spreadP95: quantile(wide, 0.95) }),
        ...(shares.length > 0 && { onTime: mean(shares) }),
        ...(held.length > 0 && { held: mean(held) }),
        ...(display.length > 0 && { displayP50: quantile(display, 0.5) }),
        ...(displayHigh.length > 0 && { displayP95: quantile(displayHigh, 0.95) }),
        ...(arrival.length > 0 && { arrivalP99: quantile(arrival, 0.99) }),
        ...(arrivals.length > 0 && { steps: Array.from({ length: REPORT_STEPS.length + 1 }, (_, step) => arrivals.reduce((sum, { steps }) => sum + (steps[step] ?? 0), 0)) }),
        ...(advice.value !== undefined && { advice: advice.value }),
      };
    },
    segments: () => [...segments].sort(([a], [b]) => b - a).map(([segment, { first, last, clients }]) => ({ segment, first: first as Micros, last: last as Micros, clients })),
  };
};
