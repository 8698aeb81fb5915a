// SPDX-License-Identifier: Apache-2.0
/**
 * The licence server's routes: path and method to the step that answers it.
 *
 * docs/wire/session.md, docs/wire/edge-bundle.md. Invariant: every public answer, problems included, carries the CORS headers;
 * the edge bundle's carry none.
 */
import { problemOf, SealcastError } from '#core/errors.ts';
import { assetId } from '#core/ids.ts';
import type { Entitlement } from '#core/license/entitlement.ts';
import { membersOf } from '#core/license/shape.ts';
import type { Clock, Log, Metrics, Random, ResponseFactory } from '#ports';
import type { Bundles } from './bundle.ts';
import type { ClearKey } from './clear-key.ts';
import type { Endings } from './end-session.ts';
import type { Entitlements } from './entitlements.ts';
import type { LicenseAnswer } from './grant-license.ts';
import type { DownloadAnswer } from './downloads.ts';
import type { LeavesAnswer } from './leaves.ts';
import type { RootsAnswer } from './roots.ts';
import { createJsonAnswers, platformResponse, preflight, problem, PUBLIC_HEADERS, readJson } from './http.ts';
import { makeNonce } from './nonce.ts';
import type { Registration } from './register-device.ts';
import type { ServerSecrets } from './server-secrets.ts';
import type { SignedTime } from './signed-time.ts';
import type { Claim, StartSession } from './start-session.ts';
import { MAX_USAGE_REPORT, type UsageAnswer } from './usage.ts';

/** Bytes of a body. A start holds an entitlement (8 KiB), a proof and two keys. */
const BODY_LIMIT = 32 * 1024;
const BATCH_BODY_LIMIT = 1024 * 1024;
const BATCH_ITEMS = 64;
/** 10,000 asset ids of at most 40 characters, and a root. */
const LEAVES_BODY_LIMIT: number = 512 * 1024;

/** The steps that the routes lead to. */
export type RouteOptions = {
  readonly secrets: ServerSecrets;
  readonly entitlements: Entitlements;
  readonly start: StartSession;
  readonly relicense: (body: unknown) => Promise<LicenseAnswer>;
  readonly register: (body: unknown) => Promise<Registration>;
  readonly endings: Endings;
  /** Absent: nothing is sold by subscription here. */
  readonly subscriptions?: { readonly roots: (body: unknown) => Promise<RootsAnswer>; readonly leaves: (body: unknown) => Promise<LeavesAnswer>; readonly usage: (body: unknown) => Promise<UsageAnswer>; readonly downloads: (body: unknown) => Promise<DownloadAnswer> } | undefined;
  readonly signedTime: (nonce: string) => Promise<SignedTime>;
  readonly clearKey: ClearKey;
  readonly bundles: Bundles;
  /** Too busy for new sessions; running ones come first. */
  readonly sheds: () => boolean;
  /** Whether the clock may date what is answered. */
  readonly trusted: () => boolean;
  /** Starts worked on at the same time. */
  readonly startsAtOnce: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly respond?: ResponseFactory;
  readonly log: Log;
  readonly metrics: Metrics;
};

type Route = (request: Request, url: URL, id: string) => Promise<Response>;

const ENTRY_KEY = /^\/v1\/events\/([^/]+)\/entry-key$/;
const BUNDLE = /^\/v1\/edges\/([A-Za-z0-9._-]{1,64})\/bundle$/;

/** Never rejects: faults become problem documents. */
export const createRoutes = (options: RouteOptions): ((request: Request) => Promise<Response>) => {
  const { secrets, entitlements, start, relicense, register, endings, subscriptions, clearKey, bundles, sheds, trusted, startsAtOnce, clock, random, log, metrics } = options;
  const json = createJsonAnswers(options.respond ?? platformResponse);

  let starting = 0;
  /** New sessions wait for nobody and make nobody wait: beyond what is worked on already they are turned away, before anything is read. */
  const unlessOverloaded = async <T>(work: () => Promise<T>): Promise<T> => {
    if (sheds() || starting >= startsAtOnce) {
      metrics.count('sealcast_sessions_turned_away_total', 'New sessions turned away, unread, because the server was overloaded.');
      throw new SealcastError('overloaded', 'new sessions are turned away until the load falls');
    }
    starting += 1;
    try {
      return await work();
    } finally {
      starting -= 1;
    }
  };

  /** One entitlement may start all items of a batch it covers; it is used up once. */
  const sharedClaim = (): Claim => {
    const claimed = new Map<string, Promise<void>>();
    return (entitlement: Entitlement, now) => {
      const id = JSON.stringify([entitlement.issuer, entitlement.jti]);
      const claim = claimed.get(id) ?? entitlements.claim(entitlement, now);
      claimed.set(id, claim);
      return claim;
    };
  };

  const batch: Route = async (request) => {
    const items = membersOf(await readJson(request, BATCH_BODY_LIMIT), 'body', 'bad-request', ['items']).list('items', BATCH_ITEMS);
    if (items.length === 0) throw new SealcastError('bad-request', 'items must hold at least one session start');
    const claim = sharedClaim();
    const answers = await Promise.all(
      items.map(async (item, index) => {
        try {
          return { status: 201, ...(await start(item, claim, index > 0)) };
        } catch (error) {
          const refusal = problemOf(error);
          if (refusal.code === 'internal') log.error('a batch item failed', { error: error instanceof Error ? error.name : typeof error });
          return refusal;
        }
      }),
    );
    return json({ items: answers });
  };

  const table: Readonly<Record<string, Readonly<Record<string, Route>>>> = {
    '/v1/sessions': {
      GET: async () => json({ nonce: makeNonce(secrets.nonceKey, random, clock.now()), time: clock.now() }),
      POST: async (request) => {
        return unlessOverloaded(async () => json(await start(await readJson(request, BODY_LIMIT)), 201));
      },
    },
    '/v1/licenses': { POST: async (request) => json(await relicense(await readJson(request, BODY_LIMIT)), 201) },
    '/v1/licenses/batch': { POST: (request, url, id) => unlessOverloaded(() => batch(request, url, id)) },
    '/v1/licenses/keys': {
      GET: async () => json({ keys: [{ ...secrets.signingJwk, kid: secrets.kid, alg: 'ES256', use: 'sig' }] }, 200, { 'Cache-Control': 'public, max-age=300' }),
    },
    '/v1/devices': {
      POST: async (request) => {
        const { device, created } = await register(await readJson(request, BODY_LIMIT));
        return json({ device }, created ? 201 : 200);
      },
    },
    ...(subscriptions !== undefined && {
      '/v1/roots': { POST: async (request: Request) => unlessOverloaded(async () => json(await subscriptions.roots(await readJson(request, BODY_LIMIT)), 201)) },
      '/v1/leaves': { POST: async (request: Request) => json(await subscriptions.leaves(await readJson(request, LEAVES_BODY_LIMIT))) },
      '/v1/downloads': { POST: async (request: Request) => json(await subscriptions.downloads(await readJson(request, BODY_LIMIT))) },
      '/v1/usage': { POST: async (request: Request) => json(await subscriptions.usage(await readJson(request, MAX_USAGE_REPORT + 1024))) },
    }),
    '/v1/time': { GET: async (_request, url) => json(await options.signedTime(url.searchParams.get('nonce') ?? '')) },
    '/v1/stop': { POST: async (request) => json(await endings.stop(await readJson(request, BODY_LIMIT))) },
    '/v1/clearkey': {
      POST: async (request, url) => json(await clearKey.answer(assetId(url.searchParams.get('asset')), url.searchParams.get('token') ?? undefined, await readJson(request, 64 * 1024))),
    },
  };
  const entryKey: Route = async (_request, _url, id) =>
    new Response((await clearKey.entryKey(assetId(id))) as BodyInit, { headers: { 'Content-Type': 'application/octet-stream', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' } });
  const bundle: Route = async (request, _url, id) => {
    const jwe = await bundles.answer(id, request);
    return jwe === undefined ? new Response(null, { status: 204 }) : new Response(jwe, { headers: { 'Content-Type': 'application/jose', 'Cache-Control': 'no-store' } });
  };

  const find = (path: string): { methods: Readonly<Record<string, Route>>; id: string; open: boolean } | undefined => {
    const fixed = Object.hasOwn(table, path) ? table[path] : undefined;
    if (fixed !== undefined) return { methods: fixed, id: '', open: true };
    const event = ENTRY_KEY.exec(path)?.[1];
    if (event !== undefined) return { methods: { GET: entryKey }, id: event, open: true };
    const edge = BUNDLE.exec(path)?.[1];
    return edge === undefined ? undefined : { methods: { GET: bundle }, id: edge, open: false };
  };

  const answer = async (request: Request, url: URL, found: ReturnType<typeof find>): Promise<Response> => {
    try {
      if (found === undefined) throw new SealcastError('not-found', 'no such route of the licence server');
      // A wrong clock would date licences, ends and bundles wrongly: another server answers (facts 4.9, fault 6).
      if (!trusted()) throw new SealcastError('clock-untrusted', 'this server waits until its clock is settled; ask another one');
      const route = found.methods[request.method];
      if (route === undefined) throw new SealcastError('method-not-allowed', `this route takes ${Object.keys(found.methods).join(' and ')}`);
      return await route(request, url, found.id);
    } catch (error) {
      return problem(error, log);
    }
  };

  return async (request) => {
    const url = new URL(request.url);
    const found = find(url.pathname);
    if (request.method === 'OPTIONS' && found?.open === true) return preflight();
    const response = await answer(request, url, found);
    if (found?.open !== false) for (const [name, value] of Object.entries(PUBLIC_HEADERS)) response.headers.set(name, value);
    return response;
  };
};
