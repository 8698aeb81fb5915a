// SPDX-License-Identifier: Apache-2.0
/**
 * The edge role: authorises media requests and serves them from a pull-through cache.
 *
 * docs/wire/media.md, docs/wire/edge-bundle.md. Steps of a request: locate → authorize (token, asset, revocation list) →
 * switch (the viewer's variant of a marked segment) → cache → respond. Pure Web-standard code: the same module runs in Node and in workerd.
 * Invariant: no byte of media leaves without a verified, unrevoked token for its asset, and no store is read on the way.
 */
import type { EdgeBundle } from '#core/edge-bundle/edge-bundle.ts';
import type { EdgeTraffic } from '#core/edge-bundle/edge-traffic.ts';
import type { ErrorCode } from '#core/errors.ts';
import type { SessionId } from '#core/ids.ts';
import type { Millis } from '#core/time.ts';
import { type Authorization, carriedToken, cookieToken, createAuthorizer, TOKEN_MEMBERS } from '#edge/authorize.ts';
import { type BundleSource, createBundleLoop } from '#edge/bundle-loop.ts';
import { createDiskTier, type DiskTier } from '#edge/disk-tier.ts';
import type { KeyRing, RenewalKey } from '#edge/key-ring.ts';
import { addressWithoutToken, parseMediaAddress } from '#edge/media-path.ts';
import type { MarkPolicy } from '#edge/mark-boxes.ts';
import { createMarkWatch } from '#edge/mark-watch.ts';
import { createMemoryTier } from '#edge/memory-tier.ts';
import { createOrigin } from '#edge/origin.ts';
import { createPullThrough, type KeepAlive, type MakeUnboxer } from '#edge/pull-through.ts';
import { createResponder, type Disguise, type Wish } from '#edge/respond.ts';
import { createSwitching, type Switched } from '#edge/switching.ts';
import { createTally } from '#edge/tally.ts';
import { createCarrierReports } from '#edge/carrier-reports.ts';
import { askedBytes, countBytes, whileRunning } from '#edge/session-bytes.ts';
import { createSessionTraffic, type OpenAnswer } from '#edge/session-traffic.ts';
import { createTokenRenewal, isRenewalDue, type RenewalRequest } from '#edge/token-renewal.ts';
import { createVariantTraffic } from '#edge/variant-traffic.ts';
import type { Clock, EventSink, Fetch, Log, Metrics, ObjectStore, Random, ResponseFactory } from '#ports';

/** What an edge is made of. Sizes are bytes. */
export type EdgeOptions = {
  /** How the origin is reached: a packager's handler in process, or `fetch`. */
  readonly origin: Fetch;
  /** URL before `/{asset}/{file}` at the origin, e.g. `http://packager:8080/origin`. */
  readonly originBase: string;
  /** Value of the Authorization field of origin requests, where the origin wants one. */
  readonly originAuthorization?: string;
  readonly bundle: BundleSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly events: EventSink;
  readonly cache?: {
    /** Budget of whole objects in memory. Default 256 MB; 0 keeps none. */
    readonly memoryBytes?: number;
    /** Immutable objects are kept here too, where given. */
    readonly disk?: { readonly store: ObjectStore; readonly bytes: number };
    /** Longer objects pass through uncached. Default 64 MB, at most an eighth of `memoryBytes` is kept. */
    readonly maxObjectBytes?: number;
    /** Bytes on their way at once beyond which objects pass through uncached. Default 256 MB. */
    readonly maxArrivingBytes?: number;
  };
  /** What is done with media that cannot be marked. Default: coding without places is served, everything else refused. */
  readonly marking?: MarkPolicy;
  /** Verified tokens remembered. Default 100,000 (about 60 MB when full). */
  readonly rememberedTokens?: number;
  /** An origin silent for so long is given up. Default 20 s: longer than early segment requests and blocking playlists are held. */
  readonly originIdleTimeout?: Millis;
  /** Default `new Response(...)`; the Node server has a cheaper one. */
  readonly respond?: ResponseFactory;
};

/** What a runtime may hand along with a request. */
export type EdgeContext = { readonly waitUntil?: KeepAlive; /** The client's address, as the runtime knows it. */ readonly address?: string; /** The answer to this request, so that it can be cut when its session ends. */ readonly open?: OpenAnswer };

/** The edge role. */
export type Edge = {
  /** GET, HEAD and OPTIONS of `/media/...`. Never rejects for anything a client or an origin does. */
  handler(request: Request, context?: EdgeContext): Promise<Response>;
  /** Starts the bundle's refresh loop. Before the first bundle every media request answers 503 `key-unavailable`. */
  start(): void;
  /** Stops the loop and aborts running origin fetches. */
  stop(): void;
  /** One refresh without waiting; rejects with the bundle source's fault. */
  refresh(): Promise<void>;
  /** For /readyz. */
  readiness(): { readonly ready: boolean; readonly detail: string; readonly bundleVersion?: number };
  /** Zone keys for a renewal role mounted beside the edge; empty without a valid bundle. */
  renewalKeys(): readonly RenewalKey[];
  /** The current keys and revocation list, for roles mounted beside the edge; undefined without a valid bundle. */
  keys(): KeyRing | undefined;
  /** What was fetched of marked assets since the start; the newest assets only. */
  traffic(): readonly EdgeTraffic[];
  /** For health pages and tests. */
  stats(): { readonly cachedBytes: number; readonly cachedObjects: number; readonly arrivingBytes: number; readonly diskBytes: number; readonly rememberedTokens: number };
};

/** Whose answer it is, and whether its connection can be cut. */
type Viewer = { readonly session: SessionId | undefined; readonly cuttable: boolean };

const MEGABYTE = 1024 * 1024;
const NO_LONGER_MARKED = 'the marks of this object were taken out, and its asset is not marked any more';

const plainResponse: ResponseFactory = (body, init) => new Response(body as BodyInit | null, init);
const noKeepAlive: KeepAlive = () => undefined;

const wishOf = (request: Request): Wish => ({
  head: request.method === 'HEAD',
  range: request.headers.get('range'),
  ifRange: request.headers.get('if-range'),
  ifNoneMatch: request.headers.get('if-none-match'),
});

/** An edge without a bundle yet: call `start()`, or `refresh()` where there is no background. */
export const createEdge = (options: EdgeOptions): Edge => {
  const { clock, log, metrics, events, cache = {} } = options;
  const memory = createMemoryTier(cache.memoryBytes ?? 256 * MEGABYTE);
  const disk: DiskTier | undefined = cache.disk && createDiskTier({ store: cache.disk.store, budget: cache.disk.bytes, log });
  const traffic = createVariantTraffic(metrics);
  const objects = createPullThrough({
    origin: createOrigin({ fetch: options.origin, base: options.originBase, authorization: options.originAuthorization }),
    memory,
    disk,
    clock,
    log,
    maxObjectBytes: cache.maxObjectBytes ?? 64 * MEGABYTE,
    maxArrivingBytes: cache.maxArrivingBytes ?? 256 * MEGABYTE,
    idleTimeout: options.originIdleTimeout ?? (20_000 as Millis),
    onFetched: traffic.fetched,
    onOrigin: (outcome, seconds) => {
      metrics.observe('sealcast_edge_origin_seconds', 'Time until the origin began to answer.', seconds, { outcome });
    },
  });
  const switching = createSwitching(objects, createMarkWatch({ metrics, events, clock, policy: options.marking }));
  const authorizer = createAuthorizer({ remembered: options.rememberedTokens ?? 100_000 });
  const responder = createResponder(options.respond ?? plainResponse);
  const renewals = createTokenRenewal();
  const tally = createTally(metrics);
  const sessions = createSessionTraffic();
  const carriers = createCarrierReports(sessions);
  let flushing: (() => void) | undefined;

  const bundle = createBundleLoop({
    source: options.bundle,
    clock,
    random: options.random,
    log,
    traffic: traffic.report,
    carriers,
    onUpdate: (ring: KeyRing, { revokedSessions }: EdgeBundle) => {
      const cut = carriers.ended(revokedSessions);
      if (cut > 0) metrics.count('sealcast_edge_cut_answers_total', 'Answers broken off because their session ended.', {}, cut);
      metrics.gauge('sealcast_edge_bundle_version', 'Version of the bundle in use.', ring.version);
      metrics.gauge('sealcast_edge_revoked_sessions', 'Sessions on the revocation list.', revokedSessions.length);
      events({
        at: clock.now(),
        kind: 'edge.bundle-updated',
        severity: 'info',
        message: `The edge works with bundle ${ring.version} (${revokedSessions.length} sessions revoked).`,
        data: { version: ring.version, revoked: revokedSessions.length },
      });
    },
    onLost: (reason) => {
      events({ at: clock.now(), kind: 'edge.bundle-lost', severity: 'warning', message: 'The edge cannot reach its bundle server.', data: { reason } });
    },
  });

  const counted = (kind: string, source: string, response: Response): Response => {
    tally.answer(kind, response.status, source);
    return response;
  };

  /** From wherever it is; the rarer half of the media path. */
  const fetchObject = async (kind: string, key: string, wish: Wish, keepAlive: KeepAlive, viewer: Viewer, disguise?: Disguise, unboxer?: MakeUnboxer): Promise<Response> => {
    const found = await objects.open(key, keepAlive, unboxer);
    const now = clock.now();
    if (found.kind === 'refused') return counted(kind, 'origin', responder.refusal(found.code, found.detail, now, wish.head));
    if (unboxer === undefined && (found.kind === 'stored' ? found.object.marks : found.marks) !== undefined) return counted(kind, 'origin', responder.refusal('unmarkable', NO_LONGER_MARKED, now, wish.head));
    const { session } = viewer;
    const answer = session === undefined || viewer.cuttable ? found : whileRunning(found, () => bundle.current(clock.now())?.isRevoked(session, clock.now()) !== true);
    if (session !== undefined && !wish.head) countBytes(answer, (bytes) => sessions.sent(session, bytes));
    return counted(kind, answer.source, responder.object(answer, wish, now, disguise));
  };

  /** The answer with another maker's token renewed in it. */
  const withRenewal = async (response: Response | Promise<Response>, renewal: RenewalRequest): Promise<Response> => {
    const [answered, fields] = await Promise.all([response, renewals.fields(renewal)]);
    if (answered.status < 400) for (const [name, value] of fields) answered.headers.append(name, value);
    return answered;
  };

  /** Answers at once what is in memory: a promise per step would be a good part of what a cached segment costs. */
  const answer = (request: Request, keepAlive: KeepAlive, context: EdgeContext | undefined): Response | Promise<Response> => {
    const now = clock.now();
    const { method } = request;
    const refuse = (code: ErrorCode, detail: string): Response => counted('refusal', code, responder.refusal(code, detail, now, method === 'HEAD'));

    if (method === 'OPTIONS') return responder.preflight(now);
    if (method !== 'GET' && method !== 'HEAD') return refuse('method-not-allowed', 'media answers GET, HEAD and OPTIONS');

    const address = parseMediaAddress(request.url);
    if (address === 'pace-info') return refuse('forbidden', 'pace information is for edges only');
    if (address === 'not-found') return refuse('not-found', 'there is no media at this address');
    if (address === 'bad-query') return refuse('bad-request', 'keyformat must be identity; _HLS_msn and _HLS_part must be whole numbers');

    const keys = bundle.current(now);
    if (keys === undefined) return refuse('key-unavailable', 'the edge has no valid bundle');

    const { headers } = request;
    const inAddress = { path: address.pathToken, query: address.query };
    const carried = carriedToken({ ...inAddress, header: headers.get('authorization'), accessToken: headers.get('cta-common-access-token') });

    const serve = (wish: Wish, key: string, viewer: Viewer, disguise?: Disguise, unboxer?: MakeUnboxer): Response | Promise<Response> => {
      const object = objects.peek(key, now);
      // What is in memory with its boxes still in it, or without a viewer to mark it for, takes the longer way.
      if (object === undefined || (object.marks === undefined) !== (unboxer === undefined)) return fetchObject(address.kind, key, wish, keepAlive, viewer, disguise, unboxer);
      if (viewer.session !== undefined && !wish.head) sessions.sent(viewer.session, askedBytes(object.body.length, wish));
      return counted(address.kind, 'memory', responder.object({ kind: 'stored', source: 'memory', object }, wish, now, disguise));
    };
    const answerAs = (decided: Authorization): Response | Promise<Response> => {
      if (!decided.ok) return refuse(decided.code, decided.detail);
      const wish = wishOf(request);
      const { session } = decided.claims;
      if (session !== undefined) sessions.opened(session, context?.address ?? '', headers.get('user-agent') ?? '', context?.open, now);
      const viewer: Viewer = { session, cuttable: context?.open !== undefined };
      const marks = keys.markSwitch(address.asset);
      const switched = marks && switching({ address, claims: decided.claims, marks, range: wish.range, now, keepAlive });
      if (switched === undefined) return serve(wish, address.key, viewer);
      const finish = (found: Switched): Response | Promise<Response> => (found.ok ? serve(wish, found.key, viewer, found.disguise, found.unboxer) : refuse(found.code, found.detail));
      return switched instanceof Promise ? switched.then(finish) : finish(switched);
    };
    const under = (token: string | undefined): Response | Promise<Response> => {
      const judged = (decided: Authorization): Response | Promise<Response> => {
        // A token in an address stays there when it has ended; the one that renewed it came as a cookie.
        const cookie = decided.ok || decided.code !== 'token-expired' ? undefined : cookieToken(headers.get('cookie'));
        if (cookie !== undefined && cookie !== token) return under(cookie);
        const response = answerAs(decided);
        if (!decided.ok || token === undefined || !isRenewalDue(decided.claims, now)) return response;
        return withRenewal(response, { token, claims: decided.claims, keys: keys.tokenKeys, url: request.url, inHeader: token === carried && carriedToken(inAddress) === undefined, now });
      };
      const verdict = authorizer.authorize({ token, asset: address.asset, keys, now, address: () => addressWithoutToken(request.url, address.pathToken, TOKEN_MEMBERS) });
      if (!(verdict instanceof Promise)) return judged(verdict);
      return verdict.then((decided) => {
        // While a signature was checked the session may have been ended.
        const session = decided.ok ? decided.claims.session : undefined;
        return session !== undefined && bundle.current(now)?.isRevoked(session, now) === true ? refuse('session-ended', 'the session of this media token was ended') : judged(decided);
      });
    };
    return under(carried ?? cookieToken(headers.get('cookie')));
  };

  const flushLater = (): void => {
    flushing = clock.after(1000 as Millis, () => {
      tally.flush();
      sessions.sweep(clock.now());
      metrics.gauge('sealcast_edge_cache_bytes', 'Bytes of whole objects in memory.', memory.bytes);
      metrics.gauge('sealcast_edge_arriving_bytes', 'Bytes of objects on their way from the origin.', objects.arriving);
      flushLater();
    });
  };

  return {
    handler: (request, context) => {
      const response = answer(request, context?.waitUntil ?? noKeepAlive, context);
      return response instanceof Promise ? response : Promise.resolve(response);
    },
    start: () => {
      bundle.start();
      if (flushing === undefined) flushLater();
    },
    stop: () => {
      bundle.stop();
      objects.close();
      flushing?.();
      flushing = undefined;
      tally.flush();
    },
    refresh: () => bundle.refresh(),
    readiness: () => {
      const keys = bundle.current(clock.now());
      return keys === undefined ? { ready: false, detail: 'no valid edge bundle' } : { ready: true, detail: `edge bundle ${keys.version}`, bundleVersion: keys.version };
    },
    renewalKeys: () => bundle.current(clock.now())?.renewalKeys() ?? [],
    keys: () => bundle.current(clock.now()),
    traffic: traffic.report,
    stats: () => ({
      cachedBytes: memory.bytes,
      cachedObjects: memory.count,
      arrivingBytes: objects.arriving,
      diskBytes: disk?.bytes ?? 0,
      rememberedTokens: authorizer.size,
    }),
  };
};
