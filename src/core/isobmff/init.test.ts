// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeHex } from '#core/bytes/hex.ts';
import { encodeUtf8 } from '#core/bytes/utf8.ts';
import { expectTypedOutcome, hostile, smallClip } from '../../../test/vectors/clips.ts';
import { readBoxes, writeBox, writeFullBox } from './box.ts';
import type { Box } from './box.ts';
import { parseInit } from './init.ts';
import { editBoxes, editChildren } from './rewrite.ts';
import { parseSampleEntry } from './sample-entry.ts';

const failing = (code: string): unknown => expect.objectContaining({ code });
const { init: avc } = smallClip('avc');
const { init: aac } = smallClip('aac');

/** `init` with the boxes at a path (e.g. `moov/trak/mdia`) edited. */
const edit = (init: Uint8Array, path: string, change: (box: Box) => Uint8Array | readonly Uint8Array[]): Uint8Array => {
  const steps = path.split('/');
  const walk = (box: Box, at: number): Uint8Array | readonly Uint8Array[] | undefined => {
    if (box.type !== steps[at]) return undefined;
    return at === steps.length - 1 ? change(box) : editChildren(box, box.type === 'stsd' ? 8 : 0, (child) => walk(child, at + 1));
  };
  return editBoxes(init, (box) => walk(box, 0));
};
const audioEntry = (type: string, ...boxes: readonly Uint8Array[]): Box => {
  const fields = new Uint8Array(28);
  fields.set([0, 2], 16);
  fields.set(decodeHex('bb800000'), 24);
  return readBoxes(writeBox(type, fields, ...boxes))[0] as Box;
};
/** An `esds` with an object type and, for AAC, an AudioSpecificConfig. */
const esds = (objectType: number, config = ''): Uint8Array => {
  const specific = decodeHex(config);
  const tail = specific.length === 0 ? specific : concatBytes(Uint8Array.of(5, specific.length), specific);
  const decoder = concatBytes(Uint8Array.of(objectType), new Uint8Array(12), tail);
  return writeFullBox('esds', 0, 0, Uint8Array.of(3, 3 + 2 + decoder.length, 0, 1, 0, 4, decoder.length), decoder);
};

describe('parseInit', () => {
  it('reads an H.264 track as ffmpeg wrote it', () => {
    const { tracks, brands, fragmented, pssh } = parseInit(avc);
    expect(tracks).toHaveLength(1);
    expect(tracks[0]).toMatchObject({ id: 1, kind: 'video', handler: 'vide', format: 'avc1', timescale: 10240, language: 'und', video: { width: 96, height: 64 }, seig: [] });
    expect(tracks[0]?.codec).toMatch(/^avc1\.6400[0-9a-f]{2}$/);
    expect(tracks[0]?.avcC?.[0]).toBe(1);
    expect(fragmented).toBe(true);
    expect(pssh).toEqual([]);
    expect(brands?.compatible).toContain('cmfc');
  });

  it('reads an AAC track as ffmpeg wrote it', () => {
    expect(parseInit(aac).tracks[0]).toMatchObject({ kind: 'audio', format: 'mp4a', codec: 'mp4a.40.2', timescale: 48000, audio: { channels: 1, sampleRate: 48000 } });
  });

  it('prefers elng over mdhd, ignores a nonsense one', () => {
    const withElng = (text: string): Uint8Array =>
      edit(aac, 'moov/trak/mdia', (mdia) => editChildren(mdia, 0, () => undefined, [writeFullBox('elng', 0, 0, encodeUtf8(`${text}\0`))]));
    expect(parseInit(withElng('pt-BR')).tracks[0]?.language).toBe('pt-BR');
    expect(parseInit(withElng('"><x>')).tracks[0]?.language).toBe('und');
    const spanish = edit(aac, 'moov/trak/mdia/mdhd', (mdhd) => {
      const copy = mdhd.bytes.slice();
      copy.set([0x4e, 0x61], copy.length - 4);
      return copy;
    });
    expect(parseInit(spanish).tracks[0]?.language).toBe('ssa');
  });

  it('names the faults of a bad init segment', () => {
    expect(() => parseInit(new Uint8Array(0))).toThrow(failing('media-malformed'));
    expect(() => parseInit(edit(avc, 'moov', () => []))).toThrow(failing('media-malformed'));
    expect(() => parseInit(edit(avc, 'moov/trak', (trak) => [trak.bytes, trak.bytes]))).toThrow(/same id/);
    expect(() => parseInit(edit(avc, 'moov/trak', (trak) => new Array<Uint8Array>(65).fill(trak.bytes)))).toThrow(failing('media-too-large'));
    expect(() => parseInit(edit(avc, 'moov/trak/mdia/minf/stbl/stsd/avc1', (entry) => [entry.bytes, entry.bytes]))).toThrow(failing('media-unsupported'));
    expect(() => parseInit(edit(avc, 'moov/trak/mdia/minf/stbl/stsd/avc1', () => []))).toThrow(failing('media-malformed'));
    expect(() =>
      parseInit(
        edit(avc, 'moov/trak/mdia/mdhd', (mdhd) => {
          const copy = mdhd.bytes.slice();
          copy.fill(0, 20, 24);
          return copy;
        }),
      ),
    ).toThrow(/timescale 0/);
  });

  it('survives hostile variations', () => {
    for (const init of [avc, aac])
      fc.assert(
        fc.property(hostile(init), (bytes) => expectTypedOutcome(() => parseInit(bytes))),
        { numRuns: 700 },
      );
  });
});

describe('sample entries', () => {
  it.each([
    ['mp4a', esds(0x40, '1190'), 'mp4a.40.2', 2, 48000],
    ['mp4a', esds(0x40, '2b118800'), 'mp4a.40.5', 2, 24000],
    ['mp4a', esds(0x40, 'f8e850'), 'mp4a.40.39', 2, 44100],
    ['mp4a', esds(0x6b), 'mp4a.6b', 2, 48000],
    ['fLaC', writeBox('dfLa'), 'flac', 2, 48000],
    ['Opus', writeBox('dOps'), 'opus', 2, 48000],
    ['ac-3', writeBox('dac3'), 'ac-3', 2, 48000],
  ])('%s %#', (type, config, codec, channels, sampleRate) => {
    expect(parseSampleEntry('audio', audioEntry(type, config))).toMatchObject({ format: type, codec, audio: { channels, sampleRate } });
  });

  it('describes text by its four characters', () => {
    expect(parseSampleEntry('text', readBoxes(writeBox('wvtt', new Uint8Array(8)))[0] as Box)).toEqual({ format: 'wvtt', codec: 'wvtt' });
  });

  it('refuses descriptors that lie about their length', () => {
    const broken =
      (hex: string): (() => unknown) =>
      () =>
        parseSampleEntry('audio', audioEntry('mp4a', writeFullBox('esds', 0, 0, decodeHex(hex))));
    expect(broken('03ffffffff7f')).toThrow(failing('media-malformed'));
    expect(broken('0320000100')).toThrow(failing('media-truncated'));
    expect(broken('0403000100')).toThrow(failing('media-malformed'));
    expect(() => parseSampleEntry('audio', readBoxes(writeBox('mp4a', new Uint8Array(27)))[0] as Box)).toThrow(failing('media-truncated'));
    expect(() => parseSampleEntry('video', readBoxes(writeBox('avc1', new Uint8Array(78), writeBox('avcC')))[0] as Box)).toThrow(failing('media-truncated'));
  });
});
