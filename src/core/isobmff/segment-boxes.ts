// SPDX-License-Identifier: Apache-2.0
/**
 * The small boxes around fragments: `ftyp`/`styp` brands, `prft` producer reference time, `sidx` index
 * (ISO/IEC 14496-12 clauses 4.3, 8.16.2, 8.16.3, 8.16.5; CMAF ISO/IEC 23000-19 clause 7.3).
 *
 * Invariant: NTP times convert to microseconds and back without drift of more than a microsecond.
 */
import type { Micros, MediaTicks } from '#core/time.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { fourCharacters, readFullBox, writeBox, writeFullBox } from './box.ts';
import type { Box } from './box.ts';
import { ByteReader } from '#core/bytes/reader.ts';

/** Brands of a file or segment, four characters each. */
export type Brands = { readonly major: string; readonly minor: number; readonly compatible: readonly string[] };

/** Reads `ftyp` or `styp`. */
export const parseBrands = (box: Box): Brands => {
  const reader = new ByteReader(box.body, `box ${box.type}`);
  const major = fourCharacters(reader.take(4), 0);
  const minor = reader.u32();
  const compatible: string[] = [];
  while (reader.remaining > 0) compatible.push(fourCharacters(reader.take(4), 0));
  return { major, minor, compatible };
};

/**
 * A `styp` (or `ftyp`) box. `lmsg` among the compatible brands marks the last segment of a live stream; `cmfs` a CMAF
 * segment, `cmfl` a chunk, `msdh`/`msix` DASH segments.
 */
export const writeBrands = (type: 'styp' | 'ftyp', major: string, compatible: readonly string[], minor: number = 0): Uint8Array => {
  const writer = new ByteWriter(8 + compatible.length * 4);
  for (const brand of [major, ...compatible]) if (!/^[\x20-\x7e]{4}$/.test(brand)) throw new RangeError('a brand has four ASCII characters');
  writer.text(major).u32(minor);
  for (const brand of compatible) writer.text(brand);
  return writeBox(type, writer.finish());
};

/** When the first frame of the chunk after it was captured. */
export type ProducerReferenceTime = { readonly trackId: number; readonly wallClock: Micros; readonly mediaTime: MediaTicks; readonly flags: number };

/** Seconds between 1900 (NTP) and 1970 (Unix). */
const NTP_TO_UNIX = 2_208_988_800n;

/** Reads `prft`; the wall clock is rounded to the nearest microsecond. */
export const parsePrft = (box: Box): ProducerReferenceTime => {
  const { version, flags, reader } = readFullBox(box);
  const trackId = reader.u32();
  const ntp = reader.u64();
  const mediaTime = (version === 0 ? BigInt(reader.u32()) : reader.u64()) as MediaTicks;
  const fraction = ((ntp & 0xffffffffn) * 1_000_000n + 0x80000000n) >> 32n;
  return { trackId, wallClock: Number(((ntp >> 32n) - NTP_TO_UNIX) * 1_000_000n + fraction) as Micros, mediaTime, flags };
};

/** A version 1 `prft`. `flags` 24 (default) says: time of capture of the first frame (input to the encoder). */
export const writePrft = (time: { trackId: number; wallClock: Micros; mediaTime: MediaTicks; flags?: number }): Uint8Array => {
  const micros = BigInt(time.wallClock);
  const seconds = micros / 1_000_000n + NTP_TO_UNIX;
  const fraction = ((micros % 1_000_000n) << 32n) / 1_000_000n;
  const body = new ByteWriter(20)
    .u32(time.trackId)
    .u64((seconds << 32n) | fraction)
    .u64(time.mediaTime);
  return writeFullBox('prft', 1, time.flags ?? 24, body.finish());
};

/** One subsegment of an index: `size` bytes, `duration` in the index's timescale, `sync` if it starts with a sync sample. */
export type IndexEntry = { readonly size: number; readonly duration: number; readonly sync: boolean };

/** A version 1 `sidx` directly in front of the subsegments it lists. */
export const writeSidx = (index: { trackId: number; timescale: number; earliest: MediaTicks; entries: readonly IndexEntry[] }): Uint8Array => {
  const writer = new ByteWriter(28 + index.entries.length * 12);
  writer.u32(index.trackId).u32(index.timescale).u64(index.earliest).u64(0n).u16(0).u16(index.entries.length);
  for (const entry of index.entries) {
    if (entry.size > 0x7fffffff) throw new RangeError('a subsegment of an index has at most 2^31-1 bytes');
    writer
      .u32(entry.size)
      .u32(entry.duration)
      .u32(entry.sync ? 0x90000000 : 0);
  }
  return writeFullBox('sidx', 1, 0, writer.finish());
};
