// SPDX-License-Identifier: Apache-2.0
import { createCipheriv } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import type { KeyGroup, ProtectionScheme, ReleaseMode } from '#core/ids.ts';
import { ladderHash as hash } from '#crypto/ladder-hash.ts';
import { field, msg, u16, u32, u64, u8 } from './encoding.ts';
import { accountHash, contentKey, grantKey, keyIdOf, leafWrapKey, markBoxKey, markKey, mediaTokenKey, releaseCommitment, releaseSecret, renewalKey, sessionKey, stateKey, zoneKey } from './ladder.ts';
import { openNodes, unlockKeysBelow } from './unlock.ts';

type Session = { z: string; sid: string; accountHash: string; deviceThumbprint: string; asset: string; gen: number; ZK: string; SK: string; RK: string; STK: string };
type Vectors = {
  inputs: Record<'TK' | 'K' | 'MK' | 'MW' | 'MEK' | 'rootKey' | 'assetSalt', string>;
  grant: { asset: string; gen: number; g: number; GK: string }[];
  release: { eventId: string; p: string; RS: string }[];
  content: { mode: ReleaseMode; scheme: ProtectionScheme; asset: string; gen: number; p: string; t: KeyGroup; g: number; CEK: string; KID: string }[];
  session: Session[];
  unlock: { session: number; g: number; root: string; depth4: string; leaf: string; UK: string }[];
  wrap: { session: number; g: number; wrapped: string }[];
  commit: { eventId: string; version: number; p: string; T: string; commit: string }[];
  leaf: { title: string; gen: number; kek: string; leaf: string }[];
  mark: { epoch: string; key: string }[];
  box: { asset: string; representation: string; segment: string; packagerStart: number; key: string }[];
};
const vectors = JSON.parse(readFileSync(new URL('../../../test/vectors/ladder.json', import.meta.url), 'utf8')) as Vectors;
const input = (name: keyof Vectors['inputs']): Uint8Array => decodeHex(vectors.inputs[name]);
const skOf = (index: number): Uint8Array => decodeHex((vectors.session[index] as Session).SK);
const wrap = (kek: Uint8Array, key: Uint8Array): string => {
  const cipher = createCipheriv('id-aes256-wrap', kek, Buffer.alloc(8, 0xa6));
  return Buffer.concat([cipher.update(key), cipher.final()]).toString('hex');
};

describe('encoding', () => {
  it('prefixes every field with its length, the label first', () => {
    expect(encodeHex(msg('x', 'ab', u16(3)))).toBe(`000c${encodeHex(encodeUtf8('sealcast/1/x'))}0002616200020003`);
    expect(encodeHex(field(Uint8Array.of(7)))).toBe('000107');
  });
  it('writes integers big-endian and refuses what does not fit', () => {
    expect([u8(255), u16(258), u32(0xfffffffe), u64(2 ** 40 + 1)].map(encodeHex)).toEqual(['ff', '0102', 'fffffffe', '0000010000000001']);
    for (const broken of [() => u8(256), () => u16(-1), () => u32(1.5), () => u32(2 ** 32), () => u64(2 ** 53), () => field(new Uint8Array(65536)), () => msg('x', new Uint8Array(65536))]) expect(broken).toThrow(RangeError);
  });
});

describe('ladder vectors', () => {
  it('grant keys', () => {
    for (const v of vectors.grant) expect(encodeHex(grantKey(hash, input('TK'), v.asset, v.gen, v.g))).toBe(v.GK);
  });
  it('release secrets and commitments', () => {
    for (const v of vectors.release) expect(encodeHex(releaseSecret(hash, input('K'), v.eventId, Number(v.p)))).toBe(v.RS);
    for (const v of vectors.commit) {
      const secret = releaseSecret(hash, input('K'), v.eventId, Number(v.p));
      expect(encodeHex(releaseCommitment(hash, { eventId: v.eventId, version: v.version, period: Number(v.p), releaseAt: Number(v.T) }, secret))).toBe(v.commit);
    }
  });
  it('content keys and key ids', () => {
    for (const v of vectors.content) {
      const gk = grantKey(hash, input('TK'), v.asset, v.gen, v.g);
      const secret = v.mode === 'timed' ? releaseSecret(hash, input('K'), v.asset, Number(v.p)) : undefined;
      expect(encodeHex(contentKey(hash, gk, v, Number(v.p), v.t, secret))).toBe(v.CEK);
      expect(encodeHex(keyIdOf(hash, input('assetSalt'), v, Number(v.p), v.t))).toBe(v.KID);
    }
  });
  it('session keys', () => {
    for (const v of vectors.session) {
      const zk = zoneKey(hash, input('MK'), v.z);
      expect(encodeHex(zk)).toBe(v.ZK);
      const sk = sessionKey(hash, zk, { sid: decodeHex(v.sid), accountHash: decodeHex(v.accountHash), device: decodeHex(v.deviceThumbprint), asset: v.asset, gen: v.gen });
      expect([sk, renewalKey(hash, sk), stateKey(hash, sk)].map(encodeHex)).toEqual([v.SK, v.RK, v.STK]);
    }
  });
  it('unlock tree and grant wraps', () => {
    for (const v of vectors.unlock) {
      const block = Math.floor(v.g / 256);
      const at = (from: number, to: number) => openNodes(hash, skOf(v.session), from, to)[0];
      expect(encodeHex(at(block * 256, block * 256 + 256)?.key ?? new Uint8Array())).toBe(v.root);
      const sixteen = Math.floor(v.g / 16) * 16;
      expect(encodeHex(at(sixteen, sixteen + 16)?.key ?? new Uint8Array())).toBe(v.depth4);
      const leaf = at(v.g, v.g + 1);
      expect(leaf).toMatchObject({ block, depth: 8, path: v.g % 256 });
      expect(encodeHex(leaf?.key ?? new Uint8Array())).toBe(v.leaf);
      expect(leaf === undefined ? '' : encodeHex(unlockKeysBelow(hash, leaf)[0]?.key ?? new Uint8Array())).toBe(v.UK);
    }
    for (const v of vectors.wrap) {
      const uk = vectors.unlock.find((u) => u.session === v.session && u.g === v.g)?.UK ?? '';
      const gk = vectors.grant.find((g) => g.gen === 1 && g.g === v.g && g.asset === vectors.session[v.session]?.asset)?.GK;
      const key = gk === undefined ? grantKey(hash, input('TK'), (vectors.session[v.session] as Session).asset, 1, v.g) : decodeHex(gk);
      expect(wrap(decodeHex(uk), key)).toBe(v.wrapped);
    }
  });
  it('leaves, marks and mark boxes', () => {
    for (const v of vectors.leaf) {
      const kek = leafWrapKey(hash, input('rootKey'), v.title, v.gen);
      expect(encodeHex(kek)).toBe(v.kek);
      expect(wrap(kek, input('TK'))).toBe(v.leaf);
    }
    for (const v of vectors.mark) expect(encodeHex(markKey(hash, input('MW'), Number(v.epoch)))).toBe(v.key);
    for (const v of vectors.box) expect(encodeHex(markBoxKey(hash, input('MEK'), { ...v, segment: Number(v.segment) }))).toBe(v.key);
  });
});

describe('ladder rules', () => {
  it('takes a release secret for timed assets and only for them', () => {
    const gk = grantKey(hash, input('TK'), 'e', 1, 0);
    const binding = { asset: 'e', scheme: 'cenc', gen: 1 } as const;
    expect(() => contentKey(hash, gk, { ...binding, mode: 'timed' }, 0, 'video')).toThrow(RangeError);
    expect(() => contentKey(hash, gk, { ...binding, mode: 'untimed' }, 0, 'video', new Uint8Array(16))).toThrow(RangeError);
  });
  it('refuses an all-zero release secret', () => {
    expect(() => releaseSecret({ ...hash, hkdf: () => new Uint8Array(16) }, input('K'), 'e', 0)).toThrow(/must not be zero/);
  });
  it('hashes accounts and separates media-token keys by zone', () => {
    expect(encodeHex(accountHash(hash, 'account-1'))).toBe(encodeHex(hash.sha256(encodeUtf8('account-1'))));
    const keys = ['eu-1', 'us-1'].map((zone) => encodeHex(mediaTokenKey(hash, zoneKey(hash, input('MK'), zone))));
    expect(new Set(keys).size).toBe(2);
  });
});
