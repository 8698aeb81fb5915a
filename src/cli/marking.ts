// SPDX-License-Identifier: Apache-2.0
/**
 * `sealcast pack --mark`: marks inside the bitstream, the tracer's originals, and what became of it.
 *
 * Invariant: keys come from the title's mark secret in the data folder and are never printed; a rendition that cannot be
 * marked is reported by name and reason, never silently left out.
 */
import type { AssetId } from '#core/ids.ts';
import type { Micros } from '#core/time.ts';
import { startSchedule } from '#core/watermark/index.ts';
import type { Config } from '#entry/config/index.ts';
import { inBandMarking } from '#entry/in-band-marking.ts';
import type { PackedTitle, PackTitleOptions, SegmentCapacity } from '#packager/index.ts';
import type { AssetMarking } from '#ports';

/** Viewers the epochs of a title's code book are planned for; more stay correct (docs/guide/sequences.md). */
export const PLANNED_VIEWERS = 1_000_000;

/** What one rendition had room for. */
export type RenditionCapacity = {
  readonly rendition: string;
  readonly segments: number;
  /** Segments without any place. */
  readonly empty: number;
  /** Means per segment. */
  readonly eligible: number;
  readonly sites: number;
  /** Places of the poorest polarity group of all segments, and how many were wanted. */
  readonly poorest: number;
  readonly wanted: number;
  /** A reason of segments without places. */
  readonly because?: string;
  /** Each segment by itself. */
  readonly bySegment: readonly SegmentCapacity[];
};

/** Adds up what the profiler says of each segment. */
export const createCapacityReport = (): { add(rendition: string, capacity: SegmentCapacity): void; list(): readonly RenditionCapacity[] } => {
  const byRendition = new Map<string, SegmentCapacity[]>();
  return {
    add(rendition, capacity) {
      const known = byRendition.get(rendition);
      if (known === undefined) byRendition.set(rendition, [capacity]);
      else known.push(capacity);
    },
    list: () =>
      [...byRendition].map(([rendition, all]) => {
        const mean = (value: (capacity: SegmentCapacity) => number): number => Math.round(all.reduce((sum, item) => sum + value(item), 0) / all.length);
        const because = all.find((item) => item.because !== undefined)?.because;
        return {
          rendition,
          segments: all.length,
          empty: all.filter(({ sites }) => sites === 0).length,
          eligible: mean(({ eligible }) => eligible),
          sites: mean(({ sites }) => sites),
          poorest: Math.min(...all.map(({ poorest }) => poorest)),
          wanted: all[0]?.wanted ?? 0,
          ...(because === undefined ? {} : { because }),
          bySegment: all,
        };
      }),
  };
};

/** Lines for people. */
export const capacityLines = (report: readonly RenditionCapacity[]): readonly string[] =>
  report.map(({ rendition, segments, empty, eligible, sites, poorest, wanted, because }) =>
    empty === segments
      ? `  ${rendition}  not marked: ${because ?? 'no-places'}`
      : `  ${rendition}  ${sites} marked places a segment of ${eligible} eligible; poorest group ${poorest} of ${wanted}${empty === 0 ? '' : `; ${empty} of ${segments} segments without (${because ?? 'no-places'})`}`,
  );

/** What edges need to switch the marks of a title on. */
export const titleMarking = (packed: PackedTitle, segment: Micros): AssetMarking => {
  const marked = packed.tracks.filter((track) => track.slots !== undefined);
  return inBandMarking({ representations: marked.map(({ id }) => id), segment, segments: Math.max(1, ...marked.map(({ segments }) => segments)) });
};

/** Packs with marks from the title's secret; the description is written last, so that a reference that reads is whole. */
export const packWithMarks = async (
  options: { readonly asset: AssetId; readonly segment: Micros; readonly config: Config; /** So many variants in place of one copy with boxes. */ readonly variants?: number; readonly requireMark?: boolean },
  pack: (marks: NonNullable<PackTitleOptions['marks']>) => Promise<PackedTitle>,
): Promise<{ readonly packed: PackedTitle; readonly capacity: readonly RenditionCapacity[] }> => {
  const { openLocalTracing } = await import('#entry/tracing.ts');
  const tracing = await openLocalTracing(options.config);
  const report = createCapacityReport();
  let fault: unknown;
  try {
    const references = tracing.references(options.asset);
    const { variants } = options;
    const packed = await pack({
      ...(variants === undefined ? {} : { variants: { alphabet: variants, code: await tracing.variants(options.asset, variants) } }),
      requireMark: options.requireMark === true,
      keys: tracing.boxKeys,
      references,
      onSegment: (rendition, capacity) => report.add(rendition, capacity),
      onFault: (error) => {
        fault ??= error;
      },
    });
    if (fault !== undefined) throw fault;
    const { schedule, representations, inBand, segment } = titleMarking(packed, options.segment);
    await references.describe({ schedule: variants === undefined ? schedule : startSchedule({ alphabet: variants, viewers: PLANNED_VIEWERS }), segment, representations, slots: inBand?.slots ?? 1, live: false, ...(variants === undefined ? {} : { variants }) });
    return { packed, capacity: report.list() };
  } finally {
    tracing.close();
  }
};
