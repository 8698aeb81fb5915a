// SPDX-License-Identifier: Apache-2.0
/**
 * Pairs: once somebody looks like a viewer's partner in crime, the viewer is judged given what that partner holds.
 *
 * Against an innocent u, the copies of everybody else and the published symbols are just numbers that u's symbol at the
 * next position does not depend on. So, with v a partner and q the detector's output,
 *   P(read | u holds x, v holds z) / sum_s p_s P(read | u holds s, v holds z) = (q_x + q_z) / (p.q + q_z)
 * has mean 1 over x, for every v; and so has any average over partners with weights fixed before u's symbol is looked at,
 *   f = [W_0 (q_x + p.q)/2 + sum_v W_v (q_x + q_v)/2] / [W_0 p.q + sum_v W_v (p.q + q_v)/2],
 * W the posterior weights of "unknown partner" and of the leaders v, from past readings. The product of f is therefore a
 * non-negative martingale of mean 1 for u (joint decoding after Meerwald and Furon, as a predictable bet). Once a partner
 * is recognised a reading is worth 0.67 nats (m = 5) instead of 0.38, with nothing paid for the choice among 1e6 partners.
 * Requires symbols of different viewers to be independent, as in `biased` books; a permutation's are not.
 * Invariant: weights and the list of leaders used at a reading are functions of earlier readings alone.
 */

/** Bets of the current leaders on each other. */
export type PairBets = {
  /**
   * A reading: `q` the floored symbol probabilities read, `p` the code's, `symbols` what everybody holds there. Call
   * `lead` afterwards.
   */
  observe(q: Float64Array, p: Float64Array, symbols: Uint8Array): void;
  /** Sets who leads from the next reading on, best first; `carried` answers viewers' symbols at all readings observed so far. */
  lead(leaders: readonly number[], carried: Carried): void;
  /** ln of what the pair bets of a viewer have won over the model of two colluders without a known partner. */
  gain(viewer: number): number;
};

/** Symbols of each viewer at every reading, in the order of the readings. */
export type Carried = (viewers: readonly number[]) => readonly Uint8Array[];

/** Leaders kept, and how many may be replaced after one reading. */
const KEPT = 64;
const CHANGES = 16;
/** Pairs bet on this many readings: later they would have been found, and a new leader's history must stay affordable. */
const MAX_PAIR_READINGS = 512;
/** Weights stay normal doubles. */
const LEAST = 1e-200;
const MOST = 1e200;

const bounded = (weight: number): number => (weight < LEAST ? LEAST : weight > MOST ? MOST : weight);

/** Bets among the leaders of a population of `viewers`; `alphabet` symbols. */
export const createPairBets = (alphabet: number, viewers: number): PairBets => {
  const m = alphabet;
  const prior = 1 / viewers;
  const slots: number[] = [];
  const slotOf = new Map<number, number>();
  const histories: Uint8Array[] = [];
  /** weights[u * KEPT + v] = W_v / W_0 of leader u. */
  const weights = new Float64Array(KEPT * KEPT);
  /** Per reading: factor of W_v / W_0 by symbols of u and v. */
  const factors: Float64Array[] = [];
  const gains = new Map<number, number>();
  const own = new Uint8Array(KEPT);
  const bySymbol = new Float64Array(m);

  const observe = (q: Float64Array, p: Float64Array, symbols: Uint8Array): void => {
    if (factors.length >= MAX_PAIR_READINGS) return;
    let marginal = 0;
    for (let s = 0; s < m; s++) marginal += (p[s] as number) * (q[s] as number);
    const factor = new Float64Array(m * m);
    for (let x = 0; x < m; x++) for (let z = 0; z < m; z++) factor[x * m + z] = ((q[x] as number) + (q[z] as number)) / ((q[x] as number) + marginal);
    factors.push(factor);
    const count = slots.length;
    for (let s = 0; s < count; s++) {
      const symbol = symbols[slots[s] as number] as number;
      own[s] = symbol;
      (histories[s] as Uint8Array)[factors.length - 1] = symbol;
    }
    for (let u = 0; u < count; u++) {
      bySymbol.fill(0);
      const x = own[u] as number;
      const row = x * m;
      const from = u * KEPT;
      for (let v = 0; v < count; v++) {
        const z = own[v] as number;
        const weight = weights[from + v] as number;
        bySymbol[z] = (bySymbol[z] as number) + weight;
        weights[from + v] = bounded(weight * (factor[row + z] as number));
      }
      // Nobody is his own partner: that bet would not be fair.
      weights[from + u] = 0;
      const mine = q[x] as number;
      let won = (mine + marginal) / 2;
      let expected = marginal;
      for (let z = 0; z < m; z++) {
        won += ((bySymbol[z] as number) * (mine + (q[z] as number))) / 2;
        expected += ((bySymbol[z] as number) * (marginal + (q[z] as number))) / 2;
      }
      const alone = (mine + marginal) / (2 * marginal);
      const viewer = slots[u] as number;
      gains.set(viewer, (gains.get(viewer) ?? 0) + Math.log(won / expected) - Math.log(alone));
    }
  };

  const enter = (slot: number, viewer: number, history: Uint8Array): void => {
    const before = slots[slot];
    if (before !== undefined) slotOf.delete(before);
    slots[slot] = viewer;
    slotOf.set(viewer, slot);
    const copy = new Uint8Array(MAX_PAIR_READINGS);
    copy.set(history.subarray(0, factors.length));
    histories[slot] = copy;
  };

  /** Weights between a leader that has just entered and all others, from all past readings. */
  const weigh = (u: number): void => {
    const mine = histories[u] as Uint8Array;
    for (let v = 0; v < slots.length; v++) {
      if (v === u) {
        weights[u * KEPT + u] = 0;
        continue;
      }
      const theirs = histories[v] as Uint8Array;
      let forward = prior;
      let backward = prior;
      for (let i = 0; i < factors.length; i++) {
        const factor = factors[i] as Float64Array;
        const x = mine[i] as number;
        const z = theirs[i] as number;
        forward = bounded(forward * (factor[x * m + z] as number));
        backward = bounded(backward * (factor[z * m + x] as number));
      }
      weights[u * KEPT + v] = forward;
      weights[v * KEPT + u] = backward;
    }
  };

  const lead = (leaders: readonly number[], carried: Carried): void => {
    if (factors.length >= MAX_PAIR_READINGS) return;
    const rank = new Map(leaders.map((viewer, index) => [viewer, index]));
    const rankAt = (slot: number): number => rank.get(slots[slot] as number) ?? Number.MAX_SAFE_INTEGER;
    // Empty slots first, then those whose viewer leads no longer, the worst first.
    const outdone = Array.from(slots, (_, slot) => slot)
      .filter((slot) => rankAt(slot) >= KEPT)
      .sort((a, b) => rankAt(b) - rankAt(a));
    const free = [...Array.from({ length: KEPT - slots.length }, (_, i) => slots.length + i), ...outdone];
    const entering = leaders
      .slice(0, KEPT)
      .filter((viewer) => !slotOf.has(viewer))
      .slice(0, Math.min(free.length, CHANGES));
    const past = carried(entering);
    entering.forEach((viewer, i) => enter(free[i] as number, viewer, past[i] as Uint8Array));
    for (let i = 0; i < entering.length; i++) weigh(free[i] as number);
  };

  return {
    observe,
    lead,
    gain: (viewer) => gains.get(viewer) ?? 0,
  };
};
