// SPDX-License-Identifier: Apache-2.0
/**
 * What an edge fetched of marked assets, as it reports it with its bundle requests (docs/wire/edge-bundle.md, `traffic`).
 *
 * Invariant: what leaves `parseEdgeTraffic` is bounded and adds up: an asset has no fewer variants than segments.
 */
import { type AssetId, assetId } from '#core/ids.ts';
import { SealcastError } from '#core/errors.ts';
import { isJsonObject } from '#core/token/strict-json.ts';
import type { DeliveryTotals } from '#core/watermark/index.ts';

/** Totals of one asset since the edge started. */
export type EdgeTraffic = DeliveryTotals & { readonly asset: AssetId };

/** Assets in one report: it travels in a header field. */
export const MAX_REPORTED_ASSETS = 16;

/** A report out of a signed request. Throws `bad-request` naming the rule. */
export const parseEdgeTraffic = (value: unknown): readonly EdgeTraffic[] => {
  const refuse = (rule: string): never => {
    throw new SealcastError('bad-request', `edge traffic: ${rule}`);
  };
  if (!Array.isArray(value) || value.length > MAX_REPORTED_ASSETS) return refuse(`must be a list of at most ${MAX_REPORTED_ASSETS}`);
  return value.map((item: unknown): EdgeTraffic => {
    if (!isJsonObject(item)) return refuse('elements must be objects');
    const count = (name: string): number => {
      const number = item[name];
      return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : refuse(`${name} must be a whole number`);
    };
    const totals = { asset: assetId(item['asset']), segments: count('segments'), variants: count('variants'), bytes: count('bytes'), plainBytes: count('plainBytes') };
    if (totals.variants < totals.segments || totals.bytes < totals.plainBytes) return refuse('there are no fewer variants than segments, and no fewer bytes');
    return totals;
  });
};
