// SPDX-License-Identifier: Apache-2.0
/**
 * How far keys may be asked for: at most 60 s ahead of live, and in ranges that cannot exhaust the server.
 *
 * docs/wire/keys.md, design section 3. Invariant: a packager that is broken into cannot collect the keys of a whole coming event.
 */
import { SealcastError } from '#core/errors.ts';
import type { Micros } from '#core/time.ts';
import type { AssetKeying } from '#ports';

/** Longest start of a live period ahead of the key server's clock. */
export const LIVE_KEY_LEAD: Micros = 60_000_000 as Micros;
/** Groups or periods of one request. */
export const MAX_KEYS_PER_REQUEST = 4096;

const MAX_GROUP = 2 ** 32;

/** Throws `bad-request` unless [from, to) is a non-empty range of non-negative integers within the limits. */
export const checkRange = (what: 'periods' | 'groups', from: number, to: number): void => {
  const most = what === 'groups' ? MAX_GROUP : Number.MAX_SAFE_INTEGER;
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to <= from || to > most) throw new SealcastError('bad-request', `${what} must be a range from < to of non-negative integers`);
  if (to - from > MAX_KEYS_PER_REQUEST) throw new SealcastError('bad-request', `at most ${MAX_KEYS_PER_REQUEST} ${what} in one request; got ${to - from}`);
};

/** Throws `bad-request` if a period lies beyond the u32 of grant groups. */
export const checkGroups = (keying: AssetKeying, toPeriod: number): void => {
  if (toPeriod > MAX_GROUP * keying.schedule.periodsPerGroup) throw new SealcastError('bad-request', 'periods must lie in grant groups below 2^32');
};

/** Throws `key-unavailable` if a period of a live event starts more than 60 s from now. */
export const checkLead = (keying: AssetKeying, toPeriod: number, now: Micros): void => {
  if (keying.kind !== 'event') return;
  const ahead = (toPeriod - 1) * keying.schedule.period - now;
  if (ahead > LIVE_KEY_LEAD) throw new SealcastError('key-unavailable', `live keys are given at most ${LIVE_KEY_LEAD / 1e6} s ahead; the range reaches ${Math.ceil(ahead / 1e6)} s`);
};
