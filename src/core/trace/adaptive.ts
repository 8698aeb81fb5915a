// SPDX-License-Identifier: Apache-2.0
/**
 * The tracer of the paper's sequences: length and phase unknown, with a closed-form posterior instead of enumeration.
 *
 * For each length l the readings are folded modulo l; F[r][d] sums the log-likelihood of symbol d at residue r, and
 *   ln Z_l = sum_r logsumexp_d F[r][d]
 * sums over all m^l words at once. Words that repeat a shorter word of length d weigh exactly Z_d, so Möbius inversion
 * leaves the primitive ones. The best primitive word's share of the total is its posterior; unassigned words count in
 * the total, so the share is a lower bound. Accuse iff 1 - posterior < eps and the word is assigned.
 * This is a posterior, not an e-value: it trusts the detector's likelihoods, assumes one leaking viewer and no lost or
 * doubled segment. Prefer `aligned` wherever the copy can be aligned to the reference.
 * Invariant: on error-free readings the answer is never another viewer's sequence, however short the window.
 */
import { isPrimitive, viewerNumber, type AdaptiveBook, type ViewerNumber, type Word } from '#core/watermark/index.ts';
import { moebius } from '#core/watermark/counts.ts';
import { stringsByScore } from './best-first.ts';
import { createIntake } from './intake.ts';
import { mostLikely, type Reading } from './likelihood.ts';
import { errorRates, logSumExp, patience, requirePopulation, segmentsUntil, type TraceReport, type Tracer } from './report.ts';

/** What an adaptive tracer has to know. */
export type AdaptiveTracerOptions = {
  readonly book: AdaptiveBook;
  /** Viewer numbers given out when the copy was captured: fixes the longest length L in use. */
  readonly viewers: number;
  readonly eps: number;
};

/** Words per length looked at to find assigned ones; the best is assigned in all but hostile traces. */
const WALK = 64;
/** Repetitions of the longest word after which a single leaking viewer would stand out even at 5 % errors, 10 % erasures. */
const PATIENCE = 10;

type Hypothesis = { readonly word: Word; readonly score: number; readonly viewer: ViewerNumber | undefined };

/**
 * The paper's decoder with its errors corrected, for noise-free windows: the only sequence length consistent with the
 * window, or undefined while several are. Decides after about L+1 symbols, always after max(1, 2(L-1)).
 */
export const decodeWindow = (window: Word, longest: number): Word | undefined => {
  const size = window.length;
  if (size < longest) return undefined;
  let found: Word | undefined;
  for (let period = 1; period <= longest; period++) {
    let repeats = true;
    for (let i = period; i < size && repeats; i++) repeats = window[i] === window[i - period];
    if (!repeats || !isPrimitive(window.subarray(0, period))) continue;
    if (found !== undefined) return undefined;
    found = window.slice(0, period);
  }
  return found;
};

/** A tracer whose positions need only be consecutive numbers of the capture: any starting point will do. */
export const createAdaptiveTracer = ({ book, viewers, eps }: AdaptiveTracerOptions): Tracer => {
  requirePopulation(viewers, eps);
  const { alphabet, sequences } = book;
  const longest = book.longest(viewers);
  for (let length = 1; length <= longest; length++) sequences.prepare(length);
  /** Posterior odds are compared in the report's unit. */
  const bound = Math.log((1 - eps) / eps);
  /** folds[l][r * m + d] */
  const folds = Array.from({ length: longest + 1 }, (_, length) => new Float64Array(length * alphabet));
  const intake = createIntake(alphabet);
  const readings: { readonly at: number; readonly best: number }[] = [];

  const observe = (reading: Reading): void => {
    const { at, probabilities } = intake.accept(reading);
    if (probabilities === undefined) return;
    const logs = probabilities.map(Math.log);
    for (let length = 1; length <= longest; length++) {
      const fold = folds[length] as Float64Array;
      const from = (at % length) * alphabet;
      for (let d = 0; d < alphabet; d++) fold[from + d] = (fold[from + d] as number) + (logs[d] as number);
    }
    readings.push({ at, best: mostLikely(probabilities) });
  };

  const viewerOf = (word: Word): ViewerNumber | undefined => {
    const viewer = book.viewerOf(sequences.rank(word));
    return viewer !== undefined && viewer < BigInt(viewers) ? viewerNumber(Number(viewer)) : undefined;
  };

  /** Best primitive words of one length: the best of all, and the best two that are assigned. */
  const hypothesesOf = (length: number): Hypothesis[] => {
    const fold = folds[length] as Float64Array;
    const rows = Array.from({ length }, (_, r) => fold.subarray(r * alphabet, (r + 1) * alphabet));
    let top = 0;
    for (const row of rows) top += Math.max(...row);
    const strings = stringsByScore(rows, alphabet);
    const digits = new Uint8Array(length);
    const found: Hypothesis[] = [];
    let assigned = 0;
    for (let i = 0; i < WALK && assigned < 2; i++) {
      const cost = strings.frontier();
      if (!strings.next(digits)) break;
      if (!isPrimitive(digits)) continue;
      const word = digits.slice();
      const viewer = viewerOf(word);
      if (viewer !== undefined) assigned++;
      if (viewer !== undefined || found.length === 0) found.push({ word, score: top - cost, viewer });
    }
    return found;
  };

  const report = ({ exclude }: { exclude?: ReadonlySet<number> } = {}): TraceReport => {
    const erased = intake.erased();
    const logZ = folds.map((fold, length) => {
      let sum = 0;
      for (let r = 0; r < length; r++) sum += logSumExp(fold.subarray(r * alphabet, (r + 1) * alphabet));
      return sum;
    });
    // Sum over l <= L of the primitive words' weight = sum over d of Z_d times the Mertens sum up to L/d.
    const scale = Math.max(...logZ.slice(1));
    let total = 0;
    for (let d = 1; d <= longest; d++) {
      let mertens = 0;
      for (let k = 1; k * d <= longest; k++) mertens += moebius(k);
      total += mertens * Math.exp((logZ[d] as number) - scale);
    }
    const hypotheses = Array.from({ length: longest }, (_, i) => hypothesesOf(i + 1)).flat().sort((a, b) => b.score - a.score);
    const assigned = hypotheses.filter(({ viewer }) => viewer !== undefined && exclude?.has(viewer) !== true);
    const best = assigned[0];
    const second = assigned.find(({ viewer }) => viewer !== best?.viewer);
    const evidenceOf = (hypothesis: Hypothesis): number => {
      const share = Math.exp(hypothesis.score - scale);
      // Rounding must not turn a share of everything into certainty.
      const rest = Math.max(total - share, total * 1e-15, Number.MIN_VALUE);
      return Math.log(share) - Math.log(rest);
    };
    const evidence = best === undefined || readings.length === 0 ? -Infinity : evidenceOf(best);
    const accused = evidence >= bound;
    let matches = 0;
    if (best !== undefined) for (const { at, best: read } of readings) if (best.word[at % best.word.length] === read) matches++;
    const counts = { matches, mismatches: readings.length - matches, erased };
    const ahead = segmentsUntil(bound - Math.max(0, evidence), alphabet, counts);
    const leading = hypotheses[0];
    // A word nobody has explains the copy beyond doubt: this is not one of our viewers, or the phase slipped.
    const unassigned = leading !== undefined && leading.viewer === undefined && evidenceOf(leading) >= bound;
    const hopeless = !accused && (unassigned || (readings.length >= PATIENCE * longest + patience(bound, alphabet) && evidence < 0));
    const tied = best !== undefined && second !== undefined && second.score >= best.score - 1e-9;
    const untold = readings.length < longest && !accused;
    return {
      book: 'adaptive',
      verdict: accused ? 'accuse' : hopeless ? 'none' : 'more',
      viewer: accused || !(hopeless || tied || untold || readings.length === 0) ? (best?.viewer ?? null) : null,
      evidence,
      bound,
      falseAccusation: Math.min(1, 1 / (1 + Math.exp(evidence))),
      segmentsNeeded: accused ? 0 : Math.max(1, ahead.expected, longest - readings.length),
      segmentsRange: accused ? [0, 0] : [Math.max(ahead.range[0], longest - readings.length), Math.max(ahead.range[1], longest - readings.length)],
      runnerUp: second?.viewer === undefined ? null : { viewer: second.viewer, evidence: evidenceOf(second) },
      observed: readings.length,
      erased,
      errorRates: errorRates(counts),
      coalition: { share: 0, size: 1 },
      since: readings.length === 0 ? null : Math.min(...readings.map(({ at }) => at)),
      offset: 0,
      exhaustive: true,
    };
  };

  return { observe, report };
};
