// SPDX-License-Identifier: Apache-2.0
/** Releases of this process's edge as the control room shows them. */
import { releaseInstant } from '#core/release/gate.ts';
import type { ReleaseEdge } from '#edge/release/index.ts';
import type { ReleasesView } from '#operations/api.ts';

/** The standing of an edge's releases; undefined where there is no edge. */
export const releasesView = (edge: string, part: ReleaseEdge | undefined, others: ReleasesView['others'] = []): ReleasesView | undefined => {
  if (part === undefined) return undefined;
  const { earliest, latest, status } = part.bound();
  const { state } = part.clock;
  return {
    edge,
    others,
    clock: { status, cause: state.cause, ...(latest !== Number.MAX_SAFE_INTEGER && { error: (latest - earliest) / 2 }), sources: status === 'single-host' ? ['host'] : state.samples.map(({ source }) => source) },
    events: part.standing().map(({ event, info, connections, released, horizon, held, figures, segments }) => ({
      event, mode: info.mode, period: info.period, delta: info.delta, connections, released,
      ...(released >= 0 && { releasedAt: releaseInstant(info, released as never) }),
      horizon, held: held ?? null, figures, segments,
    })),
  };
};
