// SPDX-License-Identifier: Apache-2.0
/**
 * Marked assets: who has which viewer number, and what edges need to choose variants.
 *
 * Design section 5; docs/wire/edge-bundle.md, `marks`. A viewer number belongs to an account and a device for good, so that
 * evidence adds up over sessions; sessions carry it closed, as `wmid`, in their state and media tokens.
 * Invariant: edges get keys of epochs that can be asked for now and at most two ahead; the mark secret never comes here.
 */
import { type AssetDelivery, deliveryFor } from '#core/edge-bundle/delivery-plan.ts';
import { type MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, DeviceId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { boxEpochOf } from '#core/mark/index.ts';
import { FIRST_VIEWER, type ViewerId, viewerIdBytes } from '#core/token/viewer-id.ts';
import { epochAt, type EpochSchedule, extendSchedule } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { AssetMarking, CatalogueEntry, CatalogueStore, Log, MarkKeySource, ViewerNumberStore } from '#ports';

/** The marking side of a licence server. */
export type Marking = {
  /**
   * The id for a viewer's sessions, its number given now if need be; undefined for assets that are not marked. `edge`: where
   * the operator's backend sends the viewer; with a prefix code the number comes from that edge's block.
   */
  viewerId(title: CatalogueEntry, viewer: { readonly account: AccountId; readonly device: DeviceId; readonly edge?: string | undefined }): Promise<ViewerId | undefined>;
  /** For the bundle of the named edge. */
  plans(edge: string): readonly MarkPlan[];
  /** Changes whenever `plans` does. */
  readonly revision: string;
  /** Brings the plans up to date with catalogue and time. Never rejects: old plans stay in use. */
  refresh(now: Micros): Promise<void>;
};

/** A listing of the catalogue costs more than a look at the clock. */
const EVERY = 5_000_000;
const AHEAD = 2;
/** Segments behind the time shift that players may still ask for. */
const MARGIN = 120_000_000;

/** Epochs are made longer once so many times the viewers would not fit, for so many times the viewers. */
const HEADROOM = 1.25;
const GROWTH = 4;
/** Steps that a plan may have. */
const MAX_STEPS = 64;

/** The first position of an epoch. */
const startOf = (schedule: EpochSchedule, epoch: number): number => {
  let before = 0;
  for (const [index, { from, length }] of schedule.entries()) {
    const next = schedule[index + 1];
    const count = next === undefined ? Number.POSITIVE_INFINITY : (next.from - from) / length;
    if (epoch - before < count) return from + (epoch - before) * length;
    before += count;
  }
  return Number.MAX_SAFE_INTEGER;
};

/** Epochs [from, to) of an asset that edges may be asked for at `now`. */
const epochsAt = ({ book, schedule, segment, segments, inBand }: AssetMarking, timeShift: Micros, now: Micros): { readonly from: number; readonly to: number } => {
  if (book === 'adaptive') return { from: 0, to: 0 };
  const first = schedule[0]?.from ?? 0;
  const slots = inBand?.slots ?? 1;
  if (segments !== undefined) return { from: 0, to: epochAt(schedule, Math.max(first, segments * slots - 1)).epoch + 1 };
  const number = (at: number): number => Math.max(first, Math.floor(at / segment) * slots);
  return { from: epochAt(schedule, number(now - timeShift - MARGIN)).epoch, to: epochAt(schedule, number(now)).epoch + AHEAD + 1 };
};

/** Box key epochs [from, to) of marks inside the bitstream; those of live events are at most two ahead. */
const boxEpochsAt = ({ segment, segments }: AssetMarking, timeShift: Micros, now: Micros): { readonly from: number; readonly to: number } => {
  const epoch = (at: number): number => boxEpochOf(Math.max(0, Math.floor(at / segment)));
  return segments === undefined ? { from: epoch(now - timeShift - MARGIN), to: epoch(now) + AHEAD + 1 } : { from: 0, to: boxEpochOf(Math.max(0, segments - 1)) + 1 };
};

/** Without keys, viewers and catalogue nothing is marked. */
export const createMarking = (options: {
  keys?: MarkKeySource;
  viewers?: ViewerNumberStore;
  catalogue?: Pick<CatalogueStore, 'list'> & Partial<Pick<CatalogueStore, 'get' | 'update'>>;
  timeShift: Micros;
  log: Log;
}): Marking => {
  const { keys, viewers, catalogue, timeShift, log } = options;
  let plans: readonly { readonly plan: MarkPlan; readonly delivery: AssetDelivery | undefined }[] = [];
  let revision = '';
  let askedAt = Number.NEGATIVE_INFINITY;

  const planOf = async ({ asset }: CatalogueEntry, marking: AssetMarking, source: MarkKeySource, now: Micros): Promise<(typeof plans)[number]> => {
    const { version, viewerKey, keys: epochKeys } = await source.markKeys({ asset, ...epochsAt(marking, timeShift, now) });
    const { segment: _length, segments: _count, delivery, inBand, ...rest } = marking;
    const boxes = inBand && { inBand: { slots: inBand.slots, boxKeys: (await source.boxKeys({ asset, ...boxEpochsAt(marking, timeShift, now) })).keys } };
    return { plan: { asset, ...rest, ...boxes, keys: epochKeys, viewerKeys: [{ version, key: viewerKey }] }, delivery };
  };

  /**
   * Epochs that have become too short for the viewers of a running event are made longer, from behind every position whose
   * key an edge may have. The edges' next bundles bring the step; one that has none of them lacks the keys there too.
   */
  const grown = async (entry: CatalogueEntry, marking: AssetMarking, now: Micros): Promise<AssetMarking> => {
    const { book, schedule, alphabet, delivery } = marking;
    const last = schedule.at(-1);
    if (entry.state !== 'live' || book === 'adaptive' || delivery?.kind === 'prefix' || last === undefined || viewers === undefined) return marking;
    const population = FIRST_VIEWER + (await viewers.count(entry.asset));
    if (population * HEADROOM <= alphabet ** last.length || schedule.length >= MAX_STEPS) return marking;
    const extended = extendSchedule(schedule, { alphabet, viewers: population * GROWTH, notBefore: startOf(schedule, epochsAt(marking, timeShift, now).to) });
    const current = extended === schedule ? undefined : await catalogue?.get?.(entry.asset);
    if (current?.marking === undefined || catalogue?.update === undefined) return marking;
    const longer: AssetMarking = { ...current.marking, schedule: extended };
    await catalogue.update({ ...current, marking: longer });
    log.info('epochs of an event were made longer', { asset: entry.asset, length: extended.at(-1)?.length ?? 0 });
    return longer;
  };

  /** The number from a home edge's block, else from the block of all others. */
  const numberIn = async (viewer: Parameters<ViewerNumberStore['give']>[0], delivery: Extract<AssetDelivery, { kind: 'prefix' }>, alphabet: number, edge: string | undefined, store: ViewerNumberStore): Promise<number> => {
    const home = edge === undefined ? -1 : delivery.edges.indexOf(edge);
    for (const wanted of home < 0 ? [delivery.edges.length] : [home, delivery.edges.length]) {
      for (const { edge: owner, first, digits } of delivery.blocks) {
        if (owner !== wanted) continue;
        const from = Math.max(FIRST_VIEWER, first);
        const number = await store.giveWithin(viewer, { first: from, count: first + alphabet ** digits - from });
        if (number !== undefined) return number;
      }
    }
    throw new SealcastError('key-unavailable', 'the blocks of viewer numbers are full: plan the event for more viewers');
  };

  return {
    get revision() {
      return revision;
    },
    plans: (edge) => plans.map(({ plan, delivery }) => (delivery === undefined ? plan : { ...plan, delivery: deliveryFor(delivery, edge) })),

    async viewerId({ asset, marking }, { account, device, edge }) {
      if (marking === undefined || keys === undefined || viewers === undefined) return undefined;
      const { version, viewerKey } = await keys.markKeys({ asset, from: 0, to: 0 });
      const viewer = { asset, account, device };
      const number = marking.delivery?.kind === 'prefix' ? await numberIn(viewer, marking.delivery, marking.alphabet, edge, viewers) : await viewers.give(viewer);
      return { keyVersion: version, id: viewerIdBytes(hmacSha256, viewerKey, number) };
    },

    async refresh(now) {
      if (keys === undefined || catalogue === undefined || now < askedAt + EVERY) return;
      askedAt = now;
      try {
        const found: (typeof plans)[number][] = [];
        for (const entry of await catalogue.list()) {
          if (entry.marking !== undefined && entry.state !== 'failed') found.push(await planOf(entry, await grown(entry, entry.marking, now), keys, now));
        }
        plans = found;
        revision = found.map(({ plan, delivery }) => `${plan.asset} ${plan.sequencing} ${plan.keys[0]?.epoch ?? 0}-${plan.keys.length} ${JSON.stringify([plan.schedule, delivery, plan.inBand?.boxKeys.map(({ epoch }) => epoch)])}`).join();
      } catch (error) {
        log.warn('mark keys could not be refreshed', { error: error instanceof Error ? error.name : typeof error });
      }
    },
  };
};
