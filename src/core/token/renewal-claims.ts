// SPDX-License-Identifier: Apache-2.0
/**
 * How a third-party token wants to be renewed by the edge: `catr` of CTA-5007, `cdniets` and `cdnistt` of RFC 9246.
 *
 * The new expiry is now plus the lifetime, not the old expiry plus it: a client cannot stack renewals. A token is renewed
 * when less than `window` of it is left, by default half a lifetime, so that not every request makes a new token.
 * Invariant: names and parameters that reach a header field are made of characters that cannot end it.
 */
import type { ClaimSource } from '#core/token/wm-claims.ts';
import { isUint } from '#core/token/wm-claims.ts';

/** What an edge does with a token that is about to end. */
export type RenewalClaims = {
  /** Seconds from the renewal to the new expiry. */
  readonly lifetime: number;
  /** Renewed when at most so many seconds are left. */
  readonly window: number;
  /** `same`: the way it came; from an address it goes into a cookie. */
  readonly by: 'same' | 'cookie' | 'header';
  readonly cookieName: string;
  readonly headerName: string;
  /** Attributes in place of ours, e.g. `Secure`, `Domain=example.com`. */
  readonly cookieAttributes?: readonly string[];
  /** Leading path segments the cookie is for; 0 is all of the host. */
  readonly pathDepth: number;
};

const CAT = 'CTA-Common-Access-Token';
const CDNI = 'URISigningPackage';
const MAX_LIFETIME = 2 ** 31;
const NAME = /^[A-Za-z0-9_-]{1,64}$/;
/** A token must not name a field that the answer itself needs. */
const FIELD = /^(?:cta-common-access-token|x-[a-z0-9-]{1,60})$/i;
const ATTRIBUTE = /^[\x21-\x3a\x3c-\x7e]{1,128}$/;
const SAME = 0;
const COOKIE = 1;
const HEADER = 2;
/** Renewal by redirection: such tokens are good until they end, and not renewed here. */
const REDIRECT = 3;
const MAX_ATTRIBUTES = 8;

const catRenewal = (claim: unknown): RenewalClaims | 'none' | undefined => {
  if (!(claim instanceof Map)) return undefined;
  const map = claim as Map<unknown, unknown>;
  const [type, lifetime, deadline, cookie = CAT, header = CAT, attributes] = [0, 1, 2, 3, 4, 5].map((key) => map.get(key));
  if (!isUint(type, REDIRECT) || !isUint(lifetime, MAX_LIFETIME) || lifetime === 0 || (deadline !== undefined && !isUint(deadline, MAX_LIFETIME))) return undefined;
  if (typeof cookie !== 'string' || !NAME.test(cookie) || typeof header !== 'string' || !FIELD.test(header)) return undefined;
  if (attributes !== undefined && !(Array.isArray(attributes) && attributes.length <= MAX_ATTRIBUTES && attributes.every((item) => typeof item === 'string' && ATTRIBUTE.test(item)))) return undefined;
  if (type === REDIRECT) return 'none';
  return {
    lifetime,
    window: deadline ?? lifetime / 2,
    by: type === SAME ? 'same' : type === COOKIE ? 'cookie' : 'header',
    cookieName: cookie,
    headerName: header,
    ...(attributes !== undefined && { cookieAttributes: attributes as readonly string[] }),
    pathDepth: 0,
  };
};

/** The renewal a claim set asks for, `none`, or undefined if its claims are malformed. CBOR maps do not occur in JWTs, so `catr` does not either. */
export const readRenewalClaims = (claim: ClaimSource): RenewalClaims | 'none' | undefined => {
  const catr = claim('catr');
  const [lifetime, transport, depth] = [claim('cdniets'), claim('cdnistt'), claim('cdnistd')];
  if (lifetime !== undefined && !(isUint(lifetime, MAX_LIFETIME) && lifetime > 0)) return undefined;
  if ((transport !== undefined && !(isUint(transport, HEADER) && transport > 0 && lifetime !== undefined)) || (depth !== undefined && !isUint(depth, 32))) return undefined;
  if (catr !== undefined) return catRenewal(catr);
  // 2 is the query string: nothing but the one who made the address can put it there.
  if (transport !== COOKIE || !isUint(lifetime)) return 'none';
  return { lifetime, window: lifetime / 2, by: 'cookie', cookieName: CDNI, headerName: CAT, pathDepth: isUint(depth) ? depth : 0 };
};
