// SPDX-License-Identifier: Apache-2.0
/**
 * Marks of running events: which tracks get them, and who is told where they do not fit.
 *
 * docs/wire/mark-box.md. Invariant: a track that is to be marked and cannot be is reported, at most once a minute; its chunks
 * still carry boxes, which say why there are no places.
 */
import type { AssetId, RepresentationId } from '#core/ids.ts';
import type { Clock, EventSink, Log, Metrics, Random } from '#ports';
import type { SegmentCapacity } from './mark-profiler.ts';
import { createTrackMarker, type MarkSettings, type TrackMarker } from './mark-track.ts';
import type { SourceTrack } from './source-track.ts';

/** Marking of one event. */
export type LiveMarks = Pick<MarkSettings, 'slots' | 'keys' | 'references' | 'keepSegments' | 'requireMark'> & {
  /** Tracks to mark; others have one copy for everybody. */
  readonly representations: readonly string[];
};

/** An event's marking with everybody who is told of it. */
export type ReportedMarks = MarkSettings & { readonly representations: readonly string[] };

const AGAIN = 60_000_000;
/** A group with less than this share of the places it should have makes slots hard to read. */
const POOR = 0.25;

/** The marking of an event, reported to operators; undefined where there is none. */
export const liveMarksOf = async (
  options: { readonly marks?: ((asset: AssetId) => Promise<LiveMarks | undefined>) | undefined; readonly random: Random; readonly clock: Clock; readonly events: EventSink; readonly metrics: Metrics; readonly log: Log },
  asset: AssetId,
): Promise<ReportedMarks | undefined> => {
  const marks = await options.marks?.(asset);
  if (marks === undefined) return undefined;
  const { clock, events, metrics, log } = options;
  const told = new Map<string, number>();
  const onSegment = (representation: string, { segment, sites, eligible, poorest, wanted, because }: SegmentCapacity): void => {
    metrics.gauge('sealcast_packager_mark_places', 'Places of marks in the newest segment of a rendition.', sites, { asset, representation });
    metrics.gauge('sealcast_packager_mark_eligible', 'Places of the newest segment that met all rules, before any quota.', eligible, { asset, representation });
    if (sites > 0 && poorest >= wanted * POOR) return;
    metrics.count('sealcast_packager_mark_poor_segments_total', 'Segments with few places for marks, or none.', { asset, representation }, 1);
    if (sites > 0 || clock.now() < (told.get(representation) ?? Number.NEGATIVE_INFINITY) + AGAIN) return;
    told.set(representation, clock.now());
    events({
      at: clock.now(),
      kind: 'packager.no-mark-places',
      severity: 'warning',
      message: `A segment of ${representation} has no places for marks (${because ?? 'no-places'}); viewers get it unmarked.`,
      asset,
      data: { representation, segment, because: because ?? 'no-places' },
    });
  };
  const onFault = (error: unknown): void => log.error('an original could not be kept for tracing', { asset, fault: error instanceof Error ? error.message : String(error) });
  return { ...marks, asset, random: options.random, onSegment, onFault };
};

/** The marker of a track, if it is to be marked. */
export const markTrack = (marks: ReportedMarks, id: RepresentationId, { media, init }: SourceTrack): Promise<TrackMarker | undefined> =>
  marks.representations.includes(id) && media.kind === 'video' ? createTrackMarker(marks, id, media, init) : Promise.resolve(undefined);
