// SPDX-License-Identifier: Apache-2.0
/**
 * `avcC`, the decoder configuration record of H.264 in MP4 (ISO/IEC 14496-15 clause 5.3.3.1), and its RFC 6381 string.
 *
 * Invariant: decode(encode(x)) = x; only H.264 gets past `avcConfigurationOf`.
 */
import { SealcastError } from '#core/errors.ts';
import { ByteReader } from '#core/bytes/reader.ts';
import { ByteWriter } from '#core/bytes/writer.ts';

/** Decoded decoder configuration record; the arrays are NAL units, views of the box. */
export type AvcConfiguration = {
  readonly profile: number;
  readonly compatibility: number;
  readonly level: number;
  /** Bytes of a NAL unit length in samples: 1, 2 or 4. */
  readonly lengthSize: number;
  /** NAL units, header byte included. */
  readonly sps: readonly Uint8Array[];
  readonly pps: readonly Uint8Array[];
  /** Only in High profiles, and there often left out. */
  readonly chroma?: { readonly format: number; readonly bitDepthLuma: number; readonly bitDepthChroma: number; readonly spsExtensions: readonly Uint8Array[] };
};

/** Parses the body of an `avcC` box; arrays are views. */
export const parseAvcConfiguration = (body: Uint8Array): AvcConfiguration => {
  const reader = new ByteReader(body, 'avcC');
  const version = reader.u8();
  if (version !== 1) throw new SealcastError('media-unsupported', `avcC version ${version} is unknown`);
  const profile = reader.u8();
  const compatibility = reader.u8();
  const level = reader.u8();
  const lengthSize = (reader.u8() & 3) + 1;
  if (lengthSize === 3) throw new SealcastError('media-malformed', 'avcC names 3-byte NAL unit lengths');
  const units = (count: number): readonly Uint8Array[] => Array.from({ length: count }, () => reader.take(reader.u16()));
  const sps = units(reader.u8() & 31);
  const pps = units(reader.u8());
  const base = { profile, compatibility, level, lengthSize, sps, pps };
  if ((profile !== 100 && profile !== 110 && profile !== 122 && profile !== 144 && profile !== 244) || reader.remaining < 4) return base;
  return { ...base, chroma: { format: reader.u8() & 3, bitDepthLuma: 8 + (reader.u8() & 7), bitDepthChroma: 8 + (reader.u8() & 7), spsExtensions: units(reader.u8()) } };
};

/** The body of an `avcC` box. */
export const writeAvcConfiguration = (configuration: AvcConfiguration): Uint8Array => {
  const writer = new ByteWriter(64);
  writer
    .u8(1)
    .u8(configuration.profile)
    .u8(configuration.compatibility)
    .u8(configuration.level)
    .u8(0xfc | (configuration.lengthSize - 1));
  const units = (prefix: number, list: readonly Uint8Array[]): void => {
    writer.u8(prefix | list.length);
    for (const unit of list) writer.u16(unit.length).bytes(unit);
  };
  if (configuration.sps.length > 31) throw new RangeError('avcC holds at most 31 sequence parameter sets');
  units(0xe0, configuration.sps);
  units(0, configuration.pps);
  const { chroma } = configuration;
  if (chroma !== undefined) {
    writer
      .u8(0xfc | chroma.format)
      .u8(0xf8 | (chroma.bitDepthLuma - 8))
      .u8(0xf8 | (chroma.bitDepthChroma - 8));
    units(0, chroma.spsExtensions);
  }
  return writer.finish();
};

/** RFC 6381 section 3.3 with the sample entry's name, e.g. `avc1.64001f`. */
export const avcCodecString = (configuration: AvcConfiguration, sampleEntry: 'avc1' | 'avc3' = 'avc1'): string =>
  `${sampleEntry}.${[configuration.profile, configuration.compatibility, configuration.level].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;

/** The configuration of a parsed video track; throws `media-unsupported` saying what to do where it is not H.264. */
export const avcConfigurationOf = (track: { readonly format: string; readonly avcC?: Uint8Array }): AvcConfiguration => {
  if ((track.format !== 'avc1' && track.format !== 'avc3') || track.avcC === undefined) {
    const format = track.format.replace(/[^\x20-\x7e]/g, '.');
    throw new SealcastError('media-unsupported', `video is coded as "${format}"; only H.264 (avc1, avc3) can be protected. Transcode it first (ffmpeg -c:v libx264)`);
  }
  return parseAvcConfiguration(track.avcC);
};
