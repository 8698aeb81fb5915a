// SPDX-License-Identifier: Apache-2.0
/**
 * The control room's figures out of the metrics of this process: totals that become rates, and levels.
 *
 * Invariant: names on the left are the control room's, names in quotes are Prometheus metrics; nothing is counted twice.
 */
import type { NodeMetrics } from '#adapters/node/metrics.ts';

/** The function that the control room samples once per second. `sentBytes`: of the listener for viewers. */
export const createFigureSource = (metrics: NodeMetrics, sentBytes: () => number): (() => { totals: Readonly<Record<string, number>>; levels: Readonly<Record<string, number>> }) => {
  const answers = (source: string): number => metrics.total('sealcast_edge_answers_total', { source });
  return () => ({
    totals: {
      licenses: metrics.total('sealcast_sessions_started_total') + metrics.total('sealcast_relicenses_total'),
      renewals: metrics.total('sealcast_renewals_total', { act: 'extend' }),
      denials: metrics.total('sealcast_renewals_total', { act: 'end' }),
      refusals: metrics.total('sealcast_sessions_refused_total'),
      edgeRequests: metrics.total('sealcast_edge_answers_total'),
      edgeBytes: sentBytes(),
      edgeHits: answers('memory') + answers('disk') + answers('shared') + answers('revalidated'),
      edgeMisses: answers('origin') + answers('direct'),
      markedSegments: metrics.total('sealcast_edge_marked_segments_total'),
      markedVariants: metrics.total('sealcast_edge_marked_variants_total'),
      ingestBytes: metrics.total('sealcast_packager_ingest_bytes_total'),
    },
    levels: { cacheBytes: metrics.total('sealcast_edge_cache_bytes') },
  });
};
