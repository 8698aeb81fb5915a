// SPDX-License-Identifier: Apache-2.0
/** Node's ES256 and WebCrypto's make tokens for each other and refuse the same ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { importSigningKey, importVerifyKey, makeKeyPair, signJws, verifyJws } from '#crypto/jose.ts';
import { nodeEs256 } from './es256.ts';

const typ = 'session-proof+jwt';

describe('ES256 at once', async () => {
  const { publicJwk, privateJwk } = await makeKeyPair('sign');
  const other = await makeKeyPair('sign');
  const signers = await Promise.all([importSigningKey(privateJwk), importSigningKey(privateJwk, nodeEs256)]);
  const verifiers = await Promise.all([importVerifyKey(publicJwk), importVerifyKey(publicJwk, nodeEs256)]);
  const strangers = await Promise.all([importVerifyKey(other.publicJwk), importVerifyKey(other.publicJwk, nodeEs256)]);

  it('either verifies what either signed, and nobody else does', async () => {
    for (const key of signers) {
      const token = await signJws({ nonce: 'n', text: 'é' }, { typ, key, kid: 'k' });
      for (const verifier of verifiers) {
        expect(await verifyJws(token, { typ, key: verifier })).toEqual({ nonce: 'n', text: 'é' });
        expect(await verifyJws(token, { typ: 'stop+jwt', key: verifier })).toBeUndefined();
      }
      for (const stranger of strangers) expect(await verifyJws(token, { typ, key: stranger })).toBeUndefined();
    }
  });

  it('any altered character makes a token worthless', async () => {
    const token = await signJws({ a: 1 }, { typ, key: signers[1] as (typeof signers)[number] });
    await fc.assert(
      fc.asyncProperty(fc.nat(token.length - 1), fc.constantFrom('A', 'B', '.', '=', '-', ' '), async (at, character) => {
        fc.pre(token[at] !== character);
        expect(await verifyJws(token.slice(0, at) + character + token.slice(at + 1), { typ, key: verifiers[1] as (typeof verifiers)[number] })).toBeUndefined();
      }),
      { numRuns: 60 },
    );
    for (const broken of ['', '..', 'a.b', `${token}.`, `${token}.x`, token.slice(0, -1), 'a.b.c']) expect(await verifyJws(broken, { typ, key: verifiers[1] as (typeof verifiers)[number] })).toBeUndefined();
  });

  it('points off the curve are refused at import, and a key for checking does not sign', async () => {
    const off = { ...publicJwk, y: publicJwk.x };
    await expect(importVerifyKey(off, nodeEs256)).rejects.toThrow();
    await expect(signJws({}, { typ, key: verifiers[1] as (typeof verifiers)[number] })).rejects.toThrow(/cannot sign/);
  });
});
