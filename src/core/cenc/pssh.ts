// SPDX-License-Identifier: Apache-2.0
/**
 * `pssh` boxes: what EME hands to a page as `cenc` initialization data (ISO/IEC 23001-7 clause 8.1; W3C "cenc"
 * Initialization Data Format).
 *
 * Invariant: what we write for players is version 1 of the W3C common system id with the KIDs and no data: the only form Clear
 * Key CDMs take.
 */
import { SealcastError } from '#core/errors.ts';
import type { KeyId } from '#core/ids.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { concatBytes } from '#core/bytes/concat.ts';
import { decodeHex } from '#core/bytes/hex.ts';
import { readBoxes, readFullBox, writeFullBox } from '#core/isobmff/box.ts';

/** 1077efec-c0b2-4d02-ace3-3c1e52e2fb4b, the W3C common system id, as raw bytes. */
export const W3C_COMMON_SYSTEM_ID: Uint8Array = decodeHex('1077efecc0b24d02ace33c1e52e2fb4b');

/** 5c0ab1ee-7d3f-4f2a-9c61-8b7e2d94a6f3, Sealcast's own system id: boxes with an in-band leaf as data (docs/wire/subscription.md). */
export const SEALCAST_SYSTEM_ID: Uint8Array = decodeHex('5c0ab1ee7d3f4f2a9c618b7e2d94a6f3');

/** One parsed `pssh` box; version 0 boxes name no KIDs. */
export type Pssh = { readonly systemId: Uint8Array; readonly kids: readonly KeyId[]; readonly data: Uint8Array };

/** A version 1 `pssh` box that names `kids`. */
export const writePssh = (kids: readonly KeyId[], systemId: Uint8Array = W3C_COMMON_SYSTEM_ID, data: Uint8Array = new Uint8Array(0)): Uint8Array =>
  writeFullBox('pssh', 1, 0, systemId, new ByteWriter(4).u32(kids.length).finish(), concatBytes(...kids), new ByteWriter(4).u32(data.length).finish(), data);

/** All `pssh` boxes of EME initialization data or of a box list. Throws `media-malformed`, `media-truncated`. */
export const parsePssh = (bytes: Uint8Array): readonly Pssh[] =>
  readBoxes(bytes).map((box) => {
    if (box.type !== 'pssh') throw new SealcastError('media-malformed', 'initialization data holds something else than pssh boxes');
    const { version, reader } = readFullBox(box);
    const systemId = reader.take(16);
    const count = version === 0 ? 0 : reader.u32();
    if (count > reader.remaining / 16) throw new SealcastError('media-truncated', `pssh names ${count} key ids in ${reader.remaining} bytes`);
    const kids = Array.from({ length: count }, () => reader.take(16) as KeyId);
    const data = reader.take(reader.u32());
    reader.end();
    return { systemId, kids, data };
  });
