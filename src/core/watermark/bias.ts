// SPDX-License-Identifier: Apache-2.0
/**
 * Bias vectors of the collusion code: how probable each symbol is at a position, in 256ths.
 *
 * Tardos (JACM 2008), Škorić, Katzenbeisser, Celik (DCC 2008). `uniform` traces single leaks and pairs fastest;
 * `dirichlet` (all parameters 1/2) holds against coalitions of three and more; `alternate` changes per epoch.
 * Dirichlet(1/2) is the squares of a uniform direction, drawn by rejection from the cube: additions, multiplications
 * and divisions only, which IEEE 754 defines exactly, where Math.log and Math.cos may differ between engines.
 * Invariant: the weights are integers of at least 1 with sum 256, so every symbol stays possible.
 */
import { chachaBlock } from './chacha.ts';

/** `alternate`: uniform in even epochs, dirichlet in odd ones. */
export type Bias = 'uniform' | 'dirichlet' | 'alternate';

/** 256ths per symbol. */
export type BiasWeights = Uint16Array;

/** Rounds of the ChaCha PRF behind the code: the full 20 of RFC 8439. */
export const CHACHA_ROUNDS = 20;
/** Second state word of the two uses of a position's key stream. */
export const SYMBOL_DOMAIN = 0;
const BIAS_DOMAIN = 1 << 24;

/** As even as 256ths allow; the first 256 mod m symbols get one more. */
export const uniformWeights = (alphabet: number): BiasWeights =>
  Uint16Array.from({ length: alphabet }, (_, symbol) => Math.floor(256 / alphabet) + (symbol < 256 % alphabet ? 1 : 0));

/** Dirichlet(1/2) weights of a position under an epoch's key. */
export const dirichletWeights = (key: Int32Array, alphabet: number, at: number): BiasWeights => {
  const block = new Int32Array(16);
  const squares: number[] = new Array(alphabet).fill(0);
  let used = 16;
  let counter = 0;
  let norm: number;
  do {
    norm = 0;
    for (let symbol = 0; symbol < alphabet; symbol++) {
      if (used === 16) {
        chachaBlock(key, counter++, BIAS_DOMAIN, at | 0, Math.floor(at / 4294967296), CHACHA_ROUNDS, block, 0);
        used = 0;
      }
      const coordinate = (block[used++] as number) / 2147483648;
      squares[symbol] = coordinate * coordinate;
      norm += squares[symbol] as number;
    }
  } while (norm > 1 || norm === 0);
  const weights = new Uint16Array(alphabet);
  let left = 256;
  let largest = 0;
  for (let symbol = 0; symbol < alphabet; symbol++) {
    weights[symbol] = Math.max(1, Math.floor(((squares[symbol] as number) / norm) * 256));
    left -= weights[symbol] as number;
    if ((weights[symbol] as number) > (weights[largest] as number)) largest = symbol;
  }
  weights[largest] = (weights[largest] as number) + left;
  return weights;
};

/** Which symbol each of the 256 byte values stands for. */
export const symbolTable = (weights: BiasWeights): Uint8Array => {
  const table = new Uint8Array(256);
  let at = 0;
  weights.forEach((weight, symbol) => {
    table.fill(symbol, at, at + weight);
    at += weight;
  });
  return table;
};
