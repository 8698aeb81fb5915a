// SPDX-License-Identifier: Apache-2.0
/**
 * The copies of assets with inner delivery: prefix code or two phases, as the bundle tells this edge.
 *
 * docs/guide/sequences.md, "Inner delivery". Invariant: like every code book a function of keys, plan, viewer and position;
 * edges with the same bundle give a viewer the same symbol.
 */
import type { DeliveryPlan } from '#core/edge-bundle/delivery-plan.ts';
import { SealcastError } from '#core/errors.ts';
import { type BiasedBook, type Block, createPrefixBook, type EpochKeys, type EpochSchedule, type Position, twoPhaseDelivery, type ViewerNumber } from '#core/watermark/index.ts';

/** What a viewer gets here. Throws what code books throw. */
export type DeliveredCopies = { readonly kind: 'delivered'; readonly alphabet: number; symbol(viewer: ViewerNumber, at: Position): number };

type Prefix = { readonly kind: 'prefix'; readonly alphabet: number; readonly schedule: EpochSchedule; readonly blocks: readonly Block[]; readonly keys: EpochKeys };
type TwoPhase = Extract<DeliveryPlan, { kind: 'two-phase' }> & { readonly book: BiasedBook };

/** The copies under a delivery plan. */
export const createDeliveredCopies = (plan: Prefix | TwoPhase): DeliveredCopies => {
  if (plan.kind === 'two-phase') {
    const { book, edge } = plan;
    const delivery = twoPhaseDelivery(book, plan.switched);
    return { kind: 'delivered', alphabet: book.alphabet, symbol: (viewer, at) => delivery.symbol(viewer, edge, at) };
  }
  const { alphabet, schedule, blocks, keys } = plan;
  const step = schedule[0];
  if (step === undefined) throw new SealcastError('bad-request', 'a prefix plan has one epoch length');
  const book = createPrefixBook({ alphabet, length: step.length, from: step.from, blocks }, keys);
  return { kind: 'delivered', alphabet, symbol: (viewer, at) => book.symbol(viewer, at) };
};
