// SPDX-License-Identifier: Apache-2.0
/**
 * The sealed box that carries a chunk's profile, as bytes: one top-level `uuid` box directly before the chunk's `moof`.
 *
 * docs/wire/mark-box.md, "Box" (ISO/IEC 14496-12 clause 11.1). Sealing is `crypto/mark-box.ts`. Invariant: what
 * `parseMarkBox` answers has the lengths it must have; nothing about it is authenticated yet.
 */
import { equalBytes } from '#core/bytes/equal.ts';
import { ByteReader } from '#core/bytes/reader.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { SealcastError } from '#core/errors.ts';
import type { AssetId } from '#core/ids.ts';
import { writeBox } from '#core/isobmff/box.ts';
import { msg, u32, u64 } from '#core/keys/encoding.ts';

/** Extended type of the box (random). */
export const MARK_BOX_TYPE: Uint8Array = Uint8Array.of(0x5d, 0x0e, 0x3a, 0x9c, 0x71, 0xb4, 0x4f, 0x62, 0x8a, 0x27, 0xd9, 0x46, 0x1f, 0xc8, 0x05, 0xe3);
/** Version of the box. */
const VERSION = 1;
/** Bytes of the box around the sealed profile: box header, version, epoch, packager start, nonce, tag. */
export const MARK_BOX_OVERHEAD: number = 8 + 16 + 1 + 4 + 4 + 12 + 16;
/** Segments that share a box key epoch. */
export const SEGMENTS_PER_BOX_EPOCH = 512;
/** A profile is at most 64 kB: 128 slots of 32 places take 20 kB. */
const LARGEST = 65_536;

/** Epoch of the box key of a segment; u32 for every segment number of this millennium. */
export const boxEpochOf = (segment: number): number => Math.floor(segment / SEGMENTS_PER_BOX_EPOCH);

/** Fields of the box before the sealed profile. */
export type MarkBoxHead = {
  readonly epoch: number;
  /** Random at each start of a packager: no two lives of it share a key. */
  readonly packagerStart: number;
  /** 12 bytes. */
  readonly nonce: Uint8Array;
};
/** A box as it stands in a stream, not opened. */
export type MarkBox = MarkBoxHead & {
  /** All bytes before the sealed profile: authenticated with it. */
  readonly head: Uint8Array;
  /** Ciphertext and tag. */
  readonly sealed: Uint8Array;
};

/** Whether a top-level `uuid` box is one of ours; `bytes` begin with its header. */
export const isMarkBox = (bytes: Uint8Array): boolean => bytes.length >= 24 && equalBytes(bytes.subarray(8, 24), MARK_BOX_TYPE);

/** All bytes before `sealedLength` bytes of sealed profile. */
export const markBoxHead = ({ epoch, packagerStart, nonce }: MarkBoxHead, sealedLength: number): Uint8Array => {
  const fields = new ByteWriter(40).bytes(MARK_BOX_TYPE).u8(VERSION).u32(epoch).u32(packagerStart).bytes(nonce).finish();
  return writeBox('uuid', fields, new Uint8Array(sealedLength)).subarray(0, 8 + fields.length);
};

/** Takes a box apart; throws `media-malformed` for another version or impossible lengths. */
export const parseMarkBox = (box: Uint8Array): MarkBox => {
  const input = new ByteReader(box, 'mark box', 'media-malformed');
  const size = input.u32();
  input.skip(4);
  if (size !== box.length || size > LARGEST || !equalBytes(input.take(16), MARK_BOX_TYPE)) throw new SealcastError('media-malformed', 'not a mark box');
  if (input.u8() !== VERSION) throw new SealcastError('media-malformed', 'a mark box of another version');
  const epoch = input.u32();
  const packagerStart = input.u32();
  const nonce = input.take(12);
  const head = box.subarray(0, input.offset);
  if (input.remaining < 16) throw new SealcastError('media-malformed', 'a mark box without a tag');
  return { epoch, packagerStart, nonce, head, sealed: input.rest() };
};

/** Where a segment's box belongs: what its key is bound to. */
export type MarkBoxPlace = { readonly asset: AssetId; readonly representation: string; readonly segment: number };

/** HKDF info of the key that seals the boxes of a segment. */
export const markBoxInfo = ({ asset, representation, segment }: MarkBoxPlace, packagerStart: number): Uint8Array => msg('mark-box', asset, representation, u64(segment), u32(packagerStart));

/** HMAC message of MEK[asset, epoch], under the mark secret. */
export const boxEpochMessage = (epoch: number): Uint8Array => msg('mark-box-epoch', u32(epoch));
/** HMAC message of the key that chooses places, under the mark secret: packagers only. */
export const markChoiceMessage = (): Uint8Array => msg('mark-choice');
