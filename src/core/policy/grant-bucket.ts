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
/** Most that one draw costs, of the capacity: a right longer than the bucket holds must not keep an honest viewer out. */
const MOST = 0.75;
/** Groups that a start opens at once on levels 2 and 3: enough to begin, too little to collect. */
export const FIRST_GROUPS = 3;

/** The draw of `millis` of content; undefined on levels without a bucket. `refill`: seconds of content per second. */
export const grantDraw = (level: number, limit: number | undefined, millis: number): { readonly capacity: Micros; readonly refill: number; readonly cost: Micros } | undefined => {
  if (level !== 2 && level !== 3) return undefined;
  const streams = Math.max(1, limit ?? STREAMS);
  const capacity = (CAPACITY[level] * streams * 1000) as Micros;
  return { capacity, refill: streams, cost: Math.round(Math.min(millis * 1000, capacity * MOST)) as Micros };
};
