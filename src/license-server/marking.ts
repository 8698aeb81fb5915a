// SPDX-License-Identifier: Apache-2.0
/**
 * Marked assets: who has which viewer number, and what edges need to choose variants.
 *
 * Design section 5; docs/wire/edge-bundle.md, `marks`. A viewer number belongs to an account and a device for good, so that
 * evidence adds up over sessions; sessions carry it closed, as `wmid`, in their state and media tokens.
 * Invariant: edges get keys of epochs that can be asked for now and at most three ahead; the mark secret never comes here.
 */
import { type MarkPlan } from '#core/edge-bundle/mark-plan.ts';
import type { AccountId, DeviceId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { type ViewerId, viewerIdBytes } from '#core/token/viewer-id.ts';
import { epochAt } from '#core/watermark/index.ts';
import { hmacSha256 } from '#crypto/hmac.ts';
import type { AssetMarking, CatalogueEntry, CatalogueStore, Log, MarkKeySource, ViewerNumberStore } from '#ports';

/** The marking side of a licence server. */
export type Marking = {
  /** The id for a viewer's sessions, its number given now if need be; undefined for assets that are not marked. */
  viewerId(title: CatalogueEntry, viewer: { readonly account: AccountId; readonly device: DeviceId }): Promise<ViewerId | undefined>;
  /** For edge bundles. */
  plans(): readonly MarkPlan[];
  /** Changes whenever `plans` does. */
  readonly revision: string;
  /** Brings the plans up to date with catalogue and time. Never rejects: old plans stay in use. */
  refresh(now: Micros): Promise<void>;
};

/** A listing of the catalogue costs more than a look at the clock. */
const EVERY = 5_000_000;
const AHEAD = 3;
/** Segments behind the time shift that players may still ask for. */
const MARGIN = 120_000_000;

/** Epochs [from, to) of an asset that edges may be asked for at `now`. */
const epochsAt = ({ book, schedule, segment, segments }: AssetMarking, timeShift: Micros, now: Micros): { readonly from: number; readonly to: number } => {
  if (book === 'adaptive') return { from: 0, to: 0 };
  const first = schedule[0]?.from ?? 0;
  if (segments !== undefined) return { from: 0, to: epochAt(schedule, Math.max(first, segments - 1)).epoch + 1 };
  const number = (at: number): number => Math.max(first, Math.floor(at / segment));
  return { from: epochAt(schedule, number(now - timeShift - MARGIN)).epoch, to: epochAt(schedule, number(now)).epoch + AHEAD + 1 };
};

/** Without keys, viewers and catalogue nothing is marked. */
export const createMarking = (options: {
  keys?: MarkKeySource;
  viewers?: ViewerNumberStore;
  catalogue?: Pick<CatalogueStore, 'list'>;
  timeShift: Micros;
  log: Log;
}): Marking => {
  const { keys, viewers, catalogue, timeShift, log } = options;
  let plans: readonly MarkPlan[] = [];
  let revision = '';
  let askedAt = Number.NEGATIVE_INFINITY;

  const planOf = async ({ asset }: CatalogueEntry, marking: AssetMarking, source: MarkKeySource, now: Micros): Promise<MarkPlan> => {
    const { version, viewerKey, keys: epochKeys } = await source.markKeys({ asset, ...epochsAt(marking, timeShift, now) });
    const { segment: _length, segments: _count, ...rest } = marking;
    return { asset, ...rest, keys: epochKeys, viewerKeys: [{ version, key: viewerKey }] };
  };

  return {
    get revision() {
      return revision;
    },
    plans: () => plans,

    async viewerId(title, viewer) {
      if (title.marking === undefined || keys === undefined || viewers === undefined) return undefined;
      const { version, viewerKey } = await keys.markKeys({ asset: title.asset, from: 0, to: 0 });
      return { keyVersion: version, id: viewerIdBytes(hmacSha256, viewerKey, await viewers.give({ asset: title.asset, ...viewer })) };
    },

    async refresh(now) {
      if (keys === undefined || catalogue === undefined || now < askedAt + EVERY) return;
      askedAt = now;
      try {
        const found: MarkPlan[] = [];
        for (const entry of await catalogue.list()) {
          if (entry.marking !== undefined && entry.state !== 'failed') found.push(await planOf(entry, entry.marking, keys, now));
        }
        plans = found;
        revision = found.map((plan) => `${plan.asset} ${plan.sequencing} ${plan.keys[0]?.epoch ?? 0}-${plan.keys.length}`).join();
      } catch (error) {
        log.warn('mark keys could not be refreshed', { error: error instanceof Error ? error.name : typeof error });
      }
    },
  };
};
