// SPDX-License-Identifier: Apache-2.0
/**
 * A licence and renewal service of one asset and one account, built from docs/wire alone, with knobs that make it misbehave.
 *
 * Unit tests of the client use it where they need a server to lie, to die or to deny; the interop tests run against the real roles.
 */
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeBase64url, encodeBase64url } from '#core/bytes/base64url.ts';
import { assetId, deviceId } from '#core/ids.ts';
import type { KeyGroup, KeyId, ProtectionScheme, SessionId } from '#core/ids.ts';
import { accountHash, contentKey, grantKey, keyIdOf, renewalKey, sessionKey, stateKey, zoneKey } from '#core/keys/ladder.ts';
import { openNodes, unlockKeys } from '#core/keys/unlock.ts';
import { encodeLicenseClaims, encodeSealedLicense } from '#core/license/license-claims.ts';
import { anchorMove } from '#core/license/anchor-move.ts';
import { openedRange } from '#core/license/opened-range.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import type { Reason } from '#core/license/reasons.ts';
import { type RenewalAct, decodeRequest, encodeAnswer } from '#core/license/renewal-message.ts';
import { type RenewalState, encodeState, encodeStateBody, stateMac } from '#core/license/renewal-state.ts';
import { makeSessionId, sessionIdBytes } from '#core/license/session-id.ts';
import { groupAt, groupLength, micros } from '#core/time.ts';
import type { CryptoPeriod, GrantGroup, KeySchedule, Micros } from '#core/time.ts';
import { importVerifyKey, makeKeyPair, sealTo, signJws, importSigningKey, thumbprint, verifyJws } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import type { Clock } from '#ports';

export type FakeServiceOptions = {
  readonly clock: Clock;
  readonly kind?: 'event' | 'title';
  readonly scheme?: ProtectionScheme;
  readonly schedule?: KeySchedule;
  /** ms. */
  readonly interval?: number;
  readonly duration?: number;
  /** Groups a licence covers. */
  readonly horizonGroups?: number;
};

export type FakeService = {
  readonly fetch: (request: Request) => Promise<Response>;
  /** Answers a request before the service does; undefined lets it pass. Change it at any time. */
  intercept: (request: Request) => Promise<Response | undefined> | Response | undefined;
  /** What renewals grant next, ms. */
  terms: { interval: number; duration: number };
  /** Where clients are told to renew. */
  renewUrls: readonly string[];
  /** What renewals say next. */
  verdict: { act: RenewalAct; reason: Reason };
  /** Edits a licence before it is signed. */
  tamper: { claims?: (claims: Record<string, unknown>) => Record<string, unknown>; typ?: 'license+jwt' | 'stop+jwt' };
  readonly seen: { readonly path: string; readonly url: string; readonly body: Uint8Array }[];
  readonly asset: string;
  readonly schedule: KeySchedule;
  /** The true content key of a period. */
  truth(period: number, keyGroup: KeyGroup): { kid: KeyId; key: Uint8Array };
  issued: number;
};

const aesKw = async (kek: Uint8Array, key: Uint8Array): Promise<Uint8Array> => {
  const wrapping = await crypto.subtle.importKey('raw', kek as BufferSource, 'AES-KW', false, ['wrapKey']);
  const wrapped = await crypto.subtle.importKey('raw', key as BufferSource, { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
  return new Uint8Array(await crypto.subtle.wrapKey('raw', wrapped, wrapping, 'AES-KW'));
};

export const problem = (status: number, code: string, extra: object = {}): Response =>
  new Response(JSON.stringify({ type: `urn:sealcast:problem:${code}`, title: 'no', status, detail: 'no', code, retry: 'never', ...extra }), { status, headers: { 'content-type': 'application/problem+json' } });
const json = (body: unknown, status = 200): Response => new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });

export const createFakeService = async (options: FakeServiceOptions): Promise<FakeService> => {
  const { clock, kind = 'event', scheme = 'cenc', interval = 6000, duration = 10_000, horizonGroups = 100 } = options;
  const schedule = options.schedule ?? { period: micros(2_000_000), periodsPerGroup: 3 };
  const asset = assetId('match-1');
  const gen = 1;
  const random = (length: number): Uint8Array => crypto.getRandomValues(new Uint8Array(length));
  const [titleKey, masterSecret, salt, entryKid] = [random(32), random(32), random(16), random(16) as KeyId];
  const zone = zoneKey(ladderHash, masterSecret, 'core');
  const signer = await makeKeyPair('sign');
  const signingKey = await importSigningKey(signer.privateJwk);
  const binding = { asset, mode: 'untimed', scheme, gen } as const;
  const devices = new Map<SessionId, { sign: PublicJwk; agree: PublicJwk }>();
  const nonces = new Set<string>();

  const secretOf = async (sid: SessionId, sign: PublicJwk): Promise<Uint8Array> =>
    sessionKey(ladderHash, zone, { sid: sessionIdBytes(sid), accountHash: accountHash(ladderHash, 'acc'), device: decodeBase64url(await thumbprint(sign)), asset, gen });

  const admit = async (sid: SessionId, position: number | undefined): Promise<Response> => {
    const device = devices.get(sid) ?? { sign: signer.publicJwk, agree: signer.publicJwk };
    const now = clock.now();
    const secret = await secretOf(sid, device.sign);
    const g0 = groupAt(kind === 'event' ? now : ((position ?? 0) as Micros), schedule);
    const horizon = { from: g0, to: (g0 + horizonGroups) as GrantGroup };
    const G = groupLength(schedule);
    const opened = openedRange({ opened: g0, end: horizon.to, position: g0, g0, t0: now, groupLength: G, term: micros(duration * 1000), now });
    const wraps = await Promise.all(unlockKeys(ladderHash, secret, horizon.from, horizon.to).map((key, index) => aesKw(key, grantKey(ladderHash, titleKey, asset, gen, horizon.from + index))));
    const state: RenewalState = {
      sid, accountHash: accountHash(ladderHash, 'acc'), device: decodeBase64url(await thumbprint(device.sign)), asset, gen, level: 1, policy: 1, groupMillis: G / 1000, interval, duration, ownInterval: 0, ownDuration: 0,
      live: kind === 'event', timed: false, end: horizon.to, g0, t0: now, opened, issued: now, spent: 0,
    };
    const sealed = await sealTo(device.agree, encodeSealedLicense({
      renewalKey: renewalKey(ladderHash, secret), nodes: openNodes(ladderHash, secret, g0, opened), grants: concatBytes(...wraps), opened,
      state: encodeState(ladderHash, stateKey(ladderHash, secret), state), imported: [],
    }));
    const claims = encodeLicenseClaims({
      issuer: 'sealcast', device: deviceId(await thumbprint(device.sign)), jti: 'j1', issuedAt: now, expiresAt: micros(now + 3600e6), sid, asset, kind, mode: 'untimed', scheme, gen, salt, entryKid,
      schedule, keyGroups: ['video', 'audio'], horizon, sealed, terms: { interval, duration }, time: now,
    });
    service.issued += 1;
    const license = await signJws(service.tamper.claims?.(claims) ?? claims, { typ: service.tamper.typ ?? 'license+jwt', key: signingKey, kid: 'k1' });
    return json({ sid, license, mediaToken: `token-${service.issued}`, mediaTokenExpires: now + 2 * duration * 1000, time: now, renew: { urls: service.renewUrls }, licenses: { urls: ['/v1/licenses'] } }, 201);
  };

  const renew = async (bytes: Uint8Array): Promise<Response> => {
    const request = decodeRequest(bytes);
    const device = devices.get(request.state.sid);
    if (device === undefined) return problem(403, 'renewal-invalid');
    const secret = await secretOf(request.state.sid, device.sign);
    const now = clock.now();
    const { act, reason } = service.verdict;
    const { interval, duration } = service.terms;
    const old = request.state;
    const opened = act === 'extend' ? openedRange({ opened: old.opened, end: old.end, position: request.position, g0: old.g0, t0: old.t0, groupLength: micros(old.groupMillis * 1000), term: micros(duration * 1000), now }) : old.opened;
    const move = act === 'extend' && request.move ? anchorMove({ state: old, position: request.position, duration, firstGroups: undefined, now }) : undefined;
    const extended: RenewalState = act === 'extend' ? { ...old, opened, issued: now, interval, duration } : old;
    const next: RenewalState = move === undefined ? extended : { ...extended, g0: move.g0, t0: move.t0, opened: move.to };
    const answer = encodeAnswer(ladderHash, renewalKey(ladderHash, secret), request.mac, {
      act, reason, level: next.level, serverTime: now, after: interval, interval, duration, policy: next.policy, g0: next.g0, t0: next.t0, opened: next.opened, issued: next.issued, spent: next.spent,
      stateMac: stateMac(ladderHash, stateKey(ladderHash, secret), encodeStateBody(next)), nodes: openNodes(ladderHash, secret, move?.from ?? old.opened, next.opened),
    });
    return new Response(answer as BodyInit, { headers: { 'content-type': 'application/octet-stream', 'sealcast-media-token': `token-renewed-${now}` } });
  };

  const answer = async (request: Request, path: string, body: Uint8Array): Promise<Response> => {
    const fields = <T>(): T => JSON.parse(new TextDecoder().decode(body)) as T;
    if (path === '/v1/sessions' && request.method === 'GET') {
      const nonce = encodeBase64url(random(40));
      nonces.add(nonce);
      return json({ nonce, time: clock.now() });
    }
    if (path === '/v1/licenses/keys') return json({ keys: [{ ...signer.publicJwk, kid: 'k1', alg: 'ES256', use: 'sig' }] });
    if (path === '/v1/renew') return renew(body);
    if (path === '/v1/sessions') {
      const { device, nonce, position, proof } = fields<{ device: { sign: PublicJwk; agree: PublicJwk }; nonce: string; position?: number; proof: string }>();
      const proved = await verifyJws(proof, { typ: 'session-proof+jwt', key: await importVerifyKey(device.sign) });
      if (!nonces.delete(nonce)) return problem(409, 'nonce-invalid');
      if (proved?.['nonce'] !== nonce || proved['agree'] !== (await thumbprint(device.agree))) return problem(403, 'proof-invalid');
      const sid = makeSessionId(1, 0, random(16));
      devices.set(sid, device);
      return admit(sid, position);
    }
    if (path === '/v1/licenses') {
      const { sid, nonce, position, proof } = fields<{ sid: SessionId; nonce: string; position?: number; proof: string }>();
      const device = devices.get(sid);
      const proved = device && (await verifyJws(proof, { typ: 'license-proof+jwt', key: await importVerifyKey(device.sign) }));
      return proved?.['sid'] === sid && nonces.delete(nonce) ? admit(sid, position) : problem(403, 'proof-invalid');
    }
    if (path === '/v1/stop') {
      const { sid, proof } = fields<{ sid: SessionId; proof: string }>();
      const device = devices.get(sid);
      const proved = device && (await verifyJws(proof, { typ: 'stop+jwt', key: await importVerifyKey(device.sign) }));
      return proved?.['sid'] === sid ? json({ stopped: true }) : problem(403, 'proof-invalid');
    }
    return problem(404, 'not-found');
  };

  const service: FakeService = {
    intercept: () => undefined,
    terms: { interval, duration },
    renewUrls: ['/v1/renew', 'https://core.example/v1/renew'],
    verdict: { act: 'extend', reason: 'none' },
    tamper: {},
    seen: [],
    asset,
    schedule,
    issued: 0,
    truth(period, keyGroup) {
      const grant = grantKey(ladderHash, titleKey, asset, gen, Math.floor(period / schedule.periodsPerGroup));
      return { kid: keyIdOf(ladderHash, salt, binding, period as CryptoPeriod, keyGroup), key: contentKey(ladderHash, grant, binding, period as CryptoPeriod, keyGroup) };
    },
    async fetch(request) {
      const path = new URL(request.url).pathname;
      const body = new Uint8Array(await request.clone().arrayBuffer());
      service.seen.push({ path, url: request.url, body });
      const early = await service.intercept(request);
      if (early !== undefined) return early;
      return answer(request, path, body);
    },
  };
  return service;
};
