// SPDX-License-Identifier: Apache-2.0
/**
 * The edge in workerd: `export default { fetch }`, wired from environment bindings.
 *
 * docs/wire/edge-bundle.md. A worker has no background: each request that finds the bundle older than a second asks for
 * the next one after answering, so revocations arrive within a second plus one round trip while there is traffic.
 * Invariant: secrets come from bindings and bundles and stay in the isolate's memory; zone keys are never asked for here.
 */
import { noMetrics, workerClock, workerLog, workerRandom, workerResponse } from '#adapters/workers/runtime.ts';
import { SealcastError } from '#core/errors.ts';
import { createBundleClient } from '#edge/bundle-client.ts';
import { createEdge, type Edge } from '#edge/edge.ts';

/** Bindings: plain text for addresses and names, secrets for the keys. */
export type WorkerEdgeEnv = {
  /** URL before `/{asset}/{file}` at the origin, e.g. `https://packager.example/origin`. */
  readonly ORIGIN_URL: string;
  /** Value of the Authorization field of origin requests, where the origin wants one. */
  readonly ORIGIN_AUTHORIZATION?: string;
  /** Origin of the licence server, e.g. `https://license.example`. */
  readonly BUNDLE_URL: string;
  /** Name this edge is enrolled under. */
  readonly EDGE_ID: string;
  /** Private JWK (ECDSA P-256) as JSON. */
  readonly EDGE_SIGN_KEY: string;
  /** Private JWK (ECDH P-256) as JSON. */
  readonly EDGE_AGREE_KEY: string;
  /** `refuse`: segments whose coding has no places for marks are not served. Default `serve`. */
  readonly WITHOUT_MARK_PLACES?: string;
  /** `serve`: segments that cannot be marked are served unmarked and reported. Default `refuse`. */
  readonly UNMARKABLE?: string;
  /** Memory budget of the cache in MB; an isolate has 128 in all. Default 48. */
  readonly CACHE_MEGABYTES?: string;
};

type WorkerContext = { waitUntil(work: Promise<unknown>): void };

const MEGABYTE = 1024 * 1024;
const REFRESH_MILLIS = 1000;

const jwk = (name: string, text: string | undefined): Record<string, string> => {
  try {
    return JSON.parse(text ?? '') as Record<string, string>;
  } catch {
    throw new SealcastError('config-invalid', `${name} must be a private JWK as JSON`);
  }
};

const createWorkerEdge = (env: WorkerEdgeEnv): Edge => {
  const megabytes = Number(env.CACHE_MEGABYTES ?? '48');
  if (!Number.isInteger(megabytes) || megabytes < 0) throw new SealcastError('config-invalid', 'CACHE_MEGABYTES must be a whole number');
  // Called as a method of something else, workerd's fetch refuses.
  const outward = (request: Request): Promise<Response> => fetch(request);
  return createEdge({
    origin: outward,
    originBase: env.ORIGIN_URL,
    ...(env.ORIGIN_AUTHORIZATION !== undefined && { originAuthorization: env.ORIGIN_AUTHORIZATION }),
    bundle: createBundleClient({
      server: env.BUNDLE_URL,
      edge: env.EDGE_ID,
      signKey: jwk('EDGE_SIGN_KEY', env.EDGE_SIGN_KEY),
      agreeKey: jwk('EDGE_AGREE_KEY', env.EDGE_AGREE_KEY),
      fetch: outward,
      clock: workerClock,
      random: workerRandom,
    }),
    clock: workerClock,
    random: workerRandom,
    log: workerLog,
    metrics: noMetrics,
    events: ({ severity, message }) => (severity === 'info' ? workerLog.info(message) : workerLog.warn(message)),
    marking: { noSites: env.WITHOUT_MARK_PLACES === 'refuse' ? 'refuse' : 'serve', unmarkable: env.UNMARKABLE === 'serve' ? 'serve' : 'refuse' },
    cache: { memoryBytes: megabytes * MEGABYTE, maxObjectBytes: 16 * MEGABYTE, maxArrivingBytes: 32 * MEGABYTE },
    rememberedTokens: 10_000,
    respond: workerResponse,
  });
};

/** The module's state is the isolate's: one edge, made at the first request because bindings come with requests. */
let edge: Edge | undefined;
let askedAt = -REFRESH_MILLIS;

const refresh = (current: Edge): Promise<void> => {
  askedAt = workerClock.monotonic();
  return current.refresh().catch((cause: unknown) => workerLog.warn('edge bundle not refreshed', { reason: cause instanceof Error ? cause.message : String(cause) }));
};

export default {
  async fetch(request: Request, env: WorkerEdgeEnv, context: WorkerContext): Promise<Response> {
    edge ??= createWorkerEdge(env);
    if (!edge.readiness().ready) await refresh(edge);
    else if (workerClock.monotonic() - askedAt >= REFRESH_MILLIS) context.waitUntil(refresh(edge));
    return edge.handler(request, { waitUntil: (work) => context.waitUntil(work), address: request.headers.get('cf-connecting-ip') ?? '' });
  },
};
