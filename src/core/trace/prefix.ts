// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer of prefix delivery: shared digits say which edges to look at, a viewer's own digits are the evidence.
 *
 * docs/guide/sequences.md, "Inner delivery". The leading digits of an epoch are common to all viewers of an edge: counting
 * them against one of them would accuse him for what his neighbours received. They only order the search. The own digits
 * of an innocent are uniform given the leaking viewer's, but for the words that viewer holds: m^k/(m^k-1) per epoch, which
 * is subtracted. Every number of every block could be accused, so N is the sum of the blocks.
 * Invariant: over all reports of one tracer, any innocent is accused with probability at most eps.
 */
import type { Block, Position, PrefixBook, ViewerNumber } from '#core/watermark/index.ts';
import { evidenceOf, SINGLE_PRIOR, type Evidence } from './evidence.ts';
import { createIntake } from './intake.ts';
import { mostLikely, type Reading } from './likelihood.ts';
import { logRatios, modelTables } from './models.ts';
import { errorRates, patience, requirePopulation, segmentsUntil, type Counts, type ReportOptions, type TraceReport, type Tracer } from './report.ts';

/** What a prefix tracer has to know. */
export type PrefixTracerOptions = {
  readonly book: PrefixBook;
  /** Probability that any innocent is ever accused by this tracer. */
  readonly eps: number;
  /** Words looked at per block and epoch; the default takes a few milliseconds. */
  readonly beam?: number;
};

type Observed = { readonly at: Position; readonly epoch: number; readonly index: number; readonly probabilities: Float64Array; readonly ratios: Float64Array };
type Candidate = { readonly viewer: ViewerNumber; readonly evidence: Evidence; readonly used: readonly Observed[] };

const BEAM = 2000;
/** Blocks searched per report, likeliest first. */
const BLOCKS = 12;
/** Epochs searched per block, newest first: one clean epoch is enough to propose the leaking viewer. */
const EPOCHS = 12;
/** Candidates of a block whose evidence is computed. */
const JUDGED = 12;

/** A tracer over readings at known positions. */
export const createPrefixTracer = ({ book, eps, beam = BEAM }: PrefixTracerOptions): Tracer => {
  const { alphabet, plan } = book;
  const { blocks, length, from } = plan;
  const population = blocks.reduce((sum, { digits }) => sum + alphabet ** digits, 0);
  requirePopulation(population, eps);
  const bound = Math.log(population / eps);
  const intake = createIntake(alphabet);
  const tables = modelTables(new Float64Array(alphabet).fill(1 / alphabet));
  const readings: Observed[] = [];
  /** How well a block's shared digits explain the copy; restarted at zero, because a pirate may move. */
  const shared = new Float64Array(blocks.length);

  const observe = (reading: Reading): void => {
    const { at, probabilities } = intake.accept(reading);
    if (probabilities === undefined || at < from) return;
    const ratios = logRatios(tables, probabilities);
    const index = (at - from) % length;
    readings.push({ at, epoch: Math.floor((at - from) / length), index, probabilities, ratios });
    blocks.forEach(({ first, digits }, i) => {
      if (index < length - digits) shared[i] = Math.max(0, (shared[i] as number) + (ratios[book.symbol(first as ViewerNumber, at)] as number));
    });
  };

  const ownOf = ({ digits }: Block): readonly Observed[] => readings.filter(({ index }) => index >= length - digits);

  /** Viewers of a block whose own digits fit some epoch best, with what all epochs say of them. */
  const propose = (block: Block, exclude: ReadonlySet<number> | undefined): { viewers: readonly ViewerNumber[]; all: boolean } => {
    const rows = new Map<number, (Float64Array | undefined)[]>();
    for (const { epoch, index, ratios } of ownOf(block)) {
      const row = rows.get(epoch) ?? new Array<Float64Array | undefined>(block.digits).fill(undefined);
      row[index - (length - block.digits)] = ratios.subarray(0, alphabet);
      rows.set(epoch, row);
    }
    const totals = new Map<ViewerNumber, number>();
    const epochs = [...rows].sort(([a], [b]) => b - a).slice(0, EPOCHS);
    let all = epochs.length === rows.size;
    for (const [epoch, row] of epochs) {
      const found = book.best(block, epoch, row, beam);
      all &&= found.all;
      for (const { viewer, score } of found.viewers) if (exclude?.has(viewer) !== true) totals.set(viewer, (totals.get(viewer) ?? 0) + score);
    }
    return { all, viewers: [...totals].sort(([, a], [, b]) => b - a).slice(0, JUDGED).map(([viewer]) => viewer) };
  };

  const judge = (viewer: ViewerNumber, block: Block): Candidate => {
    const used = ownOf(block);
    const evidence = evidenceOf(used.map(({ ratios }) => ratios), used.map(({ at }) => book.symbol(viewer, at)), alphabet, SINGLE_PRIOR);
    const epochs = new Set(used.map(({ epoch }) => epoch)).size;
    return { viewer, used, evidence: { ...evidence, nats: evidence.nats + epochs * Math.log1p(-1 / alphabet ** block.digits) } };
  };

  const countsOf = ({ viewer, evidence, used }: Candidate): Counts => {
    const counted = used.slice(evidence.start);
    const matches = counted.filter(({ at, probabilities }) => mostLikely(probabilities) === book.symbol(viewer, at)).length;
    return { matches, mismatches: counted.length - matches, erased: intake.erased() };
  };

  const report = ({ exclude }: ReportOptions = {}): TraceReport => {
    readings.sort((a, b) => a.at - b.at);
    const order = blocks.map((_, i) => i).sort((a, b) => (shared[b] as number) - (shared[a] as number));
    const candidates: Candidate[] = [];
    let exhaustive = order.length <= BLOCKS;
    for (const i of order.slice(0, BLOCKS)) {
      const block = blocks[i] as Block;
      const proposed = propose(block, exclude);
      exhaustive &&= proposed.all;
      candidates.push(...proposed.viewers.map((viewer) => judge(viewer, block)));
      // Whoever is certified stays so: no other candidate can take it back.
      if (candidates.some(({ evidence }) => evidence.nats >= bound)) break;
    }
    candidates.sort((a, b) => b.evidence.nats - a.evidence.nats);
    const [best, second] = candidates;
    const evidence = best?.evidence.nats ?? -Infinity;
    const accused = evidence >= bound;
    const counts = best === undefined ? { matches: 0, mismatches: 0, erased: intake.erased() } : countsOf(best);
    const ahead = segmentsUntil(bound - Math.max(0, evidence), alphabet, counts);
    // Only own digits count: that many positions go by for one of them.
    const stretch = best === undefined ? 1 : length / book.block(best.viewer).digits;
    const hopeless = !accused && readings.length >= stretch * patience(bound, alphabet) && evidence < bound / 2;
    const tied = second !== undefined && best !== undefined && second.evidence.nats === best.evidence.nats;
    return {
      book: 'aligned',
      verdict: accused ? 'accuse' : hopeless ? 'none' : 'more',
      viewer: best === undefined || hopeless || (tied && !accused) ? null : best.viewer,
      evidence,
      bound,
      falseAccusation: Math.min(1, population * Math.exp(-evidence)),
      segmentsNeeded: accused ? 0 : Math.max(1, Math.ceil(stretch * ahead.expected)),
      segmentsRange: accused ? [0, 0] : [Math.ceil(stretch * ahead.range[0]), Math.ceil(stretch * ahead.range[1])],
      runnerUp: second === undefined ? null : { viewer: second.viewer, evidence: second.evidence.nats },
      observed: readings.length,
      erased: intake.erased(),
      errorRates: errorRates(counts),
      coalition: { share: best?.evidence.coalitionShare ?? 0, size: best?.evidence.size ?? 1 },
      since: best === undefined ? null : (best.used[best.evidence.start]?.at ?? null),
      offset: 0,
      exhaustive,
    };
  };

  return { observe, report };
};
