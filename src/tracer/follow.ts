// SPDX-License-Identifier: Apache-2.0
/**
 * Traces a copy that is still being published: look after look at its newest part, until the verdict.
 *
 * docs/guide/tracing.md, "A copy on air". A position is read once, when all of it was there, and never again: so evidence is
 * the e-value of one sequence of readings, and may be looked at after every one of them.
 * Invariant: what was read stays; a later look adds positions, it does not change any.
 */
import type { AssetId } from '#core/ids.ts';
import { createTracer, MAX_GROWTH, MAX_READINGS, type Growth, type Observation, type ObservedReading, type TraceReport } from '#core/trace/index.ts';
import type { EpochKeys } from '#core/watermark/index.ts';
import type { Observed } from './observe.ts';
import type { ObservedMarks } from './observe-marks.ts';
import type { Reference } from './reference.ts';

/** How far a trace on air has come. */
export type FollowState = {
  readonly report: TraceReport | undefined;
  readonly observation: Observation | undefined;
  /** Evidence of the leading viewer after each look that read something. */
  readonly growth: readonly Growth[];
  /** What the newest look said where it read nothing. */
  readonly nothing?: string;
};

/** One trace on air. */
export type Follower = {
  /** Looks at the newest part of the copy, a file that begins and ends anywhere. */
  look(file: string): Promise<FollowState>;
};

/** A reference of variants, or one of marks inside the bitstream with the way to read them. */
export type FollowedReference = Reference | (Pick<Reference, 'alphabet' | 'book' | 'delivery'> & { readonly slots: number; observe(file: string): Promise<ObservedMarks> });

/** Numbers given out while a copy is watched are covered up to this many times those at its start. */
const GROWTH = 2;

/** `observe` reads a file against a reference; `reference` is asked before each look, because events go on. */
export const createFollower = (options: {
  readonly asset: AssetId;
  readonly eps: number;
  /** Viewer numbers there are now; the bound covers twice those of the start, and more if there come more. */
  readonly viewers: () => Promise<number>;
  readonly source?: string | undefined;
  readonly keys: EpochKeys;
  readonly reference: () => Promise<FollowedReference | undefined>;
  readonly observe: (reference: FollowedReference, file: string) => Promise<Observed | ObservedMarks>;
}): Follower => {
  const { asset, eps, viewers, source, keys } = options;
  const read = new Map<number, ObservedReading>();
  const growth: Growth[] = [];
  let covered = 0;
  let tried = 1;
  let state: FollowState = { report: undefined, observation: undefined, growth };

  return {
    async look(file) {
      if (state.report?.verdict === 'accuse') return state;
      const reference = await options.reference();
      if (reference === undefined) return (state = { ...state, nothing: 'nothing is kept of this event yet' });
      const observed = await options.observe(reference, file);
      if (!observed.ok) return (state = { ...state, nothing: observed.detail });
      const slots = 'slots' in reference ? reference.slots : 1;
      const segments = observed.readings.map(({ position }) => Math.floor(position / slots));
      const edges = new Set([Math.min(...segments), Math.max(...segments)]);
      if ('hypotheses' in observed) tried = Math.max(tried, observed.hypotheses);
      let added = 0;
      // What lies at an end of the piece may go on outside it: it is read when it is in the middle of a later look.
      for (const reading of observed.readings) {
        if (reading.likelihoods === undefined || edges.has(Math.floor(reading.position / slots)) || read.has(reading.position) || read.size >= MAX_READINGS) continue;
        read.set(reading.position, reading);
        added++;
      }
      if (added === 0) return (state = { ...state, nothing: 'no new segment could be read' });
      const now = await viewers();
      if (now > covered) covered = now * GROWTH;
      const { alphabet, book, delivery } = reference;
      const readings = [...read.values()].sort((a, b) => a.position - b.position);
      const observation: Observation = { header: { asset, alphabet, slots, book, ...(tried > 1 && { hypotheses: tried }), ...(delivery !== undefined && { delivery }), viewers: covered, eps, ...(source !== undefined && { source }) }, readings };
      const tracer = createTracer(observation.header, keys);
      for (const reading of readings) tracer.observe(reading);
      const report = tracer.report();
      if (Number.isFinite(report.evidence) && growth.length < MAX_GROWTH) growth.push({ position: readings[readings.length - 1]?.position ?? 0, evidence: Number(report.evidence.toFixed(3)) });
      return (state = { report, observation, growth: [...growth] });
    },
  };
};
