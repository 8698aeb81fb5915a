// SPDX-License-Identifier: Apache-2.0
/**
 * What a manifest says, free of any manifest format: tracks, their coding, their segments and how they are protected.
 *
 * ISO/IEC 23009-1 and RFC 8216bis are both written from this model, so that HLS and DASH of an asset never disagree.
 * Invariant: every address in it is relative to the manifest, except the service paths, which start with `/`; a token
 * carried in the path therefore stays on every media request.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { AssetId, KeyId, ProtectionScheme, RepresentationId } from '#core/ids.ts';
import type { Micros, SegmentNumber } from '#core/time.ts';

/** What a track shows or sounds; text is WebVTT. */
export type TrackKind = 'video' | 'audio' | 'text';

/** Frames per second as an exact fraction, e.g. 30000/1001. */
export type FrameRate = { readonly numerator: number; readonly denominator: number };

type TrackBase = {
  readonly id: RepresentationId;
  /** BCP 47; `und` when unknown. */
  readonly language: string;
  /** Shown in a player's menu; absent: the language. */
  readonly label?: string;
};
/** One H.264 rendition; those of a presentation have the same key frames. */
export type VideoTrack = TrackBase & {
  readonly kind: 'video';
  /** RFC 6381, e.g. `avc1.64001f`. */
  readonly codec: string;
  /** Peak bits per second over one segment. */
  readonly bandwidth: number;
  readonly averageBandwidth?: number;
  readonly width: number;
  readonly height: number;
  readonly frameRate?: FrameRate;
};
/** One AAC track in one language. */
export type AudioTrack = TrackBase & {
  readonly kind: 'audio';
  readonly codec: string;
  readonly bandwidth: number;
  readonly averageBandwidth?: number;
  readonly sampleRate: number;
  readonly channels: number;
};
/** WebVTT, never encrypted. */
export type TextTrack = TrackBase & { readonly kind: 'text'; readonly role: 'subtitle' | 'caption' };
export type Track = VideoTrack | AudioTrack | TextTrack;

/** How players without our client set themselves up; content keys come in band (`seig`) and through our own key session. */
export type Protection = {
  readonly scheme: ProtectionScheme;
  readonly asset: AssetId;
  /** The decoy named by every manifest; encrypts no sample. */
  readonly entryKid: KeyId;
};

/** One LL-HLS part = one CMAF chunk. */
export type Part = { readonly duration: Micros; readonly independent: boolean };

/** One segment on a rendition's timeline. */
export type Segment = {
  readonly number: SegmentNumber;
  readonly start: Micros;
  readonly duration: Micros;
  /** `gap`: never arrived; players skip it instead of failing. */
  readonly state: 'complete' | 'open' | 'gap';
  /** Parts still worth listing; empty for old segments. */
  readonly parts: readonly Part[];
};

/** A live event: media time is Unix time, segment n covers [n, n + 1) segment durations since 1970. */
export type LivePresentation = {
  readonly tracks: readonly Track[];
  readonly protection: Protection | undefined;
  readonly segmentDuration: Micros;
  /** Length of a CMAF chunk; the media a player must wait for before it may start. */
  readonly chunkDuration: Micros;
  /** How far behind the live edge a player may seek now. */
  readonly window: Micros;
  /** MPD@publishTime; later than the last change of the tracks. */
  readonly publishedAt: Micros;
  /** Target distance of the picture to the camera. */
  readonly targetLatency: Micros;
  /** First segment number after the end; absent while it runs. */
  readonly endedAt?: SegmentNumber;
};

/** A title: media time starts at 0. */
export type TitlePresentation = {
  readonly duration: Micros;
  readonly protection: Protection | undefined;
  readonly tracks: readonly TitleTrack[];
};
/** Lengths of a title's segments in the track's own time scale, number 0 first; text tracks are one file, segment 0. */
export type TitleTrack = { readonly track: Track; readonly timescale: number; readonly start: bigint; readonly durations: readonly number[] };

/** `urn:uuid` form without braces: 8-4-4-4-12 lower-case hexadecimal digits. */
export const uuidText = (kid: Uint8Array): string => {
  const hex = encodeHex(kid);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
};

/** Path of the W3C Clear Key exchange and of the raw entry key (docs/wire/session.md). */
export const clearKeyPath = (asset: AssetId): string => `/v1/clearkey?asset=${asset}`;
export const entryKeyPath = (asset: AssetId): string => `/v1/events/${asset}/entry-key`;
export const timePath = '/v1/time?format=xsdate';
