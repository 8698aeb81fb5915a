// SPDX-License-Identifier: Apache-2.0
/**
 * Counts which variants of marked assets this edge fetched from its origin: the inner-delivery traffic operators see.
 *
 * docs/guide/sequences.md, "Inner delivery". A variant's cache key is `{asset}/{rep}/{variant}/{file}` (docs/wire/media.md);
 * everything else an edge fetches has other keys. A part counts as a segment of its own, since it is fetched as one.
 * Invariant: one look at the key per origin fetch, none per request served; memory is bounded by the newest assets.
 */
import { type EdgeTraffic, MAX_REPORTED_ASSETS } from '#core/edge-bundle/edge-traffic.ts';
import { assetId } from '#core/ids.ts';
import { createDeliveryCounter, type Position } from '#core/watermark/index.ts';
import type { Metrics } from '#ports';

/** Traffic of one edge. */
export type VariantTraffic = {
  /** A whole object arrived from the origin. */
  fetched(key: string, bytes: number): void;
  report(): readonly EdgeTraffic[];
};

const VARIANT = /^([^/]+)\/([^/]+)\/([a-h0-7])\/([0-9]{1,11})(?:\.([0-9]{1,4}))?\.m4s$/;
const LETTER_A = 97;
/** More than the parts a segment can have, so that every part has a number of its own. */
const PARTS = 16_384;

/** Counts nothing yet. */
export const createVariantTraffic = (metrics: Metrics): VariantTraffic => {
  const counter = createDeliveryCounter();
  return {
    fetched(key, bytes) {
      const [, event = '', representation = '', name = '', segment = '', part] = VARIANT.exec(key) ?? [];
      if (event === '') return;
      const symbol = name >= 'a' ? name.charCodeAt(0) - LETTER_A : Number(name);
      const before = counter.totals(event);
      counter.fetched({ event, representation, position: (Number(segment) * PARTS + (part === undefined ? 0 : Number(part) + 1)) as Position, symbol, bytes });
      const after = counter.totals(event);
      if (after.segments > before.segments) metrics.count('sealcast_edge_marked_segments_total', 'Segments and parts of marked assets of which at least one variant was fetched.');
      if (after.variants > before.variants) metrics.count('sealcast_edge_marked_variants_total', 'Distinct variants of them that were fetched.');
      const [oldest] = counter.events();
      if (counter.events().length > MAX_REPORTED_ASSETS && oldest !== undefined) counter.forget(oldest);
    },
    report: () => counter.events().map((event) => ({ asset: assetId(event), ...counter.totals(event) })),
  };
};
