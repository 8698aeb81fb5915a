// SPDX-License-Identifier: Apache-2.0
/**
 * Where a seek, or playback that is faster than time, takes the anchor of the opened range, and what that opens.
 *
 * docs/wire/renewal.md, "Anchor moves"; design section 3. Titles only: the anchor of an event is its live edge.
 * Invariants: what a viewer skips is never opened by the skip; a move opens no group that ends later than position + D + G.
 */
import type { GrantGroup, Micros } from '#core/time.ts';
import { openedRange } from './opened-range.ts';
import type { RenewalState } from './renewal-state.ts';

/** A move, not yet decided on. */
export type AnchorMove = {
  readonly g0: GrantGroup;
  readonly t0: Micros;
  /** The groups [from, to) that it opens. */
  readonly from: GrantGroup;
  readonly to: GrantGroup;
  /** Groups opened beyond what in-order continuation opens by itself: what the grant bucket is asked for. */
  readonly groups: number;
};

/** What a move depends on. */
export type AnchorMoveInput = {
  readonly state: Pick<RenewalState, 'live' | 'groupMillis' | 'end' | 'g0' | 't0' | 'opened' | 'issued'>;
  readonly position: GrantGroup;
  /** The term D, ms. */
  readonly duration: number;
  /** Groups that a seek opens at most; absent: a whole term. */
  readonly firstGroups: number | undefined;
  readonly now: Micros;
};

/** Whether nothing was renewed since the anchor was set: the next renewal opens a whole term, and pays for it. */
export const isFirstRenewal = ({ issued, t0 }: Pick<RenewalState, 'issued' | 't0'>): boolean => issued === t0;

/** Undefined where there is nothing to move: events, positions outside the title, playback that is not ahead of its anchor. */
export const anchorMove = ({ state, position, duration, firstGroups, now }: AnchorMoveInput): AnchorMove | undefined => {
  const { live, groupMillis, end, g0, t0, opened } = state;
  if (live || position >= end) return undefined;
  const groupLength = (groupMillis * 1000) as Micros;
  const term = (duration * 1000) as Micros;
  const whole = Math.ceil(term / groupLength);
  if (position < g0 || position > opened) {
    const to = Math.min(end, position + Math.min(whole, firstGroups ?? whole)) as GrantGroup;
    return { g0: position, t0: now, from: position, to, groups: to - position };
  }
  // The range stays in one piece, and so does the licence's time: playing faster moves the group that belongs to it.
  const ahead = (position - Math.floor((now - t0) / groupLength)) as GrantGroup;
  const to = Math.min(end, Math.max(opened, position + whole)) as GrantGroup;
  if (ahead <= g0 || to <= opened) return undefined;
  const inOrder = isFirstRenewal(state) ? opened : openedRange({ opened, end, position, g0, t0, groupLength, term, now });
  return { g0: ahead, t0, from: opened, to, groups: to - inOrder };
};
