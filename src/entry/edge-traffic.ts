// SPDX-License-Identifier: Apache-2.0
/**
 * What every edge of the service fetched of marked assets: the edge of this process at once, others as they report it.
 *
 * Invariant: memory is bounded by the enrolled edges; a report replaces the one before, since totals only grow until an edge restarts.
 */
import type { EdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import type { Micros } from '#core/time.ts';
import type { DeliveryRow } from '#operations/index.ts';

/** The rows of all edges. */
export type TrafficBoard = {
  /** Reports of edges in other processes. */
  readonly heard: (edge: string, traffic: readonly EdgeTraffic[]) => void;
  /** The edge of this process. */
  setLocal(edge: string, traffic: () => readonly EdgeTraffic[]): void;
  readonly rows: () => readonly DeliveryRow[];
};

/** Nothing heard yet. */
export const createTrafficBoard = (now: () => Micros): TrafficBoard => {
  const reports = new Map<string, { readonly at: Micros; readonly traffic: readonly EdgeTraffic[] }>();
  let local: { readonly edge: string; readonly traffic: () => readonly EdgeTraffic[] } | undefined;
  return {
    heard: (edge, traffic) => void reports.set(edge, { at: now(), traffic }),
    setLocal(edge, traffic) {
      local = { edge, traffic };
    },
    rows: () => [
      ...(local === undefined ? [] : local.traffic().map((item) => ({ edge: local?.edge ?? '', ...item, heardAt: now() }))),
      ...[...reports].flatMap(([edge, { at, traffic }]) => traffic.map((item) => ({ edge, ...item, heardAt: at }))),
    ],
  };
};
