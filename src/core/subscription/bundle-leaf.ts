// SPDX-License-Identifier: Apache-2.0
/**
 * The in-band leaf of a live bundle: the grant key of one group under a shared root key, as data of a `pssh` box.
 *
 * docs/wire/subscription.md, "In-band leaf" (B127). Invariant: parsing is exact; one byte more or less is `media-malformed`.
 */
import { ByteReader } from '#core/bytes/reader.ts';
import { decodeUtf8, encodeUtf8 } from '#core/bytes/utf8.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { SealcastError } from '#core/errors.ts';
import type { GrantGroup } from '#core/time.ts';
import { COLLECTION, END_OF_MONTHS, FIRST_MONTH, type RootMonth } from './root-keys.ts';

/** A grant key under the root key of a collection and month. */
export type BundleLeaf = {
  readonly collection: string;
  readonly month: RootMonth;
  readonly group: GrantGroup;
  /** AES-256-KW(groupLeafWrapKey, GK[group]), 40 bytes. */
  readonly wrap: Uint8Array;
};

const VERSION = 1;
const SHARED = 1;
const WRAP_LENGTH = 40;

/** Data of the `pssh` box. */
export const encodeBundleLeaf = ({ collection, month, group, wrap }: BundleLeaf): Uint8Array => {
  const name = encodeUtf8(collection);
  return new ByteWriter(11 + name.length + WRAP_LENGTH).u8(VERSION).u8(SHARED).u32(month).u8(name.length).bytes(name).u32(group).bytes(wrap).finish();
};

/** Reads such data; throws `media-malformed`. */
export const parseBundleLeaf = (bytes: Uint8Array): BundleLeaf => {
  const reader = new ByteReader(bytes, 'bundle leaf', 'media-malformed');
  if (reader.u8() !== VERSION || reader.u8() !== SHARED) throw new SealcastError('media-malformed', 'bundle leaf: only version 1 of shared scope is known');
  const month = reader.u32();
  const collection = decodeUtf8(reader.take(reader.u8()));
  const group = reader.u32() as GrantGroup;
  const wrap = reader.take(WRAP_LENGTH).slice();
  if (reader.remaining !== 0 || month < FIRST_MONTH || month >= END_OF_MONTHS || !COLLECTION.test(collection)) throw new SealcastError('media-malformed', 'bundle leaf: collection, month or length is out of range');
  return { collection, month, group, wrap };
};
