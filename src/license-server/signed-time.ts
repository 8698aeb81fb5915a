// SPDX-License-Identifier: Apache-2.0
/**
 * `GET /v1/time?nonce=`: the time with a signature, so that nobody between can set a client's clock.
 *
 * docs/wire/subscription.md, "Trusted clock" (B158). Invariant: a server whose own clock is not trusted signs no time, and an
 * answer is for the nonce of one question.
 */
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import { signJws } from '#crypto/jose.ts';
import type { Clock } from '#ports';
import type { ServerSecrets } from './server-secrets.ts';

/** The JOSE `typ` of signed times. */
export const TIME_TYPE = 'time+jwt';
const NONCE = /^[A-Za-z0-9_-]{16,64}$/;

/** Body of the answer. */
export type SignedTime = { readonly time: Micros; readonly nonce: string; readonly signature: string };

/** Answers a nonce of 16-64 base64url characters. Throws `bad-request`, `clock-untrusted`. */
export const createSignedTime =
  ({ secrets, trusted, clock }: { readonly secrets: ServerSecrets; readonly trusted: () => boolean; readonly clock: Clock }): ((nonce: string) => Promise<SignedTime>) =>
  async (nonce) => {
    if (!NONCE.test(nonce)) throw new SealcastError('bad-request', `nonce must be 16-64 base64url characters; got ${nonce.length}`);
    if (!trusted()) throw new SealcastError('clock-untrusted', 'this server waits until its clock is settled; ask another one');
    const time = clock.now();
    return { time, nonce, signature: await signJws({ time, nonce }, { typ: TIME_TYPE, key: secrets.signing, kid: secrets.kid }) };
  };
