// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from 'vitest';
import { assetId } from '#core/ids.ts';
import { releaseCommitment } from '#core/keys/ladder.ts';
import { releaseInstant } from '#core/release/gate.ts';
import { type BlockSchedule, SCHEDULE_TYPE, encodeBlockSchedule, periodsPerBlock } from '#core/release/schedule.ts';
import type { CryptoPeriod, Micros } from '#core/time.ts';
import { type JwsKey, importSigningKey, importVerifyKey, makeKeyPair, signJws } from '#crypto/jose.ts';
import { ladderHash } from '#crypto/ladder-hash.ts';
import { type Commitments, createCommitments } from './commitments.ts';
import { readReleaseAccess } from './session-releases.ts';

const EVENT = assetId('final');
const period = 1_000_000 as Micros;
const perBlock = periodsPerBlock(period);
const secret = (p: number, flavour = 0): Uint8Array => new Uint8Array(16).fill(p % 251, 0, 8).fill(flavour, 8);

let signing: JwsKey;
let other: JwsKey;
let keyOf: (kid: string | undefined) => JwsKey | undefined;
beforeAll(async () => {
  const [good, bad] = await Promise.all([makeKeyPair('sign'), makeKeyPair('sign')]);
  signing = await importSigningKey(good.privateJwk);
  other = await importSigningKey(bad.privateJwk);
  const verify = await importVerifyKey(good.publicJwk);
  keyOf = (kid) => (kid === 'ks' ? verify : undefined);
});

const schedule = (block: number, change: Partial<BlockSchedule> = {}, flavour = 0): BlockSchedule => {
  const base = { event: EVENT, version: 1, mode: 'standard' as const, firstRelease: 3_000_000 as Micros, period, delta: 150_000 as Micros, block, from: (block * perBlock) as CryptoPeriod, commitments: new Uint8Array(0), ...change };
  const commitments = Uint8Array.from(Array.from({ length: perBlock }, (_, i) => {
    const p = (base.from + i) as CryptoPeriod;
    return [...releaseCommitment(ladderHash, { eventId: base.event, version: base.version, period: p, releaseAt: releaseInstant(base, p) }, secret(p, flavour))];
  }).flat());
  return { ...base, commitments };
};
const sign = (made: BlockSchedule, key: JwsKey = signing, kid = 'ks'): Promise<string> => signJws(encodeBlockSchedule(made), { typ: SCHEDULE_TYPE, key, kid });
const fresh = (): Commitments => createCommitments(EVENT, keyOf);

describe('commitments', () => {
  test('a secret is good, wrong or not yet known', async () => {
    const known = fresh();
    expect(known.check(5 as CryptoPeriod, secret(5))).toBe('unknown');
    expect(await known.offer(await sign(schedule(0)))).toBe('taken');
    expect(known.check(5 as CryptoPeriod, secret(5))).toBe('good');
    expect(known.check(5 as CryptoPeriod, secret(6))).toBe('mismatch');
    expect(known.check((perBlock + 1) as CryptoPeriod, secret(1))).toBe('unknown');
    expect(known.pinned).toMatchObject({ firstRelease: 3_000_000, delta: 150_000 });
  });

  test('only schedules signed by a key the session was told, for this event', async () => {
    const known = fresh();
    expect(await known.offer(await sign(schedule(0), other))).toBe('forged');
    expect(await known.offer(await sign(schedule(0), signing, 'stranger'))).toBe('forged');
    expect(await known.offer(await sign(schedule(0, { event: assetId('another') })))).toBe('forged');
    expect(await known.offer('x.y.z')).toBe('forged');
    const good = await sign(schedule(0));
    expect(await known.offer(`${good.slice(0, -4)}AAAA`)).toBe('forged');
    expect(known.pinned).toBeUndefined();
  });

  test('T0, P, δ and version never change; a second truth about one block is refused', async () => {
    const known = fresh();
    await known.offer(await sign(schedule(0)));
    for (const change of [{ firstRelease: 2_000_000 as Micros }, { delta: 100_000 as Micros }, { version: 2 }, { mode: 'strict' as const }]) expect(await known.offer(await sign(schedule(1, change)))).toBe('contradicts');
    expect(await known.offer(await sign(schedule(0, {}, 9)))).toBe('contradicts');
    expect(known.check(5 as CryptoPeriod, secret(5))).toBe('good');
    // Two key servers sign the same.
    expect(await known.offer(await sign(schedule(0)))).toBe('known');
  });
});

describe('release access of a session', () => {
  test('addresses relative to the server, keys by kid; everything else is bad-request', async () => {
    const { publicJwk } = await makeKeyPair('sign');
    const good = { token: 'a.b.c', expires: 5, urls: ['/', 'https://edge-2.example'], keys: [{ ...publicJwk, kid: 'ks-1' }] };
    const access = await readReleaseAccess(good, 'https://tv.example/v1/sessions');
    expect(access.urls).toEqual(['https://tv.example/', 'https://edge-2.example/']);
    expect([...access.keys.keys()]).toEqual(['ks-1']);
    for (const bad of [undefined, [], {}, { ...good, urls: [] }, { ...good, urls: ['ftp://x'] }, { ...good, keys: [publicJwk] }, { ...good, keys: ['x'] }, { ...good, token: 7 }]) {
      await expect(readReleaseAccess(bad, 'https://tv.example/')).rejects.toMatchObject({ code: 'bad-request' });
    }
  });
});
