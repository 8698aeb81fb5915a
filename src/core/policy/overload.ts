// SPDX-License-Identifier: Apache-2.0
/**
 * How an overloaded server asks for less: a factor on renewal intervals and licence durations, with hysteresis.
 *
 * Recurring renewals, "Adaptability": periods grow in times of server overload. B071: they come back with hysteresis.
 * Invariant: the factor rises one step per sustained overload and falls one step per sustained calm; a spike changes nothing.
 * Beside other work only licensing that makes a good part of the load counts: what fewer renewals would not end is no reason for fewer.
 */
import type { Micros } from '../time.ts';

/** What counts as overload and how fast the factor moves. */
export type OverloadPolicy = {
  /** Event-loop lag (p99, ms) or CPU share above which the server is overloaded. */
  readonly lagMillis: number;
  readonly cpuShare: number;
  /** Where other work shares the process: the part of a core that licensing must ask for, or the load is not its own. */
  readonly licensingShare: number;
  /** Overload must last this long for one step up, calm this long for one step down. */
  readonly stepUpAfter: Micros;
  readonly stepDownAfter: Micros;
  readonly factors: readonly number[];
};

/** Event-loop lag over 50 ms or CPU over 80 %; up after 10 s, down after 15 s, so that all is as before within a minute of the end; factors 1, 1.5, 2, 4. */
export const OVERLOAD_DEFAULTS: OverloadPolicy = {
  lagMillis: 50, cpuShare: 0.8, licensingShare: 0.2, stepUpAfter: 10_000_000 as Micros, stepDownAfter: 15_000_000 as Micros, factors: [1, 1.5, 2, 4],
};

/** One reading: event-loop lag (p99 over the last second, ms), CPU share (0 to 1), and what licensing asked for (parts of a core) where other work shares the process. */
export type LoadSample = { readonly lagMillis: number; readonly cpuShare: number; readonly licensingShare?: number };
/** The present step, and since when the server has been hot or calm. */
export type Overload = { readonly step: number; readonly hot: boolean; readonly since: Micros };

/** The state of a server that starts. */
export const calm = (now: Micros): Overload => ({ step: 0, hot: false, since: now });

/** Takes one reading in; at least one per second keeps the step honest. */
export const observeLoad = (overload: Overload, policy: OverloadPolicy, sample: LoadSample, now: Micros): Overload => {
  const own = (sample.licensingShare ?? Number.POSITIVE_INFINITY) >= policy.licensingShare;
  const hot = own && (sample.lagMillis > policy.lagMillis || sample.cpuShare > policy.cpuShare);
  if (hot !== overload.hot) return { step: overload.step, hot, since: now };
  const lasted = now - overload.since;
  if (hot && lasted >= policy.stepUpAfter && overload.step < policy.factors.length - 1) return { step: overload.step + 1, hot, since: now };
  if (!hot && lasted >= policy.stepDownAfter && overload.step > 0) return { step: overload.step - 1, hot, since: now };
  return overload;
};

/** The factor on `after` and duration: 1 when calm. */
export const loadFactor = (overload: Overload, policy: OverloadPolicy): number => policy.factors[overload.step] ?? 1;

/** Initial requests are shed before renewals: only from the second step on, and never renewals. */
export const shedsInitialRequests = (overload: Overload): boolean => overload.hot && overload.step >= 2;
