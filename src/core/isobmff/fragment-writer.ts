// SPDX-License-Identifier: Apache-2.0
/**
 * Writes fresh `moof` + `mdat` pairs from samples: what re-cutting at crypto period boundaries and re-timing need
 * (ISO/IEC 14496-12 clause 8.8, CMAF: one traf, 64-bit tfdt, default-base-is-moof).
 *
 * Invariant: `parseFragment` of the result gives back exactly the samples that went in.
 */
import { SealcastError } from '#core/errors.ts';
import type { MediaTicks } from '#core/time.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { readBoxes, writeBox, writeBoxHeader, writeFullBox } from './box.ts';
import type { Box } from './box.ts';
import { editBoxes, editChildren } from './rewrite.ts';
import type { Fragment, Sample } from './fragment.ts';

/** A sample with its bytes and timing, in ticks of its track. */
export type SampleToWrite = {
  readonly data: Uint8Array;
  /** Ticks. */
  readonly duration: number;
  readonly flags: number;
  readonly compositionOffset: number;
};

/** Samples [from, to) of a parsed track run, as views of the fragment's bytes. */
export const samplesToWrite = (fragment: Fragment, samples: readonly Sample[], from: number = 0, to: number = samples.length): readonly SampleToWrite[] =>
  samples.slice(from, to).map((sample) => ({
    data: fragment.bytes.subarray(sample.offset, sample.offset + sample.size),
    duration: sample.duration,
    flags: sample.flags,
    compositionOffset: sample.compositionOffset,
  }));

/** `moof` + `mdat` in one array. Put `styp` and `prft` in front as needed. */
export const writeFragment = (fragment: {
  readonly sequenceNumber: number;
  readonly trackId: number;
  readonly baseMediaDecodeTime: MediaTicks;
  readonly samples: readonly SampleToWrite[];
}): Uint8Array => {
  const { samples } = fragment;
  const mfhd = writeFullBox('mfhd', 0, 0, new ByteWriter(4).u32(fragment.sequenceNumber >>> 0).finish());
  const tfhd = writeFullBox('tfhd', 0, 0x20000, new ByteWriter(4).u32(fragment.trackId).finish());
  const tfdt = writeFullBox('tfdt', 1, 0, new ByteWriter(8).u64(fragment.baseMediaDecodeTime).finish());
  const withOffsets = samples.some((sample) => sample.compositionOffset !== 0);
  const trunSize = 20 + samples.length * (withOffsets ? 16 : 12);
  const moofSize = 8 + mfhd.length + 8 + tfhd.length + tfdt.length + trunSize;
  const run = new ByteWriter(trunSize).u32(samples.length).i32(moofSize + 8);
  let dataSize = 0;
  for (const sample of samples) {
    run.u32(sample.duration).u32(sample.data.length).u32(sample.flags);
    if (withOffsets) run.i32(sample.compositionOffset);
    dataSize += sample.data.length;
  }
  const trun = writeFullBox('trun', 1, withOffsets ? 0xf01 : 0x701, run.finish());
  const moof = writeBox('moof', mfhd, writeBox('traf', tfhd, tfdt, trun));
  if (dataSize + 8 > 0xffffffff) throw new SealcastError('media-too-large', 'a fragment would exceed 4 GB');
  const out = new Uint8Array(moof.length + 8 + dataSize);
  out.set(moof);
  writeBoxHeader(out, moof.length, 'mdat', 8 + dataSize);
  let at = moof.length + 8;
  for (const sample of samples) {
    out.set(sample.data, at);
    at += sample.data.length;
  }
  return out;
};

/**
 * The same fragment at another place of the timeline: `sequenceNumber` and the decode time of its tracks replaced
 * (`shift` ticks are added per track id). Samples and all other boxes stay as they are; an existing `prft` keeps its
 * wall clock and has its media time shifted.
 */
export const retimeFragment = (bytes: Uint8Array, change: { readonly sequenceNumber?: number; readonly shift?: (trackId: number) => bigint }): Uint8Array => {
  const moof = readBoxes(bytes).find((box) => box.type === 'moof');
  if (moof === undefined) throw new SealcastError('media-malformed', 'a fragment has no moof box');
  const edited = editMoof(moof, change, 0);
  const growth = edited.length - moof.bytes.length;
  // tfdt may have grown from 32 to 64 bits; data offsets count from moof, so they move by the same amount.
  const fixed = growth === 0 ? edited : editMoof(moof, change, growth);
  return editBoxes(bytes, (box) => {
    if (box.type === 'moof') return fixed === moof.bytes ? undefined : fixed;
    return box.type === 'prft' && change.shift !== undefined ? shiftPrft(box, change.shift) : undefined;
  });
};

const editMoof = (moof: Box, change: { readonly sequenceNumber?: number; readonly shift?: (trackId: number) => bigint }, growth: number): Uint8Array =>
  editChildren(moof, 0, (child) => {
    if (child.type === 'mfhd' && change.sequenceNumber !== undefined) {
      return writeFullBox('mfhd', 0, 0, new ByteWriter(4).u32(change.sequenceNumber >>> 0).finish());
    }
    if (child.type !== 'traf') return undefined;
    const tfhd = readBoxes(child.body).find((box) => box.type === 'tfhd');
    if (tfhd === undefined || tfhd.body.length < 8) throw new SealcastError('media-malformed', 'traf has no tfhd box');
    const trackId = new DataView(tfhd.body.buffer, tfhd.body.byteOffset).getUint32(4);
    const shift = change.shift?.(trackId) ?? 0n;
    return editChildren(child, 0, (box) => {
      if (box.type === 'tfdt' && shift !== 0n) return shiftTfdt(box, shift);
      return box.type === 'trun' ? withDataOffset(box, growth) : undefined;
    });
  });

const shiftTfdt = (box: Box, shift: bigint): Uint8Array => {
  const view = new DataView(box.body.buffer, box.body.byteOffset, box.body.byteLength);
  const wide = view.byteLength > 0 && view.getUint8(0) === 1;
  if (view.byteLength < (wide ? 12 : 8)) throw new SealcastError('media-truncated', 'tfdt is too short');
  const time = (wide ? view.getBigUint64(4) : BigInt(view.getUint32(4))) + shift;
  if (time < 0n || time > 0xffffffffffffffffn) throw new SealcastError('media-malformed', 'a shifted decode time would leave 64 bits');
  return writeFullBox('tfdt', 1, 0, new ByteWriter(8).u64(time).finish());
};

/** A `trun` whose data offset (if it has one) is `growth` bytes larger; the same bytes where nothing changes. */
export const withDataOffset = (trun: Box, growth: number): Uint8Array => {
  const flags = new DataView(trun.body.buffer, trun.body.byteOffset, trun.body.byteLength);
  if (flags.byteLength < 12) {
    if (flags.byteLength < 8) throw new SealcastError('media-truncated', 'trun is too short');
    return trun.bytes;
  }
  if (growth === 0 || (flags.getUint8(3) & 1) === 0) return trun.bytes;
  const copy = trun.bytes.slice();
  const view = new DataView(copy.buffer);
  view.setInt32(trun.headerSize + 8, view.getInt32(trun.headerSize + 8) + growth);
  return copy;
};

const shiftPrft = (box: Box, shift: (trackId: number) => bigint): Uint8Array | undefined => {
  const view = new DataView(box.body.buffer, box.body.byteOffset, box.body.byteLength);
  const wide = view.byteLength > 0 && view.getUint8(0) === 1;
  if (view.byteLength < (wide ? 24 : 20)) throw new SealcastError('media-truncated', 'prft is too short');
  const time = (wide ? view.getBigUint64(16) : BigInt(view.getUint32(16))) + shift(view.getUint32(4));
  if (time < 0n || time > 0xffffffffffffffffn) throw new SealcastError('media-malformed', 'a shifted media time would leave 64 bits');
  const head = concatBytes(box.body.subarray(4, 16), new ByteWriter(8).u64(time).finish());
  return writeFullBox('prft', 1, view.getUint32(0) & 0xffffff, head);
};
