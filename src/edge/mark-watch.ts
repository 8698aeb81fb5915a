// SPDX-License-Identifier: Apache-2.0
/**
 * Counts what becomes of mark boxes and tells operators of media that cannot be marked.
 *
 * Invariant: one event a minute for each rendition, however many segments and viewers meet the fault; no key in it.
 */
import type { MediaAddress } from '#edge/media-path.ts';
import type { BoxOutcome, MarkPolicy } from '#edge/mark-boxes.ts';
import type { MarkBoxRules } from '#edge/switching.ts';
import type { Clock, EventSink, Metrics } from '#ports';

const AGAIN = 60_000_000;
const MAX_RENDITIONS = 10_000;

/** Rules for the switching of an edge. */
export const createMarkWatch = (options: { metrics: Metrics; events: EventSink; clock: Clock; policy: MarkPolicy | undefined }): MarkBoxRules => {
  const { metrics, events, clock, policy } = options;
  const told = new Map<string, number>();
  const tell = ({ asset, representation, number }: MediaAddress, outcome: BoxOutcome): void => {
    const now = clock.now();
    const name = `${asset}/${representation}`;
    if (now < (told.get(name) ?? Number.NEGATIVE_INFINITY) + AGAIN) return;
    if (told.size >= MAX_RENDITIONS) told.clear();
    told.set(name, now);
    const consequence = policy?.unmarkable === 'serve' ? 'it is served unmarked' : 'it is refused';
    events({ at: now, kind: 'edge.unmarkable', severity: 'alert', message: `A segment cannot be marked for its viewers (${outcome}); ${consequence}.`, asset, data: { representation, segment: number, outcome } });
  };
  return {
    policy,
    onBox(address, outcome) {
      metrics.count('sealcast_edge_mark_boxes_total', 'Chunks of marked renditions by what became of their mark boxes; none: no places, an erasure.', { outcome });
      if (outcome !== 'marked' && outcome !== 'none') tell(address, outcome);
    },
  };
};
