// SPDX-License-Identifier: Apache-2.0
/**
 * How timed releases stand, for the control room: per event lateness, spread, horizon, clients on time, and the instants of
 * each segment; per edge its clock.
 *
 * docs/wire/release.md. Invariant: figures and instants only; no secret and no client is named.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { SealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import { MAX_RESOURCE, resourceName, resourceType } from '#core/release/resource.ts';
import type { Micros } from '#core/time.ts';
import { unavailable } from '#operations/actions.ts';
import { json } from '#operations/answers.ts';
import { operate, type Route, route, type RouteContext, view } from '#operations/route.ts';

/** Bytes of a request's body; throws `payload-too-large`. */
const bytesOf = async (request: Request): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    length += part.length;
    if (length > MAX_RESOURCE) throw new SealcastError('payload-too-large', `a timed resource has at most ${MAX_RESOURCE} bytes`);
    parts.push(part);
  }
  return concatBytes(...parts);
};

/** `GET /v1/operations/releases`; `POST /v1/events/{id}/resources?name=&at=` publishes the body as a timed resource. */
export const releaseRoutes = (context: Pick<RouteContext, 'releases' | 'actions' | 'audited'>): readonly Route[] => [
  route('/v1/operations/releases', { GET: view(() => Promise.resolve(json({ releases: context.releases?.() ?? null }))) }),
  route('/v1/events/{id}/resources', {
    POST: operate(async ({ request, operator, id, query }) => {
      const asset = assetId(id);
      const { putTimedResource } = context.actions;
      if (putTimedResource === undefined) throw unavailable('timed resources', 'the key server');
      const name = resourceName(query.get('name') ?? '');
      const at = query.get('at') ?? '';
      if (!/^[0-9]{1,16}$/.test(at)) throw new SealcastError('bad-request', 'at must be microseconds UTC');
      const type = resourceType((request.headers.get('content-type') ?? '').split(';', 1)[0] ?? '');
      const content = await bytesOf(request);
      const made = await context.audited(operator, 'event.resource', asset, { name, at: Number(at), bytes: content.length }, () => putTimedResource(asset, { name, type, at: Number(at) as Micros, content }));
      return json({ name, ...made, url: `/v1/events/${asset}/resources/${name}` }, 201);
    }),
  }),
];
