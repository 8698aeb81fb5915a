// SPDX-License-Identifier: Apache-2.0
/**
 * The client's side of the licence server's routes: start, new licence, stop, device registration.
 *
 * docs/wire/session.md. Invariant: a licence leaves here only with a good signature of the server's published key, the right
 * type, this device as audience, the asked-for asset and session, and before its expiry in server time.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { SealcastError } from '#core/errors.ts';
import { deviceId } from '#core/ids.ts';
import type { AssetId, DeviceId, SessionId } from '#core/ids.ts';
import { LICENSE_TYPE, type LicenseClaims, type SealedLicense, parseLicenseClaims, parseSealedLicense } from '#core/license/license-claims.ts';
import { parsePublicJwk } from '#core/license/public-jwk.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import { isJsonObject, type JsonObject } from '#core/token/strict-json.ts';
import { sha256 } from '#crypto/hmac.ts';
import { importVerifyKey, type JwsKey, openSealed, verifyJws } from '#crypto/jose.ts';
import type { Random } from '#ports';
import type { ServerTime } from './clock.ts';
import type { Device } from './device.ts';
import { type ReleaseAccess, readReleaseAccess } from './release/session-releases.ts';
import { orderAddresses } from './server-address.ts';
import type { Answer, Failure, Transport } from './transport.ts';

/** A verified and opened licence. Holds keys: never log it. */
export type OpenedLicense = LicenseClaims & SealedLicense;

/** What a start or a new licence brings. */
export type Admission = {
  readonly license: OpenedLicense;
  readonly mediaToken: string;
  readonly mediaTokenExpires: Micros;
  readonly renewUrls: readonly string[];
  readonly licenseUrls: readonly string[];
  /** Timed events: where releases come from. */
  readonly release?: ReleaseAccess;
};

/** A stop as it goes over the wire. */
export type SignedStop = { readonly sid: SessionId; readonly at: Micros; readonly proof: string };

type Outcome<T> = { readonly ok: true; readonly value: T } | Failure;

/** The licence server's routes as one device uses them. Expected refusals are values. */
export type Desk = {
  /** `ends`: termination codes of sessions that end in favour of this one. */
  start(request: { readonly asset: AssetId; readonly entitlement: string; readonly position?: Micros; readonly ends: readonly string[] }): Promise<Outcome<Admission>>;
  relicense(request: { readonly sid: SessionId; readonly urls: readonly string[]; readonly position?: Micros }, signal?: AbortSignal): Promise<Outcome<Admission>>;
  /** Signs a stop ahead of time, since a page that closes cannot wait for a signature. */
  prepareStop(sid: SessionId): Promise<SignedStop>;
  /** Sends a signed stop before it returns; true once the server acknowledged. */
  stop(signed: SignedStop): Promise<boolean>;
  registerDevice(entitlement: string): Promise<Outcome<DeviceId>>;
};

const utf8 = new TextDecoder('utf-8', { fatal: true });
const JSON_TYPE = { 'content-type': 'application/json' } as const;
const MAX_TOKEN = 8192;
const MAX_LICENSE = 2 ** 22;
const TIMESTAMP_LIMIT = Number.MAX_SAFE_INTEGER;

const bodyOf = (answer: Answer, what: string): JsonObject => jsonObject(utf8.decode(answer.body), what, 'bad-request');
const post = (body: object): { method: 'POST'; body: string; headers: typeof JSON_TYPE } => ({ method: 'POST', body: JSON.stringify(body), headers: JSON_TYPE });

/** Addresses of a route on every server. */
const route = (servers: readonly string[], path: string): readonly string[] => servers.map((server) => new URL(path, server).href);

/** Addresses from an answer: absolute, or relative to the server that answered; texts, or objects with a place. */
const addresses = (value: unknown, base: string, random: Random): readonly string[] => {
  const urls = membersOf(value, 'addresses', 'bad-request', ['urls'], [], true).list('urls', 64);
  if (urls.length === 0) throw new SealcastError('bad-request', 'addresses: urls must hold at least one address');
  return orderAddresses(urls.map((url) => (isJsonObject(url) ? (url as { url: string }) : String(url))), random, base);
};

/** A desk for one device at `servers` (base addresses, tried in turn). `renewalServers` are asked after those that the service names. */
export const createDesk = (options: {
  readonly servers: readonly string[];
  readonly renewalServers: readonly string[];
  readonly device: Device;
  readonly transport: Transport;
  readonly serverTime: ServerTime;
  readonly random: Random;
}): Desk => {
  const { servers, device, transport, serverTime, random } = options;
  const merged = (named: readonly string[], own: readonly string[]): readonly string[] => [...new Set([...named, ...own])];
  const published = new Map<string, JwsKey>();

  const loadKeys = async (): Promise<void> => {
    const answer = await transport.request(route(servers, '/v1/licenses/keys'), { method: 'GET' }, (found) => membersOf(bodyOf(found, 'licence keys'), 'licence keys', 'bad-request', ['keys'], [], true).list('keys', 64));
    if (!answer.ok) throw new SealcastError('key-unavailable', `licence keys: ${answer.detail}`);
    published.clear();
    for (const jwk of answer.value) {
      const kid = isJsonObject(jwk) && typeof jwk['kid'] === 'string' ? jwk['kid'] : undefined;
      if (kid !== undefined) published.set(kid, await importVerifyKey(parsePublicJwk(jwk, 'licence key')));
    }
  };

  const verify = async (jws: string): Promise<JsonObject> => {
    let unknown = false;
    const key = (kid: string | undefined): JwsKey | undefined => {
      const found = published.get(kid ?? '');
      unknown = found === undefined;
      return found;
    };
    const check = (): Promise<JsonObject | undefined> => verifyJws(jws, { typ: LICENSE_TYPE, key, maxLength: MAX_LICENSE });
    let payload = await check();
    if (unknown) {
      await loadKeys();
      payload = await check();
    }
    if (payload === undefined) throw new SealcastError('bad-request', 'licence: not signed by this service');
    return payload;
  };

  const openLicense = async (jws: string, expected: { asset?: AssetId; sid: SessionId }): Promise<OpenedLicense> => {
    const claims = parseLicenseClaims(await verify(jws));
    const refuse = (rule: string): never => {
      throw new SealcastError('bad-request', `licence: ${rule}`);
    };
    if (claims.device !== device.id) refuse('made for another device');
    if (claims.sid !== expected.sid) refuse('made for another session');
    if (expected.asset !== undefined && claims.asset !== expected.asset) refuse('made for another asset');
    if (claims.expiresAt <= serverTime.now()) refuse('expired');
    const plain = await openSealed(claims.sealed, device.agreeKey);
    const sealed = parseSealedLicense(plain ?? refuse('sealed for another key'), claims.horizon);
    if (sealed.ticket !== undefined) await device.keepTicket(sealed.ticket);
    return { ...claims, ...sealed };
  };

  const admit = async (answer: Answer, expected: { asset?: AssetId; sid?: SessionId }): Promise<Admission> => {
    const body = membersOf(bodyOf(answer, 'session'), 'session', 'bad-request', ['sid', 'license', 'mediaToken', 'mediaTokenExpires', 'time', 'renew', 'licenses'], [], true);
    serverTime.sample(body.integer('time', 0, TIMESTAMP_LIMIT) as Micros, answer.sent, answer.received);
    const sid = body.text('sid', { most: 24 }) as SessionId;
    if (expected.sid !== undefined && sid !== expected.sid) throw new SealcastError('bad-request', 'session: answer for another session');
    return {
      license: await openLicense(body.text('license', { most: MAX_LICENSE }), { ...expected, sid }),
      mediaToken: body.text('mediaToken', { most: MAX_TOKEN }),
      mediaTokenExpires: body.integer('mediaTokenExpires', 0, TIMESTAMP_LIMIT) as Micros,
      renewUrls: merged(addresses(body.value('renew'), answer.url, random), route(options.renewalServers, '/v1/renew')),
      licenseUrls: merged(addresses(body.value('licenses'), answer.url, random), route(servers, '/v1/licenses')),
      ...(body.value('release') === undefined ? {} : { release: await readReleaseAccess(body.value('release'), answer.url) }),
    };
  };

  const nonce = (signal?: AbortSignal): Promise<Outcome<string>> =>
    transport.request(
      route(servers, '/v1/sessions'),
      { method: 'GET' },
      (answer) => {
        const body = membersOf(bodyOf(answer, 'nonce'), 'nonce', 'bad-request', ['nonce', 'time'], [], true);
        serverTime.sample(body.integer('time', 0, TIMESTAMP_LIMIT) as Micros, answer.sent, answer.received);
        return body.text('nonce', { most: 256 });
      },
      signal,
    );

  const hashed = (entitlement: string): Uint8Array => sha256(new TextEncoder().encode(entitlement));
  const inFull = async (type: 'session-proof+jwt' | 'device-proof+jwt', asset: string, entitlement: string, fresh: string): Promise<{ readonly proof: string }> => ({
    proof: await device.prove(type, { ent: encodeBase64url(hashed(entitlement)), nonce: fresh, asset, agree: device.agreeThumbprint }),
  });

  return {
    async start({ asset, entitlement, position, ends }) {
      const fresh = await nonce();
      if (!fresh.ok) return fresh;
      const send = (proof: object): Promise<Outcome<Admission>> =>
        transport.request(
          route(servers, '/v1/sessions'),
          post({ entitlement, nonce: fresh.value, device: device.description, ...proof, asset, ...(position === undefined ? {} : { position }), ...(ends.length === 0 ? {} : { ends }) }),
          (answer) => admit(answer, { asset }),
        );
      const byTicket = await device.proveByTicket({ entitlement: hashed(entitlement), nonce: fresh.value, asset }, serverTime.now());
      if (byTicket !== undefined) {
        const outcome = await send(byTicket);
        if (outcome.ok || outcome.code !== 'ticket-invalid') return outcome;
        await device.keepTicket(undefined);
      }
      // A refused ticket has used up neither nonce nor entitlement.
      return send(await inFull('session-proof+jwt', asset, entitlement, fresh.value));
    },
    async relicense({ sid, urls, position }, signal) {
      const fresh = await nonce(signal);
      if (!fresh.ok) return fresh;
      const proof = await device.prove('license-proof+jwt', { sid, nonce: fresh.value });
      return transport.request(urls, post({ sid, nonce: fresh.value, proof, ...(position === undefined ? {} : { position }) }), (answer) => admit(answer, { sid }), signal);
    },
    async prepareStop(sid) {
      const at = serverTime.now();
      return { sid, at, proof: await device.prove('stop+jwt', { sid, at, reason: 'viewer' }) };
    },
    async stop(signed) {
      // Without a content type of its own the request needs no preflight, which would not survive the page.
      const answer = await transport.request(route(servers, '/v1/stop'), { method: 'POST', body: JSON.stringify(signed), keepalive: true }, () => true);
      return answer.ok;
    },
    async registerDevice(entitlement) {
      const fresh = await nonce();
      if (!fresh.ok) return fresh;
      const request = { entitlement, nonce: fresh.value, device: device.description, ...(await inFull('device-proof+jwt', '', entitlement, fresh.value)) };
      return transport.request(route(servers, '/v1/devices'), post(request), (answer) => deviceId(membersOf(bodyOf(answer, 'device'), 'device', 'bad-request', ['device'], [], true).value('device')));
    },
  };
};
