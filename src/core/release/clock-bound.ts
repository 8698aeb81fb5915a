// SPDX-License-Identifier: Apache-2.0
/**
 * What an edge knows about UTC: an interval that holds the true time, and whether that may be relied on.
 *
 * Sources (key servers, peer edges, chrony) each give intervals; Marzullo's intersection keeps the truth as long as a
 * majority of them is right. Between samples the interval grows by 50 ppm, ten times what plain oscillators drift.
 * Invariants: time is anchored to the monotonic clock, so stepping the system clock cannot move `earliest`; after a
 * step, a suspend or a disagreement the status is `fault` until eight new samples agree; nothing here reads a clock.
 */
import type { Micros, Millis } from '../time.ts';

/** How much an interval widens per unit of elapsed time while no sample arrives. */
export const DRIFT_PPM = 50;
/** How fast the estimate may be pulled towards a new intersection. */
export const SLEW_PPM = 100;
/** Samples needed before the first release and again after a fault. */
export const SAMPLES_TO_TRUST = 8;
const TRUST_SPAN: number = 1000;
const SAMPLE_LIFETIME: number = 60_000;
/** Longest time between two looks at the local clocks that is not taken for a suspend, milliseconds. */
export const MAX_TICK_GAP: Millis = 100 as Millis;
const MAX_SYSTEM_JUMP: number = 2_000;

/** One look at a source: at monotonic time `at`, UTC was within `offset ± error` of the monotonic reading. */
export type ClockSample = {
  readonly source: string;
  /** Monotonic time of the reading. */
  readonly at: Millis;
  /** UTC minus monotonic time, microseconds. */
  readonly offset: number;
  /** Half width of the interval: RTT/2, plus what the source says of its own error. */
  readonly error: Micros;
};

/** `starting` and `fault` release nothing; `single-host` is the host's own clock, by definition right. */
export type ClockStatus = 'starting' | 'sync' | 'single-host' | 'fault';
/** An interval that holds UTC, microseconds, and whether to rely on it. */
export type ClockBound = { readonly earliest: Micros; readonly latest: Micros; readonly status: ClockStatus };

/** Everything the clock knows; a value, so that tests and audits can keep it. */
export type ClockState = {
  readonly status: ClockStatus;
  /** Why the status is `fault`; empty otherwise. */
  readonly cause: string;
  /** Per source the sample that bounds time closest. */
  readonly samples: readonly ClockSample[];
  /** The estimate of UTC minus monotonic time at `anchoredAt`, and the half width that holds the truth then. */
  readonly offset: number;
  readonly error: number;
  readonly anchoredAt: Millis;
  readonly agreeing: number;
  readonly agreeingSince: Millis;
  readonly lastTick: Millis;
  readonly lastSystemOffset: number | undefined;
  /** A persisted lower bound of UTC: no correct clock is before it. */
  readonly floor: Micros;
};

/** A clock that knows nothing yet. `floor` is the highest instant persisted before a restart (0 if none). */
export const startClock = (at: Millis, floor: Micros): ClockState => ({
  status: 'starting', cause: '', samples: [], offset: 0, error: Number.POSITIVE_INFINITY, anchoredAt: at,
  agreeing: 0, agreeingSince: at, lastTick: at, lastSystemOffset: undefined, floor,
});

const aged = (error: number, elapsed: number): number => error + Math.ceil((Math.max(0, elapsed) * 1000 * DRIFT_PPM) / 1_000_000);

/**
 * Marzullo's intersection: from the lowest to the highest point that at least `need` intervals share.
 *
 * With `need` a majority and a majority of honest sources, the truth is such a point, so the hull holds it. Taking only
 * the deepest overlap would let one liar that grazes an honest interval pull the answer off the truth in a tie.
 */
export const intersect = (intervals: readonly { readonly low: number; readonly high: number }[], need: number): { low: number; high: number } | undefined => {
  const edges = intervals.flatMap(({ low, high }) => [{ at: low, step: 1 }, { at: high, step: -1 }]);
  // Touching intervals agree in one point, so starts come before ends at the same value.
  edges.sort((a, b) => a.at - b.at || b.step - a.step);
  let depth = 0;
  let low: number | undefined;
  let high = 0;
  for (const { at, step } of edges) {
    if (step === -1 && depth >= need) high = at;
    depth += step;
    if (step === 1 && depth >= need) low ??= at;
  }
  return low === undefined ? undefined : { low, high };
};

const fault = (state: ClockState, at: Millis, cause: string): ClockState => ({
  ...state, status: 'fault', cause, samples: [], agreeing: 0, agreeingSince: at, lastTick: at,
});

const insane = (sample: ClockSample): boolean =>
  !Number.isFinite(sample.offset) || !Number.isFinite(sample.error) || sample.error < 0 || !Number.isFinite(sample.at);

/**
 * Of a source's two samples the one that bounds time closer now: a slow answer says nothing against a quick one of a moment
 * ago. If they contradict each other the source itself has moved, and the new one counts.
 */
const better = (old: ClockSample | undefined, fresh: ClockSample, now: Millis): ClockSample => {
  if (old === undefined || now - old.at > SAMPLE_LIFETIME) return fresh;
  const error = aged(old.error, now - old.at);
  return error <= fresh.error && Math.abs(old.offset - fresh.offset) <= error + fresh.error ? old : fresh;
};

/** Takes one sample in. A sample without a finite, non-negative error is ignored: it bounds nothing. */
export const observe = (state: ClockState, sample: ClockSample): ClockState => {
  if (insane(sample)) return state;
  const now = sample.at;
  const others = state.samples.filter((old) => old.source !== sample.source && now - old.at <= SAMPLE_LIFETIME);
  const samples = [...others, better(state.samples.find((old) => old.source === sample.source), sample, now)];
  const intervals = samples.map((each) => {
    const error = aged(each.error, now - each.at);
    return { low: each.offset - error, high: each.offset + error };
  });
  const common = intersect(intervals, Math.floor(samples.length / 2) + 1);
  if (common === undefined) return fault(state, now, 'time sources disagree');
  const middle = (common.low + common.high) / 2;
  const half = (common.high - common.low) / 2;
  // Before it is trusted nothing depends on the estimate; it need not come slowly.
  const first = state.error === Number.POSITIVE_INFINITY || state.status !== 'sync';
  const reach = (Math.max(0, now - state.anchoredAt) * 1000 * SLEW_PPM) / 1_000_000;
  const slewed = state.offset + Math.min(reach, Math.max(-reach, middle - state.offset));
  // An estimate outside of what the sources agree on is wrong, however far it may move: its distance would only widen the bound.
  const offset = first ? middle : Math.min(common.high, Math.max(common.low, slewed));
  const agreeing = state.agreeing + 1;
  const agreeingSince = state.agreeing === 0 ? now : state.agreeingSince;
  const trusted = agreeing >= SAMPLES_TO_TRUST && now - agreeingSince >= TRUST_SPAN && new Set(samples.map((each) => each.source)).size >= 2;
  const next: ClockState = {
    ...state, samples, offset, anchoredAt: now,
    // The estimate may still be on its way to the intersection: that distance is part of the error.
    error: Math.ceil(half + Math.abs(middle - offset)),
    agreeing, agreeingSince, lastTick: now,
    status: trusted || state.status === 'sync' ? 'sync' : state.status,
    cause: trusted ? '' : state.cause,
  };
  if (next.status === 'sync' && utc(next, now) - next.error < next.floor) return fault(next, now, 'time is before a persisted release');
  return next;
};

/**
 * The regular look at both local clocks, at least every 100 ms. A gap means the process was suspended or starved; a
 * jump of the system clock against the monotonic one means somebody stepped it: neither tells which of them is right.
 * `maxGap`: what counts as a suspend; a thread that shares its core with other work is starved for longer than 100 ms now
 * and then, and a real suspend shows in the system clock too. On a single host the estimate follows the host clock's own
 * slewing, at most 100 ppm fast.
 */
export const tick = (state: ClockState, at: Millis, system: Micros, maxGap: Millis = MAX_TICK_GAP): ClockState => {
  const systemOffset = system - at * 1000;
  const gap = at - state.lastTick;
  const jump = state.lastSystemOffset === undefined ? 0 : Math.abs(systemOffset - state.lastSystemOffset);
  const seen: ClockState = { ...state, lastTick: at, lastSystemOffset: systemOffset };
  if (state.status !== 'sync' && state.status !== 'single-host') return seen;
  if (gap > maxGap) return fault(seen, at, 'the process was suspended');
  if (jump > MAX_SYSTEM_JUMP + (state.status === 'sync' ? state.error : 0)) return fault(seen, at, 'the system clock was stepped');
  if (state.status !== 'single-host') return seen;
  const reach = (Math.max(0, gap) * 1000 * SLEW_PPM) / 1_000_000;
  return { ...seen, offset: state.offset + Math.min(reach, Math.max(-reach, systemOffset - state.offset)) };
};

/** All roles on one host: the host clock is the authority by definition. Never call it once an edge on another host enrols. */
export const trustHost = (state: ClockState, at: Millis, system: Micros): ClockState => ({
  ...state, status: 'single-host', cause: '', offset: system - at * 1000, error: 0, anchoredAt: at, lastTick: at, lastSystemOffset: system - at * 1000,
});

const utc = (state: ClockState, at: Millis): number => at * 1000 + state.offset;

/** The interval that holds true UTC at monotonic time `at`. `earliest` decides releases, `latest` only reports. */
export const boundAt = (state: ClockState, at: Millis): ClockBound => {
  const middle = utc(state, at);
  // On a single host there is no second clock to drift from.
  const error = state.status === 'single-host' ? 0 : aged(state.error, at - state.anchoredAt);
  if (!Number.isFinite(error)) return { earliest: 0 as Micros, latest: Number.MAX_SAFE_INTEGER as Micros, status: state.status };
  return { earliest: Math.floor(middle - error) as Micros, latest: Math.ceil(middle + error) as Micros, status: state.status };
};
