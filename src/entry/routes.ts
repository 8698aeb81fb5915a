// SPDX-License-Identifier: Apache-2.0
/**
 * Which role answers which path (design section 9), for one process that runs several of them.
 *
 * Invariant: the operator's side (control room, operator endpoints, metrics) answers only on the listener it belongs to,
 * so that `adminListen` really takes it off the public address.
 */
import { problemOf, SealcastError } from '#core/errors.ts';

/** A Web-standard handler that also learns the peer's address and, behind a server, can cut its answer. */
export type PeerHandler = (request: Request, peer: { readonly address: string; readonly open?: { readonly done: boolean; cut(): void } }) => Promise<Response>;

/** Who answers what; an absent handler's paths are not found. */
export type Handlers = {
  readonly media?: PeerHandler;
  readonly origin?: PeerHandler;
  readonly ingest?: PeerHandler;
  readonly licenses?: PeerHandler;
  readonly renewals?: PeerHandler;
  readonly keys?: PeerHandler;
  readonly time: PeerHandler;
  /** Timed release: who answers a path of docs/wire/release.md. */
  readonly release?: (path: string) => PeerHandler | undefined;
  readonly operations?: { readonly owns: (path: string) => boolean; readonly handler: PeerHandler };
  readonly pages?: (request: Request) => Promise<Response | undefined>;
  /** Routes that only the demo has. */
  readonly demo?: PeerHandler;
};

/** Licence-server paths; `/v1/events/{id}/entry-key` is its only one below `/v1/events`. */
const LICENSES = /^\/v1\/(?:sessions|licenses(?:\/batch|\/keys)?|devices|roots|leaves|downloads|usage|stop|clearkey|events\/[^/]+\/entry-key|edges\/[^/]+\/bundle)$/;

const NONCE = /[?&]nonce=/;

const notFound = (): Response => {
  const problem = problemOf(new SealcastError('not-found', 'nothing answers this path here'));
  return new Response(JSON.stringify(problem), { status: problem.status, headers: { 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store', 'Access-Control-Allow-Origin': '*' } });
};

const HEALTH = new Set(['/healthz', '/readyz']);

/** The handler of one listener. `sides` tells which halves of the surface it serves. */
export const createRouter = (handlers: Handlers, sides: { readonly viewers: boolean; readonly operators: boolean }): PeerHandler => {
  const { operations, pages } = handlers;
  return async (request, peer) => {
    const start = request.url.indexOf('/', 8);
    const end = request.url.indexOf('?', start);
    const path = request.url.slice(start, end === -1 ? undefined : end);
    if (sides.viewers) {
      if (path.startsWith('/media/') && handlers.media !== undefined) return handlers.media(request, peer);
      if (path === '/v1/renew' && handlers.renewals !== undefined) return handlers.renewals(request, peer);
      if (LICENSES.test(path) && handlers.licenses !== undefined) return handlers.licenses(request, peer);
      // A question with a nonce is for the one who signs; without a licence server here the time goes unsigned.
      if (path === '/v1/time') return (handlers.licenses !== undefined && end !== -1 && NONCE.test(request.url.slice(end)) ? handlers.licenses : handlers.time)(request, peer);
      if (path.startsWith('/v1/') && handlers.release !== undefined) {
        const release = handlers.release(path);
        if (release !== undefined) return release(request, peer);
      }
      if (path.startsWith('/ingest/') && handlers.ingest !== undefined) return handlers.ingest(request, peer);
      if (path.startsWith('/origin/') && handlers.origin !== undefined) return handlers.origin(request, peer);
      if (path.startsWith('/v1/keys/') && handlers.keys !== undefined) return handlers.keys(request, peer);
      if (path.startsWith('/v1/demo/') && handlers.demo !== undefined) return handlers.demo(request, peer);
    }
    if (operations !== undefined && (sides.operators ? operations.owns(path) : HEALTH.has(path))) return operations.handler(request, peer);
    return (await pages?.(request)) ?? notFound();
  };
};
