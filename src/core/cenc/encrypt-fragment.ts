// SPDX-License-Identifier: Apache-2.0
/**
 * Encrypts CMAF fragments, one content key per fragment (ISO/IEC 23001-7 `cenc` and `cbcs`; design: key ladder).
 *
 * Invariants: no (key, counter) serves two plain texts: sample i of a fragment has the IV `firstIv + i`, and the caller
 * goes on with `nextIv`. Bytes outside `moof` and the protected ranges stay as they were. Order inside `traf`: the
 * source's boxes, then sgpd sbgp saiz saio senc; Chromium and ffmpeg both read it.
 */
import { SealcastError } from '#core/errors.ts';
import type { ContentKey, KeyId, ProtectionScheme } from '#core/ids.ts';
import { avcConfigurationOf } from '#core/avc/avc-configuration.ts';
import { createParameterSets } from '#core/avc/parameter-sets.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { readBoxes, writeFullBox } from '#core/isobmff/box.ts';
import type { Fragment, Sample, TrackFragment } from '#core/isobmff/fragment.ts';
import { onlyTrackFragment, parseFragment } from '#core/isobmff/fragment.ts';
import { withDataOffset } from '#core/isobmff/fragment-writer.ts';
import type { Track } from '#core/isobmff/init.ts';
import { editChildren } from '#core/isobmff/rewrite.ts';
import { writeSeigDescription, writeSeigRun } from '#core/isobmff/sample-groups.ts';
import { gatherPattern, patternLength, scatterPattern } from './pattern.ts';
import type { Pattern } from './pattern.ts';
import { encryptionParameters } from './protect-init.ts';
import { writePssh } from './pssh.ts';
import type { SampleAes } from './sample-aes.ts';
import { avcSubsamples } from './subsamples.ts';
import type { Subsample } from './subsamples.ts';

/** What stays the same for all fragments of a track. */
export type FragmentEncrypterOptions = {
  readonly scheme: ProtectionScheme;
  /** The clear track, from `parseInit`. */
  readonly track: Track;
  readonly aes: SampleAes;
  /** `fragment`: each fragment names its key by `seig` (rotation). `track`: all use the key of the init segment. */
  readonly signalling: 'fragment' | 'track';
  /** Also list the fragment's key in a `pssh` inside `moof`. Default false. */
  readonly psshInFragments?: boolean;
};

/** The key of one fragment, with exactly the IV its scheme needs. */
export type FragmentKey = {
  readonly kid: KeyId;
  readonly key: ContentKey;
  /** `cenc`: IV of the first sample, a u64. */
  readonly firstIv?: bigint;
  /** `cbcs`: 16 bytes; with signalling `track` the one of the init segment. */
  readonly constantIv?: Uint8Array;
  /** `pssh` boxes to be put into this fragment's `moof`. */
  readonly pssh?: readonly Uint8Array[];
};

/** What an encryption did. */
export type EncryptionResult = {
  readonly samples: number;
  /** `cenc`: the first IV not used; pass it on while the key stays. */
  readonly nextIv: bigint;
  /** Bytes of samples inside protected ranges, and outside. */
  readonly protectedBytes: number;
  readonly clearBytes: number;
};

/** Encrypts the fragments of one track. Both methods throw RangeError for wrong key sizes and the `media-*` codes for damaged fragments. */
export type FragmentEncrypter = {
  /** Encrypts the track's next fragment, in stream order (in-band parameter sets are remembered), into a new array. */
  encrypt(fragment: Uint8Array, key: FragmentKey): EncryptionResult & { readonly bytes: Uint8Array };
  /**
   * The same without a copy: the samples are ciphered inside `fragment`, which the caller gives up. The encrypted
   * fragment is `parts` one after the other: a new array up to the end of moof, then a view of the rest of `fragment`.
   */
  encryptInPlace(fragment: Uint8Array, key: FragmentKey): EncryptionResult & { readonly parts: readonly [Uint8Array, Uint8Array] };
};

/** Throws `media-unsupported` for a track that cannot be protected. */
export const createFragmentEncrypter = (options: FragmentEncrypterOptions): FragmentEncrypter => {
  const { scheme, track, aes } = options;
  if (track.protection !== undefined) throw new SealcastError('media-unsupported', 'the source is encrypted already; decrypt it first');
  if (track.kind !== 'video' && track.kind !== 'audio') throw new SealcastError('media-unsupported', `a ${track.kind} track is not encrypted; pass it through`);
  const configuration = track.kind === 'video' ? avcConfigurationOf(track) : undefined;
  const sets = createParameterSets(configuration);
  const scratch = createScratch();
  const subsamplesOf = (sample: Uint8Array): readonly Subsample[] | undefined =>
    configuration === undefined ? undefined : avcSubsamples(sample, configuration.lengthSize, sets, scheme);

  /** Everything but the cipher: the new head (boxes up to the end of moof), and a function that ciphers the samples in `target`. */
  const prepare = (bytes: Uint8Array, key: FragmentKey): { head: Uint8Array; restFrom: number; result: EncryptionResult; cipher(target: Uint8Array, shift: number): void } => {
    if (key.key.length !== 16) throw new RangeError(`a content key has 16 bytes, not ${key.key.length}`);
    const parameters = encryptionParameters(scheme, track.kind, key.kid, key.constantIv);
    const fragment = parseFragment(bytes, [track]);
    const run = onlyTrackFragment(fragment);
    refuseOverlaps(run.samples);
    const firstIv = scheme === 'cenc' ? checkedIv(key.firstIv, run.samples.length) : 0n;
    const tables = run.samples.map((sample) => subsamplesOf(bytes.subarray(sample.offset, sample.offset + sample.size)));
    const groups = options.signalling === 'fragment' ? [writeSeigDescription(parameters), writeSeigRun(run.samples.length)] : [];
    const pssh = [...(options.psshInFragments === true ? [writePssh([key.kid])] : []), ...(key.pssh ?? [])];
    const moof = protectMoof(fragment, run, groups, sampleAuxiliary(scheme, tables, firstIv), pssh);
    let protectedBytes = 0;
    let total = 0;
    const work = run.samples.map((sample, i) => {
      const table = tables[i] ?? [{ clear: 0, protected: sample.size }];
      for (const subsample of table) protectedBytes += subsample.protected;
      total += sample.size;
      return { offset: sample.offset, table };
    });
    const pattern = { crypt: parameters.cryptBlocks, skip: parameters.skipBlocks };
    return {
      head: concatBytes(bytes.subarray(0, fragment.moof.start), moof),
      restFrom: fragment.moof.start + fragment.moof.bytes.length,
      result: { samples: run.samples.length, nextIv: firstIv + BigInt(run.samples.length), protectedBytes, clearBytes: total - protectedBytes },
      cipher: (target, shift) =>
        work.forEach(({ offset, table }, i) => {
          if (scheme === 'cenc') ctrSample(aes, key.key, firstIv + BigInt(i), target, offset + shift, table, scratch);
          else cbcSample(aes, key.key, key.constantIv as Uint8Array, target, offset + shift, table, pattern, scratch);
        }),
    };
  };

  return {
    encrypt(fragment, key) {
      const { head, restFrom, result, cipher } = prepare(fragment, key);
      const bytes = concatBytes(head, fragment.subarray(restFrom));
      cipher(bytes, head.length - restFrom);
      return { ...result, bytes };
    },
    encryptInPlace(fragment, key) {
      const { head, restFrom, result, cipher } = prepare(fragment, key);
      cipher(fragment, 0);
      return { ...result, parts: [head, fragment.subarray(restFrom)] };
    },
  };
};

/** A buffer used again and again for bytes laid side by side: a fresh one per sample costs more than the cipher. */
type Scratch = (length: number) => Uint8Array;
const createScratch = (): Scratch => {
  let buffer = new Uint8Array(0);
  return (length) => {
    if (buffer.length < length) buffer = new Uint8Array(Math.max(length, 2 * buffer.length, 1 << 16));
    return buffer.subarray(0, length);
  };
};

/** Bytes that two samples share would be ciphered twice, which no reader undoes. */
const refuseOverlaps = (samples: readonly Sample[]): void => {
  let end = 0;
  for (const sample of samples) {
    if (sample.offset < end) throw new SealcastError('media-malformed', 'two samples of a fragment share bytes');
    end = sample.offset + sample.size;
  }
};

const checkedIv = (firstIv: bigint | undefined, samples: number): bigint => {
  if (firstIv === undefined) throw new RangeError('cenc needs the initialization vector of the first sample');
  // Wrapping around would meet the vectors of an earlier fragment sooner or later.
  if (firstIv < 0n || firstIv + BigInt(samples) > 0xffffffffffffffffn) throw new RangeError('initialization vectors would leave 64 bits');
  return firstIv;
};

/** `saiz`, `saio` (offset still to be filled in) and `senc`; nothing where the constant IV says it all. */
type Auxiliary = { readonly saiz: Uint8Array; readonly senc: Uint8Array } | undefined;

const sampleAuxiliary = (scheme: ProtectionScheme, tables: readonly (readonly Subsample[] | undefined)[], firstIv: bigint): Auxiliary => {
  const withIv = scheme === 'cenc';
  const withTables = tables.some((table) => table !== undefined);
  if (!withIv && !withTables) return undefined;
  const senc = new ByteWriter(4 + tables.length * 32).u32(tables.length);
  const sizes = new Uint8Array(tables.length);
  tables.forEach((table, i) => {
    const from = senc.length;
    if (withIv) senc.u64(firstIv + BigInt(i));
    if (table !== undefined) {
      senc.u16(table.length);
      for (const subsample of table) senc.u16(subsample.clear).u32(subsample.protected);
    }
    sizes[i] = senc.length - from;
  });
  const first = sizes[0] ?? 0;
  const same = sizes.every((size) => size === first);
  const saiz = new ByteWriter(5 + sizes.length).u8(same ? first : 0).u32(tables.length);
  if (!same) saiz.bytes(sizes);
  return { saiz: writeFullBox('saiz', 0, 0, saiz.finish()), senc: writeFullBox('senc', 0, withTables ? 2 : 0, senc.finish()) };
};

const protectMoof = (fragment: Fragment, run: TrackFragment, groups: readonly Uint8Array[], auxiliary: Auxiliary, pssh: readonly Uint8Array[]): Uint8Array => {
  for (const box of readBoxes(run.traf.body)) {
    if (box.type === 'senc' || box.type === 'saiz' || box.type === 'saio') throw new SealcastError('media-unsupported', 'the source fragment is encrypted already');
  }
  const added: Uint8Array[] = [...groups];
  if (auxiliary !== undefined) {
    const before = groups.reduce((sum, box) => sum + box.length, 0) + auxiliary.saiz.length + 20;
    // Counted from the start of moof, as default-base-is-moof makes it: senc's entries follow its 16 bytes of header and count.
    const offset = fragment.moof.headerSize + run.traf.start + run.traf.bytes.length + before + 16;
    added.push(auxiliary.saiz, writeFullBox('saio', 0, 0, new ByteWriter(8).u32(1).u32(offset).finish()), auxiliary.senc);
  }
  const growth = [...added, ...pssh].reduce((sum, box) => sum + box.length, 0);
  return editChildren(
    fragment.moof,
    0,
    (child) => (child.type === 'traf' ? editChildren(child, 0, (box) => (box.type === 'trun' ? withDataOffset(box, growth) : undefined), added) : undefined),
    pssh,
  );
};

/** One cipher for the sample: the counter runs on across its protected ranges. */
const ctrSample = (aes: SampleAes, key: Uint8Array, iv: bigint, out: Uint8Array, from: number, table: readonly Subsample[], scratch: Scratch): void => {
  const counter = new Uint8Array(16);
  new DataView(counter.buffer).setBigUint64(0, iv);
  let total = 0;
  let ranges = 0;
  let at = from;
  let only = from;
  for (const subsample of table) {
    if (subsample.protected > 0) {
      ranges++;
      total += subsample.protected;
      only = at + subsample.clear;
    }
    at += subsample.clear + subsample.protected;
  }
  if (total === 0) return;
  if (ranges === 1) {
    out.set(aes.ctr(key, counter, out.subarray(only, only + total)), only);
    return;
  }
  const gathered = scratch(total);
  copyRanges(from, table, (start, end, done) => gathered.set(out.subarray(start, end), done));
  const ciphered = aes.ctr(key, counter, gathered);
  copyRanges(from, table, (start, end, done) => out.set(ciphered.subarray(done, done + end - start), start));
};

const copyRanges = (from: number, table: readonly Subsample[], copy: (start: number, end: number, done: number) => void): void => {
  let at = from;
  let done = 0;
  for (const subsample of table) {
    const start = at + subsample.clear;
    at = start + subsample.protected;
    if (subsample.protected > 0) copy(start, at, done);
    done += subsample.protected;
  }
};

/** CBC restarts from the constant IV in every subsample. */
const cbcSample = (aes: SampleAes, key: Uint8Array, iv: Uint8Array, out: Uint8Array, from: number, table: readonly Subsample[], pattern: Pattern, scratch: Scratch): void => {
  let at = from;
  for (const subsample of table) {
    at += subsample.clear;
    const length = patternLength(subsample.protected, pattern);
    if (length > 0) {
      const gathered = scratch(length);
      gatherPattern(out, at, subsample.protected, pattern, gathered, 0);
      scatterPattern(aes.cbcEncrypt(key, iv, gathered), 0, out, at, subsample.protected, pattern);
    }
    at += subsample.protected;
  }
};
