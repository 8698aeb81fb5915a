// SPDX-License-Identifier: Apache-2.0
/**
 * How timed releases stand, for the control room: per event lateness, spread, horizon, clients on time, and the instants of
 * each segment; per edge its clock.
 *
 * docs/wire/release.md. Invariant: figures and instants only; no secret and no client is named.
 */
import { json } from '#operations/answers.ts';
import type { ReleasesView } from '#operations/api.ts';
import { type Route, route, view } from '#operations/route.ts';

/** Answers undefined where nothing is released in this process. */
export type ReleaseSource = () => ReleasesView | undefined;

/** `GET /v1/operations/releases`. */
export const releaseRoutes = (options: { readonly releases?: ReleaseSource }): readonly Route[] => [
  route('/v1/operations/releases', { GET: view(() => Promise.resolve(json({ releases: options.releases?.() ?? null }))) }),
];
