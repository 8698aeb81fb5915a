// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeHex, encodeHex } from '#core/bytes/hex.ts';
import { clipBytes, expectTypedOutcome, hostile } from '../../../test/vectors/clips.ts';
import { descend, findBox, MAX_BOX_HEADER, onlyBox, readBoxes, readBoxHeader, readFullBox, writeBox, writeFullBox } from './box.ts';
import { editBoxes, editChildren, withBody } from './rewrite.ts';

const failing = (code: string): unknown => expect.objectContaining({ code });
/** A box with a 64-bit size. */
const large = (type: string, body: Uint8Array): Uint8Array => {
  const small = writeBox(type, body);
  const out = concatBytes(decodeHex('00000001'), small.subarray(4, 8), new Uint8Array(8), body);
  new DataView(out.buffer).setBigUint64(8, BigInt(out.length));
  return out;
};

describe('reading boxes', () => {
  it('reads 32-bit, 64-bit, uuid and open-ended sizes', () => {
    const uuid = writeBox('uuid', new Uint8Array(16).fill(9), Uint8Array.of(1, 2));
    const open = concatBytes(decodeHex('00000000'), decodeHex('6d646174'), Uint8Array.of(5, 6));
    const boxes = readBoxes(concatBytes(writeBox('free'), large('mdat', Uint8Array.of(1)), uuid, open));
    expect(boxes.map(({ type, start, headerSize, body }) => [type, start, headerSize, [...body]])).toEqual([
      ['free', 0, 8, []],
      ['mdat', 8, 16, [1]],
      ['uuid', 25, 24, [1, 2]],
      ['mdat', 51, 8, [5, 6]],
    ]);
    expect(Math.max(...boxes.map((box) => box.headerSize))).toBeLessThanOrEqual(MAX_BOX_HEADER);
  });

  it('refuses hostile sizes, each with its code', () => {
    const header = (hex: string): Uint8Array => decodeHex(hex);
    for (const [hex, code] of [
      ['00000007 6d6f6f76', 'media-malformed'],
      ['00000009 6d6f6f76', 'media-truncated'],
      ['ffffffff 6d6f6f76', 'media-truncated'],
      ['00000001 6d6f6f76 0000000000000008', 'media-malformed'],
      ['00000001 6d6f6f76 0000000000000000', 'media-malformed'],
      ['00000001 6d6f6f76 ffffffffffffffff', 'media-malformed'],
      ['00000001 6d6f6f76 00200000', 'media-truncated'],
      ['00000010 75756964 0000000000000000', 'media-truncated'],
      ['00000014 75756964 000000000000000000000000 00000000', 'media-malformed'],
      ['000000', 'media-truncated'],
    ] as const) {
      expect(() => readBoxes(header(hex.replaceAll(' ', ''))), hex).toThrow(failing(code));
    }
    expect(readBoxHeader(new Uint8Array(7))).toBeUndefined();
  });

  it('finds children by path and says what is missing or there twice', () => {
    const [moov] = readBoxes(writeBox('moov', writeBox('trak', writeFullBox('tkhd', 1, 7, Uint8Array.of(42))), writeBox('free'), writeBox('free')));
    if (moov === undefined) throw new Error('no box');
    const { version, flags, reader } = readFullBox(descend(moov, 'trak/tkhd'));
    expect([version, flags, reader.u8()]).toEqual([1, 7, 42]);
    expect(() => descend(moov, 'trak/mdia')).toThrow(failing('media-malformed'));
    expect(() => onlyBox(readBoxes(moov.body), 'free', 'moov')).toThrow(failing('media-malformed'));
    expect(findBox(readBoxes(moov.body), 'free')?.start).toBe(21);
  });

  it('survives hostile variations of a real file', () => {
    const deep = (bytes: Uint8Array, depth: number): void => {
      for (const box of readBoxes(bytes)) if (depth < 8 && ['moov', 'trak', 'mdia', 'minf', 'stbl', 'moof', 'traf', 'mvex'].includes(box.type)) deep(box.body, depth + 1);
    };
    fc.assert(
      fc.property(hostile(clipBytes('aac')), (bytes) => expectTypedOutcome(() => deep(bytes, 0))),
      { numRuns: 500 },
    );
  });
});

describe('rewriting boxes', () => {
  const tree = concatBytes(writeBox('ftyp', Uint8Array.of(1)), large('moov', concatBytes(writeBox('trak', Uint8Array.of(2)), writeBox('udta', Uint8Array.of(3)))));

  it('returns the very same bytes where nothing changes', () => {
    expect(editBoxes(tree, () => undefined)).toBe(tree);
    expect(editBoxes(tree, (box) => (box.type === 'moov' ? editChildren(box, 0, (child) => child.bytes) : undefined))).toBe(tree);
  });

  it('replaces, removes and appends; keeps the width of the size field', () => {
    const edited = editBoxes(tree, (box) =>
      box.type === 'moov' ? editChildren(box, 0, (child) => (child.type === 'udta' ? [] : withBody(child, [Uint8Array.of(7, 8)])), [writeBox('pssh')]) : undefined,
    );
    const [ftyp, moov] = readBoxes(edited);
    expect(encodeHex(ftyp?.bytes ?? new Uint8Array())).toBe(encodeHex(tree.subarray(0, 9)));
    expect(moov?.headerSize).toBe(16);
    expect(readBoxes(moov?.body ?? new Uint8Array()).map((box) => [box.type, [...box.body]])).toEqual([
      ['trak', [7, 8]],
      ['pssh', []],
    ]);
  });

  it('removes top-level boxes and refuses a prefix longer than the box', () => {
    expect(readBoxes(editBoxes(tree, (box) => (box.type === 'ftyp' ? [] : undefined))).map((box) => box.type)).toEqual(['moov']);
    expect(() => editBoxes(tree, (box) => editChildren(box, 5, () => undefined))).toThrow(failing('media-truncated'));
  });
});
