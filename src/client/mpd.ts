// SPDX-License-Identifier: Apache-2.0
/**
 * Reads our own MPDs (ISO/IEC 23009-1, docs/wire/media.md): one Period, SegmentTemplate with $Number$, relative addresses.
 *
 * Invariant: what leaves here is complete and bounded. A manifest of another shape throws `media-unsupported` or
 * `media-malformed` naming the element; segment addresses never leave the manifest's own folder.
 */
import { SealcastError } from '#core/errors.ts';
import { representationId } from '#core/ids.ts';
import type { RepresentationId } from '#core/ids.ts';
import { type Micros, microsFromSeconds } from '#core/time.ts';
import { type XmlElement, parseXml } from './xml.ts';

/** What a track carries. */
export type TrackKind = 'video' | 'audio' | 'text';

/** One Representation: where its header and segments are. */
export type MpdTrack = {
  readonly id: RepresentationId;
  readonly kind: TrackKind;
  readonly language: string | undefined;
  /** Bits per second as announced. */
  readonly bandwidth: number;
  readonly codecs: string;
  /** Address of the CMAF header, relative to the manifest; undefined for WebVTT. */
  readonly init: string | undefined;
  /** Address of segment `number`, relative to the manifest. */
  segment(number: number): string;
  readonly startNumber: number;
  /** Nominal length of one segment. */
  readonly segmentDuration: Micros;
  /** Titles: number after the last segment. Events: undefined. */
  readonly endNumber: number | undefined;
};

/** A manifest as far as a client follows it. */
export type Mpd = {
  readonly kind: 'event' | 'title';
  readonly tracks: readonly MpdTrack[];
  /** Titles: length of the content. */
  readonly duration: Micros | undefined;
  /** Events: how long the client may wait before it asks for the manifest again. */
  readonly minimumUpdatePeriod: Micros | undefined;
};

const DURATION = /^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/;
const duration = (text: string | undefined): Micros | undefined => {
  if (text === undefined) return undefined;
  const match = DURATION.exec(text);
  if (match === null || text.length < 3) throw new SealcastError('media-malformed', 'MPD: a duration is not an ISO 8601 duration of days, hours, minutes and seconds');
  const [days = 0, hours = 0, minutes = 0, seconds = 0] = match.slice(1).map((part) => Number(part ?? 0));
  return microsFromSeconds(((days * 24 + hours) * 60 + minutes) * 60 + seconds);
};

const all = (element: XmlElement, name: string): readonly XmlElement[] => element.children.filter((child) => child.name === name);
const integer = (text: string | undefined, fallback: number, what: string): number => {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text)) throw new SealcastError('media-malformed', `MPD: ${what} must be an unsigned integer`);
  return value;
};

const kindOf = (set: XmlElement, representation: XmlElement): TrackKind | undefined => {
  const type = representation.attributes['mimeType'] ?? set.attributes['mimeType'] ?? set.attributes['contentType'] ?? '';
  return type.startsWith('video') ? 'video' : type.startsWith('audio') ? 'audio' : type.startsWith('text') || type === 'application/mp4' ? 'text' : undefined;
};

const RELATIVE = /^(?!.*(?:^|\/)\.\.?(?:\/|$))[\w.$%-]+(?:\/[\w.$%-]+)*$/;
const relative = (address: string | undefined): string => {
  if (address === undefined || !RELATIVE.test(address)) throw new SealcastError('media-unsupported', 'MPD: SegmentTemplate addresses must be relative to the manifest');
  return address;
};

/** Segments a SegmentTimeline lists; `r` repeats, which titles bound and events leave to the next update. */
const timelineCount = (timeline: XmlElement): number => {
  let count = 0;
  for (const entry of all(timeline, 'S')) {
    const repeat = Number(entry.attributes['r'] ?? 0);
    if (!Number.isInteger(repeat) || repeat < 0) throw new SealcastError('media-unsupported', 'MPD: open-ended SegmentTimeline');
    count += repeat + 1;
  }
  return count;
};

const trackOf = (set: XmlElement, representation: XmlElement, total: Micros | undefined): MpdTrack | undefined => {
  const kind = kindOf(set, representation);
  const id = representationId(representation.attributes['id']);
  const template = all(representation, 'SegmentTemplate')[0] ?? all(set, 'SegmentTemplate')[0];
  if (kind === undefined || template === undefined) return undefined;
  const { timescale, startNumber, initialization, media } = template.attributes;
  const scale = integer(timescale, 1, 'timescale');
  const first = integer(startNumber, 1, 'startNumber');
  const address = (text: string, number?: number): string => {
    const filled = text.replaceAll('$RepresentationID$', id);
    return number === undefined ? filled : filled.replaceAll('$Number$', String(number));
  };
  const pattern = relative(media);
  if (!pattern.includes('$Number$')) throw new SealcastError('media-unsupported', 'MPD: SegmentTemplate@media must hold $Number$');
  const timeline = all(template, 'SegmentTimeline')[0];
  const ticks = timeline === undefined ? integer(template.attributes['duration'], 0, 'duration') : Math.max(...all(timeline, 'S').map((entry) => integer(entry.attributes['d'], 0, 'S@d')));
  if (scale === 0 || !(ticks > 0)) throw new SealcastError('media-malformed', 'MPD: SegmentTemplate without a duration');
  const segmentDuration = microsFromSeconds(ticks / scale);
  const count = total === undefined ? undefined : timeline === undefined ? Math.ceil(total / segmentDuration - 1e-6) : timelineCount(timeline);
  return {
    id,
    kind,
    language: representation.attributes['lang'] ?? set.attributes['lang'],
    bandwidth: integer(representation.attributes['bandwidth'], 0, 'bandwidth'),
    codecs: representation.attributes['codecs'] ?? set.attributes['codecs'] ?? '',
    init: initialization === undefined ? undefined : address(relative(initialization)),
    segment: (number) => address(pattern, number),
    startNumber: first,
    segmentDuration,
    endNumber: count === undefined ? undefined : first + count,
  };
};

/** The MPD in `text`. */
export const parseMpd = (text: string): Mpd => {
  const root = parseXml(text);
  const periods = all(root, 'Period');
  const period = periods[0];
  if (root.name !== 'MPD' || period === undefined || periods.length !== 1) throw new SealcastError('media-unsupported', `MPD: one Period expected, ${periods.length} there`);
  const live = root.attributes['type'] === 'dynamic';
  const total = live ? undefined : (duration(root.attributes['mediaPresentationDuration']) ?? duration(period.attributes['duration']));
  if (!live && total === undefined) throw new SealcastError('media-malformed', 'MPD: a title needs mediaPresentationDuration');
  const tracks = all(period, 'AdaptationSet').flatMap((set) => all(set, 'Representation').flatMap((representation) => trackOf(set, representation, total) ?? []));
  return { kind: live ? 'event' : 'title', tracks, duration: total, minimumUpdatePeriod: duration(root.attributes['minimumUpdatePeriod']) };
};
