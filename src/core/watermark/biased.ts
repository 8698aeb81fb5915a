// SPDX-License-Identifier: Apache-2.0
/**
 * Code book `biased`: independent random symbols per viewer and position, for coalitions.
 *
 * Position i has a bias vector p_i from the epoch key; viewer u's symbol is the inverse distribution function of p_i at
 * one byte of ChaCha(key, i, u). There is no structure to exploit: any mixture of several copies still favours its
 * contributors, and every innocent's symbols stay independent of the mixture (docs/guide/sequences.md).
 * Invariant: symbols of different viewers are independent given the key; quantised weights are the real distribution.
 */
import type { CodeBook, EpochKeys, Position, ViewerNumber } from './book.ts';
import { CHACHA_ROUNDS, dirichletWeights, SYMBOL_DOMAIN, symbolTable, uniformWeights, type Bias, type BiasWeights } from './bias.ts';
import { chachaBlock, chachaKey } from './chacha.ts';
import { requireAlphabet } from './counts.ts';
import { epochAt, requireSchedule, type EpochSchedule } from './epochs.ts';

/** The collusion code, with the bias vectors a tracer needs. */
export interface BiasedBook extends CodeBook {
  readonly kind: 'biased';
  readonly schedule: EpochSchedule;
  /** How probable each symbol is at a position, in 256ths. */
  weights(at: Position): BiasWeights;
}

type PositionState = { readonly at: number; readonly key: Int32Array; readonly weights: BiasWeights; readonly table: Uint8Array };

/** `keys` gives 32 bytes per epoch of `schedule`; `bias` must be the same on every edge and the tracer. */
export const createBiasedBook = (options: { alphabet: number; bias: Bias; schedule: EpochSchedule; keys: EpochKeys }): BiasedBook => {
  const alphabet = requireAlphabet(options.alphabet);
  const schedule = requireSchedule(options.schedule, alphabet);
  const even = uniformWeights(alphabet);
  const evenTable = symbolTable(even);
  const block = new Int32Array(16);
  /** The position asked for last: viewers of a live event ask for the same one. */
  let last: PositionState | undefined;
  let lastKey: { readonly epoch: number; readonly key: Int32Array } | undefined;

  const stateAt = (at: Position): PositionState => {
    if (last?.at === at) return last;
    const { epoch } = epochAt(schedule, at);
    if (lastKey?.epoch !== epoch) lastKey = { epoch, key: chachaKey(options.keys(epoch)) };
    const { key } = lastKey;
    const skewed = options.bias === 'dirichlet' || (options.bias === 'alternate' && epoch % 2 === 1);
    const weights = skewed ? dirichletWeights(key, alphabet, at) : even;
    last = { at, key, weights, table: skewed ? symbolTable(weights) : evenTable };
    return last;
  };

  const blockOf = (key: Int32Array, at: number, index: number): void =>
    chachaBlock(key, index | 0, SYMBOL_DOMAIN | Math.floor(index / 4294967296), at | 0, Math.floor(at / 4294967296), CHACHA_ROUNDS, block, 0);

  return {
    kind: 'biased',
    alphabet,
    schedule,
    weights: (at) => stateAt(at).weights,
    symbol(viewer, at) {
      const { key, table } = stateAt(at);
      blockOf(key, at, Math.floor(viewer / 64));
      const byte = viewer % 64;
      return table[((block[byte >> 2] as number) >>> (8 * (byte & 3))) & 0xff] as number;
    },
    fill(at: Position, first: ViewerNumber, out: Uint8Array) {
      const { key, table } = stateAt(at);
      let viewer = first as number;
      let i = 0;
      while (i < out.length) {
        blockOf(key, at, Math.floor(viewer / 64));
        let byte = viewer % 64;
        if (byte === 0 && i + 64 <= out.length) {
          for (let w = 0; w < 16; w++, i += 4) {
            const word = block[w] as number;
            out[i] = table[word & 0xff] as number;
            out[i + 1] = table[(word >>> 8) & 0xff] as number;
            out[i + 2] = table[(word >>> 16) & 0xff] as number;
            out[i + 3] = table[word >>> 24] as number;
          }
          viewer += 64;
          continue;
        }
        for (; byte < 64 && i < out.length; byte++, viewer++) {
          out[i++] = table[((block[byte >> 2] as number) >>> (8 * (byte & 3))) & 0xff] as number;
        }
      }
    },
  };
};
