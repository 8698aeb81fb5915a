// SPDX-License-Identifier: Apache-2.0
/**
 * Timed releases as figures over time: what the endpoint says each second, kept for the charts, and what follows from it.
 *
 * Invariant: pure; the unfair advantage is a bound from measured figures, with the interval that the edge's clock leaves.
 */
import type { Figures, ReleaseEventView, ReleasesView } from '../../../src/operations/api.ts';
import { type Cell, cell } from './live.ts';

/** Share of clients that must hold the bytes at T; below it is an alarm. */
export const HELD_GOAL = 0.99;
/** Secrets held less far ahead are an alarm, s. */
export const HORIZON_ALARM = 5;
const SECONDS = 300;

const millis = (micros: number | undefined): number | undefined => (micros === undefined ? undefined : micros / 1000);

/** By how much a client that breaks every rule is ahead of an honest one, ms: at the first, mean and last frame of a period, from ... to. */
export type Advantage = { readonly first: readonly [number, number]; readonly mean: readonly [number, number]; readonly max: readonly [number, number] };

/**
 * A(x) = δ + x − (when the secret left − T). It never leaves before T, and 99 times of 100 no later than the p99 of lateness; what the client needs to get and decode it makes
 * its advantage smaller and is not counted, so this is what it can be at most.
 */
export const advantageOf = (event: ReleaseEventView, clockError: number | undefined): Advantage => {
  const delta = event.delta / 1000;
  const period = event.period / 1000;
  const worst = (event.figures.latenessP99 ?? 0) / 1000 + (2 * (clockError ?? 0)) / 1000;
  const from = (x: number): readonly [number, number] => [Math.max(0, delta + x - worst), delta + x];
  return { first: from(0), mean: from(period / 2), max: from(period) };
};

/** What the charts draw of one event. */
export const levelsOf = (event: ReleaseEventView, clockError: number | undefined): Record<string, number> => {
  const { figures } = event;
  const values: Record<string, number | undefined> = {
    latenessP50: millis(figures.latenessP50), latenessP99: millis(figures.latenessP99),
    spreadP50: millis(figures.spreadP50), spreadP95: millis(figures.spreadP95),
    displayP50: millis(figures.displayP50), displayP95: millis(figures.displayP95), arrivalP99: millis(figures.arrivalP99),
    onTime: figures.onTime === undefined ? undefined : 100 * figures.onTime, held: figures.held === undefined ? undefined : 100 * figures.held,
    horizon: event.horizon / 1e6, connections: event.connections, clockError: millis(clockError),
    advantageFirst: advantageOf(event, clockError).first[1], advantageMean: advantageOf(event, clockError).mean[1], advantageMax: advantageOf(event, clockError).max[1],
  };
  return Object.fromEntries(Object.entries(values).filter((entry): entry is [string, number] => entry[1] !== undefined && Number.isFinite(entry[1])));
};

/** Per event, the samples of the last five minutes. */
export type ReleaseHistory = { readonly of: (event: string) => Cell<readonly Figures[]>; readonly add: (view: ReleasesView, at: number) => void };

export const createReleaseHistory = (): ReleaseHistory => {
  const cells = new Map<string, Cell<readonly Figures[]>>();
  const of = (event: string): Cell<readonly Figures[]> => {
    const known = cells.get(event) ?? cell<readonly Figures[]>([]);
    cells.set(event, known);
    return known;
  };
  return {
    of,
    add(view, at) {
      for (const event of view.events) {
        const kept = of(event.event);
        kept.set([...kept.get(), { at, rates: {}, levels: levelsOf(event, view.clock.error), ready: {} }].slice(-SECONDS));
      }
    },
  };
};
