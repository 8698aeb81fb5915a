// SPDX-License-Identifier: Apache-2.0
/**
 * Planning figures: how many viewers a sequence length names, how many segments a trace must see, how long that takes.
 *
 * He, Maillé, Simon, NOSSDAV'17, section 3.2 and Figure 5. Two different sequences of lengths p, q <= L never share a
 * window of 2(L-1) segments (Fine and Wilf), and some pair shares one of 2L-3; L = 1 still needs one segment.
 * Invariant: windows of `adaptive` are worst cases without detector errors; those of `aligned` are exact counts of
 * evidence, ln(N/eps)/ln m, which errors and erasures lengthen by the loss of information per segment.
 */
import { SealcastError } from '#core/errors.ts';
import { cumulativeCounts, MAX_LENGTH, requireAlphabet, requireLength } from './counts.ts';

/** Sequences of length 1..l. */
export const capacityOfLength = (alphabet: number, length: number): bigint => {
  requireAlphabet(alphabet);
  return cumulativeCounts(alphabet)[requireLength(length)] as bigint;
};

/** Smallest longest length L that gives `users` sequences; throws `bad-request` below 1 user or beyond length 64. */
export const lengthForUsers = (alphabet: number, users: bigint): number => {
  requireAlphabet(alphabet);
  if (users < 1n) throw new SealcastError('bad-request', 'users must be at least 1');
  const length = cumulativeCounts(alphabet).findIndex((total) => total >= users);
  if (length < 0) throw new SealcastError('bad-request', `users must not exceed the number of sequences up to length ${MAX_LENGTH}`);
  return length;
};

/** Segments that always tell every pair of sequences up to this length apart: max(1, 2(L-1)). */
export const windowForLength = (length: number): number => Math.max(1, 2 * (requireLength(length) - 1));

/** Largest population a window of `segments` error-free segments names: Figure 5 of the paper. */
export const usersForWindow = (alphabet: number, segments: number): bigint => {
  if (!Number.isInteger(segments) || segments < 1) throw new SealcastError('bad-request', 'segments must be an integer of at least 1');
  return capacityOfLength(alphabet, Math.min(MAX_LENGTH, Math.floor(segments / 2) + 1));
};

/** Seconds of captured stream the paper's decoder needs in the worst case. */
export const adaptiveDetectionTime = (options: { alphabet: number; users: bigint; segmentSeconds: number }): number =>
  windowForLength(lengthForUsers(options.alphabet, options.users)) * requireSeconds(options.segmentSeconds);

/** A population and a detector to plan for. */
export type AlignedPlan = {
  /** Symbols per position. */
  readonly alphabet: number;
  readonly users: number;
  /** Probability that any innocent is ever accused. */
  readonly eps: number;
  /** Symbol error rate of the detector, 0 <= pe < (m-1)/m. */
  readonly symbolErrors?: number;
  /** Share of segments without a reading, 0 <= er < 1. */
  readonly erasures?: number;
};

/** Nats a read symbol contributes on average to the evidence against its viewer (m-ary symmetric channel). */
export const informationPerSymbol = (alphabet: number, symbolErrors: number): number => {
  const loss = symbolErrors === 0 ? 0 : symbolErrors * Math.log(symbolErrors / (alphabet - 1));
  const kept = symbolErrors >= 1 ? 0 : (1 - symbolErrors) * Math.log(1 - symbolErrors);
  return Math.log(alphabet) + kept + loss;
};

/** Expected segments until an aligned trace is certified: ln(N/eps) / ((1-er) I). */
export const alignedWindow = (plan: AlignedPlan): number => {
  requireAlphabet(plan.alphabet);
  const { symbolErrors = 0, erasures = 0 } = plan;
  if (!(plan.users >= 1) || !(plan.eps > 0 && plan.eps < 1)) throw new SealcastError('bad-request', 'users must be at least 1 and eps between 0 and 1');
  if (!(symbolErrors >= 0 && symbolErrors < 1 - 1 / plan.alphabet)) throw new SealcastError('bad-request', 'symbolErrors must be below (m-1)/m: beyond that a reading carries nothing');
  if (!(erasures >= 0 && erasures < 1)) throw new SealcastError('bad-request', 'erasures must be at least 0 and below 1');
  return Math.log(plan.users / plan.eps) / ((1 - erasures) * informationPerSymbol(plan.alphabet, symbolErrors));
};

/** Seconds of captured stream until an aligned trace is certified, on average. */
export const alignedDetectionTime = (plan: AlignedPlan & { readonly segmentSeconds: number }): number =>
  alignedWindow(plan) * requireSeconds(plan.segmentSeconds);

const requireSeconds = (seconds: number): number => {
  if (!(seconds > 0 && Number.isFinite(seconds))) throw new SealcastError('bad-request', 'segmentSeconds must be positive');
  return seconds;
};
