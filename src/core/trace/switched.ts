// SPDX-License-Identifier: Apache-2.0
/**
 * Two-phase delivery behind the interface of every tracer: for observation files, whose header says what was switched when.
 *
 * two-phase.ts does the work. Viewers may watch from any edge, so everybody is scored on what a switched edge gave after
 * its switch; what an edge gave before it is evidence against the edge alone and is never counted against a viewer.
 * Invariant: as there, any innocent is accused with probability at most eps.
 */
import { edgeCopy, type BiasedBook, type Position, type Switched, type ViewerNumber } from '#core/watermark/index.ts';
import { mostLikely, symbolProbabilities, type Reading } from './likelihood.ts';
import { errorRates, patience, segmentsUntil, type TraceReport, type Tracer } from './report.ts';
import { createTwoPhaseTracer } from './two-phase.ts';

/** What is known of the event. */
export type SwitchedTracerOptions = {
  readonly book: BiasedBook;
  /** N: viewer numbers given out. */
  readonly viewers: number;
  /** Edges 0 .. edges-1. */
  readonly edges: number;
  readonly switched: readonly Switched[];
  readonly eps: number;
};

/** A tracer over readings at known positions. */
export const createSwitchedTracer = ({ book, viewers, edges, switched, eps }: SwitchedTracerOptions): Tracer => {
  const { alphabet } = book;
  const tracer = createTwoPhaseTracer({ book, edges, viewersAt: () => [{ first: 0, count: viewers }], eps });
  for (const change of switched) tracer.switched(change);
  const readings: { readonly at: Position; readonly symbol: number }[] = [];
  let erased = 0;

  const observe = (reading: Reading): void => {
    tracer.observe(reading);
    if (reading.likelihoods === undefined) erased++;
    else readings.push({ at: reading.position, symbol: mostLikely(symbolProbabilities(reading.likelihoods, alphabet)) });
  };

  const phaseTwo = (at: Position, edge: number): boolean => switched.some((change) => change.edge === edge && at >= change.from && (change.until === undefined || at < change.until));

  return {
    observe,
    report({ exclude } = {}): TraceReport {
      const found = tracer.report();
      const { edge, probability, suspects, evidence, bound } = found;
      // The best of all is reported; whoever was cut already is not, and the next reading shows who is left.
      const viewer = found.viewer !== null && exclude?.has(found.viewer) === true ? null : found.viewer;
      const accused = found.verdict === 'accuse' && viewer !== null;
      const copyAt = (at: Position): number => book.symbol(viewer !== null && phaseTwo(at, edge) ? viewer : (edgeCopy(edge) as ViewerNumber), at);
      const matches = readings.filter(({ at, symbol }) => copyAt(at) === symbol).length;
      const counts = { matches, mismatches: readings.length - matches, erased };
      const ahead = segmentsUntil(bound - Math.max(0, evidence), alphabet, counts);
      const hopeless = !accused && suspects.length === 0 && readings.length >= 2 * patience(bound, alphabet) && !(evidence >= bound / 2);
      return {
        book: 'biased',
        verdict: accused ? 'accuse' : hopeless ? 'none' : 'more',
        viewer: hopeless ? null : viewer,
        evidence: viewer === null ? -Infinity : evidence,
        bound,
        falseAccusation: viewer === null ? 1 : Math.min(1, eps * Math.exp(bound - evidence)),
        segmentsNeeded: accused ? 0 : Math.max(1, ahead.expected),
        segmentsRange: accused ? [0, 0] : ahead.range,
        runnerUp: null,
        observed: readings.length,
        erased,
        errorRates: errorRates(counts),
        coalition: { share: 0, size: 1 },
        since: viewer === null ? null : (readings.find(({ at }) => phaseTwo(at, edge))?.at ?? null),
        offset: 0,
        exhaustive: true,
        delivery: { edge, probability, suspects },
      };
    },
  };
};
