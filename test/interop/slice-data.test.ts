// SPDX-License-Identifier: Apache-2.0
/**
 * Slice data of real streams: every slice ends exactly at its stop bit, a second engine reads the same, and signs can be
 * turned, by the hundred thousand at once, with nothing else changed for the parser and for ffmpeg.
 */
import { describe, expect, it, vi } from 'vitest';
import { DIRECT, INTRA, PCM, SKIPPED, TRANSFORM_8X8 } from '#core/avc/slice-data/neighbours.ts';
import { MASK_DISTANCE, replacementOf } from '#core/avc/slice-data/replacement.ts';
import { LUMA_4X4 } from '#core/avc/slice-data/sites.ts';
import type { SignSites } from '#core/avc/slice-data/sites.ts';
import { createSliceDataParser } from '#core/avc/slice-data/slice-data.ts';
import type { SliceData } from '#core/avc/slice-data/slice-data.ts';
import { unescapeNal } from '#core/avc/nal.ts';
import { SerialCabac } from '../vectors/serial-cabac.ts';
import { escapeNal } from '../vectors/escape-nal.ts';
import { decodeStrictly, eachSlice, naturalStreams, PARSED, streamOf, UNPARSED } from './slice-streams.ts';

// Encoding, decoding and two parses of each stream: seconds alone, longer beside other tests.
vi.setConfig({ testTimeout: 120_000 });

const streams: readonly (readonly [name: string, options: readonly string[]])[] = [...Object.entries(PARSED), ...naturalStreams()];

/** Same generator everywhere: which signs are turned must not differ between runs. */
const coin = (seed: number): (() => boolean) => {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >= 0x80000000;
  };
};

const parsed = (answer: ReturnType<ReturnType<typeof createSliceDataParser>['parse']>): SliceData => {
  if (answer.sites === 'none') throw new Error(`no sites: ${answer.because}`);
  return answer;
};

/** Everything about the sites but their signs, as bytes: too many for a comparison of values. */
const unsigned = (sites: SignSites): Buffer => {
  const { count } = sites;
  const columns = [sites.bit, sites.nalByte, sites.range, sites.level.map(Math.abs), sites.block, sites.index, sites.qp, sites.mb, sites.kind];
  return Buffer.concat(columns.map((column) => Buffer.from(column.slice(0, count).buffer)));
};
const expectSame = (actual: Uint8Array, expected: Uint8Array): void => expect(Buffer.compare(actual, expected)).toBe(0);
const signsOf = (sites: SignSites): Uint8Array => Uint8Array.from(sites.level.subarray(0, sites.count), (level) => (level < 0 ? 1 : 0));

describe('slices end exactly', () => {
  for (const [name, options] of streams) {
    it(name, () => {
      const stream = streamOf(options);
      const fast = createSliceDataParser();
      const serial = new SerialCabac();
      const slow = createSliceDataParser({ cabac: serial });
      const seen = { slices: 0, sites: 0, blocks: new Set<number>(), kinds: 0, types: new Set<string>() };
      let next = 0;
      eachSlice(stream, ({ nal }, sets) => {
        const one = parsed(fast.parse(nal, sets));
        const two = parsed(slow.parse(nal, sets));
        // Slices follow one another and fill the picture.
        if (one.header.firstMb !== 0) expect(one.header.firstMb).toBe(next);
        else if (seen.slices > 0) expect(next).toBe(one.header.sps.widthInMbs * one.header.sps.heightInMapUnits * (one.header.sps.frameMbsOnly ? 1 : 2));
        next = one.nextMb;
        expect([two.nextMb, two.stopBit]).toEqual([one.nextMb, one.stopBit]);
        expectSame(unsigned(two.sites), unsigned(one.sites));
        expectSame(signsOf(two.sites), signsOf(one.sites));
        for (let row = 0; row < one.sites.count; row++) {
          seen.blocks.add(one.sites.block[row] as number);
          seen.kinds |= one.sites.kind[row] as number;
        }
        seen.slices++;
        seen.types.add(one.header.type);
        seen.sites += one.sites.count;
      });
      expect(seen.slices).toBeGreaterThan(5);
      expect(seen.sites).toBeGreaterThan(1000);
      // What the name promises is in the stream.
      if (name.includes('8x8')) expect(seen.kinds & TRANSFORM_8X8).not.toBe(0);
      if (name.includes(', B')) expect([...seen.types].sort()).toEqual(['B', 'I', 'P']);
      if (name.includes('monochrome')) expect(Math.max(...[...seen.blocks].filter((block) => block === 3 || block === 4), -1)).toBe(-1);
      expect(seen.kinds & (SKIPPED | PCM)).toBe(0);
    });
  }
});

describe('what is not parsed says so', () => {
  for (const [name, [because, options]] of Object.entries(UNPARSED)) {
    it(name, () => {
      const parser = createSliceDataParser();
      const answers = new Set<string>();
      eachSlice(streamOf(options), ({ nal }, sets) => {
        const answer = parser.parse(nal, sets);
        answers.add(answer.sites === 'none' ? answer.because : 'sites');
      });
      expect([...answers]).toEqual([because]);
    });
  }
});

describe('signs turn and nothing else', () => {
  for (const [name, options] of streams) {
    it(name, () => {
      const stream = streamOf(options);
      const marked = stream.slice();
      const first = new SerialCabac();
      const second = new SerialCabac();
      const before = createSliceDataParser({ cabac: first });
      const after = createSliceDataParser({ cabac: second });
      const toss = coin(1);
      let turned = 0;
      let refused = 0;
      let slices = 0;
      eachSlice(stream, ({ nal, start }, sets) => {
        const target = marked.subarray(start, start + nal.length);
        first.reset();
        slices++;
        const slice = parsed(before.parse(nal, sets));
        const signs = signsOf(slice.sites);
        let free = 0;
        for (let row = 0; row < slice.sites.count; row++) {
          const replacement = replacementOf(nal, slice, row);
          if (typeof replacement === 'string') refused++;
          if (typeof replacement === 'string' || replacement.offset - MASK_DISTANCE < free) continue;
          const { offset, mask } = replacement;
          free = offset + mask.length + MASK_DISTANCE;
          if (!toss()) continue;
          for (let i = 0; i < mask.length; i++) target[offset + i] = (target[offset + i] as number) ^ (mask[i] as number);
          signs[row] = 1 - (signs[row] as number);
          turned++;
        }
        second.reset();
        const again = parsed(after.parse(target, sets));
        expectSame(signsOf(again.sites), signs);
        expectSame(unsigned(again.sites), unsigned(slice.sites));
        expect(second.hash).toBe(first.hash);
        expect([again.stopBit, again.nextMb]).toEqual([slice.stopBit, slice.nextMb]);
        // Escapes stay where they are needed and only there.
        expectSame(escapeNal(target[0] as number, unescapeNal(target).bytes), target);
      });
      expect(turned).toBeGreaterThan(500);
      // At most the last sign of each slice (it may be the stop bit) and very few others.
      expect(refused).toBeLessThanOrEqual(slices + turned / 1000);
      const [plain, changed] = [decodeStrictly(stream, 'yuv420p'), decodeStrictly(marked, 'yuv420p')];
      expect(changed.length).toBe(plain.length);
      expect(Buffer.compare(changed, plain)).not.toBe(0);
    });
  }
});

describe('a row says where its coefficient is', () => {
  // Without deblocking and in a picture that no other refers to, one sign changes one block, by twice the coefficient.
  for (const coder of ['0', '1']) {
    it(coder === '0' ? 'CAVLC' : 'CABAC', () => {
      const source = ['-f', 'lavfi', '-i', 'testsrc2=s=320x192:r=25,format=gray,lutyuv=y=64+val/2,noise=alls=20:allf=t:all_seed=2,format=yuv420p', '-t', '1'];
      const coding = ['-c:v', 'libx264', '-threads', '1', '-bf', '2', '-coder', coder, '-qp', '30', '-x264-params', 'no-deblock=1:8x8dct=0:b-pyramid=none'];
      const stream = streamOf([...source, ...coding, '-pix_fmt', 'yuv420p']);
      const parser = createSliceDataParser();
      const plain = decodeStrictly(stream, 'yuv420p');
      const frame = (320 * 192 * 3) / 2;
      let checked = 0;
      eachSlice(stream, ({ nal, start }, sets) => {
        if (checked >= 4) return;
        const slice = parsed(parser.parse(nal, sets));
        if (slice.header.type !== 'B' || slice.header.nalRefIdc !== 0) return;
        const { sites } = slice;
        const row = sites.level
          .slice(0, sites.count)
          .findIndex((level, i) => Math.abs(level) === 1 && sites.block[i] === LUMA_4X4 && sites.index[i] === 0 && ((sites.kind[i] as number) & INTRA) === 0);
        if (row < 0) return;
        const replacement = replacementOf(nal, slice, row);
        if (typeof replacement === 'string') return;
        const marked = stream.slice();
        for (const [i, mask] of replacement.mask.entries()) marked[start + replacement.offset + i] = (marked[start + replacement.offset + i] as number) ^ mask;
        const changed = decodeStrictly(marked, 'yuv420p');
        const at: number[] = [];
        for (let i = 0; i < plain.length; i++) if (plain[i] !== changed[i]) at.push(i);
        const frames = new Set(at.map((i) => Math.floor(i / frame)));
        const blocks = new Set(at.map((i) => Math.floor((i % 320) / 16) + 20 * Math.floor(Math.floor((i % frame) / 320) / 16)));
        expect(frames.size).toBe(1);
        expect([...blocks]).toEqual([sites.mb[row]]);
        expect(at.length).toBe(16);
        // Basis function of DC: 1/4; step of QP: 0.625 * 2^(QP / 6).
        const expected = (2 * 0.625 * 2 ** ((sites.qp[row] as number) / 6)) / 4;
        const change = at.reduce((total, i) => total + (changed[i] as number) - (plain[i] as number), 0) / 16;
        // Steps are rounded to the table's 26, 28, 32, ...
        expect(-change / Math.sign(sites.level[row] as number) / expected).toBeCloseTo(1, 1);
        expect((sites.kind[row] as number) & ~DIRECT).toBe(0);
        checked++;
      });
      expect(checked).toBe(4);
    });
  }
});
