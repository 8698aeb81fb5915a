// SPDX-License-Identifier: Apache-2.0
/**
 * Session starts as clients send them: a fresh entitlement, a nonce of the server, and a proof by the device.
 *
 * docs/wire/session.md. Every start can be sent once; its account is its own.
 */
import { encodeBase64url } from '#core/bytes/base64url.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { ticketMessage } from '#core/license/device-ticket.ts';
import type { SealedTicket } from '#core/license/license-claims.ts';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { importSigningKey, type JwsKey, makeKeyPair, signJws, thumbprint } from '#crypto/jose.ts';
import { hmacSha256, sha256 } from '#crypto/hmac.ts';
import { EVENT } from './installation.ts';

/** A device with its keys, as a client has them. */
export type BenchDevice = { readonly sign: JwsKey; readonly signJwk: PublicJwk; readonly agreeJwk: PublicJwk; readonly agreeKey: CryptoKey; readonly agreeThumbprint: string };

/** A device with new keys. */
export const makeDevice = async (): Promise<BenchDevice> => {
  const [sign, agree] = await Promise.all([makeKeyPair('sign'), makeKeyPair('agree')]);
  return {
    sign: await importSigningKey(sign.privateJwk),
    signJwk: sign.publicJwk,
    agreeJwk: agree.publicJwk,
    agreeKey: await crypto.subtle.importKey('jwk', agree.privateJwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']),
    agreeThumbprint: await thumbprint(agree.publicJwk),
  };
};

/** What a start is made of. `terms`: of the entitlement, s; `account`: one of its own unless told; `ticket`: proves the device in place of a signature. */
export type StartDetails = { readonly terms?: { interval: number; duration: number }; readonly account?: string; readonly ticket?: SealedTicket };
/** Makes bodies of POST /v1/sessions. */
export type Starter = { body(device: BenchDevice, details?: StartDetails): Promise<string> };

/** `backend` signs the entitlements; nonces are asked for at `url`. */
export const createStarter = async (url: string, backend: JsonWebKey): Promise<Starter> => {
  const shop = await importSigningKey(backend);
  return {
    async body(device, { terms, account, ticket } = {}) {
      const now = Math.floor(Date.now() / 1000);
      const id = crypto.randomUUID();
      const entitlement = await signJws(
        { iss: 'https://shop.example', aud: 'sealcast', sub: account ?? `account-${id}`, jti: id, iat: now, exp: now + 120, assets: ['*'], ...(terms && { terms }) },
        { typ: 'entitlement+jwt', key: shop, kid: 'shop' },
      );
      const { nonce } = (await (await fetch(`${url}/v1/sessions`)).json()) as { nonce: string };
      const start = { entitlement, asset: EVENT, nonce, device: { sign: device.signJwk, agree: device.agreeJwk, name: 'TV' } };
      if (ticket !== undefined) {
        const mac = hmacSha256(ticket.secret, ticketMessage({ entitlement: sha256(encodeUtf8(entitlement)), nonce, asset: EVENT }));
        return JSON.stringify({ ...start, ticket: encodeBase64url(ticket.value), mac: encodeBase64url(mac) });
      }
      const proof = await signJws({ ent: encodeBase64url(sha256(encodeUtf8(entitlement))), nonce, asset: EVENT, agree: device.agreeThumbprint }, { typ: 'session-proof+jwt', key: device.sign });
      return JSON.stringify({ ...start, proof });
    },
  };
};

/** `body` as an HTTP request on the wire. */
export const post = (path: string, type: string, body: Uint8Array): Uint8Array =>
  Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
