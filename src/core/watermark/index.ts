// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast/watermark`: which variant each viewer gets at each position, as a pure library.
 *
 * ```ts
 * const schedule = startSchedule({ alphabet: 5, viewers: 1_000_000 });
 * const book = createAlignedBook({ alphabet: 5, schedule, keys: markKeys(hmacSha256, markSecret) });
 * book.symbol(viewerNumber(4711), position(123)); // 0..4, the same on every edge
 * ```
 *
 * Three code books behind one interface `symbol(viewer, position)`: `aligned` (default), `adaptive` (the sequences of
 * He, Maillé, Simon, NOSSDAV'17), `biased` (coalitions). docs/guide/sequences.md says which to use.
 * Invariant: synchronous, no I/O, no clock, no randomness; needs nothing but an HMAC from outside.
 */
export { createAdaptiveBook, SHORTEST_ASSIGNED, type AdaptiveBook } from './adaptive.ts';
export { createAlignedBook, type AlignedBook } from './aligned.ts';
export { uniformWeights, type Bias, type BiasWeights } from './bias.ts';
export { createBiasedBook, type BiasedBook } from './biased.ts';
export { MAX_VIEWER, position, viewerNumber, type CodeBook, type EpochKeys, type Position, type ViewerNumber } from './book.ts';
export {
  adaptiveDetectionTime,
  alignedDetectionTime,
  alignedWindow,
  capacityOfLength,
  informationPerSymbol,
  lengthForUsers,
  usersForWindow,
  windowForLength,
  type AlignedPlan,
} from './capacity.ts';
export { countOfLength, MAX_ALPHABET, MAX_LENGTH, MIN_ALPHABET, requireAlphabet, requireLength } from './counts.ts';
export {
  epochAt,
  epochLength,
  extendSchedule,
  markKey,
  markKeys,
  requireSchedule,
  startSchedule,
  type EpochAt,
  type EpochSchedule,
  type EpochStep,
  type Hmac,
} from './epochs.ts';
export {
  addBlock,
  createDeliveryCounter,
  createPrefixBook,
  edgeCopy,
  everyVariant,
  expectedVariants,
  planBlocks,
  prefixDelivery,
  twoPhaseDelivery,
  variantsNeeded,
  type Block,
  type Delivery,
  type DeliveryCounter,
  type DeliveryTotals,
  type EdgeNumber,
  type PrefixBook,
  type PrefixPlan,
  type Switched,
} from './inner-delivery/index.ts';
export type { Permutation } from './permutation.ts';
export { createSequences, type Sequences } from './sequences.ts';
export { formatWord, isPrimitive, leastRotation, parseWord, type Word } from './words.ts';
