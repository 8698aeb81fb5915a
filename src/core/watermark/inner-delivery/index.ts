// SPDX-License-Identifier: Apache-2.0
/**
 * Inner delivery: marked video with close to one variant per edge and segment, instead of m.
 *
 * docs/guide/sequences.md, "Inner delivery". The tracer of two-phase events is `createTwoPhaseTracer` of `sealcast/trace`.
 * Invariant: synchronous, no I/O, no clock, no randomness.
 */
export { edgeCopy, everyVariant, prefixDelivery, twoPhaseDelivery, type Delivery, type Switched } from './delivery.ts';
export { addBlock, createPrefixBook, planBlocks, type Block, type EdgeNumber, type PrefixBook, type PrefixPlan } from './prefix.ts';
export { createDeliveryCounter, expectedVariants, variantsNeeded, type DeliveryCounter, type DeliveryTotals } from './traffic.ts';
