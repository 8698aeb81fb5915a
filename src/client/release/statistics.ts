// SPDX-License-Identifier: Apache-2.0
/**
 * What a viewer measures of the release of an event: how long after T_p secrets came, how far pictures were off, what was late or skipped.
 *
 * docs/wire/release.md, `stat`. Counted in 1 ms steps, so hours of watching keep constant memory and reports of many viewers add up.
 * Invariant: pure counting, told of each period once; a report says nothing that could tell one viewer's programme habits from another's
 * but the counts themselves.
 */
import { REPORT_STEPS } from '#core/release/delta-advice.ts';
import type { StatMessage } from '#core/release/messages.ts';
import type { CryptoPeriod, Micros, Millis } from '#core/time.ts';

/** Values are counted in 1 ms steps up to here; larger ones count as this. */
const TOP = 2000;
/** Every so many periods all viewers keep the receipt of the same one. */
export const RECEIPT_EVERY = 100;
const MAX_RECEIPTS = 8;
const MAX_SEGMENTS = 8;
/** By which way a secret came first: pushed by the first or the second edge, pulled, or fetched with a block of past ones. */
export type Way = 'push' | 'second' | 'pull' | 'block';

/** Quantiles of values in ms, from counts. */
export type Tally = {
  add(value: number): void;
  /** Value below which `share` of what was added lies; NaN before the first one. */
  quantile(share: number): number;
  /** Counts by `REPORT_STEPS`. */
  steps(): number[];
  readonly count: number;
  readonly max: number;
  clear(): void;
};

/** A tally without values; negative values count as 0. */
export const createTally = (): Tally => {
  const counts = new Uint32Array(TOP + 1);
  let count = 0;
  let max = 0;
  return {
    add(value) {
      const clean = Number.isFinite(value) ? Math.max(0, value) : TOP;
      const at = Math.min(TOP, Math.round(clean));
      counts[at] = (counts[at] as number) + 1;
      count += 1;
      max = Math.max(max, clean);
    },
    quantile(share) {
      if (count === 0) return Number.NaN;
      let left = Math.max(1, Math.ceil(share * count));
      for (let at = 0; at <= TOP; at++) {
        left -= counts[at] as number;
        if (left <= 0) return at;
      }
      return TOP;
    },
    steps() {
      const steps = new Array<number>(REPORT_STEPS.length + 1).fill(0);
      let step = 0;
      for (let at = 0; at <= TOP; at++) {
        while (step < REPORT_STEPS.length && at > (REPORT_STEPS[step] as number)) step += 1;
        steps[step] = (steps[step] as number) + (counts[at] as number);
      }
      return steps;
    },
    get count() {
      return count;
    },
    get max() {
      return max;
    },
    clear() {
      counts.fill(0);
      count = 0;
      max = 0;
    },
  };
};

/** What a viewer can show about its own watching. Times in ms. */
export type ReleaseStatistics = {
  readonly periods: number;
  readonly ways: Readonly<Record<Way, number>>;
  readonly arrivalP50: number;
  readonly arrivalP99: number;
  /** Distance of pictures from their instant, either side. */
  readonly displayP50: number;
  readonly displayP95: number;
  readonly displays: number;
  /** Periods whose secret came after T_p + δ. */
  readonly late: number;
  /** Periods that were never shown because they were late. */
  readonly skipped: number;
  /** Share of periods whose media bytes were here at T_p; NaN before the first. */
  readonly held: number;
};

/** A secret's first copy. */
export type Arrival = {
  readonly period: CryptoPeriod;
  readonly way: Way;
  readonly releaseAt: Micros;
  /** When it came, by the viewer's clock, inside ± `error`. */
  readonly at: Micros;
  readonly error: Micros;
  /** When the period's first frame is due. */
  readonly shownAt: Micros;
  /** When the period's media was complete here, if it was. */
  readonly bytesAt?: Micros;
};

/** The counting of one viewer. */
export type StatisticsKeeper = {
  arrived(arrival: Arrival): void;
  /** A secret that did not come before its period was over. */
  missed(period: CryptoPeriod): void;
  /** A picture, off by so many ms. */
  displayed(error: Millis): void;
  /** Periods that were never shown because they were late. */
  skipped(periods: number): void;
  /** A segment's last byte came. */
  segment(number: number, at: Micros): void;
  read(): ReleaseStatistics;
  /** The report since the last one; undefined if there is nothing to tell. */
  report(): Omit<StatMessage, 'clock' | 'delta'> | undefined;
};

type Counts = { readonly arrival: Tally; readonly display: Tally; late: number; skipped: number; held: number; pulled: number };
const startCounts = (): Counts => ({ arrival: createTally(), display: createTally(), late: 0, skipped: 0, held: 0, pulled: 0 });
const micros = (millis: number): number => Math.round(millis * 1000);

/** Nothing measured yet. */
export const createStatistics = (): StatisticsKeeper => {
  const total = startCounts();
  const recent = startCounts();
  const both = [total, recent];
  const ways: Record<Way, number> = { push: 0, second: 0, pull: 0, block: 0 };
  let range: { readonly from: CryptoPeriod; readonly to: CryptoPeriod } | undefined;
  let receipts: NonNullable<StatMessage['receipts']>[number][] = [];
  let segments: NonNullable<StatMessage['segments']>[number][] = [];
  const saw = (period: CryptoPeriod): void => void (range = { from: Math.min(range?.from ?? period, period) as CryptoPeriod, to: Math.max(range?.to ?? period, period) as CryptoPeriod });
  return {
    arrived({ period, way, releaseAt, at, error, shownAt, bytesAt }) {
      ways[way] += 1;
      // What is fetched long after its release, to seek back or at a late join, says nothing about the release.
      if (way === 'block') return;
      saw(period);
      for (const set of both) {
        set.arrival.add((at - releaseAt) / 1000);
        if (at > shownAt) set.late += 1;
        if (way === 'pull') set.pulled += 1;
        if (bytesAt !== undefined && bytesAt <= releaseAt) set.held += 1;
      }
      if (period % RECEIPT_EVERY === 0) receipts = [...receipts, { period, earliest: (at - error) as Micros, latest: (at + error) as Micros }].slice(-MAX_RECEIPTS);
    },
    missed(period) {
      saw(period);
      for (const set of both) {
        set.arrival.add(TOP);
        set.late += 1;
      }
    },
    displayed(error) {
      for (const set of both) set.display.add(Math.abs(error));
    },
    skipped(periods) {
      for (const set of both) set.skipped += periods;
    },
    segment(number, at) {
      segments = [...segments, { segment: number, at }].slice(-MAX_SEGMENTS);
    },
    read: () => ({
      periods: total.arrival.count,
      ways: { ...ways },
      arrivalP50: total.arrival.quantile(0.5),
      arrivalP99: total.arrival.quantile(0.99),
      displayP50: total.display.quantile(0.5),
      displayP95: total.display.quantile(0.95),
      displays: total.display.count,
      late: total.late,
      skipped: total.skipped,
      held: total.arrival.count === 0 ? Number.NaN : total.held / total.arrival.count,
    }),
    report() {
      const { arrival, display, late, skipped, held, pulled } = recent;
      if (range === undefined) return undefined;
      const report = {
        type: 'stat' as const,
        ...range,
        n: arrival.count,
        late,
        skipped,
        pulled,
        arrival: { p50: micros(arrival.quantile(0.5)), high: micros(arrival.quantile(0.99)) },
        ...(display.count > 0 && { display: { p50: micros(display.quantile(0.5)), high: micros(display.quantile(0.95)) } }),
        held: held / arrival.count,
        steps: arrival.steps(),
        ...(receipts.length > 0 && { receipts }),
        ...(segments.length > 0 && { segments }),
      };
      arrival.clear();
      display.clear();
      Object.assign(recent, { late: 0, skipped: 0, held: 0, pulled: 0 });
      range = undefined;
      receipts = [];
      segments = [];
      return report;
    },
  };
};
