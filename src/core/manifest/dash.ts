// SPDX-License-Identifier: Apache-2.0
/**
 * Writes DASH MPDs: `isoff-live` for events with low latency, `isoff-live` static with a SegmentTimeline for titles.
 *
 * ISO/IEC 23009-1 (element order of the schema), DASH-IF IOP part 6 (Clear Key), DASH-IF low latency modes.
 * Invariant: protection is signalled by `mp4protection` with the entry KID and the Clear Key element with a licence
 * address, and never by a `pssh` of system e2719d58: Chromium refuses that initialisation data (NotSupportedError).
 */
import { clearKeyPath, timePath, uuidText } from './presentation.ts';
import type { AudioTrack, LivePresentation, Protection, TitlePresentation, TitleTrack, Track, VideoTrack } from './presentation.ts';
import type { Micros } from '#core/time.ts';
import { decimalSeconds, element, xsDateTime, xsDuration } from './xml.ts';

const NAMESPACES = [
  ['xmlns', 'urn:mpeg:dash:schema:mpd:2011'],
  ['xmlns:cenc', 'urn:mpeg:cenc:2013'],
  ['xmlns:dashif', 'https://dashif.org/CPS'],
] as const;
const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';
/** Names the prft clock to ServiceDescription/Latency@referenceId. */
const PRODUCER_CLOCK = 0;

/** The MPD of a running or ended event. */
export const liveMpd = (presentation: LivePresentation): string => {
  const { segmentDuration, chunkDuration, targetLatency, endedAt } = presentation;
  const groups = adaptationSets(presentation.tracks);
  const template = (extension: string): string =>
    segmentTemplate(
      segmentDuration,
      [
        ['availabilityTimeOffset', decimalSeconds(segmentDuration - chunkDuration)],
        ['availabilityTimeComplete', 'false'],
      ],
      extension,
    );
  const sets = groups.map((tracks, index) =>
    adaptationSet(index, tracks, presentation.protection, {
      clock: true,
      template: template(tracks[0]?.kind === 'text' ? 'vtt' : 'm4s'),
      representation: () => [],
    }),
  );
  const end = endedAt === undefined ? undefined : xsDuration(endedAt * segmentDuration);
  return `${DECLARATION}${element(
    'MPD',
    [
      ...NAMESPACES,
      ['profiles', 'urn:mpeg:dash:profile:isoff-live:2011'],
      ['type', 'dynamic'],
      ['availabilityStartTime', '1970-01-01T00:00:00Z'],
      ['publishTime', xsDateTime(presentation.publishedAt)],
      ['mediaPresentationDuration', end],
      ['minimumUpdatePeriod', end === undefined ? xsDuration(segmentDuration) : undefined],
      ['minBufferTime', xsDuration(segmentDuration)],
      ['timeShiftBufferDepth', xsDuration(presentation.window)],
      ['suggestedPresentationDelay', xsDuration(targetLatency)],
      ['maxSegmentDuration', xsDuration(segmentDuration)],
    ],
    [
      serviceDescription(targetLatency),
      element(
        'Period',
        [
          ['id', '0'],
          ['start', 'PT0S'],
        ],
        sets,
      ),
      utcTiming(),
    ],
  )}\n`;
};

/** The MPD of a title. */
export const titleMpd = (presentation: TitlePresentation): string => {
  const byTrack = new Map(presentation.tracks.map((item) => [item.track, item]));
  const longest = Math.max(1, ...presentation.tracks.filter((item) => item.track.kind !== 'text').map((item) => longestSegment(item)));
  const sets = adaptationSets(presentation.tracks.map((item) => item.track)).map((tracks, index) =>
    adaptationSet(index, tracks, presentation.protection, {
      clock: false,
      template: undefined,
      representation: (track) => {
        const timeline = byTrack.get(track);
        if (timeline === undefined) return [];
        return track.kind === 'text' ? [element('BaseURL', [], `${track.id}/0.vtt`)] : [timelineTemplate(timeline)];
      },
    }),
  );
  return `${DECLARATION}${element(
    'MPD',
    [
      ...NAMESPACES,
      ['profiles', 'urn:mpeg:dash:profile:isoff-live:2011'],
      ['type', 'static'],
      ['mediaPresentationDuration', xsDuration(presentation.duration)],
      ['minBufferTime', 'PT2S'],
      ['maxSegmentDuration', xsDuration(longest)],
    ],
    [
      element(
        'Period',
        [
          ['id', '0'],
          ['start', 'PT0S'],
        ],
        sets,
      ),
    ],
  )}\n`;
};

/** Video renditions share one set (they switch); every audio and text language or label is a set of its own. */
const adaptationSets = (tracks: readonly Track[]): readonly (readonly Track[])[] => {
  const groups = new Map<string, Track[]>();
  for (const track of tracks) {
    const key = track.kind === 'video' ? 'video' : `${track.kind}|${track.language}|${track.label ?? ''}|${track.kind === 'audio' ? track.codec : track.role}`;
    groups.set(key, [...(groups.get(key) ?? []), track]);
  }
  const order = { video: 0, audio: 1, text: 2 };
  return [...groups.values()].sort((a, b) => order[a[0]?.kind ?? 'text'] - order[b[0]?.kind ?? 'text']);
};

type SetContent = { readonly clock: boolean; readonly template: string | undefined; readonly representation: (track: Track) => readonly string[] };

const adaptationSet = (id: number, tracks: readonly Track[], protection: Protection | undefined, content: SetContent): string => {
  const first = tracks[0];
  if (first === undefined) return '';
  const video = tracks.filter((track) => track.kind === 'video');
  return element(
    'AdaptationSet',
    [
      ['id', id],
      ['contentType', first.kind],
      ['mimeType', first.kind === 'text' ? 'text/vtt' : `${first.kind}/mp4`],
      ['lang', first.kind === 'video' && first.language === 'und' ? undefined : first.language],
      ['maxWidth', video.length > 0 ? Math.max(...video.map((track) => track.width)) : undefined],
      ['maxHeight', video.length > 0 ? Math.max(...video.map((track) => track.height)) : undefined],
      ['segmentAlignment', 'true'],
      ['startWithSAP', first.kind === 'text' ? undefined : 1],
    ],
    [
      ...(first.kind === 'text' ? [] : contentProtection(protection)),
      ...(first.label === undefined ? [] : [element('Label', [], first.label)]),
      ...(content.clock && first.kind !== 'text' ? [producerReferenceTime()] : []),
      element('Role', [
        ['schemeIdUri', 'urn:mpeg:dash:role:2011'],
        ['value', first.kind === 'text' ? first.role : 'main'],
      ]),
      ...(content.template === undefined ? [] : [content.template]),
      ...tracks.map((track) => representation(track, content.representation(track))),
    ],
  );
};

const representation = (track: Track, children: readonly string[]): string => {
  switch (track.kind) {
    case 'video':
      return element(
        'Representation',
        [
          ['id', track.id],
          ['codecs', track.codec],
          ['bandwidth', track.bandwidth],
          ['width', track.width],
          ['height', track.height],
          ['frameRate', frameRateText(track)],
          ['sar', '1:1'],
        ],
        children,
      );
    case 'audio':
      return element(
        'Representation',
        [
          ['id', track.id],
          ['codecs', track.codec],
          ['bandwidth', track.bandwidth],
          ['audioSamplingRate', track.sampleRate],
        ],
        [channelConfiguration(track), ...children],
      );
    case 'text':
      return element(
        'Representation',
        [
          ['id', track.id],
          ['bandwidth', 1000],
        ],
        children,
      );
  }
};

const frameRateText = ({ frameRate }: VideoTrack): string | undefined =>
  frameRate === undefined ? undefined : frameRate.denominator === 1 ? String(frameRate.numerator) : `${frameRate.numerator}/${frameRate.denominator}`;

const channelConfiguration = (track: AudioTrack): string =>
  element('AudioChannelConfiguration', [
    ['schemeIdUri', 'urn:mpeg:dash:23003:3:audio_channel_configuration:2011'],
    ['value', track.channels],
  ]);

const contentProtection = (protection: Protection | undefined): readonly string[] =>
  protection === undefined
    ? []
    : [
        element('ContentProtection', [
          ['schemeIdUri', 'urn:mpeg:dash:mp4protection:2011'],
          ['value', protection.scheme],
          ['cenc:default_KID', uuidText(protection.entryKid)],
        ]),
        element(
          'ContentProtection',
          [
            ['schemeIdUri', 'urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e'],
            ['value', 'ClearKey1.0'],
          ],
          [element('dashif:Laurl', [['licenseType', 'EME-1.0']], clearKeyPath(protection.asset))],
        ),
      ];

/** Duration and time scale in lowest terms: two seconds are `duration="2" timescale="1"`, the form measured in players. */
const segmentTemplate = (segmentDuration: Micros, extra: readonly (readonly [string, string])[], extension: string): string => {
  const divisor = greatestCommonDivisor(segmentDuration, 1_000_000);
  return element('SegmentTemplate', [
    ['timescale', 1_000_000 / divisor],
    ['duration', segmentDuration / divisor],
    ['startNumber', 0],
    ...extra,
    ['initialization', extension === 'vtt' ? undefined : '$RepresentationID$/init.mp4'],
    ['media', `$RepresentationID$/$Number$.${extension}`],
  ]);
};

const timelineTemplate = ({ timescale, start, durations }: TitleTrack): string => {
  const rows: string[] = [];
  for (let index = 0; index < durations.length; ) {
    const duration = durations[index] ?? 0;
    let repeat = 1;
    while (durations[index + repeat] === duration) repeat += 1;
    rows.push(
      element('S', [
        ['t', index === 0 ? String(start) : undefined],
        ['d', duration],
        ['r', repeat > 1 ? repeat - 1 : undefined],
      ]),
    );
    index += repeat;
  }
  return element(
    'SegmentTemplate',
    [
      ['timescale', timescale],
      ['startNumber', 0],
      ['initialization', '$RepresentationID$/init.mp4'],
      ['media', '$RepresentationID$/$Number$.m4s'],
    ],
    [element('SegmentTimeline', [], rows)],
  );
};

const longestSegment = ({ timescale, durations }: TitleTrack): number => (durations.reduce((most, value) => Math.max(most, value), 0) / timescale) * 1_000_000;

const serviceDescription = (target: Micros): string =>
  element(
    'ServiceDescription',
    [['id', 0]],
    [
      element('Latency', [
        ['referenceId', PRODUCER_CLOCK],
        ['target', Math.round(target / 1000)],
        ['min', Math.round(target / 2000)],
        ['max', Math.round(target / 500)],
      ]),
      element('PlaybackRate', [
        ['min', '0.95'],
        ['max', '1.05'],
      ]),
    ],
  );

/** The media timeline is Unix time, so the two clocks meet at zero; every chunk repeats it in its `prft`. */
const producerReferenceTime = (): string =>
  element(
    'ProducerReferenceTime',
    [
      ['id', PRODUCER_CLOCK],
      ['type', 'captured'],
      ['wallClockTime', '1970-01-01T00:00:00Z'],
      ['presentationTime', 0],
      ['inband', 'true'],
    ],
    [utcTiming()],
  );

const utcTiming = (): string =>
  element('UTCTiming', [
    ['schemeIdUri', 'urn:mpeg:dash:utc:http-xsdate:2014'],
    ['value', timePath],
  ]);

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));
