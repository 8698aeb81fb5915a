// SPDX-License-Identifier: Apache-2.0
/**
 * From an operator's request to the marking of an event or title, and the switches of a running two-phase event.
 *
 * docs/guide/sequences.md. Invariant: switches only begin or end at positions that no edge has served yet, so that what an
 * edge gave at a position never depends on when one asks.
 */
import { type AssetDelivery, edgeNumber, type TracedDelivery, tracedDelivery } from '#core/edge-bundle/delivery-plan.ts';
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import { FIRST_VIEWER } from '#core/token/viewer-id.ts';
import type { BookDescription } from '#core/trace/index.ts';
import { type EpochSchedule, planBlocks, position, SHORTEST_ASSIGNED, startSchedule } from '#core/watermark/index.ts';
import type { MarkingRequest } from '#operations/index.ts';
import type { AssetMarking } from '#ports';

/** Time from a switch until it holds: bundles reach every edge, and segments in the making are over. */
const LEAD = 12_000_000;

/** Delivery and epochs of a request. `edges`: names of all edges of the service. */
const deliveryOf = ({ variants, delivery, viewers, edges }: MarkingRequest, all: readonly string[]): { readonly schedule: EpochSchedule; readonly delivery?: AssetDelivery } => {
  if (delivery === 'always-on') return { schedule: startSchedule({ alphabet: variants, viewers }) };
  if (delivery === 'two-phase') return { schedule: startSchedule({ alphabet: variants, viewers }), delivery: { kind: 'two-phase', edges: all, switched: [] } };
  // Numbers below FIRST_VIEWER are nobody's, whichever block they fall into; the last block is for viewers of no listed edge.
  const sizes = [...edges.map((item) => item.viewers), viewers];
  const plan = planBlocks({ alphabet: variants, edges: sizes.map((count, edge) => ({ edge, viewers: count + FIRST_VIEWER })) });
  return { schedule: [{ from: plan.from, length: plan.length }], delivery: { kind: 'prefix', edges: edges.map(({ edge }) => edge), blocks: plan.blocks } };
};

/** The marking of an asset. */
export const markingFor = (request: MarkingRequest, asset: { readonly kind: 'event' | 'title'; readonly representations: readonly string[]; readonly segment: Micros; readonly segments?: number }, edges: readonly string[]): AssetMarking => {
  const { kind, ...rest } = asset;
  if (kind === 'title' && request.delivery === 'two-phase') throw new SealcastError('bad-request', 'two-phase delivery follows a live leak: titles have none');
  return { sequencing: true, names: 'letters', pace: 'number', alphabet: request.variants, book: request.book, ...rest, ...deliveryOf(request, edges) };
};

/** Book and delivery as references and observation files describe them. */
export const tracedAs = ({ book, schedule, delivery }: AssetMarking): { readonly book: BookDescription; readonly delivery?: TracedDelivery } => {
  const described: BookDescription =
    book === 'adaptive'
      ? { kind: 'adaptive', shortest: SHORTEST_ASSIGNED }
      : book === 'aligned'
        ? { kind: 'aligned', schedule }
        : { kind: 'biased', schedule, bias: book === 'biased-uniform' ? 'uniform' : book === 'biased-dirichlet' ? 'dirichlet' : 'alternate' };
  return { book: described, ...(delivery !== undefined && { delivery: tracedDelivery(delivery) }) };
};

/** The marking with an edge's viewers switched to copies of their own, or back; with the first position that is so. */
export const withCopies = (marking: AssetMarking | undefined, edge: string, copies: 'own' | 'common', now: Micros): { readonly marking: AssetMarking; readonly from: number } => {
  const delivery = marking?.delivery;
  if (marking === undefined || delivery?.kind !== 'two-phase') throw new SealcastError('bad-request', 'copies are switched in events with two-phase delivery only');
  if (!delivery.edges.includes(edge)) throw new SealcastError('not-found', 'no edge of this name in the plan of this event');
  const number = edgeNumber(delivery, edge);
  const from = position(Math.floor((now + LEAD) / marking.segment) + 1);
  const running = delivery.switched.findIndex((item) => item.edge === number && (item.until === undefined || item.until > from));
  if ((copies === 'own') === (running >= 0)) throw new SealcastError('already-exists', `this edge gives ${copies} copies already`);
  const switched = copies === 'own' ? [...delivery.switched, { edge: number, from }] : delivery.switched.map((item, index) => (index === running ? { ...item, until: position(Math.max(from, item.from + 1)) } : item));
  return { marking: { ...marking, delivery: { ...delivery, switched } }, from };
};
