// SPDX-License-Identifier: Apache-2.0
/**
 * The demo's stand-in for an operator's backend: lists what there is and signs entitlements for anybody who asks.
 *
 * docs/wire/session.md, "Entitlement". Exists in `sealcast demo` only; `up` has no such route.
 * Invariant: its key is made at first start and sealed in the data folder like every other secret.
 */
import { importJWK, type JWK, SignJWT } from 'jose';
import { SealcastError, problemOf } from '#core/errors.ts';
import { type AccountId, accountId, type AssetId, assetId } from '#core/ids.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import type { CatalogueStore, Clock, Random } from '#ports';

/** A backend that entitles everybody. */
export type DemoIssuer = {
  readonly kid: string;
  readonly publicJwk: JWK;
  /** A five-minute, single-use entitlement. */
  issue(account: AccountId, asset: AssetId | '*'): Promise<string>;
  /** The same for subscriptions: `plans` of docs/wire/subscription.md, as a backend that was paid would name them. */
  sell(account: AccountId, plans: readonly object[]): Promise<string>;
  /** `GET /v1/demo/catalogue`, `POST /v1/demo/entitlement`. */
  handler(request: Request): Promise<Response>;
};

const LARGEST_BODY = 1024;

const json = (body: unknown, status = 200): Response =>
  new Response(JSON.stringify(body), {
    status,
    headers: { 'Content-Type': status < 400 ? 'application/json' : 'application/problem+json', 'Cache-Control': 'no-store', 'Access-Control-Allow-Origin': '*', 'Access-Control-Allow-Headers': 'Content-Type' },
  });

/** Makes the issuer from its own key pair. */
export const createDemoIssuer = (options: { kid: string; pair: { privateJwk: JWK; publicJwk: JWK }; catalogue: CatalogueStore; clock: Clock; random: Random }): DemoIssuer => {
  const { kid, pair, catalogue, clock, random } = options;

  const sign = async (account: AccountId, claims: Record<string, unknown>): Promise<string> => {
    const iat = Math.floor(clock.now() / 1_000_000);
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', typ: 'entitlement+jwt', kid })
      .setIssuer('sealcast-demo')
      .setAudience('sealcast')
      .setSubject(account)
      .setJti(encodeBase64url(random.bytes(16)))
      .setIssuedAt(iat)
      .setExpirationTime(iat + 300)
      .sign(await importJWK(pair.privateJwk, 'ES256'));
  };

  const issue: DemoIssuer['issue'] = (account, asset) => sign(account, { assets: [asset] });

  const entitle = async (request: Request): Promise<Response> => {
    const text = await request.text();
    if (text.length > LARGEST_BODY) throw new SealcastError('payload-too-large', `the body has at most ${LARGEST_BODY} characters`);
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      throw new SealcastError('bad-request', 'the body must be JSON');
    }
    const { asset, account } = (typeof body === 'object' && body !== null ? body : {}) as { asset?: unknown; account?: unknown };
    return json({ entitlement: await issue(accountId(account), assetId(asset)) });
  };

  return {
    kid,
    publicJwk: pair.publicJwk,
    issue,
    sell: (account, plans) => sign(account, { plans }),
    async handler(request) {
      try {
        const { pathname } = new URL(request.url);
        if (request.method === 'OPTIONS') return json({});
        if (pathname === '/v1/demo/catalogue' && request.method === 'GET') {
          const entries = await catalogue.list();
          return json(entries.filter((entry) => entry.state === 'live' || entry.state === 'ready' || entry.state === 'created').map(({ asset, kind, name, state, timed }) => ({ asset, kind, name, state, ...(timed !== undefined && { timed: timed.mode }) })));
        }
        if (pathname === '/v1/demo/entitlement' && request.method === 'POST') return await entitle(request);
        throw new SealcastError('not-found', 'no such demo endpoint');
      } catch (error) {
        const problem = problemOf(error);
        return json(problem, problem.status);
      }
    },
  };
};
