// SPDX-License-Identifier: Apache-2.0
/**
 * Which groups a licence covers and which it opens at once.
 *
 * Design section 3: titles to their end, events for the live horizon, both at most 4,096 groups. The range starts at the viewer's
 * place, because what lies before it is never opened by this licence. Pure.
 */
import { SealcastError } from '#core/errors.ts';
import type { Decision } from '#core/license/decide.ts';
import { MAX_HORIZON_GROUPS } from '#core/license/license-claims.ts';
import { openedRange } from '#core/license/opened-range.ts';
import { reasonText } from '#core/license/reasons.ts';
import { type GrantGroup, groupAt, groupLength, type Micros } from '#core/time.ts';
import type { AssetKeying, CatalogueEntry } from '#ports';

/** What a licence covers, in grant groups. */
export type Coverage = {
  /** Groups [from, to) that the licence carries wrapped. */
  readonly horizon: { readonly from: GrantGroup; readonly to: GrantGroup };
  /** Anchor of the opened range: group g0 plays at t0. */
  readonly g0: GrantGroup;
  readonly t0: Micros;
  /** First group not opened by the licence itself. */
  readonly opened: GrantGroup;
};

/** What the coverage depends on; times in µs. */
export type CoverageInput = {
  readonly keying: AssetKeying;
  readonly title: Pick<CatalogueEntry, 'duration' | 'state' | 'archive'>;
  /** Media time where the viewer starts; events: now. */
  readonly position: Micros | undefined;
  readonly decision: Pick<Decision, 'grant'>;
  readonly liveHorizon: Micros;
  readonly timeShift: Micros;
  readonly entitledUntil: Micros;
  readonly now: Micros;
};

/** Throws `key-unavailable` for a title that is not ready, `bad-request` for a position outside it, `session-ended` for an event that is over. */
export const coverageOf = (input: CoverageInput): Coverage => {
  const { keying, decision, now } = input;
  const length = groupLength(keying.schedule);
  const { from, end, g0 } = input.title.state === 'ended' && input.title.archive !== undefined ? archiveRange(input, input.title.archive, length) : keying.kind === 'event' ? liveRange(input, length) : titleRange(input, length);
  const to = Math.min(end, from + MAX_HORIZON_GROUPS) as GrantGroup;
  const term = (decision.grant * 1000) as Micros;
  const opened = openedRange({ opened: from, end: to, position: g0, g0, t0: now, groupLength: length, term, now });
  return { horizon: { from, to }, g0, t0: now, opened };
};

/** An ended event that was kept is licensed like a title; its media time stays Unix time. A position before it, such as none, is its beginning. */
const archiveRange = ({ keying, position = 0 as Micros }: CoverageInput, archive: NonNullable<CatalogueEntry['archive']>, length: Micros): Range => {
  if (position >= archive.to) throw new SealcastError('bad-request', 'position must lie within the event');
  const g0 = groupAt(Math.max(position, archive.from) as Micros, keying.schedule);
  return { from: g0, g0, end: Math.ceil(archive.to / length) };
};

type Range = { readonly from: GrantGroup; readonly end: number; readonly g0: GrantGroup };

/** From the oldest segment a viewer may go back to, to the horizon, but not past the entitlement. */
const liveRange = ({ keying, title, now, timeShift, liveHorizon, entitledUntil }: CoverageInput, length: Micros): Range => {
  if (title.state === 'ended') throw new SealcastError('session-ended', 'the event has ended', { extra: { reason: 'content-ended', viewer: reasonText('content-ended') } });
  const g0 = groupAt(now, keying.schedule);
  const from = groupAt(Math.max(0, now - timeShift) as Micros, keying.schedule);
  const last = Math.min(now + liveHorizon, entitledUntil);
  return { from, g0, end: Math.max(g0 + 1, Math.ceil(last / length)) };
};

const titleRange = ({ keying, title, position = 0 as Micros }: CoverageInput, length: Micros): Range => {
  if (title.duration === undefined || title.state !== 'ready') throw new SealcastError('key-unavailable', 'the title is not ready yet');
  if (position >= title.duration) throw new SealcastError('bad-request', 'position must lie within the title');
  const g0 = groupAt(position, keying.schedule);
  return { from: g0, g0, end: Math.ceil(title.duration / length) };
};
