// SPDX-License-Identifier: Apache-2.0
/**
 * The service as offline rights know it: requests to any of its servers, its published keys kept for when there is no connection, its time.
 *
 * docs/wire/subscription.md, docs/wire/session.md. Invariant: keys come from the service itself and are kept under the device's seal;
 * a document is used only after its signature and type were checked.
 */
import { SealcastError } from '#core/errors.ts';
import { type PublicJwk, parsePublicJwk } from '#core/license/public-jwk.ts';
import { jsonObject, membersOf } from '#core/license/shape.ts';
import type { Micros } from '#core/time.ts';
import { isJsonObject, type JsonObject } from '#core/token/strict-json.ts';
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { importVerifyKey, type JwsKey, type JwsType, verifyJws } from '#crypto/jose.ts';
import type { OfflineRecords, Random } from '#ports';
import type { Answer, Failure, Transport } from '../transport.ts';
import type { DeviceSeal } from './device-seal.ts';
import type { TrustedClock } from './trusted-clock.ts';

/** An outcome of a request. */
export type Outcome<T> = { readonly ok: true; readonly value: T } | Failure;

/** Requests and signatures of the service. */
export type ServiceLink = {
  /** `read` gets the JSON body; what it throws counts as a failure of that server. */
  post<T>(path: string, body: object, read: (body: JsonObject, answer: Answer) => T | Promise<T>): Promise<Outcome<T>>;
  /** A fresh nonce. */
  nonce(): Promise<Outcome<string>>;
  /** Payload of a document of this type that the service signed; undefined otherwise. Unknown keys are asked for while there is a connection. */
  verify(jws: string, typ: JwsType, maxLength?: number): Promise<JsonObject | undefined>;
  /** Asks a server for the time and confirms the trusted clock with it; false without an answer. */
  askTime(): Promise<boolean>;
};

const NAME = 'keys';
const utf8 = new TextDecoder('utf-8', { fatal: true });
const LARGEST = Number.MAX_SAFE_INTEGER;

const bodyOf = (answer: Answer, what: string): JsonObject => jsonObject(utf8.decode(answer.body), what, 'bad-request');

/** The link of one device. */
export const openServiceLink = async (options: { readonly servers: readonly string[]; readonly transport: Transport; readonly records: OfflineRecords; readonly seal: DeviceSeal; readonly trusted: TrustedClock; readonly random: Random }): Promise<ServiceLink> => {
  const { servers, transport, records, seal, trusted, random } = options;
  const keys = new Map<string, JwsKey>();
  const route = (path: string): readonly string[] => servers.map((server) => new URL(path, server).href);

  const learn = async (listed: readonly unknown[]): Promise<readonly (PublicJwk & { readonly kid: string })[]> => {
    const found: (PublicJwk & { readonly kid: string })[] = [];
    for (const jwk of listed) {
      const kid = isJsonObject(jwk) && typeof jwk['kid'] === 'string' ? jwk['kid'] : undefined;
      if (kid === undefined) continue;
      const parsed = parsePublicJwk(jwk, 'licence key');
      keys.set(kid, await importVerifyKey(parsed));
      found.push({ ...parsed, kid });
    }
    return found;
  };

  const stored = seal.open(NAME, (await records.get(NAME)) ?? '');
  if (stored !== undefined) await learn(membersOf(jsonObject(stored, 'stored keys', 'bad-request'), 'stored keys', 'bad-request', ['keys']).list('keys', 64));

  const load = async (): Promise<void> => {
    const listed = await transport.request(route('/v1/licenses/keys'), { method: 'GET' }, (answer) => membersOf(bodyOf(answer, 'licence keys'), 'licence keys', 'bad-request', ['keys'], [], true).list('keys', 64));
    if (!listed.ok) return;
    keys.clear();
    await records.write([[NAME, seal.seal(NAME, JSON.stringify({ keys: await learn(listed.value) }))]]);
  };

  const link: ServiceLink = {
    async post<T>(path: string, body: object, read: (body: JsonObject, answer: Answer) => T | Promise<T>): Promise<Outcome<T>> {
      const ask = (): Promise<Outcome<T>> => transport.request(route(path), { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }, (answer) => read(bodyOf(answer, path), answer));
      const first = await ask();
      // A connection that was kept open through a tunnel fails at its first use; a second one tells whether there is a line.
      return first.ok || first.final || first.status !== undefined ? first : ask();
    },
    nonce: () => transport.request(route('/v1/sessions'), { method: 'GET' }, (answer) => membersOf(bodyOf(answer, 'nonce'), 'nonce', 'bad-request', ['nonce'], [], true).text('nonce', { most: 256 })),
    async verify(jws, typ, maxLength = 16_384) {
      let unknown = false;
      const key = (kid: string | undefined): JwsKey | undefined => {
        const found = keys.get(kid ?? '');
        unknown = found === undefined;
        return found;
      };
      const payload = await verifyJws(jws, { typ, key, maxLength });
      if (payload !== undefined || !unknown) return payload;
      await load();
      return verifyJws(jws, { typ, key, maxLength });
    },
    async askTime() {
      const nonce = encodeBase64url(random.bytes(16));
      const answer = await transport.request(route(`/v1/time?nonce=${nonce}`), { method: 'GET' }, async (found) => {
        const { signature } = bodyOf(found, 'time') as { signature?: unknown };
        const payload = typeof signature === 'string' ? await link.verify(signature, 'time+jwt') : undefined;
        if (payload === undefined || payload['nonce'] !== nonce) throw new SealcastError('bad-request', 'time: not signed by this service for this question');
        return { time: membersOf(payload, 'time', 'bad-request', ['time'], [], true).integer('time', 0, LARGEST) as Micros, sent: found.sent, received: found.received };
      });
      if (answer.ok) await trusted.confirm(answer.value.time, answer.value.sent, answer.value.received);
      return answer.ok;
    },
  };
  return link;
};
