// SPDX-License-Identifier: Apache-2.0
/**
 * The operations role: operator endpoints, health, metrics and the control room's live stream as one Web-standard handler.
 *
 * Every route is one line of the table in `routes.ts`: method, path, role, step. The handler is host check → operator → route.
 * Invariant: without an operator's token only `/healthz` and a bare yes or no of `/readyz` answer (and `/metrics` where configured public).
 */
import { ERRORS, SealcastError, isSealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { EventSink, OperatorRole } from '#ports';
import { createAudited } from '#operations/actions.ts';
import { json, problem } from '#operations/answers.ts';
import { deliveryRoutes } from '#operations/delivery-routes.ts';
import { createFeed } from '#operations/feed.ts';
import { runChecks } from '#operations/health.ts';
import { isAllowedHost } from '#operations/hosts.ts';
import { createOperatorGate } from '#operations/operator-gate.ts';
import type { OperationsOptions } from '#operations/options.ts';
import { createConditions } from '#operations/conditions.ts';
import { leakRoutes } from '#operations/leak-routes.ts';
import { createLeakDesk, type LeakDesk } from '#operations/leaks.ts';
import { licensingRoutes } from '#operations/licensing-routes.ts';
import { policyRoutes } from '#operations/policy-routes.ts';
import { releaseRoutes } from '#operations/release-routes.ts';
import { type Route, findRoute } from '#operations/route.ts';
import { operatorRoutes } from '#operations/routes.ts';
import { createFeedStreams } from '#operations/stream.ts';
import { subscriptionRoutes } from '#operations/subscription-routes.ts';
import { recordedMoves } from '#operations/standing.ts';
import { liveHeartbeats } from '#operations/views.ts';

/** `address` is the peer's, where the runtime knows it: wrong tokens are counted by it. */
export type OperationsHandler = (request: Request, peer?: { readonly address?: string }) => Promise<Response>;

/** The running role. */
export type Operations = {
  readonly handler: OperationsHandler;
  /** Whether `handler` has a route of this path (the entry asks before it routes; `POST /v1/sessions`, say, is not ours). */
  readonly owns: (path: string) => boolean;
  /** Where every part reports what an operator would want to know. */
  readonly events: EventSink;
  /** Takes what an edge knows of sessions that were ended because of a leak. */
  readonly carried: LeakDesk['carried'];
  /** Token of the first operator, answered once at first start, to be printed; undefined ever after. */
  readonly firstStartToken: () => Promise<string | undefined>;
  /** Adds an operator; answers the token once. */
  readonly issueToken: (name: string, role: OperatorRole) => Promise<string>;
  /** Ends streams and timers. */
  readonly close: () => void;
};

/** Routes outside the operator table: they have rules of their own. */
const OPEN_PATHS: readonly string[] = ['/healthz', '/readyz', '/metrics'];

/** µs of moves between levels that the control room starts with. */
const DAY = 24 * 3600 * 1_000_000;

/** Builds the role and starts its one-second sampling; `close` stops it. */
export const createOperations = (options: OperationsOptions): Operations => {
  const { clock, log, metrics, readiness, exposition, metricsPublic = false, allowedHosts } = options;
  const gate = createOperatorGate(options);
  const feed = createFeed({
    clock,
    log,
    figures: options.figures,
    async slow() {
      const [live, ready, onLevel] = await Promise.all([liveHeartbeats(options.heartbeats, undefined, clock.now()), runChecks(readiness, clock), options.accounts.levels()]);
      return { levels: { liveSessions: live.size, accountsLevel1: onLevel[1], accountsLevel2: onLevel[2], accountsLevel3: onLevel[3] }, ready };
    },
  });
  const streams = createFeedStreams(feed);
  const audited = createAudited({ audit: options.audit, clock, events: feed.events });
  const startedAt = clock.now();
  const context = { ...options, feed, streams, audited, startedAt };
  const { leaks, viewerNumbers } = options;
  const desk = createLeakDesk({ leaks, viewerNumbers, actions: options.actions, judge: options.judge, automatic: options.onAccusation ?? 'end-sessions', audited, clock, log, events: feed.events });
  const routes = [...operatorRoutes(context), ...policyRoutes(context, createConditions(feed, startedAt, recordedMoves(options.accounts, (startedAt - DAY) as Micros))), ...licensingRoutes(context), ...leakRoutes({ desk, leaks, viewerNumbers }), ...deliveryRoutes(context), ...subscriptionRoutes(context), ...releaseRoutes(context)];

  const admit = async (request: Request, role: OperatorRole, address: string): ReturnType<typeof gate.admit> => {
    const answer = await gate.admit(request, role, address);
    if (!answer.ok) {
      metrics.count('sealcast_operations_refused_total', 'Operator requests refused', { code: answer.code });
      if (answer.guess === 'first') feed.events({ at: clock.now(), kind: 'operator.refused', severity: 'warning', message: `A wrong operator token was used from ${address}` });
    }
    return answer;
  };

  const open = async (request: Request, path: string, address: string): Promise<Response> => {
    if (request.method !== 'GET' && request.method !== 'HEAD') return problem(new SealcastError('method-not-allowed', 'answers GET'), { Allow: 'GET, HEAD' });
    if (path === '/healthz') return json({ alive: true });
    if (path === '/readyz') {
      const checks = await runChecks(readiness, clock);
      const ready = Object.values(checks).every(Boolean);
      const known = request.headers.has('authorization') && (await admit(request, 'view', address)).ok;
      return json(known ? { ready, checks } : { ready }, ready ? 200 : 503);
    }
    if (!metricsPublic) {
      const answer = await admit(request, 'view', address);
      if (!answer.ok) return problem(new SealcastError(answer.code, answer.detail));
    }
    const { contentType, body } = await exposition();
    return new Response(body, { headers: { 'Content-Type': contentType, 'Cache-Control': 'no-store' } });
  };

  const run = async (request: Request, route: Route, path: string, address: string): Promise<Response> => {
    if (!isAllowedHost(request, allowedHosts)) throw new SealcastError('forbidden', 'this host name is not on the allow-list (operations.hosts)');
    const step = route.steps[request.method];
    const admitted = await admit(request, step?.role ?? 'view', address);
    if (!admitted.ok) throw new SealcastError(admitted.code, admitted.detail);
    if (step === undefined) return problem(new SealcastError('method-not-allowed', 'this path has other methods'), { Allow: Object.keys(route.steps).join(', ') });
    return step.run({ request, operator: admitted.operator, id: route.idOf(path), query: new URL(request.url).searchParams });
  };

  return {
    events: feed.events,
    carried: desk.carried,
    firstStartToken: gate.firstStartToken,
    issueToken: gate.issue,
    owns: (path) => OPEN_PATHS.includes(path) || findRoute(routes, path) !== undefined,
    close() {
      desk.close();
      streams.close();
      feed.close();
    },
    async handler(request, peer) {
      const path = new URL(request.url).pathname;
      const address = peer?.address ?? 'unknown';
      try {
        if (OPEN_PATHS.includes(path)) return await open(request, path, address);
        const route = findRoute(routes, path);
        if (route === undefined) throw new SealcastError('not-found', 'no such operator endpoint');
        return await run(request, route, path, address);
      } catch (error) {
        if (!isSealcastError(error) || ERRORS[error.code].status >= 500) log.error('operator request failed', { path: findRoute(routes, path)?.path ?? 'unknown', error });
        return problem(error);
      }
    },
  };
};
