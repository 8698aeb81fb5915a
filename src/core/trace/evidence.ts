// SPDX-License-Identifier: Apache-2.0
/**
 * The e-value of one candidate: a fixed mixture over coalition models and over the moment the pirate took the account.
 *
 * With M_k(s..n) the product of model k's ratios over readings s..n, the e-value after n readings is
 *   START sum_k w_k M_k(1..n) + (1-START) [ sum over s = 2..n of v_s sum_k w_k M_k(s..n) + 1/n ],   v_s = 1/(s(s-1)).
 * The last term is the share of start times still to come, each worth 1 until it begins. A pirate that changes accounts
 * is thus certified from the change on, and the price for a pirate that does not is -ln START nats. Where pairs are bet
 * on, a fixed stake follows those bets (pairs.ts) instead, and the rest is mixed as above.
 * Invariant: for an innocent the sequence over n is a non-negative martingale of mean 1 (times m^K/(m^K-1) per epoch of a
 * permutation book, which callers subtract).
 */
import { logSumExp } from './report.ts';
import { MODELS } from './models.ts';

/** Weight of "the same account from the first reading on". */
export const START = 0.9;

/** Weights of MODELS, with sum 1, fixed before the first reading. */
export type Prior = readonly number[];
/** Single leaks first: `aligned`. Costs a single leak 0.1 nats. */
export const SINGLE_PRIOR: Prior = [0.9, 0.04, ...MODELS.slice(2).map(() => 0.01)];
/** Beside the pair bets, in `biased`. A single leak pays 2.1 nats in all, less than two segments; three and four colluders 3.5 nats. */
export const COALITION_PRIOR: Prior = [0.3, 0.22, ...MODELS.slice(2).map(() => 0.08)];

/** Weights by which the coalition models are averaged for screening; they decide who is judged, not how. */
export const SCREEN_PRIOR: Prior = [0, 0.8, ...MODELS.slice(2).map(() => 0.2 / (MODELS.length - 2))];

/** The model that pair bets refine: two colluders, either's symbol at random. */
const PAIR_MODEL = MODELS.findIndex(({ colluders, attack }) => colluders === 2 && attack === 'interleaving');
/** Share of the e-value that is staked on pair bets (pairs.ts), where there are any; the mixture over models has the rest. */
export const PAIR_STAKE = 0.6;

/** An e-value and where it comes from. */
export type Evidence = {
  /** ln of the e-value. */
  readonly nats: number;
  /** Share of it that models of two and more colluders contribute. */
  readonly coalitionShare: number;
  /** Colluders of the model that contributes most. */
  readonly size: number;
  /** Index of the reading from which the account leaks, if a later start explains the copy better than the first; else 0. */
  readonly start: number;
};

/**
 * Evidence of a candidate. `ratios[i]` are reading i's ln Lambda (by model, then symbol), `symbols[i]` is what the
 * candidate's copy carries there. `pairGain` is what his pair bets have won (pairs.ts), undefined where pairs are not bet on.
 */
export const evidenceOf = (ratios: readonly Float64Array[], symbols: ArrayLike<number>, alphabet: number, prior: Prior, pairGain?: number): Evidence => {
  const count = ratios.length;
  const models = prior.length;
  const parts = new Float64Array(2 * models + 2).fill(-Infinity);
  const mixture = pairGain === undefined ? 1 : 1 - PAIR_STAKE;
  let restartModel = 0;
  for (let k = 0; k < models; k++) {
    let whole = 0;
    let restarted = -Infinity;
    for (let i = 0; i < count; i++) {
      const ratio = (ratios[i] as Float64Array)[k * alphabet + (symbols[i] as number)] as number;
      whole += ratio;
      if (i === 0) continue;
      // Reading i is the (i+1)-th: the start s = i+1 begins with it.
      const begin = -Math.log(i * (i + 1));
      restarted = (restarted > begin ? restarted + Math.log1p(Math.exp(begin - restarted)) : begin + Math.log1p(Math.exp(restarted - begin))) + ratio;
    }
    const weight = Math.log(mixture * (prior[k] as number));
    parts[k] = Math.log(START) + weight + whole;
    parts[models + k] = Math.log(1 - START) + weight + restarted;
    if ((parts[models + k] as number) > (parts[models + restartModel] as number)) restartModel = k;
    if (k === PAIR_MODEL && pairGain !== undefined) parts[2 * models + 1] = Math.log(PAIR_STAKE) + whole + pairGain;
  }
  parts[2 * models] = Math.log(mixture * (1 - START)) - Math.log(Math.max(1, count));
  const nats = count === 0 ? 0 : logSumExp(parts);
  let coalitionShare = 0;
  let best = 0;
  for (let k = 0; k < models; k++) {
    if ((MODELS[k]?.colluders ?? 1) > 1) coalitionShare += Math.exp((parts[k] as number) - nats) + Math.exp((parts[models + k] as number) - nats);
  }
  for (let k = 1; k < 2 * models; k++) if ((parts[k] as number) > (parts[best] as number)) best = k;
  const paired = parts[2 * models + 1] as number;
  coalitionShare += Math.exp(paired - nats);
  if (paired > (parts[best] as number)) best = PAIR_MODEL;
  return {
    nats,
    coalitionShare: Math.min(1, coalitionShare),
    size: MODELS[best % models]?.colluders ?? 1,
    start: best >= models ? likeliestStart(ratios, symbols, alphabet, restartModel) : 0,
  };
};

const likeliestStart = (ratios: readonly Float64Array[], symbols: ArrayLike<number>, alphabet: number, model: number): number => {
  let suffix = 0;
  let best = -Infinity;
  let start = 0;
  for (let i = ratios.length - 1; i >= 1; i--) {
    suffix += (ratios[i] as Float64Array)[model * alphabet + (symbols[i] as number)] as number;
    const score = suffix - Math.log(i * (i + 1));
    if (score > best) {
      best = score;
      start = i;
    }
  }
  return start;
};
