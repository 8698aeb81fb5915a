// SPDX-License-Identifier: Apache-2.0
import { decodeProtectedHeader } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PublicJwk } from '#core/license/public-jwk.ts';
import { makeKeyPair, openSealed, sealTo } from '#crypto/jose.ts';
import { nodeSealTo } from './seal.ts';

type Recipient = { readonly publicJwk: PublicJwk; readonly key: CryptoKey };
const makeRecipient = async (): Promise<Recipient> => {
  const { publicJwk, privateJwk } = await makeKeyPair('agree');
  return { publicJwk, key: await crypto.subtle.importKey('jwk', privateJwk, { name: 'ECDH', namedCurve: 'P-256' }, false, ['deriveBits']) };
};
let alice: Recipient;
let bob: Recipient;
beforeAll(async () => {
  [alice, bob] = await Promise.all([makeRecipient(), makeRecipient()]);
});

describe('sealing with OpenSSL', () => {
  test.each(['', '{"rk":"x"}', 'ü€😀'.repeat(5000)])('is opened by the JOSE library, by the recipient only', async (plain) => {
    const sealed = await nodeSealTo(alice.publicJwk, plain);
    expect(await openSealed(sealed, alice.key)).toBe(plain);
    expect(await openSealed(sealed, bob.key)).toBeUndefined();
  });

  test('says in its header what the JOSE library would', async () => {
    const shape = async (sealed: string): Promise<unknown> => {
      const { alg, enc, epk, ...rest } = decodeProtectedHeader(sealed) as Record<string, object>;
      return { alg, enc, epk: Object.keys(epk ?? {}).sort(), rest };
    };
    expect(await shape(await nodeSealTo(alice.publicJwk, 'x'))).toEqual(await shape(await sealTo(alice.publicJwk, 'x')));
  });

  test('never repeats a key or an IV, and shows every change', async () => {
    const sealed = await nodeSealTo(alice.publicJwk, 'x');
    const again = await nodeSealTo(alice.publicJwk, 'x');
    const parts = sealed.split('.');
    expect(parts.map((part, index) => part !== '' && part === again.split('.')[index])).toEqual([false, false, false, false, false]);
    for (const index of [0, 2, 3, 4]) {
      const altered = parts.with(index, again.split('.')[index] ?? '').join('.');
      expect(await openSealed(altered, alice.key)).toBeUndefined();
    }
  });

  test('refuses a point that is not on the curve', () => {
    expect(() => nodeSealTo({ ...alice.publicJwk, y: alice.publicJwk.x }, 'x')).toThrow();
  });
});
