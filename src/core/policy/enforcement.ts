// SPDX-License-Identifier: Apache-2.0
/**
 * The three enforcement levels of recurring renewals: what each level grants, and how an account moves between them.
 *
 * Source: recurring-renewals, "Adaptability"; checklist B050-B069. An account's history is a bounded record that a pure
 * reducer updates from licence events, so that a changed policy can be replayed over recorded events.
 * Invariants: reloads, pauses and lost connections alone never escalate (B067, B068): only playback that provably went on
 * without the renewals it owed counts. Every move carries the inputs that caused it (B064).
 */
import type { AssetId, DeviceId } from '../ids.ts';
import type { Micros } from '../time.ts';

/** 1 detection only, 2 light, 3 strict. */
export type Level = 1 | 2 | 3;

const MINUTE = 60_000_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const span = (value: number): Micros => value as Micros;

/** All figures of the three levels and of the moves between them, in microseconds (B063). */
export type EnforcementPolicy = {
  readonly version: number;
  /** Renewal interval per level (B051, B054, B059). */
  readonly interval: Readonly<Record<Level, Micros>>;
  /** Level 1: duration = content + this, for pauses (x). */
  readonly slack: Micros;
  /** Level 2: duration = content * share. */
  readonly lightShare: number;
  /** Level 3: duration. */
  readonly strict: Micros;
  /** Stands in for the content's duration where it is live or unknown (B066). */
  readonly liveHorizon: Micros;
  /** 1 → 2: at least N unrenewed licences on at least `devices` devices and no renewal at all within the window W. */
  readonly suppression: { readonly licenses: number; readonly devices: number; readonly window: Micros };
  /** 2 → 3: restarts that carry on where an unrenewed session must have stopped, in this many titles within the window. */
  readonly restarts: { readonly titles: number; readonly window: Micros };
  /** 2 → 3: renewals later than this share of the licence duration, while playback went on, this many times within the window. */
  readonly lateRenewals: { readonly share: number; readonly times: number; readonly window: Micros };
  /** 3 → 2 → 1 after this long without another cause. */
  readonly relaxAfter: Micros;
};

/** The source's figures, and for those it leaves open (N, W, x, dwell times) the ones argued for in the documentation. */
export const ENFORCEMENT_DEFAULTS: EnforcementPolicy = {
  version: 1,
  interval: { 1: span(5 * MINUTE), 2: span(5 * MINUTE), 3: span(3 * MINUTE) },
  slack: span(30 * MINUTE),
  lightShare: 0.5,
  strict: span(5 * MINUTE),
  liveHorizon: span(4 * HOUR),
  suppression: { licenses: 6, devices: 2, window: span(HOUR) },
  restarts: { titles: 2, window: span(48 * HOUR) },
  lateRenewals: { share: 0.8, times: 2, window: span(48 * HOUR) },
  relaxAfter: span(7 * DAY),
};

/** What a level grants for content of the given duration (undefined: live or unknown). */
export const termsOf = (level: Level, content: Micros | undefined, policy: EnforcementPolicy): { interval: Micros; duration: Micros } => {
  const length = content ?? policy.liveHorizon;
  const interval = policy.interval[level];
  if (level === 3) return { interval, duration: policy.strict };
  const duration = level === 1 ? length + policy.slack : Math.ceil(length * policy.lightShare);
  // Very short content must still outlive one missed renewal.
  return { interval: Math.min(interval, Math.ceil(duration * 0.6)) as Micros, duration: Math.max(duration, policy.strict) as Micros };
};

/** One licence event of an account, as recorded and replayed. `position` is media time for titles, undefined for live. */
export type AccountEvent =
  | { readonly kind: 'initial'; readonly at: Micros; readonly session: string; readonly device: DeviceId; readonly asset: AssetId; readonly position?: Micros; readonly interval: Micros; readonly duration: Micros }
  | { readonly kind: 'renewal'; readonly at: Micros; readonly session: string; readonly advanced?: Micros }
  | { readonly kind: 'stop'; readonly at: Micros; readonly session: string }
  | { readonly kind: 'leak'; readonly at: Micros; readonly evidence: string }
  | { readonly kind: 'operator'; readonly at: Micros; readonly level: Level; readonly operator: string };

type Track = {
  readonly session: string; readonly device: DeviceId; readonly asset: AssetId; readonly startedAt: Micros; readonly startPosition: Micros | undefined;
  readonly interval: Micros; readonly duration: Micros; readonly lastRenewal: Micros | undefined;
  /** A stop, or the next start on the same device: zapping leaves sessions that never owed a renewal. */
  readonly endedAt: Micros | undefined;
};

/** What is remembered of an account; bounded, serialisable, without personal data beyond ids. */
export type AccountRecord = {
  readonly level: Level;
  readonly since: Micros;
  /** Last time something counted against the account; relaxation counts from here. */
  readonly lastCause: Micros;
  readonly tracks: readonly Track[];
  readonly restarts: readonly { readonly at: Micros; readonly asset: AssetId }[];
  readonly lateRenewals: readonly Micros[];
};

/** A move between levels with the inputs that caused it, for the log and the control room (B064). */
export type LevelChange = { readonly at: Micros; readonly from: Level; readonly to: Level; readonly cause: 'suppression' | 'restarts' | 'late-renewals' | 'relaxed' | 'leak' | 'operator'; readonly inputs: Readonly<Record<string, number | string>> };

/** The record of an account seen for the first time: level 1 (B050). */
export const newAccount = (now: Micros): AccountRecord => ({ level: 1, since: now, lastCause: now, tracks: [], restarts: [], lateRenewals: [] });

/** Sessions remembered per account; a household starts far fewer within the longest window. */
const MAX_TRACKS = 64;

type Step = { readonly account: AccountRecord; readonly changes: readonly LevelChange[] };

const moved = (account: AccountRecord, to: Level, at: Micros, cause: LevelChange['cause'], inputs: LevelChange['inputs']): Step => {
  if (account.level === to) return { account: { ...account, lastCause: at }, changes: [] };
  const change: LevelChange = { at, from: account.level, to, cause, inputs };
  // Old evidence has been spent: the next move needs new evidence. On the way down that holds for sessions, too, or the next start would undo the move.
  const tracks = to < account.level ? [] : account.tracks;
  return { account: { ...account, level: to, since: at, lastCause: at, tracks, restarts: [], lateRenewals: [] }, changes: [change] };
};

/** Relaxes one level per `relaxAfter` without a cause. Called before every decision, so a long silence relaxes step by step. */
export const relax = (account: AccountRecord, policy: EnforcementPolicy, now: Micros): Step => {
  let current = account;
  const changes: LevelChange[] = [];
  while (current.level > 1 && now - current.lastCause >= policy.relaxAfter) {
    const at = (current.lastCause + policy.relaxAfter) as Micros;
    const step = moved(current, (current.level - 1) as Level, at, 'relaxed', { quietMicros: policy.relaxAfter });
    changes.push(...step.changes);
    current = step.account;
  }
  return { account: current, changes };
};

/** A session that lived long enough to owe a renewal and gave none. */
const unrenewed = (track: Track, now: Micros): boolean =>
  track.lastRenewal === undefined && (track.endedAt ?? now) - track.startedAt >= track.interval * 1.5;

const ended = (track: Track, at: Micros): Track => (track.endedAt === undefined ? { ...track, endedAt: at } : track);

/** Whether a start carries on where an unrenewed session's playback must have got to: it went on playing without renewing. */
const carriesOn = (track: Track, position: Micros | undefined, now: Micros): boolean => {
  if (!unrenewed(track, now)) return false;
  if (position === undefined || track.startPosition === undefined) return false;
  const advanced = position - track.startPosition;
  return advanced >= track.interval * 1.5 && advanced <= (now - track.startedAt) * 2.1;
};

const onInitial = (account: AccountRecord, event: Extract<AccountEvent, { kind: 'initial' }>, policy: EnforcementPolicy): Step => {
  const before = account.tracks.filter((track) => event.at - track.startedAt <= Math.max(policy.restarts.window, policy.suppression.window));
  const restarted = before.some((track) => track.device === event.device && track.asset === event.asset && carriesOn(track, event.position, event.at));
  const restarts = [...account.restarts.filter((each) => event.at - each.at <= policy.restarts.window), ...(restarted ? [{ at: event.at, asset: event.asset }] : [])];
  const track: Track = {
    session: event.session, device: event.device, asset: event.asset, startedAt: event.at, startPosition: event.position,
    interval: event.interval, duration: event.duration, lastRenewal: undefined, endedAt: undefined,
  };
  const earlier = before.map((each) => (each.device === event.device ? ended(each, event.at) : each));
  const next: AccountRecord = { ...account, restarts, tracks: [...earlier, track].slice(-MAX_TRACKS) };
  if (account.level === 1) {
    const { licenses, devices, window } = policy.suppression;
    const recent = earlier.filter((each) => event.at - each.startedAt <= window);
    const silent = recent.filter((each) => unrenewed(each, event.at));
    const renewed = recent.some((each) => each.lastRenewal !== undefined);
    const count = silent.length + 1;
    const onDevices = new Set([...silent.map((each) => each.device), event.device]).size;
    if (!renewed && count >= licenses && onDevices >= devices) return moved(next, 2, event.at, 'suppression', { licenses: count, devices: onDevices, renewals: 0 });
  }
  const titles = new Set(restarts.map((each) => each.asset)).size;
  if (account.level === 2 && titles >= policy.restarts.titles) return moved(next, 3, event.at, 'restarts', { titles, restarts: restarts.length });
  return { account: account.level === 3 && restarted ? { ...next, lastCause: event.at } : next, changes: [] };
};

const onRenewal = (account: AccountRecord, event: Extract<AccountEvent, { kind: 'renewal' }>, policy: EnforcementPolicy): Step => {
  const track = account.tracks.find((each) => each.session === event.session);
  if (track === undefined) return { account, changes: [] };
  const gap = event.at - (track.lastRenewal ?? track.startedAt);
  const tracks = account.tracks.map((each) => (each === track ? { ...each, lastRenewal: event.at } : each));
  // A paused viewer also renews late, but then playback did not advance.
  const late = gap >= track.duration * policy.lateRenewals.share && gap >= track.interval * 1.5 && event.advanced !== undefined && event.advanced >= gap * 0.8;
  const lateRenewals = [...account.lateRenewals.filter((at) => event.at - at <= policy.lateRenewals.window), ...(late ? [event.at] : [])];
  const next = { ...account, tracks, lateRenewals };
  if (!late) return { account: next, changes: [] };
  if (account.level === 2 && lateRenewals.length >= policy.lateRenewals.times) {
    return moved(next, 3, event.at, 'late-renewals', { times: lateRenewals.length, gapMicros: gap, durationMicros: track.duration });
  }
  return { account: account.level === 1 ? next : { ...next, lastCause: event.at }, changes: [] };
};

/** Takes one event in; answers the account after it and the moves it caused. */
export const observeAccount = (account: AccountRecord, event: AccountEvent, policy: EnforcementPolicy): Step => {
  const rested = relax(account, policy, event.at);
  const step = ((): Step => {
    switch (event.kind) {
      case 'initial': return onInitial(rested.account, event, policy);
      case 'renewal': return onRenewal(rested.account, event, policy);
      case 'stop': return { account: { ...rested.account, tracks: rested.account.tracks.map((each) => (each.session === event.session ? ended(each, event.at) : each)) }, changes: [] };
      case 'leak': return moved(rested.account, 3, event.at, 'leak', { evidence: event.evidence });
      case 'operator': return moved(rested.account, event.level, event.at, 'operator', { operator: event.operator });
    }
  })();
  return { account: step.account, changes: [...rested.changes, ...step.changes] };
};

/** "What would this policy have done?": every move over recorded events, oldest first (B069). */
export const replay = (events: readonly AccountEvent[], policy: EnforcementPolicy): { readonly account: AccountRecord | undefined; readonly changes: readonly LevelChange[] } => {
  let account: AccountRecord | undefined;
  const changes: LevelChange[] = [];
  for (const event of events) {
    const step = observeAccount(account ?? newAccount(event.at), event, policy);
    account = step.account;
    changes.push(...step.changes);
  }
  return { account, changes };
};
