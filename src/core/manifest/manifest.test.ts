// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { assetId, representationId } from '#core/ids.ts';
import type { KeyId } from '#core/ids.ts';
import { microsFromSeconds, micros } from '#core/time.ts';
import type { Micros, SegmentNumber } from '#core/time.ts';
import { liveMpd, titleMpd } from './dash.ts';
import { livePlaylist, multivariantPlaylist, titlePlaylist } from './hls.ts';
import type { LivePlaylist } from './hls.ts';
import type { AudioTrack, LivePresentation, Protection, Segment, TextTrack, VideoTrack } from './presentation.ts';
import { decimalSeconds, element, escapeXml } from './xml.ts';

const asset = assetId('match-1');
const entryKid = Uint8Array.from({ length: 16 }, (_, index) => index * 17) as KeyId;
const protection: Protection = { scheme: 'cenc', asset, entryKid };
const video = (id: string, width: number, height: number, bandwidth: number): VideoTrack => ({
  kind: 'video',
  id: representationId(id),
  language: 'und',
  codec: 'avc1.64001f',
  bandwidth,
  averageBandwidth: Math.round(bandwidth * 0.8),
  width,
  height,
  frameRate: { numerator: 25, denominator: 1 },
});
const audio = (id: string, language: string, label?: string): AudioTrack => ({
  kind: 'audio',
  id: representationId(id),
  language,
  codec: 'mp4a.40.2',
  bandwidth: 100_000,
  sampleRate: 48_000,
  channels: 2,
  ...(label === undefined ? {} : { label }),
});
const text: TextTrack = { kind: 'text', id: representationId('s-de'), language: 'de', role: 'subtitle' };
const tracks = [video('v720', 1280, 720, 1_800_000), video('v360', 640, 360, 600_000), audio('a-en', 'en', 'English & "original"'), audio('a-de', 'de')];
const second = (value: number): Micros => microsFromSeconds(value);

const live: LivePresentation = {
  tracks,
  protection,
  segmentDuration: second(2),
  chunkDuration: micros(200_000),
  window: second(60),
  publishedAt: second(1_800_000_000),
  targetLatency: micros(1_500_000),
};
const segment = (number: number, state: Segment['state'], parts: number): Segment => ({
  number: number as SegmentNumber,
  start: second(number * 2),
  duration: second(2),
  state,
  parts: Array.from({ length: parts }, (_, index) => ({ duration: micros(200_000), independent: index === 0 })),
});
const playlist: LivePlaylist = {
  track: tracks[0]!,
  protection,
  keyFormat: 'clearkey',
  segmentDuration: second(2),
  partTarget: micros(200_000),
  segments: [segment(900_000_000, 'complete', 0), segment(900_000_001, 'gap', 0), segment(900_000_002, 'complete', 10), segment(900_000_003, 'open', 3)],
  reports: [{ uri: '../v360/playlist.m3u8', lastSegment: 900_000_003, lastPart: 2 }],
  ended: false,
};

describe('golden manifests', () => {
  test('live MPD', () => expect(liveMpd({ ...live, tracks: [...tracks, text] })).toMatchFileSnapshot('golden/live.mpd'));
  test('ended live MPD', () => expect(liveMpd({ ...live, endedAt: 900_000_010 as SegmentNumber })).toMatchFileSnapshot('golden/live-ended.mpd'));
  test('title MPD', () =>
    expect(
      titleMpd({
        duration: second(11),
        protection: { ...protection, scheme: 'cbcs' },
        tracks: [
          { track: tracks[0]!, timescale: 12_800, start: 0n, durations: [51_200, 51_200, 38_400] },
          { track: tracks[2]!, timescale: 48_000, start: 0n, durations: [192_512, 191_488, 144_384] },
          { track: text, timescale: 1000, start: 0n, durations: [11_000] },
        ],
      }),
    ).toMatchFileSnapshot('golden/title.mpd'));
  test('multivariant playlist', () => expect(multivariantPlaylist([...tracks, text], { keyFormat: 'clearkey' })).toMatchFileSnapshot('golden/master.m3u8'));
  test('audio-only multivariant playlist', () => expect(multivariantPlaylist([audio('a', 'und')], { keyFormat: 'identity' })).toMatchFileSnapshot('golden/master-audio.m3u8'));
  test('live media playlist', () => expect(livePlaylist(playlist)).toMatchFileSnapshot('golden/live.m3u8'));
  test('title media playlist', () =>
    expect(
      titlePlaylist({ track: tracks[0]!, protection: { ...protection, scheme: 'cbcs' }, keyFormat: 'identity', durations: [second(4), second(4), micros(2_960_000)] }),
    ).toMatchFileSnapshot('golden/title.m3u8'));
  test('title subtitles playlist', () =>
    expect(titlePlaylist({ track: text, protection, keyFormat: 'clearkey', durations: [second(11)] })).toMatchFileSnapshot('golden/title-text.m3u8'));
});

describe('protection', () => {
  test.each(['clearkey', 'identity'] as const)('exactly one key line per playlist (%s)', (keyFormat) => {
    expect(livePlaylist({ ...playlist, keyFormat }).match(/#EXT-X-KEY/g)).toHaveLength(1);
  });
  test('no protection, no protection lines', () => {
    expect(livePlaylist({ ...playlist, protection: undefined })).not.toContain('KEY');
    expect(liveMpd({ ...live, protection: undefined })).not.toContain('<ContentProtection');
  });
  test('the MPD names the Clear Key system and carries no pssh, which Chromium refuses for it', () => {
    const mpd = liveMpd(live);
    expect(mpd).toContain('urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e');
    expect(mpd).not.toMatch(/pssh/i);
  });
});

describe('live playlist', () => {
  test('a segment without parts yet is hinted, not listed', () => {
    const out = livePlaylist({ ...playlist, segments: [segment(7, 'complete', 10), segment(8, 'open', 0)] });
    expect(out).toContain('URI="8.0.m4s"');
    expect(out).not.toContain('\n8.m4s');
  });
  test('after the last complete segment the next one is hinted', () => {
    expect(livePlaylist({ ...playlist, segments: [segment(7, 'complete', 10)] })).toContain('#EXT-X-PRELOAD-HINT:TYPE=PART,URI="8.0.m4s"');
  });
  test('an ended event has no hints', () => {
    const out = livePlaylist({ ...playlist, segments: playlist.segments.slice(0, 3), ended: true });
    expect(out).toContain('#EXT-X-ENDLIST');
    expect(out).not.toMatch(/PRELOAD-HINT|RENDITION-REPORT/);
  });
});

describe('text written by others', () => {
  test('XML is escaped and stripped of forbidden characters', () => {
    expect(escapeXml(`a<b>&"'\u0000\ud800x`)).toBe('a&lt;b&gt;&amp;&quot;&apos;x');
    expect(element('Label', [['lang', '"><x/>']], '</Label>')).toBe('<Label lang="&quot;&gt;&lt;x/&gt;">&lt;/Label&gt;</Label>');
  });
  test('a label cannot break out of a playlist attribute', () => {
    const out = multivariantPlaylist([tracks[0]!, audio('a', 'en', 'x",URI="evil\n#EXT-X-ENDLIST')], { keyFormat: 'clearkey' });
    expect(out.split('\n').filter((line) => line === '#EXT-X-ENDLIST')).toHaveLength(0);
    expect(out).toContain('NAME="x,URI=evil#EXT-X-ENDLIST"');
  });
});

test('seconds are exact decimals', () => {
  expect([0, 1, 1_800_000, 2_000_000, 213_333].map(decimalSeconds)).toEqual(['0', '0.000001', '1.8', '2', '0.213333']);
});
