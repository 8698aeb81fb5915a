// SPDX-License-Identifier: Apache-2.0
/**
 * Asks the operator's backend whether a viewer may watch, in place of a signed entitlement.
 *
 * docs/wire/session.md, "Entitlement by callback"; checklist B090, B125. Invariants: a start waits for the backend no longer
 * than its time budget, and not at all while the breaker is open; an answer counts only if it is whole, well-formed and for
 * this very question; the viewer's token is neither logged nor kept, only its hash.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { isSealcastError, SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { ENTITLEMENT_AUDIENCE, type Entitlement, parseEntitlement } from '#core/license/entitlement.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import { type Breaker, BREAKER_DEFAULTS, type BreakerPolicy, closedBreaker, mayCall, outcome, probing } from '#core/policy/breaker.ts';
import type { Micros, Millis } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Clock, EventSink, Fetch, Metrics, Random } from '#ports';

/** Where and how to ask. */
export type EntitlementCallbackOptions = {
  /** https, or http within a private network. */
  readonly url: string;
  /** At least 32 bytes; signs the questions. */
  readonly secret: Uint8Array;
  /** How long a start waits. Default 300 ms. */
  readonly timeout?: Millis;
  readonly breaker?: Partial<BreakerPolicy>;
  readonly fetch: Fetch;
};

/** The decision on one token and asset (undefined: for a device's registration). Throws `entitlement-invalid` for a no, `store-unavailable` for no answer. */
export type EntitlementCallback = (token: string, asset: AssetId | undefined, now: Micros) => Promise<Entitlement>;

const TIMEOUT = 300 as Millis;
const LEAST_SECRET = 32;
const MOST_ANSWER = 16_384;
/** Denials repeated from memory, so that a client that insists costs the backend nothing. */
const DENIAL_LASTS = 10_000_000;
const DENIALS = 10_000;
const LIFETIME_SECONDS = 300;
const REASON = /^[a-z0-9-]{1,64}$/;

/** HMAC-SHA256 over `id.timestamp.body`, base64url: what the header `Sealcast-Signature` carries after `v1=`. */
export const callbackSignature = (secret: Uint8Array, id: string, timestamp: number, body: string): string => encodeBase64url(ladderHash.hmac(secret, encodeUtf8(`${id}.${timestamp}.${body}`)));

const unavailable = (): SealcastError => new SealcastError('store-unavailable', 'the right to watch cannot be confirmed at the moment');
const denied = (reason: string): SealcastError => new SealcastError('entitlement-invalid', 'the operator\'s backend says no', { extra: { reason } });

const readAnswer = async (response: Response): Promise<string> => {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > MOST_ANSWER) throw new SealcastError('store-unavailable', `an answer has at most ${MOST_ANSWER} bytes`);
    parts.push(chunk);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return decodeUtf8(whole);
};

/** Throws `config-invalid` for an unusable address or secret. */
export const createEntitlementCallback = (options: EntitlementCallbackOptions & { readonly clock: Clock; readonly random: Random; readonly events: EventSink; readonly metrics: Metrics }): EntitlementCallback => {
  const { url, secret, timeout = TIMEOUT, fetch, clock, random, events, metrics } = options;
  if (secret.length < LEAST_SECRET) throw new SealcastError('config-invalid', `entitlements.callback: the secret has at least ${LEAST_SECRET} bytes`);
  if (!/^https?:\/\/[^\s]+$/.test(url)) throw new SealcastError('config-invalid', 'entitlements.callback: url must be an http or https address');
  const policy: BreakerPolicy = { ...BREAKER_DEFAULTS, ...options.breaker };
  const denials = new Map<string, { readonly reason: string; readonly until: number }>();
  let breaker: Breaker = closedBreaker;

  const settled = (ok: boolean, cause?: string): void => {
    const before = breaker.mode;
    breaker = outcome(breaker, policy, clock.now(), ok, cause);
    if (breaker.mode === before) return;
    const open = breaker.mode === 'open';
    events({ at: clock.now(), kind: open ? 'entitlements.down' : 'entitlements.up', severity: open ? 'alert' : 'info', message: open ? 'The operator\'s entitlement backend does not answer; new sessions are refused.' : 'The operator\'s entitlement backend answers again.', data: open ? { cause: cause ?? 'unreachable' } : {} });
  };

  /** The backend's answer to this very question, as text. */
  const exchange = async (id: string, body: string, now: Micros): Promise<string> => {
    const controller = new AbortController();
    const timestamp = Math.floor(now / 1_000_000);
    let cancel = (): void => undefined;
    // A backend that drips its answer is as late as one that gives none; and not every transport obeys its signal.
    const late = new Promise<never>((_, reject) => {
      cancel = clock.after(timeout, () => {
        controller.abort();
        reject(new SealcastError('store-unavailable', 'timeout'));
      });
    });
    const asked = async (): Promise<string> => {
      const response = await fetch(new Request(url, {
        method: 'POST', body, redirect: 'manual', signal: controller.signal,
        headers: { 'Content-Type': 'application/json', 'Sealcast-Signature': `t=${timestamp},id=${id},v1=${callbackSignature(secret, id, timestamp, body)}` },
      }));
      if (response.status !== 200) throw new SealcastError('store-unavailable', 'status');
      return readAnswer(response);
    };
    try {
      return await Promise.race([asked(), late]);
    } finally {
      cancel();
    }
  };

  const parse = (text: string, id: string, asset: AssetId | undefined, now: Micros): Entitlement | { readonly reason: string } => {
    const members = membersOf(jsonObject(text, 'callback answer', 'store-unavailable'), 'callback answer', 'store-unavailable', ['id', 'allowed'], ['account', 'reason', 'until', 'terms', 'edge', 'plans']);
    if (members.text('id', { most: 64 }) !== id) throw new SealcastError('store-unavailable', 'callback answer: not to this question');
    const allowed = members.value('allowed');
    if (allowed === false) return { reason: members.optionalText('reason', { most: 64, pattern: REASON }) ?? 'not-entitled' };
    if (allowed !== true) throw new SealcastError('store-unavailable', 'callback answer: allowed must be true or false');
    const seconds = Math.floor(now / 1_000_000);
    const [until, terms, edge, plans] = [members.value('until'), members.value('terms'), members.value('edge'), members.value('plans')];
    return parseEntitlement({ iss: 'callback', aud: ENTITLEMENT_AUDIENCE, sub: members.text('account', { most: 128 }), jti: id, iat: seconds, exp: seconds + LIFETIME_SECONDS, assets: [asset ?? '*'], ...(until !== undefined && { until }), ...(terms !== undefined && { terms }), ...(edge !== undefined && { edge }), ...(plans !== undefined && { plans }) }, now);
  };

  const remember = (key: string, reason: string, now: Micros): void => {
    denials.delete(key);
    denials.set(key, { reason, until: now + DENIAL_LASTS });
    const [oldest] = denials.size > DENIALS ? denials.keys() : [];
    if (oldest !== undefined) denials.delete(oldest);
  };

  return async (token, asset, now) => {
    const key = `${encodeBase64url(ladderHash.sha256(encodeUtf8(token)))} ${asset ?? ''}`;
    const known = denials.get(key);
    if (known !== undefined && known.until > now) throw denied(known.reason);
    if (!mayCall(breaker, policy, now)) throw unavailable();
    breaker = probing(breaker, now);
    const id = encodeBase64url(random.bytes(16));
    let answer: ReturnType<typeof parse>;
    try {
      answer = parse(await exchange(id, JSON.stringify({ id, token, ...(asset !== undefined && { asset }), time: now }), now), id, asset, now);
    } catch (error) {
      // A right that is over is an answer, too.
      if (isSealcastError(error) && error.code === 'entitlement-expired') {
        settled(true);
        throw error;
      }
      const cause = isSealcastError(error) && error.message === 'timeout' ? 'timeout' : isSealcastError(error) ? 'malformed' : 'unreachable';
      metrics.count('sealcast_entitlement_callback_failures_total', 'Questions to the operator\'s backend without a usable answer, by cause.', { cause });
      settled(false, cause);
      throw unavailable();
    }
    settled(true);
    if (!('reason' in answer)) return answer;
    remember(key, answer.reason, now);
    metrics.count('sealcast_entitlement_callback_denials_total', 'Starts that the operator\'s backend denied.', { reason: 'backend' });
    throw denied(answer.reason);
  };
};
