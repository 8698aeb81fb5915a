// SPDX-License-Identifier: Apache-2.0
/**
 * Units of time as types, so that adding milliseconds to media ticks does not compile.
 *
 * Wall time is integer microseconds UTC. The media timeline of an event is Unix time (availabilityStartTime 1970,
 * segment number = floor(UTC / segment duration)), so a restarted or redundant encoder continues the numbering;
 * the media timeline of a title starts at 0.
 * Invariant: nothing in `core` reads a clock; `now` is always an argument.
 */

declare const unit: unique symbol;
/** A value of T that only a named constructor or decoder makes; `Name` keeps one unit or identity from passing for another. */
export type Branded<T, Name extends string> = T & { readonly [unit]: Name };

/** Microseconds: an instant (UTC) or a duration. Integer, exact up to 2^53 (year 2255). */
export type Micros = Branded<number, 'Micros'>;
/** Milliseconds, for timers and HTTP only. */
export type Millis = Branded<number, 'Millis'>;
/** Media time in units of a track's timescale, as in `tfdt`. bigint because Unix time at 48 kHz exceeds 2^46 and products exceed 2^53. */
export type MediaTicks = Branded<bigint, 'MediaTicks'>;
/** Units per second of a media timeline. */
export type Timescale = Branded<number, 'Timescale'>;
/** floor(media time / segment duration); for events floor(UTC / segment duration). */
export type SegmentNumber = Branded<number, 'SegmentNumber'>;
/** floor(media time / crypto period length P): the index p of the key ladder. */
export type CryptoPeriod = Branded<number, 'CryptoPeriod'>;
/** floor(p / periods per group): the index g of the key ladder, u32. */
export type GrantGroup = Branded<number, 'GrantGroup'>;

/** The number as microseconds; throws RangeError unless it is a safe integer. */
export const micros = (value: number): Micros => {
  if (!Number.isSafeInteger(value)) throw new RangeError('micros must be a safe integer');
  return value as Micros;
};
/** Conversions, rounded to whole microseconds where they could be fractions. */
export const microsFromMillis = (value: number): Micros => Math.round(value * 1000) as Micros;
export const microsFromSeconds = (value: number): Micros => Math.round(value * 1_000_000) as Micros;
export const millisFromMicros = (value: Micros): Millis => (value / 1000) as Millis;
export const secondsFromMicros = (value: Micros): number => value / 1_000_000;
export const addMicros = (at: Micros, duration: Micros): Micros => (at + duration) as Micros;

/** Media ticks to microseconds, rounded down. */
export const microsFromTicks = (ticks: MediaTicks, timescale: Timescale): Micros =>
  Number((ticks * 1_000_000n) / BigInt(timescale)) as Micros;
/** Microseconds to media ticks, rounded down. */
export const ticksFromMicros = (at: Micros, timescale: Timescale): MediaTicks =>
  ((BigInt(at) * BigInt(timescale)) / 1_000_000n) as MediaTicks;

/** Number of the segment that contains an instant of media time. */
export const segmentAt = (at: Micros, segmentDuration: Micros): SegmentNumber =>
  Math.floor(at / segmentDuration) as SegmentNumber;

/** How one asset's timeline is cut into crypto periods and grant groups (design: key ladder). */
export type KeySchedule = {
  /** P: length of one crypto period in media time. */
  readonly period: Micros;
  /** Crypto periods per grant group; the group length G is `period * periodsPerGroup`. */
  readonly periodsPerGroup: number;
};
/** Crypto period that contains an instant of media time. */
export const periodAt = (mediaTime: Micros, schedule: KeySchedule): CryptoPeriod =>
  Math.floor(mediaTime / schedule.period) as CryptoPeriod;
/** Grant group that a crypto period belongs to. */
export const groupOf = (period: CryptoPeriod, schedule: KeySchedule): GrantGroup =>
  Math.floor(period / schedule.periodsPerGroup) as GrantGroup;
/** Grant group that contains an instant of media time. */
export const groupAt = (mediaTime: Micros, schedule: KeySchedule): GrantGroup => groupOf(periodAt(mediaTime, schedule), schedule);
/** G: length of one grant group in media time. */
export const groupLength = (schedule: KeySchedule): Micros => (schedule.period * schedule.periodsPerGroup) as Micros;
/** First crypto period of a group; the group's periods are [first, first + periodsPerGroup). */
export const firstPeriodOf = (group: GrantGroup, schedule: KeySchedule): CryptoPeriod => (group * schedule.periodsPerGroup) as CryptoPeriod;
