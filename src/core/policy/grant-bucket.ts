// SPDX-License-Identifier: Apache-2.0
/**
 * The grant bucket of suspicious accounts: how much content may be opened in a short time on levels 2 and 3.
 *
 * Design section 3. Keys cannot be returned, so stop, expiry and batch give nothing back; in-order continuation draws nothing.
 * Invariant: both who starts and who renews draw on one bucket with the same capacity.
 */
import type { Micros } from '../time.ts';

/** Capacity per stream allowed, ms. */
const CAPACITY = { 2: 3_600_000, 3: 900_000 } as const;
/** Streams the bucket is for where the account has no limit. */
const STREAMS = 3;
/** Groups that a start opens at once on levels 2 and 3: enough to begin, too little to collect. */
export const FIRST_GROUPS = 3;

/** The draw of `millis` of content; undefined on levels without a bucket. `refill`: seconds of content per second. */
export const grantDraw = (level: number, limit: number | undefined, millis: number): { readonly capacity: Micros; readonly refill: number; readonly cost: Micros } | undefined => {
  if (level !== 2 && level !== 3) return undefined;
  const streams = Math.max(1, limit ?? STREAMS);
  return { capacity: (CAPACITY[level] * streams * 1000) as Micros, refill: streams, cost: Math.round(millis * 1000) as Micros };
};
