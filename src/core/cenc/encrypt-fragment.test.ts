// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeSampleAes } from '#adapters/node/aes.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import type { ContentKey, KeyId } from '#core/ids.ts';
import { descend, readBoxes, writeBox } from '#core/isobmff/box.ts';
import type { Box } from '#core/isobmff/box.ts';
import { withDataOffset } from '#core/isobmff/fragment-writer.ts';
import { parseInit } from '#core/isobmff/init.ts';
import { editBoxes, editChildren } from '#core/isobmff/rewrite.ts';
import { writeBrands } from '#core/isobmff/segment-boxes.ts';
import { expectTypedOutcome, hostile, smallClip } from '../../../test/vectors/clips.ts';
import { createFragmentEncrypter } from './encrypt-fragment.ts';
import { gatherPattern, patternLength, scatterPattern } from './pattern.ts';
import { protectInit, unprotectInit } from './protect-init.ts';
import { parsePssh, W3C_COMMON_SYSTEM_ID, writePssh } from './pssh.ts';
import { maxSubsamples } from './subsamples.ts';

const KID = decodeHex('00112233445566778899aabbccddeeff') as KeyId;
const KEY = new Uint8Array(16).fill(3) as ContentKey;
const IV = decodeHex('0f0e0d0c0b0a09080706050403020100');
const failing = (code: string): unknown => expect.objectContaining({ code });
const moofOf = (bytes: Uint8Array): Box => readBoxes(bytes).find((box) => box.type === 'moof') as Box;
const hexOf = (bytes: Uint8Array | undefined): string => encodeHex(bytes ?? new Uint8Array());

/** A trun whose data offset leaves room for a second one. */
const grown = (trun: Box): Uint8Array => withDataOffset(trun, trun.bytes.length);

describe('encrypted fragments', () => {
  it('carry their boxes in the order players expect, saio pointing at the first entry of senc', () => {
    const { track, fragments } = smallClip('avc');
    const encrypter = createFragmentEncrypter({ scheme: 'cenc', track, aes: nodeSampleAes, signalling: 'fragment', psshInFragments: true });
    const { bytes, samples, nextIv } = encrypter.encrypt(fragments[0] as Uint8Array, { kid: KID, key: KEY, firstIv: 0x1122334455667788n });
    expect([samples, nextIv]).toEqual([5, 0x112233445566778dn]);
    const moof = moofOf(bytes);
    expect(readBoxes(moof.body).map((box) => box.type)).toEqual(['mfhd', 'traf', 'pssh']);
    const traf = readBoxes(descend(moof, 'traf').body);
    expect(traf.map((box) => box.type)).toEqual(['tfhd', 'tfdt', 'trun', 'sgpd', 'sbgp', 'saiz', 'saio', 'senc']);
    const named = (type: string): string => hexOf(traf.find((box) => box.type === type)?.body);
    expect(named('sgpd')).toBe(`01000000${'73656967'}0000001400000001${'00000108'}${encodeHex(KID)}`);
    expect(named('sbgp')).toBe(`00000000${'73656967'}000000010000000500010001`);
    const offset = Number.parseInt(named('saio').slice(16), 16);
    expect(hexOf(bytes.subarray(moof.start + offset, moof.start + offset + 8))).toBe('1122334455667788');
    expect(named('senc').slice(0, 32)).toBe('00000002000000051122334455667788');
  });

  it('name the cbcs pattern and constant vector; audio needs no auxiliary information at all', () => {
    const { track, fragments } = smallClip('aac');
    const encrypter = createFragmentEncrypter({ scheme: 'cbcs', track, aes: nodeSampleAes, signalling: 'fragment' });
    const { bytes } = encrypter.encrypt(fragments[0] as Uint8Array, { kid: KID, key: KEY, constantIv: IV });
    const traf = readBoxes(descend(moofOf(bytes), 'traf').body);
    expect(traf.map((box) => box.type)).toEqual(['tfhd', 'tfdt', 'trun', 'sgpd', 'sbgp']);
    expect(hexOf(traf[3]?.body)).toBe(`01000000${'73656967'}0000002500000001${'00000100'}${encodeHex(KID)}10${encodeHex(IV)}`);
    const video = smallClip('avc');
    const sealed = createFragmentEncrypter({ scheme: 'cbcs', track: video.track, aes: nodeSampleAes, signalling: 'track' }).encrypt(video.fragments[0] as Uint8Array, {
      kid: KID,
      key: KEY,
      constantIv: IV,
    });
    expect(readBoxes(descend(moofOf(sealed.bytes), 'traf').body).map((box) => box.type)).toEqual(['tfhd', 'tfdt', 'trun', 'saiz', 'saio', 'senc']);
    expect(sealed.protectedBytes).toBeGreaterThan(sealed.clearBytes);
  });

  it('keep styp, prft and unknown boxes byte for byte', () => {
    const { track, fragments } = smallClip('avc');
    const front = concatBytes(writeBrands('styp', 'cmfs', []), writeBox('prft', new Uint8Array(24).fill(8)), writeBox('uuid', new Uint8Array(20).fill(9)));
    const bytes = concatBytes(front, fragments[0] as Uint8Array);
    const result = createFragmentEncrypter({ scheme: 'cenc', track, aes: nodeSampleAes, signalling: 'track' }).encrypt(bytes, { kid: KID, key: KEY, firstIv: 0n });
    expect(hexOf(result.bytes.subarray(0, front.length))).toBe(hexOf(front));
  });

  it('are the same in place and copied; only in place touches the source', () => {
    for (const name of ['avc', 'aac'] as const) {
      for (const scheme of ['cenc', 'cbcs'] as const) {
        const { track, fragments } = smallClip(name);
        const key = { kid: KID, key: KEY, ...(scheme === 'cenc' ? { firstIv: 7n } : { constantIv: IV }) };
        const options = { scheme, track, aes: nodeSampleAes, signalling: 'fragment', psshInFragments: true } as const;
        const [copying, inPlace] = [createFragmentEncrypter(options), createFragmentEncrypter(options)];
        for (const fragment of fragments) {
          const before = fragment.slice();
          const { bytes, ...copied } = copying.encrypt(fragment, key);
          expect(fragment).toEqual(before);
          const { parts, ...placed } = inPlace.encryptInPlace(fragment, key);
          expect(hexOf(concatBytes(...parts))).toBe(hexOf(bytes));
          expect(placed).toEqual(copied);
          expect(parts[1].buffer).toBe(fragment.buffer);
          expect(hexOf(fragment)).not.toBe(hexOf(before));
        }
      }
    }
  });

  it('never wrap the vector, never take a wrong key, never encrypt twice', () => {
    const { track, fragments } = smallClip('aac');
    const fragment = fragments[0] as Uint8Array;
    const cenc = createFragmentEncrypter({ scheme: 'cenc', track, aes: nodeSampleAes, signalling: 'fragment' });
    const cbcs = createFragmentEncrypter({ scheme: 'cbcs', track, aes: nodeSampleAes, signalling: 'fragment' });
    expect(() => cenc.encrypt(fragment, { kid: KID, key: KEY })).toThrow(RangeError);
    expect(() => cenc.encrypt(fragment, { kid: KID, key: KEY, firstIv: 0xffffffffffffffffn })).toThrow(/64 bits/);
    expect(() => cenc.encrypt(fragment, { kid: KID, key: new Uint8Array(15) as ContentKey, firstIv: 0n })).toThrow(RangeError);
    expect(() => cenc.encrypt(fragment, { kid: new Uint8Array(3) as KeyId, key: KEY, firstIv: 0n })).toThrow(RangeError);
    expect(() => cbcs.encrypt(fragment, { kid: KID, key: KEY, constantIv: new Uint8Array(8) })).toThrow(RangeError);
    const once = cenc.encrypt(fragment, { kid: KID, key: KEY, firstIv: 0n }).bytes;
    expect(() => cenc.encrypt(once, { kid: KID, key: KEY, firstIv: 0n })).toThrow(failing('media-unsupported'));
  });

  it('are refused where samples share bytes', () => {
    const { track, fragments } = smallClip('aac');
    const twice = editBoxes(fragments[0] as Uint8Array, (moof) =>
      moof.type !== 'moof'
        ? undefined
        : editChildren(moof, 0, (traf) => (traf.type !== 'traf' ? undefined : editChildren(traf, 0, (box) => (box.type === 'trun' ? [grown(box), grown(box)] : undefined)))),
    );
    const encrypter = createFragmentEncrypter({ scheme: 'cbcs', track, aes: nodeSampleAes, signalling: 'fragment' });
    expect(() => encrypter.encrypt(twice, { kid: KID, key: KEY, constantIv: IV })).toThrow(/share bytes/);
  });

  it('are refused for what cannot be protected, saying what to do', () => {
    const { track } = smallClip('avc');
    const create =
      (change: object): (() => unknown) =>
      () =>
        createFragmentEncrypter({ scheme: 'cenc', track: { ...track, ...change }, aes: nodeSampleAes, signalling: 'fragment' });
    expect(create({ format: 'hvc1' })).toThrow(/libx264/);
    expect(create({ kind: 'text' })).toThrow(failing('media-unsupported'));
    expect(create({ protection: { scheme: 'cenc', defaults: {} } })).toThrow(/encrypted already/);
  });

  it('survive hostile sources', () => {
    for (const name of ['avc', 'aac'] as const) {
      const { track, fragments } = smallClip(name);
      fc.assert(
        fc.property(hostile((fragments[0] as Uint8Array).subarray(0, 900)), (head) =>
          expectTypedOutcome(() => {
            const encrypter = createFragmentEncrypter({ scheme: 'cenc', track, aes: nodeSampleAes, signalling: 'fragment' });
            encrypter.encrypt(concatBytes(head, (fragments[0] as Uint8Array).subarray(900)), { kid: KID, key: KEY, firstIv: 0n });
          }),
        ),
        { numRuns: 500 },
      );
    }
  });
});

describe('protected init segments', () => {
  it('lay out sinf as 23001-7 says and come back byte for byte', () => {
    const { init } = smallClip('avc');
    const sealed = protectInit(init, { scheme: 'cbcs', defaultKid: KID, constantIv: IV });
    const sinf = `73696e66${'0000000c66726d6161766331'}${'00000014' + '7363686d' + '00000000' + '63626373' + '00010000'}${'00000039' + '73636869' + '00000031' + '74656e63' + '01000000' + '00190100'}${encodeHex(KID)}10${encodeHex(IV)}`;
    expect(encodeHex(sealed)).toContain(sinf);
    const { tracks, pssh } = parseInit(sealed);
    expect(tracks[0]).toMatchObject({ format: 'avc1', protection: { scheme: 'cbcs', defaults: { isProtected: true, ivSize: 0, cryptBlocks: 1, skipBlocks: 9 } } });
    expect(pssh.map(encodeHex)).toEqual([`000000347073736801000000${encodeHex(W3C_COMMON_SYSTEM_ID)}00000001${encodeHex(KID)}00000000`]);
    expect(unprotectInit(sealed)).toEqual(init);
    expect(unprotectInit(init)).toBe(init);
    expect(parseInit(protectInit(init, { scheme: 'cenc', defaultKid: KID, psshKids: [] })).pssh).toEqual([]);
    expect(encodeHex(protectInit(init, { scheme: 'cenc', defaultKid: KID }))).toContain(`74656e63${'00000000' + '00000108'}${encodeHex(KID)}`);
    expect(() => protectInit(sealed, { scheme: 'cenc', defaultKid: KID })).toThrow(failing('media-unsupported'));
  });

  it('survive hostile variations', () => {
    for (const name of ['avc', 'aac'] as const) {
      const { init } = smallClip(name);
      const sealed = protectInit(init, { scheme: 'cenc', defaultKid: KID });
      fc.assert(
        fc.property(hostile(init), (bytes) => expectTypedOutcome(() => protectInit(bytes, { scheme: 'cenc', defaultKid: KID }))),
        { numRuns: 400 },
      );
      fc.assert(
        fc.property(hostile(sealed), (bytes) => expectTypedOutcome(() => [unprotectInit(bytes), parseInit(bytes)])),
        { numRuns: 400 },
      );
    }
  });
});

describe('pssh', () => {
  it('is read as written, in a list, and version 0 too', () => {
    const other = new Uint8Array(16).fill(1) as KeyId;
    const list = concatBytes(writePssh([KID, other]), writeBox('pssh', new Uint8Array(4), new Uint8Array(16).fill(7), Uint8Array.of(0, 0, 0, 2, 5, 6)));
    expect(parsePssh(list)).toEqual([
      { systemId: W3C_COMMON_SYSTEM_ID, kids: [KID, other], data: new Uint8Array(0) },
      { systemId: new Uint8Array(16).fill(7), kids: [], data: Uint8Array.of(5, 6) },
    ]);
    expect(() => parsePssh(writeBox('free'))).toThrow(failing('media-malformed'));
    fc.assert(
      fc.property(hostile(list), (bytes) => expectTypedOutcome(() => parsePssh(bytes))),
      { numRuns: 500 },
    );
  });
});

describe('patterns', () => {
  it('gather and scatter exactly the ciphered blocks', () => {
    const pattern = fc.record({ crypt: fc.integer({ min: 1, max: 15 }), skip: fc.integer({ min: 0, max: 15 }) });
    fc.assert(
      fc.property(pattern, fc.nat({ max: 900 }), fc.nat({ max: 20 }), (one, length, from) => {
        const source = Uint8Array.from({ length: from + length + 5 }, (_, i) => (i * 11) & 255);
        const expected: number[] = [];
        for (let i = 0; i + 16 <= length; i += 16) if (one.skip === 0 || (i / 16) % (one.crypt + one.skip) < one.crypt) for (let n = 0; n < 16; n++) expected.push(from + i + n);
        const gathered = new Uint8Array(patternLength(length, one));
        expect(gatherPattern(source, from, length, one, gathered, 0)).toBe(expected.length);
        expect([...gathered]).toEqual(expected.map((at) => source[at]));
        const target = source.slice().fill(1);
        scatterPattern(gathered, 0, target, from, length, one);
        const touched = new Set(expected);
        expect([...target]).toEqual([...source].map((byte, at) => (touched.has(at) ? byte : 1)));
      }),
      { numRuns: 300 },
    );
  });

  it('fit the table sizes to one byte', () => {
    expect(8 + 2 + 6 * maxSubsamples('cenc')).toBeLessThanOrEqual(255);
    expect(8 + 2 + 6 * (maxSubsamples('cenc') + 1)).toBeGreaterThan(255);
    expect(2 + 6 * maxSubsamples('cbcs')).toBeLessThanOrEqual(255);
    expect(2 + 6 * (maxSubsamples('cbcs') + 1)).toBeGreaterThan(255);
  });
});
