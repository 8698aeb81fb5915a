// SPDX-License-Identifier: Apache-2.0
/**
 * How often to renew and how long a right lasts: level, overrides, entitlement, emergency and overload in one function.
 *
 * Recurring renewals, "Adaptability"; checklist B015, B051-B060, B070-B077, B100. Two settings stay apart to the end (B002).
 * Invariants: an entitlement only tightens; emergency and overload multiply what holds normally and never each other's
 * result of the time before, so terms return to normal by themselves; no live grant passes `maxLiveGrant`.
 */
import type { Micros } from '../time.ts';
import { type EnforcementPolicy, type Level, termsOf } from './enforcement.ts';

/** Interval and duration, ms. */
export type Terms = { readonly interval: number; readonly duration: number };

/** What an operator set for one account, device or title in place of the service's policy. Absent fields change nothing. */
export type PolicyOverride = {
  /** ms. */
  readonly interval?: number;
  /** ms. */
  readonly duration?: number;
  /** Streams at a time: of the account, or of the account within the title if it is the title's override. */
  readonly limit?: number;
  readonly mode?: ConcurrencyMode;
};
/** What a start over the limit does. */
export type ConcurrencyMode = 'deny-new' | 'terminate-oldest' | 'detection-only';
/** The narrower wins: device before account before title (B070). */
export type Overrides = { readonly title?: PolicyOverride; readonly account?: PolicyOverride; readonly device?: PolicyOverride };

/** The first override that sets the field. */
export const overridden = <Name extends keyof PolicyOverride>({ device, account, title }: Overrides, name: Name): PolicyOverride[Name] | undefined =>
  device?.[name] ?? account?.[name] ?? title?.[name];

/** What a term is when nothing is wrong; `strict` are level 3's. */
export type LevelTerms = {
  readonly level: Level;
  /** ms of content; absent if it is live or unknown. */
  readonly content?: number | undefined;
  /** The terms of level 3, and of every level without an `enforcement`. */
  readonly strict: Terms;
  readonly enforcement?: EnforcementPolicy | undefined;
};

/** Terms of the level alone. */
export const levelTerms = ({ level, content, strict, enforcement }: LevelTerms): Terms => {
  if (enforcement === undefined || level === 3) return strict;
  const { interval, duration } = termsOf(level, content === undefined ? undefined : ((content * 1000) as Micros), enforcement);
  return { interval: Math.ceil(interval / 1000), duration: Math.max(strict.duration, Math.ceil(duration / 1000)) };
};

/** Terms that a session has of its own, in place of its level's; 0 = none. They travel in its state, for nodes that know no more. */
export type OwnTerms = Terms;
export const NO_OWN_TERMS: OwnTerms = { interval: 0, duration: 0 };

/** The session's own terms, from overrides and its entitlement. */
export const ownTerms = (level: LevelTerms, overrides: Overrides, entitled: Partial<Terms>): OwnTerms => {
  const normal = levelTerms(level);
  const own = (name: keyof Terms): number => {
    const set = overridden(overrides, name);
    const most = entitled[name];
    if (set === undefined && most === undefined) return 0;
    return Math.min(set ?? normal[name], most ?? Number.POSITIVE_INFINITY);
  };
  return { interval: own('interval'), duration: own('duration') };
};

/** A term must leave time for a second try before it is over. */
const fitted = ({ interval, duration }: Terms): Terms => ({ interval: interval < duration ? interval : Math.ceil(duration / 2), duration });

/** What holds while nothing is wrong. Strictness wins over an override: a level 3 is a suspicion (B074). */
export const normalTerms = (level: LevelTerms, own: OwnTerms): Terms => {
  const base = levelTerms(level);
  const pick = (name: keyof Terms): number => (own[name] === 0 ? base[name] : level.level === 3 ? Math.min(own[name], base[name]) : own[name]);
  return fitted({ interval: pick('interval'), duration: pick('duration') });
};

/** What may lengthen or shorten the normal terms at this moment. */
export type Circumstances = {
  /** The licence was over before this renewal came: only strict terms until the next one. */
  readonly stale: boolean;
  /** The concurrency record cannot be reached. */
  readonly emergency: boolean;
  /** Overload factor, at least 1. */
  readonly load: number;
  readonly emergencyFactor: number;
  /** ms that an emergency never goes beyond. */
  readonly emergencyCap: number;
  /** ms that no grant goes beyond; Infinity for titles. */
  readonly cap: number;
};

/** Longest time that messages can say, ms. */
const LONGEST = 2 ** 32 - 1;

/** The terms to grant now. */
export const termsNow = (normal: Terms, strict: Terms, { stale, emergency, load, emergencyFactor, emergencyCap, cap }: Circumstances): Terms => {
  const base = stale ? { interval: Math.min(normal.interval, strict.interval), duration: Math.min(normal.duration, strict.duration) } : normal;
  const factor = Math.max(1, load);
  const longer = emergency ? Math.max(base.duration, Math.min(base.duration * emergencyFactor, emergencyCap)) : base.duration;
  const duration = Math.min(LONGEST, cap, Math.floor(Math.max(longer, base.duration * factor)));
  return fitted({ interval: Math.min(LONGEST, Math.floor(base.interval * factor)), duration });
};
