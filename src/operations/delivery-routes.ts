// SPDX-License-Identifier: Apache-2.0
/**
 * Inner delivery in the control room: what every edge fetched of marked assets, and switching an edge's viewers to copies of their own.
 *
 * docs/guide/sequences.md, "Inner delivery". Invariant: a switch is audited and begins at a position no edge has served yet.
 */
import { SealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import { edgeNumber } from '#core/edge-bundle/delivery-plan.ts';
import { unavailable } from '#operations/actions.ts';
import { json, oneOf, readBody, text } from '#operations/answers.ts';
import type { DeliveryView } from '#operations/api.ts';
import type { DeliveryRow } from '#operations/delivery.ts';
import { operate, type Route, route, type RouteContext, view } from '#operations/route.ts';
import type { CatalogueEntry } from '#ports';

const SWITCH_RULES = { edge: text(1, 64), copies: oneOf(['own', 'common'], true), note: text(0, 200, false) };

const viewOf = (entry: CatalogueEntry, rows: readonly DeliveryRow[]): DeliveryView['assets'][number] | undefined => {
  const { marking } = entry;
  if (marking === undefined) return undefined;
  const { delivery } = marking;
  const edges = rows.filter(({ asset }) => asset === entry.asset);
  const own = (edge: string): boolean => {
    if (delivery === undefined) return true;
    // Under a prefix code a viewer's own digits and the shared ones take turns.
    return delivery.kind === 'prefix' || delivery.switched.some((item) => item.edge === edgeNumber(delivery, edge) && item.until === undefined);
  };
  const segments = edges.reduce((sum, row) => sum + row.segments, 0);
  const variants = edges.reduce((sum, row) => sum + row.variants, 0);
  const names = [...new Set([...(delivery?.kind === 'two-phase' ? delivery.edges : []), ...edges.map(({ edge }) => edge)])];
  return {
    asset: entry.asset,
    name: entry.name,
    delivery: delivery?.kind ?? 'always-on',
    alphabet: marking.alphabet,
    ...(segments > 0 && { variantsPerSegment: variants / segments }),
    edges: names.map((edge) => {
      const row = edges.find((item) => item.edge === edge);
      const { segments: count = 0, variants: copies = 0, bytes = 0, plainBytes = 0, heardAt } = row ?? {};
      return { edge, segments: count, variants: copies, bytes, plainBytes, copies: own(edge) ? ('own' as const) : ('common' as const), ...(heardAt !== undefined && { heardAt }) };
    }),
  };
};

/** The routes. Without a source nothing was fetched; without the action nothing can be switched here. */
export const deliveryRoutes = ({ catalogue, clock, delivery = () => [], actions, audited }: RouteContext): readonly Route[] => [
  route('/v1/operations/delivery', {
    GET: view(async () => {
      const rows = delivery();
      const answer: DeliveryView = { at: clock.now(), assets: (await catalogue.list()).filter(({ state }) => state !== 'failed').flatMap((entry) => viewOf(entry, rows) ?? []) };
      return json(answer);
    }),
  }),
  route('/v1/events/{id}/copies', {
    POST: operate(async ({ request, operator, id }) => {
      const { switchCopies } = actions;
      if (switchCopies === undefined) throw unavailable('switching copies', 'the licence server');
      const asset = assetId(id);
      const { edge = '', copies = 'own', note = '' } = await readBody(request, SWITCH_RULES);
      if ((await catalogue.get(asset))?.kind !== 'event') throw new SealcastError('not-found', 'no event of this id');
      return json(await audited(operator, 'event.copies', asset, { edge, copies, note }, () => switchCopies(asset, edge, copies)));
    }),
  }),
];
