// SPDX-License-Identifier: Apache-2.0
/**
 * Claims of a third-party token for media: access by RFC 9246 or CTA-5007, marking by ETSI TS 104 002, or both in one.
 *
 * One claim set, whether it came as CWT or JWT. What would narrow the right and cannot be checked here (address of the
 * client, place, replay count, proof of possession) makes the token invalid: ignoring it would widen the right.
 * Invariant: what leaves `readAccessClaims` is typed and bounded and expires; signature, issuer and times are the verifier's.
 */
import { type AssetId, isAssetId, isSessionId, type SessionId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { type RenewalClaims, readRenewalClaims } from '#core/token/renewal-claims.ts';
import { readCatUri, readCdniUriContainer, type UriRule } from '#core/token/uri-rules.ts';
import { type ClaimName, type ClaimSource, isUint, readWmClaims, type WmClaims } from '#core/token/wm-claims.ts';

/** What an authorised request may do. */
export type AccessClaims = {
  /** Ours; revocations name it. Absent in other makers' tokens. */
  readonly session?: SessionId;
  /** The only asset it opens; absent: what `uri` allows. */
  readonly asset?: AssetId;
  readonly issuer?: string;
  readonly audience?: readonly string[];
  readonly issuedAt?: Micros;
  readonly expiresAt: Micros;
  readonly notBefore?: Micros;
  /** All have to hold. */
  readonly uri?: readonly UriRule[];
  readonly mark?: WmClaims;
  /** How it wants to be renewed. */
  readonly renewal?: RenewalClaims;
};

const MAX_SECONDS = 2 ** 33;
/** Restrictions that nothing here can check. */
const UNENFORCEABLE: readonly ClaimName[] = ['cnf', 'geohash', 'catpor', 'catnip', 'catalpn', 'cath', 'catgeoiso3166', 'catgeocoord', 'catgeoalt', 'cattpk', 'catdpop', 'catif', 'cdniip'];
/** RFC 9246 claims that a `cdnicrit` may name. */
const UNDERSTOOD = new Set(['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'cdniv', 'cdnicrit', 'cdniuc', 'cdniets', 'cdnistt', 'cdnistd']);

const optionalSeconds = (value: unknown): Micros | 'none' | undefined => (value === undefined ? 'none' : isUint(value, MAX_SECONDS) ? microsFromSeconds(value) : undefined);

const audiences = (value: unknown): readonly string[] | 'none' | undefined => {
  if (value === undefined) return 'none';
  const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
  return list.length >= 1 && list.length <= 16 && list.every((item) => typeof item === 'string' && item.length <= 256) ? (list as string[]) : undefined;
};

const isUnderstood = (crit: unknown): boolean => crit === undefined || (typeof crit === 'string' && crit.split(',').every((name) => UNDERSTOOD.has(name.trim())));

/** Conditions on the address; undefined if any of them is not understood. */
const uriRules = (claim: ClaimSource): readonly UriRule[] | undefined => {
  const cat = claim('catu');
  const cdni = claim('cdniuc');
  const fromCat = cat === undefined ? [] : readCatUri(cat);
  const fromCdni = cdni === undefined ? [] : readCdniUriContainer(cdni);
  return fromCat && fromCdni && [...fromCat, ...fromCdni];
};

/** Media is only ever read. */
const allowsReading = (methods: unknown): boolean => methods === undefined || (Array.isArray(methods) && methods.includes('GET'));

/** The claim set behind `claim`, or undefined if anything in it is missing, mistyped, out of bounds or not enforceable. Never throws. */
export const readAccessClaims = (claim: ClaimSource): AccessClaims | undefined => {
  if (UNENFORCEABLE.some((name) => claim(name) !== undefined)) return undefined;
  const replay = claim('catreplay');
  const version = claim('catv');
  const cdniVersion = claim('cdniv');
  if ((replay !== undefined && replay !== 0) || (version !== undefined && version !== 1) || (cdniVersion !== undefined && cdniVersion !== 1)) return undefined;
  if (!isUnderstood(claim('cdnicrit')) || !allowsReading(claim('catm'))) return undefined;
  const expiry = claim('exp');
  const issuedAt = optionalSeconds(claim('iat'));
  const notBefore = optionalSeconds(claim('nbf'));
  const audience = audiences(claim('aud'));
  const issuer = claim('iss');
  const uri = uriRules(claim);
  const mark = readWmClaims(claim);
  const renewal = readRenewalClaims(claim);
  if (!isUint(expiry, MAX_SECONDS) || issuedAt === undefined || notBefore === undefined || audience === undefined || uri === undefined || mark === undefined || renewal === undefined) return undefined;
  if (issuer !== undefined && !(typeof issuer === 'string' && issuer.length <= 256)) return undefined;
  // TS 104 002: exp and iat shall be present.
  if (mark !== 'none' && issuedAt === 'none') return undefined;
  const expiresAt = microsFromSeconds(expiry);
  if (issuedAt !== 'none' && expiresAt <= issuedAt) return undefined;
  const asset = claim('asset');
  if (asset !== undefined && !(typeof asset === 'string' && isAssetId(asset))) return undefined;
  const subject = claim('sub');
  return {
    expiresAt,
    ...(typeof subject === 'string' && isSessionId(subject) && { session: subject }),
    ...(typeof asset === 'string' && isAssetId(asset) && { asset }),
    ...(typeof issuer === 'string' && { issuer }),
    ...(audience !== 'none' && { audience }),
    ...(issuedAt !== 'none' && { issuedAt }),
    ...(notBefore !== 'none' && { notBefore }),
    ...(uri.length > 0 && { uri }),
    ...(mark !== 'none' && { mark }),
    ...(renewal !== 'none' && { renewal }),
  };
};
