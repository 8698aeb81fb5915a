// SPDX-License-Identifier: Apache-2.0
/**
 * What a racer of the demo needs of a session: the release token, and nothing else of the client.
 *
 * Invariant: the token is got as any player gets it, from a session of an entitled account; the session's own channel stays shut.
 */
import { openDevice, type Session, startSession } from '#client/index.ts';
import { SealcastError } from '#core/errors.ts';
import type { AccountId, AssetId } from '#core/ids.ts';
import { demoFetch, type Place } from '../watching.ts';

/** A session's access to releases. */
export type RaceAccess = { readonly session: Session; readonly token: string; readonly urls: readonly string[] };

/** Starts a session for `account` and takes its release token. Throws the denial's code. */
export const raceAccess = async (place: Place, account: string, asset: AssetId): Promise<RaceAccess> => {
  let release: { readonly token: string; readonly urls: readonly string[] } | undefined;
  const started = await startSession({
    servers: [place.platform.localUrl], device: await openDevice({ name: 'racing machine' }), asset, entitlement: () => place.issuer.issue(account as AccountId, asset), release: { openSocket: null },
    fetch: async (request) => {
      const { pathname } = new URL(request.url);
      if (/\/release(?:\/|$)/.test(pathname)) return new Response(null, { status: 503 });
      const response = await demoFetch(request);
      if (pathname === '/v1/sessions' && request.method === 'POST') release = ((await response.clone().json()) as { release?: typeof release }).release;
      return response;
    },
  });
  if (!started.ok) throw new SealcastError(started.denial.code, started.denial.detail);
  if (release === undefined) throw new SealcastError('config-invalid', 'the event is not timed');
  return { session: started.session, ...release };
};
