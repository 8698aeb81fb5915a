// SPDX-License-Identifier: Apache-2.0
/**
 * From the residuals of a segment to the likelihood of each variant.
 *
 * Each residual is projected on the mark's cosines; the frames of a segment are added with weights 1/noise. A variant's
 * statistic is t_d = <r, c_d> / |r|: whatever the content and the attack, a variant the copy does not carry gives signs
 * independent of r, hence a mean of 0 and a variance of at most 1, and P(t_d >= t) <= exp(-t^2/2) (Hoeffding).
 * The variant that is carried gives a mean that depends on what the pirate left of the mark; its distribution over
 * strengths is STRENGTHS, fixed from the calibration clips of `sealcast bench trace-video` and never from the suspect.
 * Invariant: a segment that says nothing gives (nearly) equal likelihoods, and a certain one still allows for a misreading.
 */
import { COEFFICIENTS, frequencies, project } from '#core/picture/index.ts';
import type { Residual } from './residual.ts';

/** Expected t of the carried variant, with its share among calibration segments. */
const STRENGTHS: readonly (readonly [mean: number, share: number])[] = [
  [1, 0.1],
  [2, 0.1],
  [3.5, 0.2],
  [5, 0.2],
  [7, 0.2],
  [10, 0.2],
];
/** Share of segments that are misread whatever they look like: another segment's content, an edit, a colluder's cut. */
const MISREAD = 0.01;
/** A frame may not weigh more than one with this much noise, in levels squared. */
const LEAST_NOISE = 0.05;
/** Coefficients are compared after division by what content alone does at their frequency. */
const WEIGHTS: Float64Array = frequencies.map((frequency) => Math.min(1, frequency));
/** No coefficient counts for more than this many times the root mean square. */
const CLIP = 2.5;

/** Adds up the residuals of one segment. */
export type SegmentReader = {
  add(residual: Residual): void;
  /** Frames added. */
  readonly frames: number;
  /** t of each variant. */
  statistics(codes: readonly Int8Array[]): number[];
};

/** An empty segment. */
export const createSegmentReader = (): SegmentReader => {
  const sum = new Float64Array(COEFFICIENTS);
  let frames = 0;
  return {
    add({ cells, noise }) {
      const weight = 1 / Math.max(LEAST_NOISE, noise);
      project(cells).forEach((value, k) => {
        sum[k] = (sum[k] as number) + weight * value * (WEIGHTS[k] as number);
      });
      frames++;
    },
    get frames() {
      return frames;
    },
    statistics(codes) {
      const level = Math.sqrt(sum.reduce((total, value) => total + value * value, 0) / COEFFICIENTS);
      const clipped = level === 0 ? sum : sum.map((value) => Math.max(-CLIP * level, Math.min(CLIP * level, value)));
      const norm = Math.sqrt(clipped.reduce((total, value) => total + value * value, 0));
      return codes.map((code) => {
        let product = 0;
        for (let k = 0; k < COEFFICIENTS; k++) product += (clipped[k] as number) * (code[k] as number);
        return norm === 0 ? 0 : product / norm;
      });
    },
  };
};

/** P(statistics | variant d), up to a common factor, for every d; the largest is 1. */
export const likelihoodsOf = (statistics: readonly number[]): number[] => {
  // Against the null, a strength mu explains t with the ratio exp(mu t - mu^2/2).
  const logs = statistics.map((t) => {
    const terms = STRENGTHS.map(([mean, share]) => Math.log(share) + mean * t - (mean * mean) / 2);
    const top = Math.max(...terms);
    return top + Math.log(terms.reduce((sum, term) => sum + Math.exp(term - top), 0));
  });
  const top = Math.max(...logs);
  const shares = logs.map((log) => Math.exp(log - top));
  const total = shares.reduce((sum, share) => sum + share, 0);
  return shares.map((share) => (1 - MISREAD) * (share / total) + MISREAD / statistics.length);
};
