// SPDX-License-Identifier: Apache-2.0
/** Signed time from outside: whose it is, what it is for, and when there is none. */
import { expect, it } from 'vitest';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { importVerifyKey, verifyJws } from '#crypto/jose.ts';
import { createWorld, START } from './license-world.ts';

const NONCE = 'n'.repeat(22);

it('B158: the time is signed for one question, with the key of licences', async () => {
  const world = await createWorld();
  const { status, body, headers } = await world.get(`/v1/time?nonce=${NONCE}`);
  expect([status, body['time'], body['nonce'], headers.get('cache-control'), headers.get('access-control-allow-origin')]).toEqual([200, START, NONCE, 'no-store', '*']);
  const [jwk] = (await world.get('/v1/licenses/keys')).body['keys'] as PublicJwk[];
  const key = await importVerifyKey(jwk as PublicJwk);
  expect(await verifyJws(String(body['signature']), { typ: 'time+jwt', key })).toEqual({ time: START, nonce: NONCE });
  expect(await verifyJws(String(body['signature']), { typ: 'root+jwt', key })).toBeUndefined();
});

it('refuses a nonce that is none', async () => {
  const world = await createWorld();
  for (const nonce of ['', 'short', '%00'.repeat(20), 'a'.repeat(65), 'ä'.repeat(20)]) expect((await world.get(`/v1/time?nonce=${nonce}`)).body['code']).toBe('bad-request');
});

it('B159: a server whose clock is not trusted signs no time', async () => {
  const world = await createWorld({ trusted: () => false });
  expect(await world.get(`/v1/time?nonce=${NONCE}`)).toMatchObject({ status: 503, body: { code: 'clock-untrusted' } });
});
