// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast/trace`: from what a detector read in a pirate copy to a viewer, with a stated false-accusation bound.
 *
 * ```ts
 * const tracer = createAlignedTracer({ book, viewers: 1_000_000, eps: 1e-9 });
 * for (const reading of readings) tracer.observe(reading);
 * const { verdict, viewer, evidence, bound } = tracer.report();
 * ```
 *
 * One tracer per code book: `aligned` searches a billion viewers without a table, `biased` finds coalitions among
 * millions, `adaptive` decodes the paper's sequences from any window. All answer the same report and can be asked after
 * every reading. docs/guide/sequences.md; file format in docs/wire/observation.md.
 * Invariant: synchronous, no I/O, no clock, no randomness.
 */
export { MAX_GROWTH, parseAccusation, replayWithGrowth, type Accusation, type Growth } from './accusation.ts';
export { createAdaptiveTracer, decodeWindow, type AdaptiveTracerOptions } from './adaptive.ts';
export { createAlignedTracer, type AlignedTracerOptions } from './aligned.ts';
export { correlationOf, createCorrelation, scoreNeeded, type Correlation } from './correlation.ts';
export { createMixtureTracer, type MixtureTracerOptions } from './biased.ts';
export { MAX_READINGS } from './intake.ts';
export { FLOOR, hardReading, requireLikelihoods, type Reading } from './likelihood.ts';
export {
  formatHeader,
  formatObservation,
  formatReading,
  OBSERVATION_FORMAT,
  parseHeader,
  parseObservation,
  parseReading,
  type BookDescription,
  type Observation,
  type ObservationHeader,
  type ObservedReading,
} from './observation.ts';
export { createBook, createCopies, createTracer, replay, runTrace } from './replay.ts';
export type { ReportOptions, TraceReport, Tracer } from './report.ts';
export { createPrefixTracer, type PrefixTracerOptions } from './prefix.ts';
export { createSwitchedTracer, type SwitchedTracerOptions } from './switched.ts';
export { createTwoPhaseTracer, type TwoPhaseOptions, type TwoPhaseReport, type TwoPhaseTracer, type ViewerRange } from './two-phase.ts';
