// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { clipBytes, expectTypedOutcome, hostile, smallClip } from '../../../test/vectors/clips.ts';
import { readBoxes, writeBox } from './box.ts';
import { createBoxSplitter } from './box-splitter.ts';
import type { CmafPiece } from './box-splitter.ts';
import { writeBrands } from './segment-boxes.ts';

const failing = (code: string): unknown => expect.objectContaining({ code });
/** Feeds `bytes` in reads of the given sizes, over and over. */
const feed = (bytes: Uint8Array, reads: readonly number[], options = {}): CmafPiece[] => {
  const splitter = createBoxSplitter(options);
  const pieces: CmafPiece[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = reads[i % reads.length] as number;
    pieces.push(...splitter.push(bytes.subarray(at, at + size)));
    at += size;
  }
  splitter.end();
  return pieces;
};

describe('BoxSplitter', () => {
  const file = clipBytes('avc');
  const whole = feed(file, [file.length]);

  it('cuts a file into its init segment and chunks and loses nothing', () => {
    expect(whole.map((piece) => piece.kind)).toEqual(['init', 'chunk', 'chunk', 'chunk', 'chunk']);
    expect(concatBytes(...whole.map((piece) => piece.bytes))).toEqual(file);
  });

  it('does so wherever the reads fall', () => {
    expect(feed(file, [1])).toEqual(whole);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 6 }), (reads) => void expect(feed(file, reads)).toEqual(whole)),
      { numRuns: 60 },
    );
  });

  it('keeps its own copy of what it was fed', () => {
    const splitter = createBoxSplitter();
    const read = file.slice();
    const pieces = splitter.push(read);
    read.fill(0);
    expect(pieces).toEqual(whole);
  });

  it('keeps styp, prft, emsg and uuid with their chunk, drops sidx, free and mfra, takes a new init segment', () => {
    const { init, fragments } = smallClip('avc');
    const chunk = concatBytes(
      writeBrands('styp', 'cmfs', ['msdh']),
      writeBox('prft', new Uint8Array(24)),
      writeBox('emsg', new Uint8Array(9)),
      writeBox('uuid', new Uint8Array(20)),
      fragments[0] as Uint8Array,
    );
    const stream = concatBytes(init, writeBox('sidx', new Uint8Array(50)), chunk, writeBox('free', new Uint8Array(3)), init, fragments[1] as Uint8Array, writeBox('mfra'));
    expect(feed(stream, [100])).toEqual([
      { kind: 'init', bytes: init },
      { kind: 'chunk', bytes: chunk },
      { kind: 'init', bytes: init },
      { kind: 'chunk', bytes: fragments[1] },
    ]);
  });

  it('drops a box between styp and moof without losing the styp', () => {
    const styp = writeBrands('styp', 'msdh', []);
    const moof = writeBox('moof');
    const mdat = writeBox('mdat');
    expect(feed(concatBytes(styp, writeBox('sidx', new Uint8Array(7)), moof, mdat), [5])).toEqual([{ kind: 'chunk', bytes: concatBytes(styp, moof, mdat) }]);
  });

  it('refuses what is no fragmented MP4, at the first box', () => {
    const progressive = concatBytes(writeBrands('ftyp', 'isom', []), writeBox('mdat', new Uint8Array(9)));
    expect(() => feed(writeBox('mdat', new Uint8Array(9)), [64])).toThrow(failing('media-unsupported'));
    expect(() => feed(progressive, [64])).toThrow(/movflags/);
    expect(() =>
      feed(
        Uint8Array.from('#EXTM3U\n#EXT-X-VERSION:3\n', (c) => c.charCodeAt(0)),
        [64],
      ),
    ).toThrow(failing('media-unsupported'));
    expect(() => feed(concatBytes(writeBox('moof'), writeBox('moof')), [64])).toThrow(failing('media-malformed'));
    expect(() => feed(Uint8Array.of(0, 0, 0, 0, 0x6d, 0x6f, 0x6f, 0x66), [64])).toThrow(failing('media-unsupported'));
  });

  it('bounds memory before a byte of a too large box is kept', () => {
    const header = (size: number, type: string): Uint8Array => {
      const bytes = writeBox(type);
      new DataView(bytes.buffer).setUint32(0, size);
      return bytes;
    };
    const options = { maxInit: 1000, maxChunk: 2000 };
    expect(() => createBoxSplitter(options).push(header(1001, 'moov'))).toThrow(failing('media-too-large'));
    expect(() => createBoxSplitter(options).push(concatBytes(writeBox('moof', new Uint8Array(1000)), header(1000, 'mdat')))).toThrow(failing('media-too-large'));
    expect(() => createBoxSplitter(options).push(concatBytes(writeBox('emsg', new Uint8Array(1500)), header(900, 'emsg')))).toThrow(failing('media-too-large'));
    expect(() => createBoxSplitter(options).push(concatBytes(writeBox('free', new Uint8Array(1500)), header(900, 'free')))).toThrow(failing('media-too-large'));
    expect(createBoxSplitter(options).push(concatBytes(writeBox('moof', new Uint8Array(982)), writeBox('mdat', new Uint8Array(1002))))).toHaveLength(1);
  });

  it('says so where the stream ends inside a piece', () => {
    for (const cut of [3, 20, (whole[0] as CmafPiece).bytes.length + 60, file.length - 1])
      expect(() => feed(file.subarray(0, cut), [file.length]), String(cut)).toThrow(failing('media-truncated'));
  });

  it('survives hostile variations in any reads', () => {
    fc.assert(
      fc.property(hostile(file), fc.integer({ min: 1, max: 5000 }), (bytes, size) =>
        expectTypedOutcome(() => {
          for (const piece of feed(bytes, [size])) expect(readBoxes(piece.bytes).length).toBeGreaterThan(0);
        }),
      ),
      { numRuns: 300 },
    );
  });
});
