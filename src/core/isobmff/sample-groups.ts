// SPDX-License-Identifier: Apache-2.0
/**
 * Sample groups of type `seig`: which key and IV rule a run of samples has (ISO/IEC 14496-12 clause 8.9, ISO/IEC
 * 23001-7 clause 6). Key rotation inside one init segment is written and read with these.
 *
 * Invariant: run lengths from outside never size a loop or an array; lookups walk the runs.
 */
import { SealcastError } from '#core/errors.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { ByteReader } from '#core/bytes/reader.ts';
import { fourCharacters, readFullBox, writeFullBox } from './box.ts';
import type { Box } from './box.ts';
import { parseEncryptionParameters } from './sample-entry.ts';
import type { EncryptionParameters } from './sample-entry.ts';

/** Group indices above this name descriptions of the fragment's own `sgpd`, below it those of the sample table. */
export const FRAGMENT_GROUP_BASE = 0x10000;

/** Entries of an `sgpd` of type `seig`; undefined for another grouping type. */
export const parseSeigDescriptions = (box: Box): readonly EncryptionParameters[] | undefined => {
  const { version, reader } = readFullBox(box);
  if (fourCharacters(reader.take(4), 0) !== 'seig') return undefined;
  const defaultLength = version === 1 ? reader.u32() : 0;
  if (version >= 2) reader.skip(4);
  const count = reader.u32();
  const entries: EncryptionParameters[] = [];
  for (let i = 0; i < count; i++) {
    const length = version === 1 ? (defaultLength === 0 ? reader.u32() : defaultLength) : undefined;
    const entry = length === undefined ? reader : new ByteReader(reader.take(length), 'seig entry');
    entry.skip(1);
    entries.push(parseEncryptionParameters(entry, true));
  }
  return entries;
};

/** Runs of an `sbgp` of type `seig`; undefined for another grouping type. */
export type GroupRun = { readonly samples: number; readonly index: number };
export const parseSeigRuns = (box: Box): readonly GroupRun[] | undefined => {
  const { version, reader } = readFullBox(box);
  if (fourCharacters(reader.take(4), 0) !== 'seig') return undefined;
  if (version === 1) reader.skip(4);
  const count = reader.u32();
  if (count > reader.remaining / 8) throw new SealcastError('media-truncated', `sbgp names ${count} runs in ${reader.remaining} bytes`);
  const runs: GroupRun[] = [];
  for (let i = 0; i < count; i++) runs.push({ samples: reader.u32(), index: reader.u32() });
  return runs;
};

/** An `sgpd` with one `seig` entry. */
export const writeSeigDescription = (entry: EncryptionParameters): Uint8Array => {
  const description = writeEncryptionParameters(entry);
  return writeFullBox('sgpd', 1, 0, new ByteWriter(12).text('seig').u32(description.length).u32(1).finish(), description);
};

/** An `sbgp` that maps all `samples` of a fragment to its first own description. */
export const writeSeigRun = (samples: number): Uint8Array =>
  writeFullBox(
    'sbgp',
    0,
    0,
    new ByteWriter(16)
      .text('seig')
      .u32(1)
      .u32(samples)
      .u32(FRAGMENT_GROUP_BASE + 1)
      .finish(),
  );

/** The fields `tenc` and `seig` share, with the reserved byte in front. */
export const writeEncryptionParameters = (entry: EncryptionParameters): Uint8Array => {
  const writer = new ByteWriter(40);
  writer
    .u8(0)
    .u8((entry.cryptBlocks << 4) | entry.skipBlocks)
    .u8(entry.isProtected ? 1 : 0)
    .u8(entry.ivSize)
    .bytes(entry.kid);
  if (entry.constantIv !== undefined) writer.u8(entry.constantIv.length).bytes(entry.constantIv);
  return writer.finish();
};
