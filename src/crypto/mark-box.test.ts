// SPDX-License-Identifier: Apache-2.0
/** Sealed boxes open before their chunk, under their key, and nowhere else; a vector made without WebCrypto. */
import { createCipheriv, createHash, hkdfSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { assetId } from '#core/ids.ts';
import { encodeProfile, type MarkProfile, marksOf } from '#core/mark/index.ts';
import { createMarkBoxOpener, createMarkBoxSealer } from './mark-box.ts';

const PLACE = { asset: assetId('derby'), representation: 'v720', segment: 900_000_001 };
const MASTER = new Uint8Array(32).fill(3);
const EPOCH = Math.floor(PLACE.segment / 512);
const chunk = Uint8Array.from({ length: 300 }, (_, i) => i & 255);
const nonce = Uint8Array.from({ length: 12 }, (_, i) => i + 1);
const profile: MarkProfile = { slots: 16, size: chunk.length, sites: marksOf([{ offset: 5, slot: 3, group: 1, mask: Uint8Array.of(1, 0, 2) }, { offset: 100, slot: 0, group: 0, mask: Uint8Array.of(9) }]) };
const seal = (): Promise<Uint8Array> => createMarkBoxSealer({ ...PLACE, packagerStart: 7 }).seal(PLACE.segment, profile, [chunk.subarray(0, 100), chunk.subarray(100)], MASTER, nonce);
const opener = (place: Partial<typeof PLACE> = {}, master: Uint8Array | undefined = MASTER): ReturnType<typeof createMarkBoxOpener> => createMarkBoxOpener({ ...PLACE, ...place }, (epoch) => (epoch === EPOCH ? master : undefined));

/** u16 length and bytes, as docs/wire/keys.md has it. */
const field = (bytes: Uint8Array | string): Buffer => Buffer.concat([Buffer.from([0, bytes.length]), Buffer.from(bytes as string)]);
const u64 = (value: number): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
};
const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};

describe('mark boxes', () => {
  it('are what docs/wire/mark-box.md says, byte for byte', async () => {
    const plain = encodeProfile(profile);
    const info = Buffer.concat([field('sealcast/1/mark-box'), field('derby'), field('v720'), field(u64(PLACE.segment)), field(u32(7))]);
    const key = Buffer.from(hkdfSync('sha256', MASTER, new Uint8Array(0), info, 32));
    const head = Buffer.concat([u32(24 + 1 + 4 + 4 + 12 + plain.length + 16), Buffer.from('uuid'), Buffer.from('5d0e3a9c71b44f628a27d9461fc805e3', 'hex'), Buffer.from([1]), u32(EPOCH), u32(7), nonce]);
    const cipher = createCipheriv('aes-256-gcm', key, nonce);
    cipher.setAAD(Buffer.concat([head, createHash('sha256').update(chunk).digest()]));
    const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
    expect(Buffer.from(await seal()).toString('hex')).toBe(Buffer.concat([head, sealed]).toString('hex'));
  });
  it('open before their chunk', async () => {
    expect(await opener().open(await seal(), chunk)).toEqual(profile);
  });
  it.each<[string, string, Partial<typeof PLACE>, Uint8Array | undefined]>([
    ['another asset', 'not-authentic', { asset: assetId('cup') }, MASTER],
    ['another rendition', 'not-authentic', { representation: 'v360' }, MASTER],
    ['another segment', 'not-authentic', { segment: PLACE.segment + 1 }, MASTER],
    ['another epoch', 'not-authentic', { segment: PLACE.segment + 512 }, MASTER],
    ['another key', 'not-authentic', {}, new Uint8Array(32)],
    ['no key', 'no-key', {}, undefined],
  ])('do not open for %s', async (_name, answer, place, master) => {
    const masterOf = master === undefined ? createMarkBoxOpener({ ...PLACE, ...place }, () => undefined) : opener(place, master);
    expect(await masterOf.open(await seal(), chunk)).toBe(answer);
  });
  it('do not open with any bit turned, of the box or of the chunk', async () => {
    const box = await seal();
    await fc.assert(
      fc.asyncProperty(fc.nat(box.length * 8 - 1), async (bit) => {
        const turned = box.slice();
        turned[bit >> 3] = (turned[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(['malformed', 'not-authentic']).toContain(await opener().open(turned, chunk));
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(chunk.length * 8 - 1), async (bit) => {
        const turned = chunk.slice();
        turned[bit >> 3] = (turned[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(await opener().open(box, turned)).toBe('not-authentic');
      }),
    );
  });
  it('with a profile that is not of their chunk are malformed, even from who has the key', async () => {
    const sealer = createMarkBoxSealer({ ...PLACE, packagerStart: 7 });
    expect(await opener().open(await sealer.seal(PLACE.segment, { ...profile, size: 299 }, [chunk], MASTER, nonce), chunk)).toBe('malformed');
  });
});
