// SPDX-License-Identifier: Apache-2.0
/**
 * The second opinion on a verdict: how well a viewer's symbols correlate with what was read, with a bound that needs no model.
 *
 * With o_i[d] the log-likelihoods of reading i, r_i their range and x_i the viewer's symbol,
 *   S = 2 sum (o_i[x_i] - mean_d o_i[d]) / sqrt(sum r_i^2);
 * for two symbols that is sum of w_i s_i over sqrt(sum w_i^2), s_i = +1 or -1. An innocent's symbols are fair and independent
 * of the copy, so by Hoeffding P(S >= t) <= exp(-t^2/2), for any content, any attack and any likelihoods.
 * Invariant: uses nothing of the tracer's evidence but the readings; where the two disagree nobody is accused.
 */
import type { CodeBook, Position, ViewerNumber } from '#core/watermark/index.ts';
import { FLOOR, type Reading } from './likelihood.ts';

/** A viewer's correlation with the readings. */
export type Correlation = {
  readonly score: number;
  /** The score required: sqrt(2 ln(hypotheses N / eps)). */
  readonly needed: number;
  /** Readings used. */
  readonly count: number;
  /** At most this probability that any innocent of the population scores so much. */
  readonly falseAccusation: number;
};

/** Logarithms of a reading's floored likelihoods, less their mean, and their range. */
const centred = (likelihoods: readonly number[]): { readonly values: readonly number[]; readonly range: number } => {
  const total = likelihoods.reduce((sum, value) => sum + value, 0);
  const logs = likelihoods.map((value) => Math.log((1 - likelihoods.length * FLOOR) * (value / total) + FLOOR));
  const mean = logs.reduce((sum, value) => sum + value, 0) / logs.length;
  return { values: logs.map((value) => value - mean), range: Math.max(...logs) - Math.min(...logs) };
};

/** Scores viewers against readings; made once per set of readings. */
export const createCorrelation = (book: CodeBook, readings: readonly Reading[], offset = 0): { readonly count: number; score(viewer: ViewerNumber): number } => {
  const used = readings.flatMap(({ position, likelihoods }) => (likelihoods === undefined ? [] : [{ at: (position + offset) as Position, ...centred(likelihoods) }]));
  const norm = Math.sqrt(used.reduce((sum, { range }) => sum + range * range, 0));
  return {
    count: used.length,
    score(viewer) {
      let sum = 0;
      for (const { at, values } of used) sum += values[book.symbol(viewer, at)] as number;
      return norm === 0 ? 0 : (2 * sum) / norm;
    },
  };
};

/** The score that no innocent of `viewers` reaches with more probability than `eps`, where `hypotheses` were tried. */
export const scoreNeeded = (viewers: number, eps: number, hypotheses: number): number => Math.sqrt(2 * Math.log((viewers * hypotheses) / eps));

/** The correlation of one viewer, with its bound. */
export const correlationOf = (options: { book: CodeBook; readings: readonly Reading[]; viewer: ViewerNumber; viewers: number; eps: number; hypotheses: number; offset?: number }): Correlation => {
  const { book, readings, viewer, viewers, eps, hypotheses, offset } = options;
  const correlation = createCorrelation(book, readings, offset);
  const score = correlation.score(viewer);
  return {
    score,
    needed: scoreNeeded(viewers, eps, hypotheses),
    count: correlation.count,
    falseAccusation: score <= 0 ? 1 : Math.min(1, viewers * hypotheses * Math.exp((-score * score) / 2)),
  };
};
