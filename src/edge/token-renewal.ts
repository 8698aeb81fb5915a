// SPDX-License-Identifier: Apache-2.0
/**
 * Renews other makers' tokens in answers, where they ask for it: a cookie or a header field with the same token until later.
 *
 * docs/wire/media.md, "Other makers' tokens". Invariant: only a token that has just been accepted is renewed, revocation
 * included; a token is made anew at most once in five seconds, however many requests carry it.
 */
import type { Micros } from '#core/time.ts';
import type { RenewalClaims } from '#core/token/renewal-claims.ts';
import { renewAccessToken } from '#crypto/renew-token.ts';
import type { TokenKeys } from '#crypto/token-keys.ts';
import type { Granted } from '#edge/granted.ts';

/** An accepted token and the request it came with. */
export type RenewalRequest = { readonly token: string; readonly claims: Granted; readonly keys: TokenKeys; readonly url: string; /** Whether it came in a header field. */ readonly inHeader: boolean; readonly now: Micros };

/** Makes the fields. */
export type TokenRenewal = {
  /** Fields to add to the answer; empty where there is nothing to renew yet. */
  fields(request: RenewalRequest): Promise<readonly (readonly [name: string, value: string])[]>;
};

/** Whether an accepted token asks for renewal by now. */
export const isRenewalDue = ({ renewal, expiresAt }: Granted, now: Micros): boolean => renewal !== undefined && expiresAt - now <= renewal.window * 1_000_000;

const KEPT = 1000;
const AGAIN = 5_000_000;

const cookie = (value: string, { cookieName, lifetime, cookieAttributes, pathDepth }: RenewalClaims, url: string): string => {
  const { protocol, pathname } = new URL(url);
  const path = pathDepth === 0 ? '/' : pathname.split('/').slice(0, pathDepth + 1).join('/');
  // Without https a browser takes no `SameSite=None`; then only pages of the same site play.
  const attributes = cookieAttributes ?? ['HttpOnly', ...(protocol === 'https:' ? ['Secure', 'SameSite=None'] : ['SameSite=Lax'])];
  return [`${cookieName}=${value}`, `Path=${path}`, `Max-Age=${lifetime}`, ...attributes].join('; ');
};

/** Remembers the newest thousand renewals for a moment. */
export const createTokenRenewal = (): TokenRenewal => {
  const made = new Map<string, { readonly at: Micros; readonly value: Promise<string | undefined> }>();
  return {
    async fields({ token, claims, keys, url, inHeader, now }) {
      const { renewal } = claims;
      if (renewal === undefined || !isRenewalDue(claims, now)) return [];
      let known = made.get(token);
      if (known === undefined || now - known.at > AGAIN) {
        known = { at: now, value: renewAccessToken(token, Math.floor(now / 1_000_000) + renewal.lifetime, keys) };
        made.delete(token);
        made.set(token, known);
        const [oldest] = made.size > KEPT ? made.keys() : [];
        if (oldest !== undefined) made.delete(oldest);
      }
      const value = await known.value;
      if (value === undefined) return [];
      return renewal.by === 'header' || (renewal.by === 'same' && inHeader) ? [[renewal.headerName, value]] : [['set-cookie', cookie(value, renewal, url)]];
    },
  };
};
