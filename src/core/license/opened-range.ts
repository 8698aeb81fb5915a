// SPDX-License-Identifier: Apache-2.0
/**
 * How far a session is opened: the one formula behind licences, renewals and the published bound.
 *
 * docs/wire/renewal.md, "Opened range". The playhead that a client reports is a hint; what limits a dishonest one is the
 * anchor (group g0 at server time t0), which moves at playing speed.
 * Invariant: the result never falls below `opened`, never passes `end`, and depends on nothing but its arguments.
 */
import type { GrantGroup, Micros } from '#core/time.ts';

/** What the opened range depends on. Groups are u32, `term` is D, `now` is server time. */
export type OpenedRangeInput = {
  /** First group not opened so far. */
  readonly opened: GrantGroup;
  /** First group that may never be opened by this licence. */
  readonly end: GrantGroup;
  /** Group the playhead is in, as the client says. */
  readonly position: GrantGroup;
  readonly g0: GrantGroup;
  readonly t0: Micros;
  /** Group length G. */
  readonly groupLength: Micros;
  /** The term D. */
  readonly term: Micros;
  readonly now: Micros;
};

/** First group that would not be opened if no licence end held it back: min of the position's and the anchor's reach. */
export const reachOf = ({ position, g0, t0, groupLength, term, now }: Omit<OpenedRangeInput, 'opened' | 'end'>): number =>
  Math.min(position + Math.ceil(term / groupLength), g0 + Math.ceil((now - t0 + term) / groupLength));

/** opened': first group not opened after this grant. */
export const openedRange = (input: OpenedRangeInput): GrantGroup => Math.min(input.end, Math.max(input.opened, reachOf(input))) as GrantGroup;

/**
 * The published bound as an instant of media time: a session denied from now on opens no group that ends later than this,
 * `playing` being the greater of its position and the anchor's live edge at its last renewal.
 */
export const latestOpenEnd = (playing: Micros, term: Micros, groupLength: Micros): Micros => (playing + term + groupLength) as Micros;
