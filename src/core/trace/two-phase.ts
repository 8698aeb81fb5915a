// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer of two-phase delivery: first which edge leaks, then which of its viewers.
 *
 * Phase 1 scores the edges' common copies; an edge that explains the copy well enough is proposed for the switch.
 * Phase 2 scores the viewers of switched edges on positions after the switch alone. Their symbols there are fresh: they
 * do not depend on what made the edge suspicious, so exp(evidence) has mean 1 for an innocent and the t-th edge tried may
 * spend eps / (t (t+1)), which sums to eps. Accuse iff evidence >= ln(u t (t+1) / eps), u the viewers of that edge.
 * Invariant: over all looks and edges, any innocent is accused with probability at most eps.
 */
import { SealcastError } from '#core/errors.ts';
import { edgeCopy, type BiasedBook, type EdgeNumber, type Position, type Switched, type ViewerNumber } from '#core/watermark/index.ts';
import { createIntake } from './intake.ts';
import type { Reading } from './likelihood.ts';
import { logRatios, MODELS, modelTables, type ModelTables } from './models.ts';
import { requirePopulation } from './report.ts';

/** Viewer numbers `first` .. `first` + `count` - 1. */
export type ViewerRange = { readonly first: number; readonly count: number };
/** What the tracer has to know. */
export type TwoPhaseOptions = {
  readonly book: BiasedBook;
  /** Edges 0 .. edges-1. */
  readonly edges: number;
  /** Viewers an edge serves; asked when it is switched. At most 2^24 in all. */
  viewersAt(edge: EdgeNumber): readonly ViewerRange[];
  readonly eps: number;
  /** Propose an edge from this posterior probability on; 0.2 by default, so at most five at a time. */
  readonly suspicion?: number;
};
/** What is known after a reading. */
export type TwoPhaseReport = {
  readonly verdict: 'accuse' | 'more';
  /** Edges to switch that are not switched yet. */
  readonly suspects: readonly EdgeNumber[];
  /** The edge that explains the copy best, and how probably. */
  readonly edge: EdgeNumber;
  readonly probability: number;
  /** Best viewer of the switched edges; null before any reading after a switch. */
  readonly viewer: ViewerNumber | null;
  readonly evidence: number;
  /** Nats required of that viewer. */
  readonly bound: number;
};
/** Takes readings and changes of the plan; `report` may be asked after every reading, the error bound holds throughout. */
export type TwoPhaseTracer = {
  /** Adds a reading. Throws `bad-request` as other tracers do. */
  observe(reading: Reading): void;
  /** An edge was switched, or is to be from a position no edge has served yet. Throws `bad-request` if it is already. */
  switched(change: Switched): void;
  report(): TwoPhaseReport;
};

/** Weights of "one leak" and "two sources mixed". */
const SINGLE = 0.7;
const PAIR = MODELS.findIndex(({ colluders }) => colluders === 2);
const MAX_VIEWERS = 2 ** 24;

type Tried = { readonly change: Switched; readonly ranges: readonly ViewerRange[]; readonly count: number; readonly single: Float64Array; readonly mixed: Float64Array; readonly bound: number; readings: number };

const mixture = (single: number, mixed: number): number => {
  const top = Math.max(single, mixed);
  return top + Math.log(SINGLE * Math.exp(single - top) + (1 - SINGLE) * Math.exp(mixed - top));
};

/** A tracer for one event. */
export const createTwoPhaseTracer = ({ book, edges, viewersAt, eps, suspicion = 0.2 }: TwoPhaseOptions): TwoPhaseTracer => {
  requirePopulation(edges, eps);
  if (!(suspicion > 0 && suspicion < 1)) throw new SealcastError('bad-request', 'suspicion must lie between 0 and 1');
  const { alphabet } = book;
  const intake = createIntake(alphabet);
  const single = new Float64Array(edges);
  const mixed = new Float64Array(edges);
  const copies = new Uint8Array(edges);
  const tried: Tried[] = [];
  let scored = 0;

  const tablesAt = (at: Position): ModelTables => modelTables(Float64Array.from(book.weights(at), (weight) => weight / 256));
  const individual = (edge: EdgeNumber, at: Position): Tried | undefined =>
    tried.find(({ change }) => change.edge === edge && at >= change.from && (change.until === undefined || at < change.until));

  const observe = (reading: Reading): void => {
    const { at, probabilities } = intake.accept(reading);
    if (probabilities === undefined) return;
    const ratios = logRatios(tablesAt(at), probabilities);
    const pair = ratios.subarray(PAIR * alphabet, (PAIR + 1) * alphabet);
    book.fill(at, edgeCopy(0), copies);
    for (let edge = 0; edge < edges; edge++) {
      if (individual(edge, at) !== undefined) continue;
      const x = copies[edge] as number;
      // Restarted at zero: a pirate may move to another edge.
      single[edge] = Math.max(0, (single[edge] as number) + (ratios[x] as number));
      mixed[edge] = Math.max(0, (mixed[edge] as number) + (pair[x] as number));
    }
    for (const one of tried) {
      if (individual(one.change.edge, at) !== one) continue;
      one.readings++;
      let i = 0;
      for (const { first, count } of one.ranges) {
        const symbols = new Uint8Array(count);
        book.fill(at, first as ViewerNumber, symbols);
        for (let n = 0; n < count; n++) {
          const x = symbols[n] as number;
          one.single[i] = (one.single[i] as number) + (ratios[x] as number);
          one.mixed[i] = (one.mixed[i] as number) + (pair[x] as number);
          i++;
        }
      }
    }
  };

  const switched = (change: Switched): void => {
    if (!(change.edge < edges) || edgeCopy(change.edge) < 0) throw new SealcastError('bad-request', 'edge must be one of the edges of this event');
    if (tried.some((one) => one.change.edge === change.edge && (one.change.until === undefined || one.change.until > change.from))) {
      throw new SealcastError('bad-request', 'edge must not be switched already: fresh evidence counts once');
    }
    const ranges = viewersAt(change.edge);
    const count = ranges.reduce((sum, range) => sum + range.count, 0);
    if (scored + count > MAX_VIEWERS) throw new SealcastError('bad-request', `switched edges must have at most ${MAX_VIEWERS} viewers in all: every one of them is scored`);
    scored += count;
    const t = tried.length + 1;
    tried.push({ change, ranges, count, single: new Float64Array(count), mixed: new Float64Array(count), bound: Math.log((Math.max(1, count) * t * (t + 1)) / eps), readings: 0 });
  };

  const viewerAt = ({ ranges }: Tried, index: number): ViewerNumber => {
    let left = index;
    for (const { first, count } of ranges) {
      if (left < count) return (first + left) as ViewerNumber;
      left -= count;
    }
    throw new RangeError('index lies beyond the ranges');
  };

  const report = (): TwoPhaseReport => {
    let total = 0;
    let edge = 0;
    const odds = Float64Array.from({ length: edges }, (_, i) => Math.exp(Math.min(600, mixture(single[i] as number, mixed[i] as number))));
    odds.forEach((value, i) => {
      total += value;
      if (value > (odds[edge] as number)) edge = i;
    });
    const suspects = Array.from(odds.keys()).filter((i) => (odds[i] as number) >= suspicion * total && !tried.some(({ change }) => change.edge === i && change.until === undefined));
    let best: { viewer: ViewerNumber; evidence: number; bound: number } | undefined;
    for (const one of tried) {
      if (one.readings === 0) continue;
      let top = -Infinity;
      let index = 0;
      for (let i = 0; i < one.count; i++) {
        // An average is below its largest part: most viewers are ruled out without a logarithm.
        if ((one.single[i] as number) <= top && (one.mixed[i] as number) <= top) continue;
        const evidence = mixture(one.single[i] as number, one.mixed[i] as number);
        if (evidence > top) {
          top = evidence;
          index = i;
        }
      }
      // Edges have bounds of their own: who is closest to it is the best candidate.
      if (one.count > 0 && (best === undefined || top - one.bound > best.evidence - best.bound)) best = { viewer: viewerAt(one, index), evidence: top, bound: one.bound };
    }
    const { viewer = null, evidence = -Infinity, bound = Math.log(2 / eps) } = best ?? {};
    return { verdict: evidence >= bound ? 'accuse' : 'more', suspects, edge, probability: (odds[edge] as number) / total, viewer, evidence, bound };
  };

  return { observe, switched, report };
};
