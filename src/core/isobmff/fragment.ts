// SPDX-License-Identifier: Apache-2.0
/**
 * Movie fragments: `[styp] [prft] [emsg]* moof mdat`, a CMAF chunk (ISO/IEC 14496-12 clause 8.8, 23000-19 clause 7.3.2).
 *
 * Invariant: every sample that is returned lies inside the fragment's `mdat`; counts are bounded before they size a loop.
 */
import { SealcastError } from '#core/errors.ts';
import type { MediaTicks } from '#core/time.ts';
import { onlyBox, readBoxes, readFullBox } from './box.ts';
import type { Box } from './box.ts';
import type { SampleDefaults } from './init.ts';
import { parseBrands, parsePrft } from './segment-boxes.ts';
import type { Brands, ProducerReferenceTime } from './segment-boxes.ts';

/** Where one sample lies and how it is timed. */
export type Sample = {
  /** Offset in the fragment's bytes. */
  readonly offset: number;
  readonly size: number;
  /** Ticks. */
  readonly duration: number;
  /** Sample flags of 14496-12 clause 8.8.3.1. */
  readonly flags: number;
  /** Ticks from decode time to presentation time; may be negative. */
  readonly compositionOffset: number;
  /** Whether decoding can start here. */
  readonly sync: boolean;
};

/** The samples of one track in a fragment, in decode order. */
export type TrackFragment = {
  readonly trackId: number;
  /** Decode time of the first sample, in ticks of the track. */
  readonly baseMediaDecodeTime: MediaTicks;
  readonly samples: readonly Sample[];
  /** The `traf` box; its start counts from the start of moof's body. */
  readonly traf: Box;
};

/** A parsed fragment; boxes and samples refer to `bytes`. */
export type Fragment = {
  readonly bytes: Uint8Array;
  readonly sequenceNumber: number;
  readonly brands?: Brands;
  readonly prft?: ProducerReferenceTime;
  readonly moof: Box;
  readonly mdat: Box;
  readonly tracks: readonly TrackFragment[];
};

/** What parsing needs to know of a track; a `Track` of `parseInit` fits. */
export type FragmentTrack = { readonly id: number; readonly defaults: SampleDefaults };

/** More samples in one fragment are refused: the counts of `trun` cost an attacker nothing. */
export const MAX_SAMPLES = 100_000;
const NON_SYNC = 0x10000;

/** Parses one fragment. Throws `media-malformed`, `media-truncated`, `media-too-large`, `media-unsupported`. */
export const parseFragment = (bytes: Uint8Array, tracks: readonly FragmentTrack[]): Fragment => {
  const top = readBoxes(bytes);
  const moof = onlyBox(top, 'moof', 'a fragment');
  const mdat = onlyBox(top, 'mdat', 'a fragment');
  if (mdat.start < moof.start) throw new SealcastError('media-malformed', 'mdat stands before moof');
  const children = readBoxes(moof.body);
  const mfhd = readFullBox(onlyBox(children, 'mfhd', 'moof'));
  const place: Place = { moofStart: moof.start, from: mdat.start + mdat.headerSize, to: mdat.start + mdat.bytes.length, next: moof.start, samples: 0 };
  const parsed = children.filter((box) => box.type === 'traf').map((traf) => parseTraf(traf, tracks, place));
  if (new Set(parsed.map((track) => track.trackId)).size !== parsed.length) throw new SealcastError('media-malformed', 'a fragment holds two runs of one track');
  const styp = top.find((box) => box.type === 'styp');
  const prft = top.find((box) => box.type === 'prft' && box.start < moof.start);
  return {
    bytes,
    sequenceNumber: mfhd.reader.u32(),
    ...(styp === undefined ? {} : { brands: parseBrands(styp) }),
    ...(prft === undefined ? {} : { prft: parsePrft(prft) }),
    moof,
    mdat,
    tracks: parsed,
  };
};

/** The fragment's only track; CMAF fragments have one. Throws `media-unsupported` otherwise. */
export const onlyTrackFragment = (fragment: Fragment): TrackFragment => {
  const [track, second] = fragment.tracks;
  if (track === undefined || second !== undefined) {
    throw new SealcastError('media-unsupported', `a CMAF fragment holds one track, this one ${fragment.tracks.length}; send each track by itself`);
  }
  return track;
};

/** Ticks from the first decode time of the fragment to its end. */
export const durationOf = (track: TrackFragment): bigint => track.samples.reduce((sum, sample) => sum + BigInt(sample.duration), 0n);

/** Where sample data may lie, and where the next run starts unless it says. */
type Place = { readonly moofStart: number; readonly from: number; readonly to: number; next: number; samples: number };

const parseTraf = (traf: Box, tracks: readonly FragmentTrack[], place: Place): TrackFragment => {
  const children = readBoxes(traf.body);
  const { flags, reader } = readFullBox(onlyBox(children, 'tfhd', 'traf'));
  const trackId = reader.u32();
  const track = tracks.find((candidate) => candidate.id === trackId);
  if (track === undefined) throw new SealcastError('media-malformed', `a fragment names track ${trackId}, which the init segment does not have`);
  if (flags & 0x1) throw new SealcastError('media-unsupported', 'a fragment uses absolute data offsets; write it with default-base-is-moof (ffmpeg: -movflags +default_base_moof)');
  if (flags & 0x2) reader.skip(4);
  const defaults: SampleDefaults = {
    duration: flags & 0x8 ? reader.u32() : track.defaults.duration,
    size: flags & 0x10 ? reader.u32() : track.defaults.size,
    flags: flags & 0x20 ? reader.u32() : track.defaults.flags,
  };
  const tfdt = readFullBox(onlyBox(children, 'tfdt', 'traf'));
  const baseMediaDecodeTime = (tfdt.version === 0 ? BigInt(tfdt.reader.u32()) : tfdt.reader.u64()) as MediaTicks;
  if (flags & 0x20000) place.next = place.moofStart;
  const samples: Sample[] = [];
  for (const box of children) if (box.type === 'trun') parseTrun(box, defaults, place, samples);
  return { trackId, baseMediaDecodeTime, samples, traf };
};

const parseTrun = (box: Box, defaults: SampleDefaults, place: Place, samples: Sample[]): void => {
  const { version, flags, reader } = readFullBox(box);
  const count = reader.u32();
  place.samples += count;
  if (place.samples > MAX_SAMPLES) throw new SealcastError('media-too-large', `a fragment claims ${place.samples} samples; at most ${MAX_SAMPLES} are read`);
  let at = flags & 0x1 ? place.moofStart + reader.i32() : place.next;
  const firstFlags = flags & 0x4 ? reader.u32() : undefined;
  for (let i = 0; i < count; i++) {
    const duration = flags & 0x100 ? reader.u32() : defaults.duration;
    const size = flags & 0x200 ? reader.u32() : defaults.size;
    let sampleFlags = flags & 0x400 ? reader.u32() : defaults.flags;
    if (i === 0 && firstFlags !== undefined) sampleFlags = firstFlags;
    const compositionOffset = flags & 0x800 ? (version === 0 ? reader.u32() : reader.i32()) : 0;
    if (at < place.from) throw new SealcastError('media-malformed', `a sample starts ${place.from - at} bytes before its mdat`);
    if (size > place.to - at) throw new SealcastError('media-truncated', `a sample of ${size} bytes ends outside its mdat`);
    samples.push({ offset: at, size, duration, flags: sampleFlags, compositionOffset, sync: (sampleFlags & NON_SYNC) === 0 });
    at += size;
  }
  place.next = at;
};
