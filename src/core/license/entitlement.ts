// SPDX-License-Identifier: Apache-2.0
/**
 * Entitlement claims: what the operator's backend says an account may watch.
 *
 * docs/wire/session.md, "Entitlement" (a JWT, RFC 7519). Invariant: claims parsed here are well-formed and within their
 * limits; signature, type and single use are checked by the licence server.
 */
import { SealcastError } from '#core/errors.ts';
import { type AccountId, accountId, type AssetId, isAssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { membersOf } from './shape.ts';

/** Claims of a parsed entitlement; its signature is the verifier's business. */
export type Entitlement = {
  readonly issuer: string;
  readonly account: AccountId;
  /** Single use, per issuer. */
  readonly jti: string;
  readonly expiresAt: Micros;
  /** Assets it covers. */
  readonly covers: (asset: AssetId) => boolean;
  /** How long the session may be re-licensed. */
  readonly until: Micros;
  /** ms; tightens the service's terms. */
  readonly terms: { readonly interval?: number; readonly duration?: number };
  /** The `plans` claim as it came; docs/wire/subscription.md says what it holds. */
  readonly plans?: unknown;
  /** Edge that the operator's backend sends the viewer to; only prefix delivery of marked events looks at it. */
  readonly edge?: string;
};

/** The JOSE `typ` of entitlements. */
export const ENTITLEMENT_TYPE = 'entitlement+jwt';
/** The `aud` that backends must name. */
export const ENTITLEMENT_AUDIENCE = 'sealcast';
/** An entitlement is a ticket for now, not a subscription. */
const MAX_LIFETIME = 300;
const DEFAULT_SESSION_SECONDS = 12 * 3600;
/** Clocks of backends differ from ours. */
const CLOCK_SKEW = 60;
const LATEST_SECOND = 2 ** 42;
const MAX_ASSETS = 1000;

const invalid = (rule: string): SealcastError => new SealcastError('entitlement-invalid', `entitlement: ${rule}`);

/**
 * Claims of an entitlement payload at `now`. Throws `entitlement-invalid`, or `entitlement-expired` if only its time is over.
 * Unknown claims are ignored: backends carry their own.
 */
export const parseEntitlement = (payload: unknown, now: Micros): Entitlement => {
  const claims = membersOf(payload, 'entitlement', 'entitlement-invalid', ['iss', 'aud', 'sub', 'jti', 'iat', 'exp'], ['asset', 'assets', 'until', 'terms', 'edge', 'plans'], true);
  const issuer = claims.text('iss', { most: 256 });
  const audience = claims.value('aud');
  if (audience !== ENTITLEMENT_AUDIENCE && !(Array.isArray(audience) && audience.includes(ENTITLEMENT_AUDIENCE))) throw invalid(`aud must be "${ENTITLEMENT_AUDIENCE}"`);
  const issued = claims.integer('iat', 0, LATEST_SECOND);
  const expires = claims.integer('exp', 0, LATEST_SECOND);
  if (expires <= issued || expires - issued > MAX_LIFETIME) throw invalid(`exp must be at most ${MAX_LIFETIME} s after iat`);
  const seconds = now / 1_000_000;
  if (issued > seconds + CLOCK_SKEW) throw invalid('iat lies in the future');
  if (expires <= seconds) throw new SealcastError('entitlement-expired', 'the entitlement has expired');
  const until = claims.optionalInteger('until', 0, LATEST_SECOND) ?? Math.floor(seconds) + DEFAULT_SESSION_SECONDS;
  const edge = claims.optionalText('edge', { most: 64 });
  const plans = claims.value('plans');
  if (until <= seconds) throw new SealcastError('entitlement-expired', 'the entitlement ended (until)');
  return {
    issuer,
    account: account(claims.text('sub', { most: 128 })),
    jti: claims.text('jti', { most: 128 }),
    expiresAt: (expires * 1_000_000) as Micros,
    covers: coverage(claims.value('asset'), claims.value('assets'), plans !== undefined),
    until: (until * 1_000_000) as Micros,
    terms: parseTerms(claims.value('terms')),
    ...(edge !== undefined && { edge }),
    ...(plans !== undefined && { plans }),
  };
};

const account = (text: string): AccountId => {
  try {
    return accountId(text);
  } catch {
    throw invalid('sub must be an account id of 1-128 visible ASCII characters');
  }
};

/** An entitlement to plans alone starts no session. */
const coverage = (asset: unknown, assets: unknown, plans: boolean): ((asset: AssetId) => boolean) => {
  if (plans && asset === undefined && assets === undefined) return () => false;
  if ((asset === undefined) === (assets === undefined)) throw invalid('exactly one of asset and assets must be there');
  const names: readonly unknown[] = asset !== undefined ? [asset] : Array.isArray(assets) ? (assets as readonly unknown[]) : [];
  if (names.length === 0 || names.length > MAX_ASSETS || !names.every((name) => typeof name === 'string' && (isAssetId(name) || (name === '*' && asset === undefined)))) throw invalid(`asset must be an asset id, assets a list of 1-${MAX_ASSETS} of them or "*"`);
  const set = new Set(names as readonly string[]);
  return (wanted) => set.has(wanted) || set.has('*');
};

const parseTerms = (value: unknown): Entitlement['terms'] => {
  if (value === undefined) return {};
  const terms = membersOf(value, 'entitlement terms', 'entitlement-invalid', [], ['interval', 'duration']);
  const interval = terms.optionalInteger('interval', 1, 7 * 24 * 3600);
  const duration = terms.optionalInteger('duration', 1, 7 * 24 * 3600);
  return { ...(interval !== undefined && { interval: interval * 1000 }), ...(duration !== undefined && { duration: duration * 1000 }) };
};
