// SPDX-License-Identifier: Apache-2.0
/**
 * How an event's positions are cut into epochs, and where an epoch's key comes from.
 *
 * An epoch of K positions carries one permuted viewer number in base m, so K follows the population: a step of the
 * schedule changes K from a given position on, at an epoch boundary, and old and new viewers profit alike.
 * docs/wire: mark keys are `HMAC(MW[event], msg("mark", u64 epoch))` (design section 5).
 * Invariant: every position from the first step on belongs to exactly one epoch; published steps never change.
 */
import { SealcastError } from '#core/errors.ts';
import { msg, u64 } from '#core/keys/encoding.ts';
import { position, type EpochKeys, type Position } from './book.ts';
import { requireAlphabet } from './counts.ts';

/** From position `from` on, epochs are `length` positions long. */
export type EpochStep = { readonly from: Position; readonly length: number };
/** Steps by increasing position; each begins where an epoch of the step before ends. */
export type EpochSchedule = readonly EpochStep[];
/** `epoch` counts from 0 over the whole event. */
export type EpochAt = { readonly epoch: number; readonly start: Position; readonly length: number };

/** Below a million codewords a ten-round Feistel network on numbers is not trusted (NIST SP 800-38G). */
const MIN_DOMAIN = 1e6;
/** Codewords stay exact doubles with room for products. */
const MAX_DOMAIN = 2 ** 52;

/** Positions per epoch for a population: ceil(log_m N) + slack, at least a million codewords, at most 2^52. */
export const epochLength = (alphabet: number, viewers: number, slack = 0): number => {
  requireAlphabet(alphabet);
  if (!(viewers >= 1) || !Number.isFinite(viewers)) throw new SealcastError('bad-request', 'viewers must be at least 1');
  let length = 1;
  while (alphabet ** length < Math.max(viewers, MIN_DOMAIN)) length++;
  length += slack;
  while (alphabet ** length > MAX_DOMAIN) length--;
  return length;
};

/** A schedule that begins at `from` with the epoch length of `viewers`. */
export const startSchedule = (options: { alphabet: number; viewers: number; from?: number }): EpochSchedule => [
  { from: position(options.from ?? 0), length: epochLength(options.alphabet, options.viewers) },
];

/**
 * The schedule with a step added if `viewers` now need another epoch length, at the first epoch boundary at or after
 * `notBefore` (which must lie past every position whose key was handed out). Returns the same object if nothing changes.
 */
export const extendSchedule = (schedule: EpochSchedule, options: { alphabet: number; viewers: number; notBefore: number }): EpochSchedule => {
  const last = schedule[schedule.length - 1];
  if (last === undefined) throw new SealcastError('bad-request', 'schedule must have a step');
  const length = epochLength(options.alphabet, options.viewers);
  if (length === last.length) return schedule;
  const wait = Math.max(0, options.notBefore - last.from);
  const from = position(last.from + Math.ceil(wait / last.length) * last.length);
  // A step nobody was served under yet is replaced rather than followed by an empty one.
  return from === last.from ? [...schedule.slice(0, -1), { from, length }] : [...schedule, { from, length }];
};

/** Checks a schedule from outside; throws `bad-request`. */
export const requireSchedule = (schedule: EpochSchedule, alphabet: number): EpochSchedule => {
  if (schedule.length === 0) throw new SealcastError('bad-request', 'schedule must have a step');
  schedule.forEach((step, index) => {
    position(step.from);
    if (!Number.isInteger(step.length) || step.length < 2 || alphabet ** step.length > MAX_DOMAIN) {
      throw new SealcastError('bad-request', `schedule[${index}].length must be at least 2 and give at most 2^52 codewords`);
    }
    const before = schedule[index - 1];
    if (before !== undefined && (step.from <= before.from || (step.from - before.from) % before.length !== 0)) {
      throw new SealcastError('bad-request', `schedule[${index}].from must be an epoch boundary after the step before it`);
    }
  });
  return schedule;
};

/** The epoch a position belongs to; throws `bad-request` before the first step. */
export const epochAt = (schedule: EpochSchedule, at: number): EpochAt => {
  let epoch = 0;
  for (let i = 0; i < schedule.length; i++) {
    const step = schedule[i] as EpochStep;
    if (at < step.from) break;
    const next = schedule[i + 1];
    if (next === undefined || at < next.from) {
      const index = Math.floor((at - step.from) / step.length);
      return { epoch: epoch + index, start: (step.from + index * step.length) as Position, length: step.length };
    }
    epoch += (next.from - step.from) / step.length;
  }
  throw new SealcastError('bad-request', 'position must not lie before the first step of the schedule');
};

/** HMAC-SHA256, as in `crypto/hmac.ts`. */
export type Hmac = (key: Uint8Array, data: Uint8Array) => Uint8Array;

/** Mark key of one epoch: what edges get, at most two epochs ahead. */
export const markKey = (hmac: Hmac, secret: Uint8Array, epoch: number): Uint8Array => hmac(secret, msg('mark', u64(epoch)));

/** All epochs' keys from the event's mark secret MW: for the tracer and the key server only. */
export const markKeys = (hmac: Hmac, secret: Uint8Array): EpochKeys => (epoch) => markKey(hmac, secret, epoch);
