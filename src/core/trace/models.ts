// SPDX-License-Identifier: Apache-2.0
/**
 * How c colluders choose what they publish, as likelihood ratios of one viewer's symbol.
 *
 * For a position with symbol probabilities p and detector output q (probabilities of the published symbol), model k gives
 *   Lambda_k(x) = sum_y q_y P_k(y | viewer holds x) / sum_y q_y sum_s p_s P_k(y | s)
 * whose mean over x ~ p is 1: for an innocent, whatever the pirates really do. So every product and every mixture of
 * products is an e-value. Interleaving: a colluder picked at random; plurality: the most frequent of their symbols;
 * minority: the rarest (ties at random). For two colluders the three are the same.
 * Invariant: sum over x of p_x Lambda_k(x) = 1 for every model.
 */

/** How colluders choose among their symbols. */
export type Attack = 'interleaving' | 'plurality' | 'minority';
/** A coalition of a size with a way to choose. */
export type Model = { readonly colluders: number; readonly attack: Attack };

/** One leaking viewer first; then coalitions. */
export const MODELS: readonly Model[] = [
  { colluders: 1, attack: 'interleaving' },
  { colluders: 2, attack: 'interleaving' },
  { colluders: 3, attack: 'interleaving' },
  { colluders: 3, attack: 'plurality' },
  { colluders: 3, attack: 'minority' },
  { colluders: 4, attack: 'interleaving' },
  { colluders: 4, attack: 'plurality' },
  { colluders: 4, attack: 'minority' },
];

/** Row-major m x m matrices per model: P(published y | viewer holds x), and P(published y). */
export type ModelTables = { readonly given: readonly Float64Array[]; readonly marginal: readonly Float64Array[]; readonly probabilities: Float64Array };

/** Tables of a bias vector; compute once per distinct vector. */
export const modelTables = (probabilities: Float64Array): ModelTables => {
  const given = MODELS.map((model) => publishedGiven(model, probabilities));
  const m = probabilities.length;
  const marginal = given.map((matrix) => {
    const out = new Float64Array(m);
    for (let x = 0; x < m; x++) for (let y = 0; y < m; y++) out[y] = (out[y] as number) + (probabilities[x] as number) * (matrix[x * m + y] as number);
    return out;
  });
  return { given, marginal, probabilities };
};

const publishedGiven = ({ colluders, attack }: Model, p: Float64Array): Float64Array => {
  const m = p.length;
  const out = new Float64Array(m * m);
  if (attack === 'interleaving') {
    for (let x = 0; x < m; x++) for (let y = 0; y < m; y++) out[x * m + y] = (x === y ? 1 / colluders : 0) + (1 - 1 / colluders) * (p[y] as number);
    return out;
  }
  const counts = new Uint8Array(m);
  // All ways the other colluders' symbols can fall, with their multinomial probability.
  const visit = (symbol: number, left: number, weight: number): void => {
    if (symbol === m - 1) {
      counts[symbol] = left;
      const total = (weight * (p[symbol] as number) ** left) / factorial(left);
      for (let x = 0; x < m; x++) {
        counts[x] = (counts[x] as number) + 1;
        let wanted = attack === 'plurality' ? 0 : 255;
        let ties = 0;
        for (const count of counts) {
          if (count === 0) continue;
          if (count === wanted) ties++;
          else if (attack === 'plurality' ? count > wanted : count < wanted) {
            wanted = count;
            ties = 1;
          }
        }
        for (let y = 0; y < m; y++) if (counts[y] === wanted) out[x * m + y] = (out[x * m + y] as number) + total / ties;
        counts[x] = (counts[x] as number) - 1;
      }
      return;
    }
    for (let count = 0; count <= left; count++) {
      counts[symbol] = count;
      visit(symbol + 1, left - count, (weight * (p[symbol] as number) ** count) / factorial(count));
    }
  };
  visit(0, colluders - 1, factorial(colluders - 1));
  return out;
};

const factorial = (n: number): number => (n <= 1 ? 1 : n * factorial(n - 1));

/** ln Lambda_k(x) for every model k and symbol x, row-major by model. `q` are floored symbol probabilities. */
export const logRatios = (tables: ModelTables, q: Float64Array): Float64Array => {
  const m = q.length;
  const out = new Float64Array(MODELS.length * m);
  for (let k = 0; k < MODELS.length; k++) {
    const matrix = tables.given[k] as Float64Array;
    const all = tables.marginal[k] as Float64Array;
    let expected = 0;
    for (let y = 0; y < m; y++) expected += (q[y] as number) * (all[y] as number);
    for (let x = 0; x < m; x++) {
      let sum = 0;
      for (let y = 0; y < m; y++) sum += (q[y] as number) * (matrix[x * m + y] as number);
      out[k * m + x] = Math.log(sum / expected);
    }
  }
  return out;
};
