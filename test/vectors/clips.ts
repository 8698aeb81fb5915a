// SPDX-License-Identifier: Apache-2.0
/**
 * Two small CMAF clips for unit tests, and hostile variations of any bytes for fuzzing.
 *
 * The clips were made with
 *   ffmpeg -f lavfi -i testsrc2=s=96x64:r=10 -t 2 -c:v libx264 -preset fast -threads 1 -g 10 -bf 2 -slices 2 $M clip-avc.mp4
 *   ffmpeg -f lavfi -i sine=r=48000 -t 0.5 -c:a aac -b:a 32k $M clip-aac.mp4
 * where M="-movflags +cmaf+empty_moov+default_base_moof+separate_moof+frag_keyframe+skip_trailer -frag_duration 500000 -map_metadata -1".
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect } from 'vitest';
import { isSealcastError } from '#core/errors.ts';
import { createBoxSplitter } from '#core/isobmff/box-splitter.ts';
import { parseInit } from '#core/isobmff/init.ts';
import type { Track } from '#core/isobmff/init.ts';

/** One track as CMAF: init segment, its only track, chunks. */
export type Cmaf = { readonly init: Uint8Array; readonly track: Track; readonly fragments: readonly Uint8Array[] };

export const readCmaf = (bytes: Uint8Array): Cmaf => {
  const splitter = createBoxSplitter();
  const [init, ...fragments] = splitter.push(bytes);
  splitter.end();
  const track = init === undefined ? undefined : parseInit(init.bytes).tracks[0];
  if (init === undefined || track === undefined || fragments.length === 0) throw new Error('the clip is empty');
  return { init: init.bytes, track, fragments: fragments.map((piece) => piece.bytes) };
};

export const clipBytes = (name: 'avc' | 'aac'): Uint8Array => new Uint8Array(readFileSync(new URL(`./clip-${name}.mp4`, import.meta.url)));
export const smallClip = (name: 'avc' | 'aac'): Cmaf => readCmaf(clipBytes(name));

/** Numbers that break careless length arithmetic. */
const NASTY = [0, 1, 7, 8, 15, 16, 0x7f, 0x80, 0xff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff];

type Change = { readonly at: number; readonly what: 'cut' | 'flip' | 'nasty' | 'insert' | 'remove' | 'repeat'; readonly value: number };

/** `bytes` with one to four of: cut off, bits flipped, a 32-bit field replaced, bytes inserted, removed or repeated. */
export const hostile = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .array(
      fc.record({
        at: fc.nat({ max: Math.max(0, bytes.length - 1) }),
        what: fc.constantFrom<Change['what']>('cut', 'flip', 'flip', 'nasty', 'nasty', 'nasty', 'insert', 'remove', 'repeat'),
        value: fc.nat({ max: 255 }),
      }),
      { minLength: 1, maxLength: 4 },
    )
    .map((changes) => changes.reduce(apply, bytes));

const apply = (bytes: Uint8Array, { at, what, value }: Change): Uint8Array => {
  const from = Math.min(at, bytes.length);
  if (what === 'cut') return bytes.slice(0, from);
  if (what === 'insert') return join(bytes.subarray(0, from), new Uint8Array(value % 9).fill(value), bytes.subarray(from));
  if (what === 'remove') return join(bytes.subarray(0, from), bytes.subarray(Math.min(bytes.length, from + (value % 9))));
  if (what === 'repeat') return join(bytes.subarray(0, from), bytes.subarray(from, from + value), bytes.subarray(from));
  const copy = bytes.slice();
  if (what === 'nasty' && from + 4 <= copy.length) new DataView(copy.buffer).setUint32(from, NASTY[value % NASTY.length] as number);
  else if (from < copy.length) copy[from] = (copy[from] as number) ^ (value || 1);
  return copy;
};

const join = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** Runs a parser on hostile input: it may succeed, or throw a SealcastError about media. Anything else fails the test. */
export const expectTypedOutcome = (run: () => unknown): void => {
  try {
    run();
  } catch (error) {
    if (!isSealcastError(error)) throw error;
    expect(['media-truncated', 'media-malformed', 'media-unsupported', 'media-too-large']).toContain(error.code);
  }
};
