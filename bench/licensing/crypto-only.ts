// SPDX-License-Identifier: Apache-2.0
/**
 * The cryptography of one initial licence, with a full device proof or by ticket, and nothing else: node:crypto, synchronous, no parsing,
 * no HTTP, no JSON, keys of the service imported beforehand. What a licence server can never be faster than.
 *
 * docs/wire/session.md and docs/wire/keys.md name the operations; the unlock tree is derived with every inner node once.
 */
import { createCipheriv, createHash, createPublicKey, createSecretKey, diffieHellman, generateKeyPairSync, hash, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import { nodeKeyWrapper } from '#adapters/node/key-wrap.ts';
import { nodeLadderHash as ladder } from '#adapters/node/ladder-hash.ts';
import { openNodes, unlockKeys } from '#core/keys/unlock.ts';

const pair = (): { publicKey: KeyObject; privateKey: KeyObject } => generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** The keyed hashes of one renewal that opens `groups` groups, and nothing else. */
export const createRenewalCryptoOnly = (groups: number): (() => void) => {
  const [zone, short, message] = [randomBytes(32), randomBytes(20), randomBytes(200)];
  let first = 0;
  return () => {
    const sk = ladder.hmac(zone, message);
    const [rk, stk] = [ladder.hmac(sk, short), ladder.hmac(sk, short)];
    // The request's MAC, the old and the new state's, the answer's, the media token's.
    for (const key of [rk, stk, stk, rk, zone]) ladder.hmac(key, message);
    const from = (first += 7) & 0xffff;
    openNodes(ladder, sk, from, from + groups);
  };
};

/** One licence per call. `groups`: grant keys that it carries; `opened`: how many it opens; `bytes`: of the licence; `ticket`: the device is proven by one. */
export const createCryptoOnly = (shape: { groups: number; opened: number; bytes: number; ticket: boolean }): (() => void) => {
  const [shop, service, deviceKeys, agree] = [pair(), pair(), pair(), pair()];
  const [deviceJwk, agreeJwk] = [deviceKeys.publicKey.export({ format: 'jwk' }), agree.publicKey.export({ format: 'jwk' })];
  const message = randomBytes(400);
  const dsa = (key: KeyObject) => ({ key, dsaEncoding: 'ieee-p1363' as const });
  const entitled = sign('sha256', message, dsa(shop.privateKey));
  const proof = sign('sha256', message, dsa(deviceKeys.privateKey));
  const [zone, short] = [randomBytes(32), randomBytes(150)];
  const grants = Array.from({ length: shape.groups }, () => randomBytes(32));
  const plain = randomBytes(Math.round(shape.bytes / 2));
  const license = randomBytes(shape.bytes);
  let first = 0;
  return () => {
    const device = shape.ticket ? ladder.hmac(ladder.hmac(zone, short), short).length === 32 : verify('sha256', message, dsa(createPublicKey({ key: deviceJwk, format: 'jwk' })), proof);
    const sound = device && verify('sha256', message, dsa(shop.publicKey), entitled);
    if (!sound) throw new Error('a signature of the bench does not hold');
    // Nonce, thumbprints of both device keys, hashes of entitlement, its single use, account.
    ladder.hmac(zone, short);
    for (let i = 0; i < 5; i++) hash('sha256', short, 'buffer');
    const sk = ladder.hmac(zone, short);
    // RK, STK, the state's MAC, the media token's.
    for (let i = 0; i < 4; i++) ladder.hmac(sk, short);
    const from = (first += 7) & 0xffff;
    openNodes(ladder, sk, from, from + shape.opened);
    unlockKeys(ladder, sk, from, from + shape.groups).forEach((key, index) => nodeKeyWrapper.wrap(key, grants[index] as Uint8Array));
    const ephemeral = pair();
    const secret = diffieHellman({ privateKey: ephemeral.privateKey, publicKey: createPublicKey({ key: agreeJwk, format: 'jwk' }) });
    const contentKey = createSecretKey(createHash('sha256').update(secret).update(short).digest());
    const cipher = createCipheriv('aes-256-gcm', contentKey, randomBytes(12));
    cipher.update(plain);
    cipher.final();
    sign('sha256', license, dsa(service.privateKey));
  };
};
