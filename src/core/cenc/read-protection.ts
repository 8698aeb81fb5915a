// SPDX-License-Identifier: Apache-2.0
/**
 * Reads how each sample of a fragment is encrypted: `senc` or `saiz`/`saio`, track defaults, `seig` groups of the
 * fragment or of the sample table, any IV size and pattern (ISO/IEC 23001-7 clauses 6, 7, 8.2).
 *
 * Invariant: the subsamples of every sample add up to its size; group runs never size a loop.
 */
import { SealcastError } from '#core/errors.ts';
import { ByteReader } from '#core/bytes/reader.ts';
import { fourCharacters, printable, readBoxes, readFullBox } from '#core/isobmff/box.ts';
import type { Box } from '#core/isobmff/box.ts';
import type { Fragment, TrackFragment } from '#core/isobmff/fragment.ts';
import type { EncryptionParameters, TrackProtection } from '#core/isobmff/sample-entry.ts';
import { FRAGMENT_GROUP_BASE, parseSeigDescriptions, parseSeigRuns } from '#core/isobmff/sample-groups.ts';
import type { GroupRun } from '#core/isobmff/sample-groups.ts';
import type { Subsample } from './subsamples.ts';

/** What a protected sample needs to be decrypted. */
export type SampleProtection = {
  readonly parameters: EncryptionParameters;
  /** 16 bytes: per-sample or constant IV, shorter ones filled up with zeros at the end. */
  readonly iv: Uint8Array;
  /** Absent: the whole sample is one protected range. */
  readonly subsamples?: readonly Subsample[];
};

/** The track facts this needs; a `Track` of `parseInit` fits. */
export type ProtectedTrack = { readonly protection?: TrackProtection; readonly seig: readonly EncryptionParameters[] };

/** One entry per sample of the run; undefined where the sample is clear. */
export const readProtection = (fragment: Fragment, run: TrackFragment, track: ProtectedTrack): readonly (SampleProtection | undefined)[] => {
  const { protection } = track;
  if (protection === undefined) return run.samples.map(() => undefined);
  if (protection.scheme !== 'cenc' && protection.scheme !== 'cbcs') {
    throw new SealcastError('media-unsupported', `protection scheme ${printable(protection.scheme)} is not supported; cenc and cbcs are`);
  }
  const boxes = readBoxes(run.traf.body);
  const parametersOf = groupLookup(boxes, track, protection.defaults);
  const parameters = run.samples.map((_, i) => parametersOf(i));
  const entries = auxiliaryEntries(fragment, boxes, run, parameters);
  return run.samples.map((sample, i) => {
    const own = parameters[i] as EncryptionParameters;
    if (!own.isProtected) return undefined;
    const entry = entries?.[i];
    const iv = own.ivSize === 0 ? own.constantIv : entry?.iv;
    if (iv === undefined) throw new SealcastError('media-malformed', 'a protected sample has no initialization vector');
    if (entry?.subsamples !== undefined) {
      const total = entry.subsamples.reduce((sum, subsample) => sum + subsample.clear + subsample.protected, 0);
      if (total !== sample.size) throw new SealcastError('media-malformed', `the subsamples of a sample add up to ${total} bytes, the sample has ${sample.size}`);
    }
    return { parameters: own, iv: sixteen(iv), ...(entry?.subsamples === undefined ? {} : { subsamples: entry.subsamples }) };
  });
};

const sixteen = (iv: Uint8Array): Uint8Array => {
  if (iv.length === 16) return iv;
  const filled = new Uint8Array(16);
  filled.set(iv);
  return filled;
};

/** Parameters of sample i: its group's, else the track's. Samples must be asked for in ascending order. */
const groupLookup = (boxes: readonly Box[], track: ProtectedTrack, defaults: EncryptionParameters): ((sample: number) => EncryptionParameters) => {
  const own = boxes.filter((box) => box.type === 'sgpd').flatMap((box) => parseSeigDescriptions(box) ?? []);
  const runs: readonly GroupRun[] = boxes.filter((box) => box.type === 'sbgp').flatMap((box) => parseSeigRuns(box) ?? []);
  let next = 0;
  let end = 0;
  let index = 0;
  return (sample) => {
    while (sample >= end) {
      const run = runs[next++];
      if (run === undefined) {
        index = 0;
        break;
      }
      index = run.index;
      end += run.samples;
    }
    if (index === 0) return defaults;
    const found = index > FRAGMENT_GROUP_BASE ? own[index - FRAGMENT_GROUP_BASE - 1] : track.seig[index - 1];
    if (found === undefined) throw new SealcastError('media-malformed', `a sample belongs to key group ${index}, which is not described`);
    return found;
  };
};

type Entry = { readonly iv: Uint8Array | undefined; readonly subsamples: readonly Subsample[] | undefined };

const auxiliaryEntries = (fragment: Fragment, boxes: readonly Box[], run: TrackFragment, parameters: readonly EncryptionParameters[]): readonly Entry[] | undefined => {
  const senc = boxes.find((box) => box.type === 'senc');
  if (senc !== undefined) return sencEntries(senc, parameters);
  const saiz = boxes.find((box) => box.type === 'saiz' && isEncryptionInfo(box));
  const saio = boxes.find((box) => box.type === 'saio' && isEncryptionInfo(box));
  if (saiz === undefined || saio === undefined) return undefined;
  return saizEntries(fragment, saiz, saio, run, parameters);
};

const sencEntries = (senc: Box, parameters: readonly EncryptionParameters[]): readonly Entry[] => {
  const { flags, reader } = readFullBox(senc);
  const count = reader.u32();
  // Some packagers leave the box empty where the constant IV says it all.
  if (count === 0) return [];
  if (count !== parameters.length) throw new SealcastError('media-malformed', `senc describes ${count} samples, the fragment has ${parameters.length}`);
  return parameters.map((own) => readEntry(reader, own, (flags & 2) !== 0));
};

const saizEntries = (fragment: Fragment, saiz: Box, saio: Box, run: TrackFragment, parameters: readonly EncryptionParameters[]): readonly Entry[] => {
  const sizes = readFullBox(saiz);
  if (sizes.flags & 1) sizes.reader.skip(8);
  const defaultSize = sizes.reader.u8();
  const count = sizes.reader.u32();
  if (count > parameters.length) throw new SealcastError('media-malformed', `saiz describes ${count} samples, the fragment has ${parameters.length}`);
  const table = defaultSize === 0 ? sizes.reader.take(count) : undefined;
  const offsets = readFullBox(saio);
  if (offsets.flags & 1) offsets.reader.skip(8);
  const offsetCount = offsets.reader.u32();
  const offset = (): number => Number(offsets.version === 0 ? offsets.reader.u32() : offsets.reader.u64());
  // One offset for all, or one per trun of the fragment.
  const runs = readBoxes(run.traf.body)
    .filter((box) => box.type === 'trun')
    .map((box) => {
      const { reader } = readFullBox(box);
      return reader.u32();
    });
  if (offsetCount !== 1 && offsetCount !== runs.length) throw new SealcastError('media-malformed', `saio has ${offsetCount} offsets for ${runs.length} runs`);
  const entries: Entry[] = [];
  const parts = offsetCount === 1 ? [parameters.length] : runs;
  for (const samples of parts) {
    const start = fragment.moof.start + offset();
    if (start > fragment.bytes.length) throw new SealcastError('media-truncated', 'saio points outside the fragment');
    const reader = new ByteReader(fragment.bytes.subarray(start), 'sample auxiliary information');
    for (let i = 0; i < samples && entries.length < parameters.length; i++) {
      const size = entries.length < count ? (table === undefined ? defaultSize : (table[entries.length] as number)) : 0;
      const own = parameters[entries.length] as EncryptionParameters;
      if (size === 0) entries.push({ iv: undefined, subsamples: undefined });
      else {
        const entry = new ByteReader(reader.take(size), 'sample auxiliary information');
        entries.push(readEntry(entry, own, size > (own.isProtected ? own.ivSize : 0)));
      }
    }
  }
  return entries;
};

const readEntry = (reader: ByteReader, own: EncryptionParameters, withSubsamples: boolean): Entry => {
  const iv = own.isProtected && own.ivSize > 0 ? reader.take(own.ivSize) : undefined;
  if (!withSubsamples) return { iv, subsamples: undefined };
  const count = reader.u16();
  const subsamples: Subsample[] = [];
  for (let i = 0; i < count; i++) subsamples.push({ clear: reader.u16(), protected: reader.u32() });
  return { iv, subsamples: count === 0 ? undefined : subsamples };
};

/** saiz/saio without a type, or with the type of a protection scheme. */
const isEncryptionInfo = (box: Box): boolean => {
  const { flags, reader } = readFullBox(box);
  if ((flags & 1) === 0) return true;
  const type = fourCharacters(reader.take(4), 0);
  return type === 'cenc' || type === 'cbcs';
};
