// SPDX-License-Identifier: Apache-2.0
/**
 * What a profiler found in a stretch of media (a chunk, or a segment without its boxes), and its bytes.
 *
 * docs/wire/mark-box.md, "Profile". It is secret in clear: who holds it can erase or forge marks. It travels sealed
 * (`seal.ts`) and lies in the clear only in the tracer's reference.
 * Invariant: what leaves `decodeProfile` has ordered places inside `size`, slots below `slots` and masks that change something.
 */
import { ByteReader } from '#core/bytes/reader.ts';
import { ByteWriter } from '#core/bytes/writer.ts';
import { SealcastError } from '#core/errors.ts';
import { MAX_SLOTS, NO_SITES, type MarkSites } from './sites.ts';

/** Why a stretch has no places, in the order of their numbers on the wire. */
export const NO_SITES_REASONS = [
  'no-places',
  'not-h264',
  'data-partitioning',
  'field-picture',
  'mbaff',
  'chroma-4:2:2',
  'chroma-4:4:4',
  'slice-groups',
  'arbitrary-slice-order',
  'switching-slice',
  'redundant-picture',
  'unsupported-protection',
  'damaged',
] as const;
/** Why a stretch has no places. `no-places`: it was read, and nothing in it may be replaced. */
export type WithoutSites = (typeof NO_SITES_REASONS)[number];

/** Places of one stretch. */
export type MarkProfile = {
  /** Slots of a segment, 1-127; position = segment number * slots + slot. */
  readonly slots: number;
  /** Length of the stretch in bytes. */
  readonly size: number;
  readonly sites: MarkSites;
  /** Why `sites` is empty; absent where it is not. */
  readonly because?: WithoutSites;
};

const FORMAT = 1;
const malformed = (rule: string): never => {
  throw new SealcastError('media-malformed', `mark profile: ${rule}`);
};

/** Bytes of a profile. */
export const encodeProfile = ({ slots, size, sites, because }: MarkProfile): Uint8Array => {
  const out = new ByteWriter(16 + sites.count * 5);
  out.u8(FORMAT).u8(sites.count === 0 ? 1 + Math.max(0, NO_SITES_REASONS.indexOf(because ?? 'no-places')) : 0);
  out.u8(slots).u32(size);
  varint(out, sites.count);
  let end = 0;
  for (let row = 0; row < sites.count; row++) {
    const from = sites.maskStart[row] as number;
    const to = sites.maskStart[row + 1] as number;
    const offset = sites.offset[row] as number;
    varint(out, (offset - end) * 4 + (to - from - 1));
    out.u8(sites.switchOf[row] as number);
    out.bytes(sites.masks.subarray(from, to));
    end = offset + to - from;
  }
  return out.finish();
};

/** Reads a profile; throws `media-malformed` or `media-truncated`. */
export const decodeProfile = (bytes: Uint8Array): MarkProfile => {
  const input = new ByteReader(bytes, 'mark profile');
  if (input.u8() !== FORMAT) malformed('an unknown format');
  const kind = input.u8();
  const slots = input.u8();
  const size = input.u32();
  if (slots < 1 || slots > MAX_SLOTS) malformed('slots must be 1-127');
  const count = readVarint(input);
  if (kind > 0) {
    const because = NO_SITES_REASONS[kind - 1] ?? malformed('an unknown reason');
    if (count !== 0) malformed('places beside a reason for having none');
    input.end();
    return { slots, size, sites: NO_SITES, because };
  }
  // A place takes three bytes or more.
  if (count === 0 || count * 3 > input.remaining) malformed('the number of places does not fit');
  const offset = new Uint32Array(count);
  const switchOf = new Uint8Array(count);
  const maskStart = new Uint32Array(count + 1);
  const masks = new Uint8Array(input.remaining);
  let filled = 0;
  let end = 0;
  for (let row = 0; row < count; row++) {
    const packed = readVarint(input);
    const length = (packed % 4) + 1;
    const at = end + Math.floor(packed / 4);
    end = at + length;
    const which = input.u8();
    if (end > size || which > slots * 2) malformed('a place outside the media or the slots');
    const mask = input.take(length);
    if (mask[0] === 0 || mask[length - 1] === 0) malformed('a mask must begin and end with a change');
    offset[row] = at;
    switchOf[row] = which;
    masks.set(mask, filled);
    filled += length;
    maskStart[row + 1] = filled;
  }
  input.end();
  return { slots, size, sites: { count, offset, switchOf, maskStart, masks: masks.slice(0, filled) } };
};

/** Seven bits a byte, lowest first, the last byte below 128; at most 2^35. */
const varint = (out: ByteWriter, value: number): void => {
  let rest = value;
  while (rest >= 128) {
    out.u8((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  out.u8(rest);
};

const readVarint = (input: ByteReader): number => {
  let value = 0;
  for (let scale = 1; scale <= 2 ** 28; scale *= 128) {
    const byte = input.u8();
    value += (byte % 128) * scale;
    if (byte < 128) return byte === 0 && scale > 1 ? malformed('a number longer than needed') : value;
  }
  return malformed('a number too large');
};
