// SPDX-License-Identifier: Apache-2.0
/** The ring on the normative ladder: untimed, timed and imported keys, and what must stay closed. */
import { describe, expect, test } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { assetId } from '#core/ids.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { contentKey, grantKey, importWrapKey, keyIdOf, releaseSecret } from '#core/keys/ladder.ts';
import { openNodes, unlockKeys } from '#core/keys/unlock.ts';
import { micros } from '#core/time.ts';
import type { CryptoPeriod, GrantGroup } from '#core/time.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { type RingLicense, createKeyRing } from './key-ring.ts';

const bytes = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);
const titleKey = bytes(32, 1);
const sessionKey = bytes(32, 2);
const salt = bytes(16, 3);
const asset = assetId('match-1');
const group = (value: number): GrantGroup => value as GrantGroup;

const wrap = async (kek: Uint8Array, key: Uint8Array): Promise<Uint8Array> => {
  const wrapping = await crypto.subtle.importKey('raw', kek as BufferSource, 'AES-KW', false, ['wrapKey']);
  const wrapped = await crypto.subtle.importKey('raw', key as BufferSource, { name: 'HMAC', hash: 'SHA-256' }, true, ['sign']);
  return new Uint8Array(await crypto.subtle.wrapKey('raw', wrapped, wrapping, 'AES-KW'));
};

/** A licence for groups [250, 262), which lie in two tree blocks; periods of 1 s, two per group. */
const license = async (change: Partial<RingLicense> = {}): Promise<RingLicense> => {
  const horizon = { from: group(250), to: group(262) };
  const wraps = await Promise.all(unlockKeys(ladderHash, sessionKey, horizon.from, horizon.to).map((key, index) => wrap(key, grantKey(ladderHash, titleKey, asset, 1, horizon.from + index))));
  return {
    asset, mode: 'untimed', scheme: 'cenc', gen: 1, salt, schedule: { period: micros(1e6), periodsPerGroup: 2 }, keyGroups: ['video', 'audio'], horizon,
    nodes: openNodes(ladderHash, sessionKey, 250, 254), grants: concatBytes(...wraps), imported: [], ...change,
  };
};
const binding = { asset, mode: 'untimed', scheme: 'cenc', gen: 1 } as const;
const keyOf = (period: number): ContentKey => contentKey(ladderHash, grantKey(ladderHash, titleKey, asset, 1, Math.floor(period / 2)), binding, period, 'video');
const kidOf = (period: number): KeyId => keyIdOf(ladderHash, salt, binding, period, 'video');

test('opens what the nodes open, in both blocks, and nothing else', async () => {
  const ring = createKeyRing(await license());
  expect([249, 250, 253, 254, 261].map((value) => ring.opens(group(value)))).toEqual([false, true, true, false, false]);
  expect(await ring.key(kidOf(507), micros(507e6))).toEqual(keyOf(507));
  expect(await ring.key(kidOf(508), micros(508e6))).toBeUndefined();
  ring.addNodes(openNodes(ladderHash, sessionKey, 254, 262));
  expect(await ring.key(kidOf(523), micros(523e6))).toEqual(keyOf(523));
  expect(await ring.keysBetween(micros(0), micros(1e12))).toHaveLength(24 * 2);
  expect((await ring.keysBetween(micros(510.5e6), micros(511.5e6))).map(({ from, keyGroup }) => [from / 1e6, keyGroup])).toEqual([[510, 'video'], [510, 'audio'], [511, 'video'], [511, 'audio']]);
});

test('nodes beyond the licence\'s grants open nothing', async () => {
  const ring = createKeyRing(await license({ nodes: openNodes(ladderHash, sessionKey, 250, 300) }));
  expect(ring.opens(group(262))).toBe(false);
  expect(await ring.key(kidOf(524), micros(524e6))).toBeUndefined();
});

test('a node of another session gives no wrong key: the unwrap fails', async () => {
  const ring = createKeyRing(await license({ nodes: openNodes(ladderHash, bytes(32, 9), 250, 254) }));
  expect(ring.opens(group(250))).toBe(true);
  expect(await ring.keysBetween(micros(0), micros(1e12))).toEqual([]);
});

test('forgets what lies behind, and everything at the end', async () => {
  const ring = createKeyRing(await license());
  ring.forgetBefore(group(252));
  expect(await ring.key(kidOf(500), micros(500e6))).toBeUndefined();
  expect(await ring.key(kidOf(506), micros(506e6))).toEqual(keyOf(506));
  ring.clear();
  expect(await ring.keysBetween(micros(0), micros(1e12))).toEqual([]);
  expect(await ring.key(kidOf(506), micros(506e6))).toBeUndefined();
});

describe('timed assets', () => {
  test('open period by period as secrets are released', async () => {
    const timed = { ...binding, mode: 'timed' } as const;
    const secrets = new Map<number, Uint8Array>();
    const ring = createKeyRing(await license({ mode: 'timed' }), (period) => secrets.get(period));
    const kid = keyIdOf(ladderHash, salt, timed, 501, 'audio');
    expect(await ring.key(kid, micros(501e6))).toBeUndefined();
    const secret = releaseSecret(ladderHash, bytes(32, 5), 'event', 501);
    secrets.set(501, secret);
    expect(await ring.key(kid, micros(501e6))).toEqual(contentKey(ladderHash, grantKey(ladderHash, titleKey, asset, 1, 250), timed, 501, 'audio', secret));
    expect(await ring.keysBetween(micros(500e6), micros(502e6))).toHaveLength(2);
  });
});

describe('imported keys', () => {
  test('come out under their own KID for all their periods, once their first group is open', async () => {
    const fixed = bytes(16, 7) as ContentKey;
    const kid = bytes(16, 8) as KeyId;
    const item = async (from: number, to: number) => ({
      kid, keyGroup: 'video' as const, from: from as CryptoPeriod, to: to as CryptoPeriod,
      wrapped: await wrap(importWrapKey(ladderHash, grantKey(ladderHash, titleKey, asset, 1, Math.floor(from / 2)), binding, from, 'video'), fixed),
    });
    const ring = createKeyRing(await license({ imported: [await item(500, 520)] }));
    expect(await ring.key(kid, micros(519e6))).toEqual(fixed);
    expect((await ring.keysBetween(micros(515e6), micros(516e6))).filter((key) => key.kid === kid)).toHaveLength(1);
    const closed = createKeyRing(await license({ imported: [await item(510, 520)] }));
    expect(await closed.key(kid, micros(519e6))).toBeUndefined();
  });
});
