// SPDX-License-Identifier: Apache-2.0
/**
 * Writes HLS playlists: multivariant, media playlists of events (low latency) and of titles.
 *
 * RFC 8216bis (draft 16), sections 4.4 and 6.2.5; Clear Key form of hls.js (`KEYFORMAT="org.w3.clearkey"`).
 * Invariants: exactly one EXT-X-KEY per protected playlist, because hls.js stalls on cbcs when it sees two; the media
 * sequence number is the segment number (UTC / segment duration), shared by all renditions, and counts missing segments.
 */
import { encodeHex } from '#core/bytes/hex.ts';
import type { Micros } from '#core/time.ts';
import { clearKeyPath, entryKeyPath } from './presentation.ts';
import type { AudioTrack, Protection, Segment, TextTrack, Track, VideoTrack } from './presentation.ts';
import { decimalSeconds, xsDateTime } from './xml.ts';

/** `clearkey` is what hls.js reads; Shaka Player reads only `identity` in HLS. */
export type KeyFormat = 'clearkey' | 'identity';

const AUDIO_GROUP = 'audio';
const TEXT_GROUP = 'text';

/** Playlist attribute text: HLS has no escape, so quotes and line breaks are taken out. */
const quoted = (text: string): string => `"${text.replace(/["\r\n]/g, '')}"`;
const keyFormatQuery = (format: KeyFormat): string => (format === 'identity' ? '?keyformat=identity' : '');

/** Multivariant playlist of any presentation. Without video, each audio track is a variant of its own. */
export const multivariantPlaylist = (tracks: readonly Track[], options: { keyFormat: KeyFormat }): string => {
  const query = keyFormatQuery(options.keyFormat);
  const video = tracks.filter((track) => track.kind === 'video');
  const audio = tracks.filter((track) => track.kind === 'audio');
  const text = tracks.filter((track) => track.kind === 'text');
  const lines = ['#EXTM3U', '#EXT-X-VERSION:9', '#EXT-X-INDEPENDENT-SEGMENTS'];
  for (const [index, track] of (video.length > 0 ? audio : []).entries()) lines.push(media('AUDIO', AUDIO_GROUP, track, index === 0, query));
  for (const track of text) lines.push(media('SUBTITLES', TEXT_GROUP, track, false, query));
  const loudest = audio.reduce((most, track) => Math.max(most, track.bandwidth), 0);
  const loudestAverage = audio.reduce((most, track) => Math.max(most, track.averageBandwidth ?? track.bandwidth), 0);
  const audioCodecs = [...new Set(audio.map((track) => track.codec))];
  for (const track of video) {
    lines.push(
      streamInf(track, {
        bandwidth: track.bandwidth + loudest,
        average: (track.averageBandwidth ?? track.bandwidth) + loudestAverage,
        codecs: [track.codec, ...audioCodecs],
        audio: audio.length > 0,
        text: text.length > 0,
      }),
    );
    lines.push(`${track.id}/playlist.m3u8${query}`);
  }
  for (const track of video.length > 0 ? [] : audio) {
    lines.push(streamInf(track, { bandwidth: track.bandwidth, average: track.averageBandwidth ?? track.bandwidth, codecs: [track.codec], audio: false, text: text.length > 0 }));
    lines.push(`${track.id}/playlist.m3u8${query}`);
  }
  return `${lines.join('\n')}\n`;
};

const media = (type: 'AUDIO' | 'SUBTITLES', group: string, track: AudioTrack | TextTrack, isDefault: boolean, query: string): string => {
  const attributes = [
    `TYPE=${type}`,
    `GROUP-ID="${group}"`,
    `NAME=${quoted(track.label ?? (track.language === 'und' ? track.id : track.language))}`,
    ...(track.language === 'und' ? [] : [`LANGUAGE=${quoted(track.language)}`]),
    `DEFAULT=${isDefault ? 'YES' : 'NO'}`,
    'AUTOSELECT=YES',
    ...(track.kind === 'audio' ? [`CHANNELS="${track.channels}"`] : ['FORCED=NO']),
    ...(track.kind === 'text' && track.role === 'caption' ? ['CHARACTERISTICS="public.accessibility.transcribes-spoken-dialog"'] : []),
    `URI="${track.id}/playlist.m3u8${query}"`,
  ];
  return `#EXT-X-MEDIA:${attributes.join(',')}`;
};

type Variant = { readonly bandwidth: number; readonly average: number; readonly codecs: readonly string[]; readonly audio: boolean; readonly text: boolean };
const streamInf = (track: VideoTrack | AudioTrack, variant: Variant): string => {
  const attributes = [
    `BANDWIDTH=${variant.bandwidth}`,
    `AVERAGE-BANDWIDTH=${variant.average}`,
    `CODECS="${variant.codecs.join(',')}"`,
    ...(track.kind === 'video' ? [`RESOLUTION=${track.width}x${track.height}`] : []),
    ...(track.kind === 'video' && track.frameRate !== undefined ? [`FRAME-RATE=${(track.frameRate.numerator / track.frameRate.denominator).toFixed(3)}`] : []),
    ...(variant.audio ? [`AUDIO="${AUDIO_GROUP}"`] : []),
    ...(variant.text ? [`SUBTITLES="${TEXT_GROUP}"`] : []),
    'CLOSED-CAPTIONS=NONE',
  ];
  return `#EXT-X-STREAM-INF:${attributes.join(',')}`;
};

/** Where another rendition of the event stands, for EXT-X-RENDITION-REPORT. `uri` is relative to the playlist. */
export type RenditionReport = { readonly uri: string; readonly lastSegment: number; readonly lastPart: number };

/** Everything one media playlist of an event says. */
export type LivePlaylist = {
  readonly track: Track;
  readonly protection: Protection | undefined;
  readonly keyFormat: KeyFormat;
  readonly segmentDuration: Micros;
  /** Longest part of this rendition. */
  readonly partTarget: Micros;
  /** Consecutive segment numbers, gaps included, oldest first; the last may be open. */
  readonly segments: readonly Segment[];
  readonly reports: readonly RenditionReport[];
  readonly ended: boolean;
};

/** Media playlist of an event. The first segment's number is the media sequence number. */
export const livePlaylist = (playlist: LivePlaylist): string => {
  const { segments, track } = playlist;
  const lowLatency = track.kind !== 'text';
  const longest = segments.reduce<number>((most, segment) => (segment.state === 'complete' ? Math.max(most, segment.duration) : most), playlist.segmentDuration);
  const lines = ['#EXTM3U', '#EXT-X-VERSION:9', `#EXT-X-TARGETDURATION:${targetSeconds(longest)}`];
  if (lowLatency) {
    lines.push(
      `#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=${decimalSeconds(partHoldBack(playlist.partTarget))},HOLD-BACK=${decimalSeconds(targetSeconds(longest) * 3_000_000)}`,
    );
    lines.push(`#EXT-X-PART-INF:PART-TARGET=${decimalSeconds(playlist.partTarget)}`);
  } else {
    lines.push('#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES');
  }
  lines.push(`#EXT-X-MEDIA-SEQUENCE:${segments[0]?.number ?? 0}`);
  if (lowLatency) lines.push(...keyLines(playlist.protection, playlist.keyFormat), `#EXT-X-MAP:URI="init.mp4"`);
  const extension = lowLatency ? 'm4s' : 'vtt';
  for (const segment of segments) {
    if (segment.state === 'open' && segment.parts.length === 0) continue;
    lines.push(`#EXT-X-PROGRAM-DATE-TIME:${xsDateTime(segment.start)}`);
    for (const [index, part] of (lowLatency ? segment.parts : []).entries()) {
      lines.push(`#EXT-X-PART:DURATION=${decimalSeconds(part.duration)},URI="${segment.number}.${index}.${extension}"${part.independent ? ',INDEPENDENT=YES' : ''}`);
    }
    if (segment.state === 'open') continue;
    if (segment.state === 'gap') lines.push('#EXT-X-GAP');
    lines.push(`#EXTINF:${decimalSeconds(segment.duration)},`, `${segment.number}.${extension}`);
  }
  const last = segments.at(-1);
  if (playlist.ended) lines.push('#EXT-X-ENDLIST');
  else if (lowLatency && last !== undefined) {
    const next = last.state === 'open' ? `${last.number}.${last.parts.length}` : `${last.number + 1}.0`;
    lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${next}.${extension}"`);
  }
  if (!playlist.ended)
    for (const report of playlist.reports)
      lines.push(`#EXT-X-RENDITION-REPORT:URI="${report.uri}",LAST-MSN=${report.lastSegment}${report.lastPart >= 0 ? `,LAST-PART=${report.lastPart}` : ''}`);
  return `${lines.join('\n')}\n`;
};

/** Media playlist of a title. Text tracks are one WebVTT file. */
export const titlePlaylist = (playlist: { track: Track; protection: Protection | undefined; keyFormat: KeyFormat; durations: readonly Micros[] }): string => {
  const longest = playlist.durations.reduce<number>((most, value) => Math.max(most, value), 0);
  const text = playlist.track.kind === 'text';
  const lines = ['#EXTM3U', '#EXT-X-VERSION:7', `#EXT-X-TARGETDURATION:${targetSeconds(longest)}`, '#EXT-X-PLAYLIST-TYPE:VOD', '#EXT-X-MEDIA-SEQUENCE:0'];
  if (!text) lines.push('#EXT-X-INDEPENDENT-SEGMENTS', ...keyLines(playlist.protection, playlist.keyFormat), '#EXT-X-MAP:URI="init.mp4"');
  for (const [index, duration] of playlist.durations.entries()) lines.push(`#EXTINF:${decimalSeconds(duration)},`, `${index}.${text ? 'vtt' : 'm4s'}`);
  return `${[...lines, '#EXT-X-ENDLIST'].join('\n')}\n`;
};

/** Rounded to the nearest second, as the rule for EXTINF against EXT-X-TARGETDURATION asks, and at least one. */
const targetSeconds = (longest: number): number => Math.max(1, Math.round(longest / 1_000_000));
/** Three parts are recommended (section 4.4.3.8); one more absorbs the jitter of a chunk that is cut at a period's end. */
const partHoldBack = (partTarget: Micros): number => Math.max(4 * partTarget, 800_000);

const keyLines = (protection: Protection | undefined, format: KeyFormat): readonly string[] => {
  if (protection === undefined) return [];
  const method = protection.scheme === 'cenc' ? 'SAMPLE-AES-CTR' : 'SAMPLE-AES';
  return format === 'identity'
    ? [`#EXT-X-KEY:METHOD=${method},URI="${entryKeyPath(protection.asset)}",KEYFORMAT="identity",KEYFORMATVERSIONS="1"`]
    : [`#EXT-X-KEY:METHOD=${method},URI="${clearKeyPath(protection.asset)}",KEYFORMAT="org.w3.clearkey",KEYFORMATVERSIONS="1",KEYID=0x${encodeHex(protection.entryKid)}`];
};
