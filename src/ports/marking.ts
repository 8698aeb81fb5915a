// SPDX-License-Identifier: Apache-2.0
/**
 * Marking as roles see it from outside: how an asset is marked, where keys of marks come from, and who has which number.
 *
 * Design section 5. Invariant: types only, no code.
 */
import type { AssetDelivery } from '#core/edge-bundle/delivery-plan.ts';
import type { MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import type { AccountId, AssetId, DeviceId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';

/** Variants of an asset's segments, and the code book that chooses among them (docs/wire/edge-bundle.md, `marks`). */
export type AssetMarking = Pick<MarkPlan, 'sequencing' | 'representations' | 'names' | 'pace' | 'alphabet' | 'book' | 'schedule'> & {
  /** Length of a segment. */
  readonly segment: Micros;
  /** Titles: how many segments there are. */
  readonly segments?: number;
  /** Which viewers of an edge share variants; absent: none. */
  readonly delivery?: AssetDelivery;
  /** Marks lie in the one copy there is and are switched on by edges: slots of a segment. Absent: variants. */
  readonly inBand?: { readonly slots: number };
};

/** Key server → packager: what marks inside the bitstream are chosen and sealed with. Throws `not-found` as below. */
export interface MarkBoxKeySource {
  /** MEK of box key epochs [from, to), at most 4,096, and the key that chooses places; 32 bytes each. */
  boxKeys(request: { asset: AssetId; from: number; to: number }): Promise<{ readonly choiceKey: Uint8Array; readonly keys: readonly { readonly epoch: number; readonly key: Uint8Array }[] }>;
}

/** Key server → licence server: what edges choose variants with. Throws `not-found` for assets without a mark secret. */
export interface MarkKeySource extends MarkBoxKeySource {
  /** Mark keys of epochs [from, to), at most 4,096, and the key that closes viewer numbers into `wmid`. */
  markKeys(request: { asset: AssetId; from: number; to: number }): Promise<{ readonly version: number; readonly viewerKey: Uint8Array; readonly keys: readonly { readonly epoch: number; readonly key: Uint8Array }[] }>;
}

/** Viewer numbers of marked assets: given once per asset, account and device, dense from 16 on. Durable. */
export interface ViewerNumberStore {
  /** The number of a viewer, given now if it has none yet. Atomic: no two viewers of an asset share one. */
  give(viewer: { readonly asset: AssetId; readonly account: AccountId; readonly device: DeviceId }): Promise<number>;
  /**
   * The number of a viewer, given now from `first`..`first`+`count`-1 if it has none yet: the lowest after those given
   * there. Undefined where the range is full. An asset's numbers come from ranges or from `give`, never from both.
   */
  giveWithin(viewer: { readonly asset: AssetId; readonly account: AccountId; readonly device: DeviceId }, range: { readonly first: number; readonly count: number }): Promise<number | undefined>;
  /** Whose number it is. */
  whose(asset: AssetId, number: number): Promise<{ readonly account: AccountId; readonly device: DeviceId } | undefined>;
  /** How many numbers of an asset were given: the population a tracer searches. */
  count(asset: AssetId): Promise<number>;
}
